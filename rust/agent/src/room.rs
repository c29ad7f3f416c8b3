//! How much an agent takes on, on a machine or in a group of processes of this size.

use portway_mux::{Config, INITIAL_WINDOW};

/// File descriptors that are not for upstreams.
const SPARE_FILES: usize = 64;
/// Of the memory there is, so much may hold what upstreams do not take.
const WINDOWS: u64 = 8;
/// Memory for each stream that may be open: half of a first window, for few are full at a time.
const STREAM: u64 = INITIAL_WINDOW as u64 / 2;
/// Bytes of a stream that wait for sending where memory is short.
const SMALL_BUFFER: usize = 64 << 10;

/// Less than so much of all memory left is short; on large machines, less than this.
const SHORT: u64 = 16;
const ENOUGH: u64 = 16 << 20;

/// What the system has for this process.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub open_files: usize,
    /// Bytes; none: nobody can tell.
    pub memory: Option<u64>,
    /// Bytes that are left of it right now.
    pub left: fn() -> Option<u64>,
    /// Returns to the system what is free in this process.
    pub give_back: fn(),
}

// === impl Room ===

impl Room {
    /// Connections to upstreams at a time.
    pub(crate) fn connections(&self) -> usize {
        self.open_files.saturating_sub(SPARE_FILES).max(16)
    }

    /// Whether so little memory is left that something has to go.
    pub(crate) fn is_short(&self) -> bool {
        let enough = (self.memory.unwrap_or_default() / SHORT).min(ENOUGH);
        (self.left)().is_some_and(|left| left < enough)
    }

    /// Limits of a session: those of a large machine, or as much as fits into a small one.
    pub(crate) fn mux(&self) -> Config {
        let usual = Config::agent();
        let Some(memory) = self.memory else {
            return usual;
        };
        let session_window = usual.session_window.min(memory / WINDOWS);
        let stream = u32::try_from(session_window / 2).unwrap_or(u32::MAX);
        let streams = usize::try_from(memory / STREAM).unwrap_or(usize::MAX);
        let small = session_window < usual.session_window;
        Config {
            send_buffer: if small {
                SMALL_BUFFER
            } else {
                usual.send_buffer
            },
            session_window,
            max_stream_window: usual.max_stream_window.min(stream).max(INITIAL_WINDOW),
            max_streams: usual.max_streams.min(streams).max(64),
            ..usual
        }
    }

    /// Tells what was chosen: on small machines, where it explains what is seen, and to who asks.
    pub(crate) fn tell(&self) {
        let (chosen, usual) = (self.mux(), Config::agent());
        let memory = self.memory.unwrap_or_default() >> 20;
        let (window, streams) = (chosen.session_window >> 10, chosen.max_streams);
        if chosen.session_window < usual.session_window || streams < usual.max_streams {
            tracing::info!(
                obj = "app",
                memory_mb = memory,
                window_kb = window,
                streams,
                "limits fitted to memory"
            );
        } else {
            tracing::debug!(
                obj = "app",
                memory_mb = memory,
                window_kb = window,
                streams,
                "limits as usual"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mux(memory: Option<u64>) -> (u64, u32, usize) {
        let room = Room {
            open_files: 1024,
            memory,
            left: || None,
            give_back: || (),
        };
        let config = room.mux();
        (
            config.session_window,
            config.max_stream_window,
            config.max_streams,
        )
    }

    #[test]
    fn a_small_machine_is_not_filled_by_what_nobody_takes() {
        let usual = Config::agent();
        let usual = (
            usual.session_window,
            usual.max_stream_window,
            usual.max_streams,
        );
        assert_eq!(mux(None), usual);
        assert_eq!(mux(Some(8 << 30)), usual);
        assert_eq!(mux(Some(64 << 20)), (8 << 20, 4 << 20, 512));
        assert_eq!(mux(Some(1 << 20)), (128 << 10, INITIAL_WINDOW, 64));
    }

    #[test]
    fn files_are_left_for_the_agent_itself() {
        let room = |open_files| Room {
            open_files,
            memory: None,
            left: || None,
            give_back: || (),
        };
        assert_eq!(room(1024).connections(), 960);
        assert_eq!(room(10).connections(), 16);
    }
}
