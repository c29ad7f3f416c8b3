//! Signals as wishes: the first asks for an end in order, the second for one at once. And what SIGHUP
//! means: that a terminal is gone, or that a configuration is to be read again.

use portway_agent::Stop;
use tokio::sync::watch;

/// Follows the signals of this process. `ends`: whether a hang-up asks for the end.
///
/// # Errors
/// Where the operating system does not let it be followed.
#[cfg(unix)]
pub(crate) fn stops(
    ends: impl Fn() -> bool + Send + Sync + 'static,
) -> std::io::Result<watch::Receiver<Stop>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(Stop::No);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Who was started by `nohup` does not want to know of it.
    let mut hang_up = (!hang_up_ignored())
        .then(|| signal(SignalKind::hangup()))
        .transpose()?;
    tokio::spawn(async move {
        for wish in [Stop::Graceful, Stop::Now] {
            let hung_up = async {
                // A terminal that goes may say so twice, by itself and by the shell in it.
                if let (Some(hang_up), Stop::Graceful) = (&mut hang_up, wish) {
                    while hang_up.recv().await.is_some() {
                        if ends() {
                            return;
                        }
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = hung_up => {}
            }
            sender.send_replace(wish);
        }
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}

/// Whether this process was started in front in a terminal, which a person looks at, and closes when
/// done. What runs behind, under `nohup` or without a terminal has been told to stay.
#[derive(Clone, Copy)]
pub(crate) struct Terminal {
    in_front: bool,
}

// === impl Terminal ===

impl Terminal {
    /// To be asked before signals are followed.
    #[cfg(unix)]
    #[allow(unsafe_code)]
    pub(crate) fn at_start() -> Self {
        use std::os::fd::AsRawFd;
        let in_front = terminal().is_some_and(|terminal| {
            // SAFETY: both calls take and give numbers; the descriptor is open as long as `terminal`.
            unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) == libc::getpgrp() }
        });
        Self {
            in_front: in_front && !hang_up_ignored(),
        }
    }

    /// It was there, and is not any more: that is what a SIGHUP says then.
    #[cfg(unix)]
    pub(crate) fn is_lost(self) -> bool {
        self.in_front && terminal().is_none()
    }

    #[cfg(not(unix))]
    pub(crate) fn at_start() -> Self {
        Self { in_front: true }
    }

    /// A window that is closed ends what runs in it, without asking.
    #[cfg(not(unix))]
    pub(crate) fn is_lost(self) -> bool {
        !self.in_front
    }
}

/// The terminal this process belongs to. One that has hung up cannot be opened, though descriptors of
/// it are still there.
#[cfg(unix)]
fn terminal() -> Option<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open("/dev/tty")
        .ok()
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn hang_up_ignored() -> bool {
    // SAFETY: `sigaction` with no new action only writes the present one into `old`, which is a
    // valid, zeroed structure of the right type.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    }
}

/// Follows what Windows tells a console program: Ctrl-C, Ctrl-Break (which a service sends its agent),
/// the end of the window, of the login and of the machine.
///
/// # Errors
/// Where the operating system does not let it be followed.
#[cfg(not(unix))]
pub(crate) fn stops(_: impl Fn() -> bool) -> std::io::Result<watch::Receiver<Stop>> {
    use tokio::signal::windows;
    let (sender, receiver) = watch::channel(Stop::No);
    let mut interrupt = windows::ctrl_c()?;
    let mut ctrl_break = windows::ctrl_break()?;
    let mut close = windows::ctrl_close()?;
    let mut logoff = windows::ctrl_logoff()?;
    let mut shutdown = windows::ctrl_shutdown()?;
    tokio::spawn(async move {
        for wish in [Stop::Graceful, Stop::Now] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = ctrl_break.recv() => {}
                _ = close.recv() => {}
                _ = logoff.recv() => {}
                _ = shutdown.recv() => {}
            }
            sender.send_replace(wish);
        }
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}
