//! Signals as wishes: the first asks for an end in order, the second for one at once.

use portway_agent::Stop;
use tokio::sync::watch;

/// Follows the signals of this process.
///
/// # Errors
/// Where the operating system does not let them be followed.
#[cfg(unix)]
pub(crate) fn stops(hang_up_stops: bool) -> std::io::Result<watch::Receiver<Stop>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(Stop::No);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Who was started by `nohup` does not want to know of it.
    let mut hang_up = (hang_up_stops && !hang_up_ignored())
        .then(|| signal(SignalKind::hangup()))
        .transpose()?;
    tokio::spawn(async move {
        for wish in [Stop::Graceful, Stop::Now] {
            let hung_up = async {
                match &mut hang_up {
                    Some(hang_up) => hang_up.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hung_up => {}
            }
            sender.send_replace(wish);
        }
        std::future::pending::<()>().await;
    });
    Ok(receiver)
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

/// Follows Ctrl-C.
///
/// # Errors
/// Where the operating system does not let it be followed.
#[cfg(not(unix))]
pub(crate) fn stops(_: bool) -> std::io::Result<watch::Receiver<Stop>> {
    let (sender, receiver) = watch::channel(Stop::No);
    tokio::spawn(async move {
        for wish in [Stop::Graceful, Stop::Now] {
            if tokio::signal::ctrl_c().await.is_err() {
                break;
            }
            sender.send_replace(wish);
        }
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}
