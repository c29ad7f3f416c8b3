//! The state of one stream (wire-protocol §2.4), without the frames that change it.

use std::task::Waker;

use tokio::time::Instant;

use crate::INITIAL_WINDOW;
use crate::chunks::Chunks;
use crate::error::ErrorCode;
use crate::window::RecvWindow;

/// A stream's table entry. Idle, it holds no heap memory.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) recv: Recv,
    pub(crate) send: Send,
    /// The code of an RST, of either side; both directions are dead.
    pub(crate) reset: Option<ErrorCode>,
    /// Our RST is still to be sent.
    pub(crate) rst_queued: bool,
    /// Handles that refer to this stream: read half and write half.
    pub(crate) handles: u8,
    /// Opened here, and the peer has shown no sign of it.
    pub(crate) unaccepted: bool,
    /// When its SYN went out; the first frame of the peer tells how long the way there and back is.
    pub(crate) syn_sent: Option<Instant>,
    /// Opened by the peer, and nobody here has taken it.
    pub(crate) waiting: bool,
    /// It stands in the accept queue.
    pub(crate) announced: bool,
    /// Told when the stream is reset or its session ends.
    pub(crate) gone_waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(crate) struct Recv {
    pub(crate) window: RecvWindow,
    /// Credit to be sent; the stream stands in the session's list of increments while it is not 0.
    pub(crate) increment: u32,
    pub(crate) queue: Chunks,
    pub(crate) unread: usize,
    pub(crate) fin: bool,
    /// The read half was dropped: what arrives is thrown away, its credit given back.
    pub(crate) discard: bool,
    pub(crate) waker: Option<Waker>,
}

#[derive(Debug)]
pub(crate) struct Send {
    /// Bytes the peer has granted and we have not sent.
    pub(crate) credit: u64,
    pub(crate) queue: Chunks,
    pub(crate) queued: usize,
    pub(crate) fin: Fin,
    /// The first frame is still to be sent.
    pub(crate) syn: bool,
    /// Whether the stream stands in one of the scheduler's rings.
    pub(crate) scheduled: bool,
    /// Bytes sent since the queue was last empty: what tells bulk from small.
    pub(crate) burst: usize,
    pub(crate) waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fin {
    #[default]
    Open,
    /// To be sent behind what is queued.
    Queued,
    Sent,
}

impl Default for Send {
    fn default() -> Self {
        Self {
            credit: u64::from(INITIAL_WINDOW),
            queue: Chunks::default(),
            queued: 0,
            fin: Fin::Open,
            syn: false,
            scheduled: false,
            burst: 0,
            waker: None,
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Whether the table may forget the stream.
    pub(crate) fn done(&self) -> bool {
        self.handles == 0
            && !self.waiting
            && !self.rst_queued
            && (self.reset.is_some() || self.send.fin == Fin::Sent)
    }

    /// Whether the peer has ended in order. An RST behind its FIN can mean two things:
    /// that it stopped reading (4), or that it gave the stream up, and then the FIN was only there
    /// for the sake of readers that do not hear an RST (§2.4, §2.7).
    pub(crate) fn whole(&self) -> bool {
        self.recv.fin
            && self
                .reset
                .is_none_or(|code| code == ErrorCode::STREAM_CLOSED)
    }

    /// Whether the peer has more to send and no credit for it. A peer with credit is told by the
    /// answer to its next data that nobody reads here; this one would wait for ever.
    pub(crate) fn starves_peer(&self) -> bool {
        let unsent = self.recv.increment;
        self.reset.is_none() && !self.recv.fin && self.recv.window.credit() <= unsent
    }

    /// Whether the scheduler has something to send for it.
    pub(crate) fn sendable(&self) -> bool {
        self.reset.is_none()
            && ((self.send.queued > 0 && self.send.credit > 0)
                || (self.send.queued == 0 && self.send.fin == Fin::Queued))
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;

    #[test]
    fn m42_ten_thousand_idle_streams_fit_into_four_megabytes() {
        // With the place in the table, at most twice as many of them as there are streams.
        let place = size_of::<Entry>() + size_of::<u32>() + 1;
        assert!(10_000 * place <= 4 << 20, "{place} bytes each");
    }
}
