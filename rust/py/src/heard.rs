//! Programs that run an agent read its log through a pipe, and some look whether it still lives before they read on:
//! what it said last would be lost to them if it ended at once.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a reader may take.
const LONGEST: Duration = Duration::from_millis(500);
/// How often we look.
const STEP: Duration = Duration::from_millis(5);
/// What was taken out of the pipe is still to be understood.
const UNDERSTOOD: Duration = Duration::from_millis(50);

/// Waits until what stands in standard output has been read, where that is a pipe; not for long.
pub(crate) fn wait() {
    let until = Instant::now() + LONGEST;
    let Some(mut left) = unread() else { return };
    while left > 0 && Instant::now() < until {
        sleep(STEP);
        left = unread().unwrap_or(0);
    }
    sleep(UNDERSTOOD);
}

/// Bytes of standard output that nobody has read yet; nothing: it is no pipe.
#[cfg(unix)]
#[allow(unsafe_code)]
fn unread() -> Option<usize> {
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::fs::FileTypeExt;
    let file = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned().ok()?);
    if !file.metadata().ok()?.file_type().is_fifo() {
        return None;
    }
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `file` is, and FIONREAD writes one `int`, which `count` is.
    let asked = unsafe { libc::ioctl(file.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    (asked == 0).then(|| usize::try_from(count).unwrap_or(0))
}

#[cfg(not(unix))]
fn unread() -> Option<usize> {
    None
}
