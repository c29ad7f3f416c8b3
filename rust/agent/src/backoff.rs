//! How long to wait before the next attempt (agent-behaviour §3).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// After something that worked for so long, the next attempt may come at once.
const GOOD: Duration = Duration::from_secs(10);
/// What worked for so long is as good as new; with a visitor served, sooner.
const SOUND: Duration = Duration::from_mins(1);

/// Delays that grow from one failed attempt to the next.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    /// The next delay is the shortest, however many failures there were.
    at_once: bool,
}

// === impl Backoff ===

impl Backoff {
    /// Of connecting: almost at once, then 0.5 s and doubling up to 30 s.
    pub(crate) fn connecting() -> Self {
        Self {
            first: FIRST,
            longest: LONGEST,
            failures: 0,
            at_once: false,
        }
    }

    /// Of an endpoint that was refused for now: 1 s and doubling up to 30 s.
    pub(crate) fn binding() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: LONGEST,
            failures: 1,
            at_once: false,
        }
    }

    /// Of refusals that may pass, such as a limit of sessions: 10 s and doubling up to a minute.
    pub(crate) fn refused() -> Self {
        Self {
            first: Duration::from_secs(10),
            longest: Duration::from_mins(1),
            failures: 1,
            at_once: false,
        }
    }

    /// The delay after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        if std::mem::take(&mut self.at_once) || self.failures == 0 {
            return self.advance(Duration::from_millis(200).mul_f64(random()));
        }
        let delay = self
            .first
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(self.longest);
        self.advance(delay.mul_f64(0.5 + random() / 2.0))
    }

    /// What was connected has worked for so long: the next delay is no longer than that. `whole`: nothing was
    /// missing; `served`: a visitor came. An edge that ends sessions as soon as they are made is met with growing
    /// patience, and so is one that lets each live for a while and is no use to anybody.
    pub(crate) fn worked(&mut self, lived: Duration, whole: bool, served: bool) {
        if (lived >= SOUND && whole) || (lived >= GOOD && served) {
            self.failures = 0;
        } else if lived >= GOOD {
            self.at_once = true;
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
        backoff.worked(GOOD, true, true);
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
            backoff.worked(Duration::from_millis(lived), true, true);
            let most = Duration::from_millis(most);
            let delay = backoff.next();
            assert!(
                delay >= most / 2 && delay <= most,
                "{delay:?} after {lived} ms"
            );
        }
    }

    #[test]
    fn what_is_no_use_to_anybody_is_no_new_beginning() {
        let at_once = Duration::from_millis(200);
        for (lived, whole, served, anew) in [
            (GOOD, true, false, false),
            (GOOD, true, true, true),
            (GOOD, false, true, true),
            (SOUND, true, false, true),
            (SOUND, false, false, false),
        ] {
            let mut backoff = Backoff::connecting();
            for _ in 0..20 {
                backoff.next();
            }
            backoff.worked(lived, whole, served);
            assert!(backoff.next() <= at_once);
            let second = backoff.next();
            let case = format!("{lived:?} {whole} {served}: {second:?}");
            assert_eq!(second <= FIRST, anew, "{case}");
            assert_eq!(second >= LONGEST / 2, !anew, "{case}");
        }
    }
}
