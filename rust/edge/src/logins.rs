//! Failed logins, counted by address (wire-protocol §4.3). Beyond a limit an address is told nothing
//! about tokens that can be guessed. A token that cannot be guessed opens the door even then: whoever
//! knows it is no guesser, however many of them share the address.

use std::collections::{HashMap, HashSet};
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
    pub(crate) fn crowded(&self, address: IpAddr, limit: u32, now: Instant) -> bool {
        let failures = self.0.lock();
        failures
            .get(&home(address))
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
        let entry = failures.entry(home(address)).or_insert((now, 0));
        if now.duration_since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

/// Whether somebody who tries token after token may ever come to this one. A random one of 22 letters
/// and digits has 128 bits.
pub(crate) fn is_guessable(token: &str) -> bool {
    let different: HashSet<_> = token.bytes().collect();
    token.len() < 22 || different.len() < 10
}

/// What one client can have: an IPv4 address, or the half of an IPv6 address that it is given.
fn home(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::from(network.to_be_bytes())
        }
        v4 @ IpAddr::V4(_) => v4,
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
            assert!(!logins.crowded(address, 3, now));
            logins.failed(address, now);
        }
        assert!(logins.crowded(address, 3, now));
        assert!(!logins.crowded(IpAddr::from([192, 0, 2, 2]), 3, now));
        assert!(!logins.crowded(address, 3, now + WINDOW));
    }

    #[test]
    fn long_and_varied_tokens_are_not_guessed() {
        for (token, guessable) in [
            ("", true),
            ("0123456789abcdefghijk", true),
            ("0123456789abcdefghijkl", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true),
            ("changeme-changeme-changeme", true),
            ("4f3a9c0d17be52684f3a9c0d17be5268aa00bb11", false),
        ] {
            assert_eq!(is_guessable(token), guessable, "{token}");
        }
    }

    #[test]
    fn one_client_has_many_ipv6_addresses() {
        let logins = Logins::default();
        let now = Instant::now();
        for last in 0..3 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
            logins.failed(address, now);
        }
        let blocked = |network| {
            let address = IpAddr::from([0x2001, 0xdb8, 0, network, 9, 9, 9, 9]);
            logins.crowded(address, 3, now)
        };
        assert!(blocked(1) && !blocked(2));
        // An IPv4 address that an IPv6 socket shows is that address.
        logins.failed("::ffff:192.0.2.1".parse().unwrap(), now);
        assert!(logins.crowded(IpAddr::from([192, 0, 2, 1]), 1, now));
        assert!(!logins.crowded(IpAddr::from([192, 0, 2, 2]), 1, now));
    }

    #[test]
    fn a_flood_from_everywhere_takes_no_more_room() {
        let logins = Logins::default();
        let now = Instant::now();
        for number in 0..3 * KEPT as u32 {
            logins.failed(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(logins.0.lock().len() <= KEPT);
    }
}
