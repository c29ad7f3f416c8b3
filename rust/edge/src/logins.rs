//! Failed logins: counted by address, and beyond a limit refused unread (wire-protocol §4.3).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_mins(1);
/// Addresses that are remembered.
const KEPT: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<HashMap<IpAddr, (Instant, u32)>>);

// === impl Logins ===

impl Logins {
    /// Whether an address has failed too often in the last minute.
    pub(crate) fn blocked(&self, address: IpAddr, limit: u32, now: Instant) -> bool {
        let failures = self.0.lock();
        failures
            .get(&address.to_canonical())
            .is_some_and(|(since, count)| now.duration_since(*since) < WINDOW && *count >= limit)
    }

    pub(crate) fn failed(&self, address: IpAddr, now: Instant) {
        let mut failures = self.0.lock();
        if failures.len() >= KEPT {
            failures.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            if failures.len() >= KEPT {
                // A flood from everywhere; whoever fails on is counted again at once.
                failures.clear();
            }
        }
        let entry = failures.entry(address.to_canonical()).or_insert((now, 0));
        if now.duration_since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r66_a_minute_of_failures_is_enough() {
        let logins = Logins::default();
        let (address, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        for _ in 0..3 {
            assert!(!logins.blocked(address, 3, now));
            logins.failed(address, now);
        }
        assert!(logins.blocked(address, 3, now));
        assert!(!logins.blocked(IpAddr::from([192, 0, 2, 2]), 3, now));
        assert!(!logins.blocked(address, 3, now + WINDOW));
    }
}
