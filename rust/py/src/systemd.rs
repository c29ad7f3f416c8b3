//! What systemd asks of a service: to say when it is ready and when it stops (sd_notify(3)), that it
//! is alive (sd_watchdog_enabled(3)), and to take sockets it has opened (sd_listen_fds(3)).

use std::time::Duration;

use portway_edge::Sockets;
use tokio::time::sleep;

/// Tells systemd something like `READY=1`; nothing happens without it.
#[cfg(unix)]
pub(crate) fn notify(state: &str) {
    use std::os::unix::net::UnixDatagram;
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let Ok(socket) = UnixDatagram::unbound() else {
        return;
    };
    // A manager that does not listen is none.
    let _ = send(&socket, &path, state);
}

#[cfg(unix)]
fn send(
    socket: &std::os::unix::net::UnixDatagram,
    path: &std::ffi::OsStr,
    state: &str,
) -> std::io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        if let Some(name) = path.as_bytes().strip_prefix(b"@") {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            return socket.send_to_addr(state.as_bytes(), &address);
        }
    }
    socket.send_to(state.as_bytes(), path)
}

#[cfg(not(unix))]
pub(crate) fn notify(_: &str) {}

/// Tells systemd that the service is not ready for a while; it says so when it is again.
pub(crate) fn notify_reloading() {
    #[cfg(target_os = "linux")]
    if let Some(micros) = monotonic_micros() {
        return notify(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }
    notify("RELOADING=1");
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn monotonic_micros() -> Option<u64> {
    // SAFETY: the call fills the structure that it is given, which is valid and our own.
    let now = unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        (libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) == 0).then_some(now)?
    };
    let seconds = u64::try_from(now.tv_sec).ok()?;
    Some(seconds * 1_000_000 + u64::try_from(now.tv_nsec).ok()? / 1000)
}

/// Says that this process is alive, twice in the time systemd gives it. From a task of the runtime, so
/// that a runtime which stands still is noticed.
pub(crate) async fn stay_alive() {
    let Some(period) = watchdog() else { return };
    loop {
        notify("WATCHDOG=1");
        sleep(period / 2).await;
    }
}

/// After how long a silence systemd takes this process for dead, where it watches it.
fn watchdog() -> Option<Duration> {
    if let Ok(watched) = std::env::var("WATCHDOG_PID")
        && watched.parse() != Ok(std::process::id())
    {
        return None;
    }
    let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// The sockets of `portway-edge.socket`, by their `FileDescriptorName=`: agent, http, https, api.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(crate) fn sockets() -> Sockets {
    use std::os::fd::FromRawFd;
    /// The first descriptor that is passed.
    const FIRST: i32 = 3;
    let mut sockets = Sockets::default();
    let number = |name| std::env::var(name).ok()?.parse::<i32>().ok();
    if number("LISTEN_PID") != i32::try_from(std::process::id()).ok() {
        return sockets;
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, 16);
    for descriptor in FIRST..FIRST + count {
        // They came through the `exec` of the command; what this process starts is not to have them.
        // SAFETY: setting a flag of a descriptor touches no memory, and one that is not open is an
        // error without effect.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    for (descriptor, name) in (FIRST..FIRST + count).zip(names.split(':')) {
        let place = match name {
            "agent" => &mut sockets.agent,
            "http" => &mut sockets.http,
            "https" => &mut sockets.https,
            "api" => &mut sockets.api,
            _ => continue,
        };
        // SAFETY: the variables say, with our own process id, that this descriptor is a socket
        // that was passed to us; it is taken once.
        *place = Some(unsafe { std::net::TcpListener::from_raw_fd(descriptor) });
    }
    sockets
}

#[cfg(not(unix))]
pub(crate) fn sockets() -> Sockets {
    Sockets::default()
}
