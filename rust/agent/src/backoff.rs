//! How long to wait before the next attempt (agent-behaviour §3).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// After something that worked for so long, the next attempt may come at once.
const GOOD: Duration = Duration::from_secs(10);

/// Delays that grow from one failed attempt to the next.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Of connecting: almost at once, then 0.5 s and doubling up to 30 s.
    pub(crate) fn connecting() -> Self {
        Self {
            first: FIRST,
            longest: LONGEST,
            failures: 0,
        }
    }

    /// Of an endpoint that was refused for now: 1 s and doubling up to 30 s.
    pub(crate) fn binding() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: LONGEST,
            failures: 1,
        }
    }

    /// Of refusals that may pass, such as a limit of sessions: 10 s and doubling up to a minute.
    pub(crate) fn refused() -> Self {
        Self {
            first: Duration::from_secs(10),
            longest: Duration::from_mins(1),
            failures: 1,
        }
    }

    /// The delay after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let delay = match self.failures {
            0 => return self.advance(Duration::from_millis(200).mul_f64(random())),
            failures => self
                .first
                .saturating_mul(1 << (failures - 1).min(16))
                .min(self.longest),
        };
        self.advance(delay.mul_f64(0.5 + random() / 2.0))
    }

    /// What was connected has worked for so long: the next delay is no longer than that. An edge
    /// that ends sessions as soon as they are made is still met with growing patience.
    pub(crate) fn worked(&mut self, lived: Duration) {
        if lived >= GOOD {
            self.failures = 0;
        } else if lived >= self.first {
            self.failures = self
                .failures
                .min(1 + (lived.as_millis() / self.first.as_millis()).ilog2());
        }
    }

    /// Whether delays do not grow any more.
    pub(crate) fn at_longest(&self) -> bool {
        self.failures > 1
            && self.first.saturating_mul(1 << (self.failures - 1).min(16)) >= self.longest
    }

    fn advance(&mut self, delay: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        delay
    }
}

/// After an edge said that it goes away: anytime in two seconds, so that not all come at once.
pub(crate) fn soon() -> Duration {
    Duration::from_secs(2).mul_f64(random())
}

/// Evenly from 0 to 1, seeded by the operating system.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_limit_and_vary() {
        let mut backoff = Backoff::connecting();
        assert!(backoff.next() <= Duration::from_millis(200));
        let mut full = FIRST;
        for _ in 0..10 {
            let delay = backoff.next();
            assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
            full = (full * 2).min(LONGEST);
        }
        assert!(backoff.at_longest());
        backoff.worked(GOOD);
        assert!(!backoff.at_longest() && backoff.next() <= Duration::from_millis(200));
        let varied: Vec<_> = (0..20).map(|_| soon()).collect();
        assert!(varied.iter().any(|delay| *delay != varied[0]));
    }

    #[test]
    fn refusals_are_waited_out_from_ten_seconds_to_a_minute() {
        let mut backoff = Backoff::refused();
        for full in [10, 20, 40, 60, 60] {
            let (delay, full) = (backoff.next(), Duration::from_secs(full));
            assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
        }
    }

    #[test]
    fn a_delay_is_no_longer_than_what_it_follows_has_worked() {
        for (lived, most) in [
            (0, 30_000),
            (499, 30_000),
            (500, 500),
            (1_100, 1_000),
            (9_999, 8_000),
        ] {
            let mut backoff = Backoff::connecting();
            for _ in 0..20 {
                backoff.next();
            }
            backoff.worked(Duration::from_millis(lived));
            let most = Duration::from_millis(most);
            let delay = backoff.next();
            assert!(
                delay >= most / 2 && delay <= most,
                "{delay:?} after {lived} ms"
            );
        }
    }
}
