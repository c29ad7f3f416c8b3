//! How long to wait before the next attempt (agent-behaviour §3).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

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

    /// Starts over: what was connected has worked for a while.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
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

/// A refusal that may pass, such as a limit of sessions.
pub(crate) fn refused() -> Duration {
    Duration::from_secs(10).mul_f64(0.75 + random() / 2.0)
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
        backoff.reset();
        assert!(!backoff.at_longest() && backoff.next() <= Duration::from_millis(200));
        let varied: Vec<_> = (0..20).map(|_| soon()).collect();
        assert!(varied.iter().any(|delay| *delay != varied[0]));
    }
}
