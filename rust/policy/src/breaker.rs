//! The circuit breaker (traffic-policy §6.3): too many failed answers, and the upstream is left
//! alone for a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use portway_wire::{Code, Refusal};

const WINDOW: Duration = Duration::from_secs(10);
const TRIPPED: Duration = Duration::from_secs(10);
const BUCKETS: usize = 10;
/// Requests in the window below which nothing is concluded.
const VOLUME: u32 = 10;

/// Counts of one endpoint on this edge.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: f64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Number of the slice of time it counts.
    slice: u64,
    all: u32,
    failed: u32,
}

#[derive(Debug)]
struct State {
    start: Instant,
    buckets: [Bucket; BUCKETS],
    /// Refusing until then; afterwards one request is let through to see.
    open_until: Option<Instant>,
    /// When that one is given up: its visitor may have gone away before there was an answer.
    probed_until: Option<Instant>,
}

// === impl Breaker ===

impl Breaker {
    /// `threshold`: share of failed requests, 0 to 1.
    pub(crate) fn new(threshold: f64) -> Result<Self, Refusal> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(Refusal::of(Code(361)));
        }
        Ok(Self {
            threshold,
            state: Mutex::new(State {
                start: Instant::now(),
                buckets: [Bucket::default(); BUCKETS],
                open_until: None,
                probed_until: None,
            }),
        })
    }

    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.open_until {
            Some(until) if now < until => false,
            Some(_) if state.probed_until.is_some_and(|until| now < until) => false,
            Some(_) => {
                state.probed_until = Some(now + TRIPPED);
                true
            }
            None if state.tripped(self.threshold, now) => {
                state.open_until = Some(now + TRIPPED);
                false
            }
            None => true,
        }
    }

    /// How a request that was let through ended.
    pub(crate) fn record(&self, failed: bool, now: Instant) {
        let mut state = self.state.lock();
        if state.probed_until.take().is_some() {
            state.buckets = [Bucket::default(); BUCKETS];
            state.open_until = failed.then(|| now + TRIPPED);
            return;
        }
        let slice = state.slice(now);
        let bucket = &mut state.buckets[slice as usize % BUCKETS];
        if bucket.slice != slice {
            *bucket = Bucket {
                slice,
                ..Bucket::default()
            };
        }
        bucket.all += 1;
        bucket.failed += u32::from(failed);
    }
}

// === impl State ===

impl State {
    /// Slices count from 1, so that an untouched bucket is never current.
    fn slice(&self, now: Instant) -> u64 {
        let width = WINDOW.as_millis() / BUCKETS as u128;
        let passed = now.saturating_duration_since(self.start).as_millis();
        (passed / width) as u64 + 1
    }

    fn tripped(&self, threshold: f64, now: Instant) -> bool {
        let newest = self.slice(now);
        let current = |bucket: &&Bucket| bucket.slice > 0 && bucket.slice + BUCKETS as u64 > newest;
        let (all, failed) = self
            .buckets
            .iter()
            .filter(current)
            .fold((0, 0), |(all, failed), bucket| {
                (all + bucket.all, failed + bucket.failed)
            });
        all >= VOLUME && failed > 0 && f64::from(failed) >= threshold * f64::from(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_probes_and_closes() {
        let breaker = Breaker::new(0.5).unwrap();
        let mut now = Instant::now();
        for turn in 0..VOLUME {
            assert!(breaker.admits(now), "{turn}");
            breaker.record(turn % 2 == 0, now);
        }
        assert!(!breaker.admits(now));
        now += TRIPPED;
        assert!(breaker.admits(now), "one probe");
        assert!(!breaker.admits(now), "only one");
        breaker.record(true, now);
        assert!(!breaker.admits(now), "it failed: open again");
        now += TRIPPED;
        assert!(breaker.admits(now));
        breaker.record(false, now);
        assert!(breaker.admits(now) && breaker.admits(now));
    }

    #[test]
    fn a_probe_without_an_answer_does_not_shut_the_endpoint_for_good() {
        let breaker = Breaker::new(0.5).unwrap();
        let now = Instant::now();
        for _ in 0..VOLUME {
            breaker.record(true, now);
        }
        assert!(!breaker.admits(now));
        assert!(breaker.admits(now + TRIPPED), "its visitor goes away");
        assert!(!breaker.admits(now + TRIPPED));
        assert!(breaker.admits(now + 2 * TRIPPED), "another one");
    }

    #[test]
    fn without_a_failure_no_threshold_opens_it() {
        let breaker = Breaker::new(0.0).unwrap();
        let now = Instant::now();
        for _ in 0..VOLUME {
            breaker.record(false, now);
        }
        assert!(breaker.admits(now));
        breaker.record(true, now);
        assert!(!breaker.admits(now));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let breaker = Breaker::new(0.1).unwrap();
        let now = Instant::now();
        for _ in 0..VOLUME {
            breaker.record(true, now);
        }
        assert!(breaker.admits(now + WINDOW + Duration::from_secs(1)));
        assert!(!breaker.admits(now));
        assert_eq!(Breaker::new(20.0).unwrap_err().code, Code(361));
    }
}
