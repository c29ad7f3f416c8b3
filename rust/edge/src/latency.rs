//! How far a session is, and which of several is to serve the next visitor.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// In microseconds. Below it distance does not count: all that is near is equally near.
const NEAR: u32 = 5_000;

/// The round trip of a session's heartbeats, smoothed, in microseconds; 0: none was measured yet.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU32);

// === impl Latency ===

impl Latency {
    /// One more was measured. It counts for an eighth, so that one that was late by chance changes little (RFC 6298,
    /// section 2).
    pub(crate) fn measured(&self, round_trip: Duration) {
        let latest = u32::try_from(round_trip.as_micros())
            .unwrap_or(u32::MAX)
            .max(1);
        let known = self.0.load(Ordering::Relaxed);
        let smoothed = if known == 0 {
            latest
        } else {
            known - known / 8 + latest / 8
        };
        self.0.store(smoothed, Ordering::Relaxed);
    }

    /// What one more stream costs beside `open` others: a leg that is three times as far serves a third as many.
    pub(crate) fn cost(&self, open: usize) -> u64 {
        let distance = self.0.load(Ordering::Relaxed).max(NEAR);
        u64::from(distance).saturating_mul(open as u64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Latency {
        let latency = Latency::default();
        latency.measured(Duration::from_millis(millis));
        latency
    }

    #[test]
    fn a_leg_three_times_as_far_serves_a_third_as_many() {
        let (near, far) = (at(20), at(60));
        assert!(near.cost(1) < far.cost(0));
        assert_eq!(near.cost(2), far.cost(0));
        assert!(near.cost(3) > far.cost(0));
    }

    #[test]
    fn what_is_near_or_not_yet_known_is_equally_near() {
        let open = 3;
        assert_eq!(at(0).cost(open), at(4).cost(open));
        assert_eq!(Latency::default().cost(open), at(1).cost(open));
    }

    #[test]
    fn one_round_trip_that_was_late_changes_little_and_many_do() {
        let latency = at(20);
        latency.measured(Duration::from_millis(200));
        assert!(latency.cost(0) < 45_000);
        for _ in 0..40 {
            latency.measured(Duration::from_millis(200));
        }
        assert!(latency.cost(0) > 190_000);
        latency.measured(Duration::MAX);
    }
}
