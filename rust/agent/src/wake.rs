//! Whether this machine has slept, or its network has changed (agent-behaviour §2.5): then the
//! session may be dead, and who waits for the next attempt need not any more.

use tokio::sync::watch;

/// Changes whenever the machine wakes up or gets another default route, where the system tells.
pub(crate) fn follow() -> watch::Receiver<()> {
    let (sender, receiver) = watch::channel(());
    #[cfg(target_os = "linux")]
    match linux::Signs::new() {
        Ok(signs) => {
            tokio::spawn(signs.follow(sender));
        }
        // Heartbeats notice it as well, if later.
        Err(error) => {
            tracing::debug!(obj = "app", err = %error, "cannot follow changes of the network");
        }
    }
    #[cfg(not(target_os = "linux"))]
    drop(sender);
    receiver
}

/// Waits for the next change; for ever where nobody tells.
pub(crate) async fn changed(receiver: &mut watch::Receiver<()>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::{self, Read};
    use std::mem::size_of_val;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    use tokio::io::unix::AsyncFd;
    use tokio::sync::watch;

    const HEADER: usize = 16;
    const ROUTE: usize = 12;
    const RTN_UNICAST: u8 = 1;
    /// Of the difference between a clock that counts sleep and one that does not.
    const SLEPT: Duration = Duration::from_millis(500);

    /// What the kernel tells of routes, and of jumps of its clocks.
    pub(super) struct Signs {
        routes: AsyncFd<File>,
        clock: AsyncFd<File>,
        asleep: Duration,
    }

    // === impl Signs ===

    impl Signs {
        pub(super) fn new() -> io::Result<Self> {
            let clock = watched(timer()?)?;
            arm(clock.get_ref())?;
            Ok(Self {
                routes: watched(netlink()?)?,
                clock,
                asleep: asleep(),
            })
        }

        /// Tells every change, until nobody listens.
        pub(super) async fn follow(mut self, sender: watch::Sender<()>) {
            loop {
                let why = tokio::select! {
                    () = sender.closed() => return,
                    changed = route_changed(&self.routes) => match changed {
                        Ok(true) => "the default route has changed",
                        Ok(false) => continue,
                        Err(_) => return,
                    },
                    jumped = jumped(&self.clock) => {
                        let asleep = asleep();
                        let slept = asleep.saturating_sub(self.asleep);
                        self.asleep = asleep;
                        if jumped.is_err() {
                            return;
                        }
                        if slept < SLEPT {
                            continue; // somebody has set the clock
                        }
                        "the machine has slept"
                    }
                };
                tracing::info!(obj = "app", why, "looking whether the session lives");
                sender.send_replace(());
            }
        }
    }

    /// Reads what came; whether a default route was among it.
    async fn route_changed(routes: &AsyncFd<File>) -> io::Result<bool> {
        let mut ready = routes.readable().await?;
        let mut buffer = [0; 8192];
        match ready.try_io(|routes| routes.get_ref().read(&mut buffer)) {
            Ok(Ok(length)) => Ok(tells_default(&buffer[..length])),
            // More has changed than there was room for.
            Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(true),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Waits until the wall clock has jumped, as it does when the machine wakes up.
    async fn jumped(clock: &AsyncFd<File>) -> io::Result<()> {
        loop {
            let mut ready = clock.readable().await?;
            let mut count = [0; 8];
            if let Ok(read) = ready.try_io(|clock| clock.get_ref().read(&mut count)) {
                return match read {
                    Err(error) if error.raw_os_error() != Some(libc::ECANCELED) => Err(error),
                    _ => arm(clock.get_ref()),
                };
            }
        }
    }

    /// Whether a default route comes or goes, in messages of the kernel.
    pub(super) fn tells_default(mut messages: &[u8]) -> bool {
        while let Some(header) = messages.get(..HEADER) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let Some(body) = messages.get(HEADER..length) else {
                return false;
            };
            if matches!(kind, libc::RTM_NEWROUTE | libc::RTM_DELROUTE)
                && let Some(route) = body.get(..ROUTE)
                && route[1] == 0
                && route[7] == RTN_UNICAST
            {
                return true;
            }
            messages = messages.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        false
    }

    /// A socket on which the kernel tells changes of routes.
    #[allow(unsafe_code)]
    fn netlink() -> io::Result<OwnedFd> {
        let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `socket` takes no pointer, and what it returns is nobody else's; `address` is
        // plain data for which zeros are valid, and lives until `bind` has returned.
        unsafe {
            let fd = libc::socket(libc::AF_NETLINK, flags, libc::NETLINK_ROUTE);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_nl = std::mem::zeroed();
            address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
            address.nl_groups = (libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE) as u32;
            let length = size_of_val(&address) as libc::socklen_t;
            match libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) {
                0 => Ok(fd),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Has the runtime tell when there is something to read.
    #[allow(unsafe_code)]
    fn watched(fd: OwnedFd) -> io::Result<AsyncFd<File>> {
        // SAFETY: a `File` owns its descriptor, and gives the same one until it is dropped.
        unsafe { AsyncFd::register(File::from(fd)) }.map_err(io::Error::from)
    }

    #[allow(unsafe_code)]
    fn timer() -> io::Result<OwnedFd> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no pointers; what is returned is nobody else's.
        unsafe {
            match libc::timerfd_create(libc::CLOCK_REALTIME, flags) {
                fd if fd < 0 => Err(io::Error::last_os_error()),
                fd => Ok(OwnedFd::from_raw_fd(fd)),
            }
        }
    }

    /// The timer is for a day that never comes; what matters is that a jump cancels it.
    #[allow(unsafe_code)]
    fn arm(timer: &File) -> io::Result<()> {
        let never = libc::timespec {
            tv_sec: libc::time_t::from(i32::MAX),
            tv_nsec: 0,
        };
        // SAFETY: plain data, for which zeros are valid.
        let mut when: libc::itimerspec = unsafe { std::mem::zeroed() };
        when.it_value = never;
        let flags = libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET;
        let fd = timer.as_raw_fd();
        // SAFETY: `when` outlives the call, and no old value is asked for.
        match unsafe { libc::timerfd_settime(fd, flags, &raw const when, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// How long the machine has slept since it was started.
    fn asleep() -> Duration {
        read(libc::CLOCK_BOOTTIME).saturating_sub(read(libc::CLOCK_MONOTONIC))
    }

    #[allow(unsafe_code)]
    fn read(clock: libc::clockid_t) -> Duration {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `now` is valid for the write.
        unsafe { libc::clock_gettime(clock, &raw mut now) };
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn message(kind: u16, prefix: u8, route: u8) -> Vec<u8> {
            let mut bytes = ((HEADER + ROUTE) as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend([2, prefix, 0, 0, 254, 0, 0, route, 0, 0, 0, 0]);
            bytes
        }

        #[test]
        fn a_default_route_is_found_among_others() {
            let other = message(libc::RTM_NEWROUTE, 24, RTN_UNICAST);
            let default = message(libc::RTM_DELROUTE, 0, RTN_UNICAST);
            assert!(!tells_default(&other));
            assert!(!tells_default(&message(libc::RTM_NEWROUTE, 0, 2)));
            assert!(!tells_default(&message(16, 0, RTN_UNICAST)));
            assert!(tells_default(&[other.clone(), default.clone()].concat()));
            for end in 0..default.len() {
                assert!(!tells_default(&default[..end]));
            }
            assert!(!tells_default(&[0; 64]));
        }
    }
}
