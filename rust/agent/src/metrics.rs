//! What an endpoint's traffic comes to (agent-api §5.3): counts, rates over one, five and fifteen
//! minutes, and percentiles of how long things took. Counted once for a connection or a request,
//! never for a byte.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Rates change once in so long.
const TICK: Duration = Duration::from_secs(5);
/// Minutes the three rates look back.
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];
/// Durations of which percentiles are made: the latest ones.
const SAMPLE: usize = 1000;
/// The percentiles that are told.
const SHARES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// Of one endpoint. A new session, and a new upstream, go on with the same.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Meter,
    /// Requests; none on tcp and tls.
    pub(crate) requests: Meter,
}

/// One kind of thing that happens and takes some time.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<Counted>);

#[derive(Debug)]
struct Counted {
    count: u64,
    open: u64,
    /// Since the last tick.
    fresh: u32,
    ticked: Instant,
    /// Events a second; nothing before the first tick.
    rates: Option<[f64; 3]>,
    /// Nanoseconds.
    lengths: VecDeque<u64>,
}

/// A meter's figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) count: u64,
    pub(crate) open: u64,
    /// Events a second over 1, 5 and 15 minutes.
    pub(crate) rates: [f64; 3],
    /// Nanoseconds: 50th, 90th, 95th and 99th percentile.
    pub(crate) percentiles: [f64; 4],
}

/// A connection that is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    metrics: Arc<Metrics>,
    since: Instant,
}

// === impl Metrics ===

impl Metrics {
    /// Counts a connection, which is open until the guard goes.
    pub(crate) fn connected(self: &Arc<Self>) -> Open {
        let since = Instant::now();
        self.connections.change(|counted| {
            counted.begin(since);
            counted.open += 1;
        });
        Open {
            metrics: self.clone(),
            since,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let length = self.since.elapsed();
        self.metrics.connections.change(|counted| {
            counted.open = counted.open.saturating_sub(1);
            counted.end(length);
        });
    }
}

// === impl Meter ===

impl Default for Meter {
    fn default() -> Self {
        Self(Mutex::new(Counted {
            count: 0,
            open: 0,
            fresh: 0,
            ticked: Instant::now(),
            rates: None,
            lengths: VecDeque::new(),
        }))
    }
}

impl Meter {
    /// One more has begun. The time is the caller's, who needs it too: reading the clock is what costs here.
    pub(crate) fn begun(&self, now: Instant) {
        self.change(|counted| counted.begin(now));
    }

    /// One has ended that took so long.
    pub(crate) fn took(&self, length: Duration) {
        self.change(|counted| counted.end(length));
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().count
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut counted = self.0.lock();
        counted.tick(Instant::now());
        Figures {
            count: counted.count,
            open: counted.open,
            rates: counted.rates.unwrap_or_default(),
            percentiles: percentiles(counted.lengths.iter().copied().collect()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Counted)) {
        change(&mut self.0.lock());
    }
}

// === impl Counted ===

impl Counted {
    fn begin(&mut self, now: Instant) {
        self.tick(now);
        self.count += 1;
        self.fresh += 1;
    }

    fn end(&mut self, length: Duration) {
        if self.lengths.len() == SAMPLE {
            self.lengths.pop_front();
        }
        self.lengths
            .push_back(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Does what clock ticks since the last call would have done.
    fn tick(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.ticked);
        let ticks = since.as_secs() / TICK.as_secs();
        if ticks == 0 {
            return;
        }
        let whole = u32::try_from(ticks).unwrap_or(u32::MAX);
        self.ticked += TICK.saturating_mul(whole);
        let now = f64::from(std::mem::take(&mut self.fresh)) / TICK.as_secs_f64();
        let quiet = f64::from(whole - 1);
        let rates = self.rates.get_or_insert([now; 3]);
        for (rate, minutes) in rates.iter_mut().zip(MINUTES) {
            let kept = (-TICK.as_secs_f64() / 60.0 / minutes).exp();
            *rate = (now + (*rate - now) * kept) * kept.powf(quiet);
        }
    }
}

/// Between two values of the sample, their weighted mean.
fn percentiles(mut lengths: Vec<u64>) -> [f64; 4] {
    lengths.sort_unstable();
    let (Some(first), Some(last)) = (lengths.first(), lengths.last()) else {
        return [0.0; 4];
    };
    SHARES.map(|share| {
        let place = share * (lengths.len() + 1) as f64;
        let below = place.floor() as usize;
        match (below.checked_sub(1), lengths.get(below)) {
            (None, _) => *first as f64,
            (_, None) => *last as f64,
            (Some(under), Some(over)) => {
                let under = lengths[under] as f64;
                under + (place - place.floor()) * (*over as f64 - under)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: [f64; 4], wanted: [f64; 4]) -> bool {
        found
            .iter()
            .zip(wanted)
            .all(|(found, wanted)| (found - wanted).abs() < 1e-9)
    }

    #[test]
    fn percentiles_lie_between_what_was_seen() {
        assert!(close(percentiles(Vec::new()), [0.0; 4]));
        assert!(close(percentiles(vec![7]), [7.0; 4]));
        let all = (1..=100).rev().collect();
        assert!(close(percentiles(all), [50.5, 90.9, 95.95, 99.99]));
    }

    #[test]
    fn the_sample_is_of_the_latest() {
        let meter = Meter::default();
        for nanos in 0..3 * SAMPLE as u64 {
            meter.took(Duration::from_nanos(nanos));
        }
        assert!(meter.figures().percentiles[0] > 2.4 * SAMPLE as f64);
        assert_eq!(meter.0.lock().lengths.len(), SAMPLE);
    }

    #[test]
    fn rates_are_of_a_second_and_fade() {
        let meter = Meter::default();
        let back = |seconds| {
            let mut counted = meter.0.lock();
            counted.ticked = counted
                .ticked
                .checked_sub(Duration::from_secs(seconds))
                .unwrap();
        };
        for _ in 0..10 {
            meter.begun(Instant::now());
        }
        back(5);
        let rates = meter.figures().rates;
        assert!(
            rates.iter().all(|rate| (rate - 2.0).abs() < 1e-9),
            "{rates:?}"
        );
        back(60);
        let [one, five, fifteen] = meter.figures().rates;
        assert!((one - 2.0 / std::f64::consts::E).abs() < 1e-9, "{one}");
        assert!(one < five && five < fifteen && fifteen < 2.0);
        back(3 * 3600);
        assert!(meter.figures().rates[0] < 1e-50);
        assert_eq!(meter.figures().count, 10);
    }
}
