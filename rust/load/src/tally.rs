//! Counts and latencies of one measurement, and what failed.
//!
//! A slow answer hides requests that would have been sent meanwhile (coordinated omission). By a
//! schedule nothing is hidden, for time counts from when a request was due. Without one, what was
//! hidden is filled in afterwards, as if a request had been due each usual interval.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Three figures of each latency are kept, up to this.
const LONGEST: u64 = 120_000_000;
/// Percentiles that are told.
const TOLD: [(&str, f64); 6] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
    ("max", 100.0),
];
/// Points of the curve that is drawn.
const CURVE: [f64; 21] = [
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 93.0, 95.0, 97.0, 98.0, 99.0,
    99.5, 99.8, 99.9, 99.99, 100.0,
];

pub(crate) struct Tally {
    inner: Mutex<Inner>,
    limit_failures: u32,
}

struct Inner {
    began: Option<Instant>,
    ended: Option<Instant>,
    cut: bool,
    requests: u64,
    bytes: u64,
    by_schedule: bool,
    latencies: Histogram<u64>,
    failures: BTreeMap<String, u64>,
    in_a_row: u32,
}

// === impl Tally

impl Tally {
    pub(crate) fn new(limit_failures: u32) -> Self {
        Self {
            inner: Mutex::new(Inner {
                began: None,
                ended: None,
                cut: false,
                requests: 0,
                bytes: 0,
                by_schedule: false,
                latencies: histogram(),
                failures: BTreeMap::new(),
                in_a_row: 0,
            }),
            limit_failures,
        }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        act(&mut self
            .inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// From here on it counts; what the warm-up left is forgotten.
    pub(crate) fn begin(&self, by_schedule: bool) {
        self.with(|inner| {
            inner.began = Some(Instant::now());
            inner.by_schedule = by_schedule;
            inner.requests = 0;
            inner.bytes = 0;
            inner.latencies.clear();
            inner.failures.clear();
        });
    }

    /// The first end counts.
    pub(crate) fn end(&self) {
        self.with(|inner| {
            inner.ended.get_or_insert_with(Instant::now);
        });
    }

    /// Somebody ended it before its time.
    pub(crate) fn cut(&self) {
        self.with(|inner| inner.cut = true);
        self.end();
    }

    pub(crate) fn answered(&self, took: Duration) {
        self.with(|inner| {
            inner.in_a_row = 0;
            if inner.ended.is_none() {
                inner.requests += 1;
                inner.latencies.saturating_record(micros(took));
            }
        });
    }

    pub(crate) fn moved(&self, bytes: u64) {
        self.with(|inner| {
            inner.in_a_row = 0;
            if inner.ended.is_none() {
                inner.bytes += bytes;
            }
        });
    }

    pub(crate) fn failed(&self, why: &str) {
        self.with(|inner| {
            inner.in_a_row += 1;
            if inner.ended.is_none() {
                *inner.failures.entry(why.to_owned()).or_default() += 1;
            }
        });
    }

    /// Whether nothing but failures comes any more.
    pub(crate) fn hopeless(&self) -> bool {
        self.with(|inner| inner.in_a_row >= self.limit_failures)
    }

    pub(crate) fn progress(&self) -> Value {
        self.with(|inner| {
            json!({
                "event": "progress",
                "requests": inner.requests,
                "bytes": inner.bytes,
                "failures": inner.failures.values().sum::<u64>(),
            })
        })
    }

    pub(crate) fn figures(&self) -> Value {
        let hopeless = self.hopeless();
        self.with(|inner| {
            let nothing = inner.requests == 0 && inner.bytes == 0 && !inner.failures.is_empty();
            let secs = match (inner.began, inner.ended) {
                (Some(began), Some(ended)) => ended.duration_since(began),
                (Some(began), None) => began.elapsed(),
                (None, _) => Duration::ZERO,
            };
            let corrected = if inner.by_schedule {
                inner.latencies.clone()
            } else {
                corrected(&inner.latencies)
            };
            json!({
                "secs": secs.as_secs_f64(),
                "cut": inner.cut,
                "gave_up": hopeless || nothing,
                // How it ended: what failed before may have been one bad moment.
                "failing": inner.in_a_row > 0,
                "requests": inner.requests,
                "bytes": inner.bytes,
                "failures": inner.failures,
                "by_schedule": inner.by_schedule,
                "latency_us": percentiles(&corrected),
                "uncorrected_us": percentiles(&inner.latencies),
                "curve_us": curve(&corrected),
            })
        })
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are in order and three figures are allowed"))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).map_or(LONGEST, |micros| micros.clamp(1, LONGEST))
}

/// Latencies as they would have been with a request due each usual interval: the median, for one
/// request at a time follows the other.
fn corrected(latencies: &Histogram<u64>) -> Histogram<u64> {
    if latencies.is_empty() {
        return latencies.clone();
    }
    latencies.clone_correct(latencies.value_at_quantile(0.5))
}

fn percentiles(latencies: &Histogram<u64>) -> Value {
    if latencies.is_empty() {
        return Value::Null;
    }
    TOLD.iter()
        .map(|(name, percentile)| {
            let value = latencies.value_at_percentile(*percentile);
            ((*name).to_owned(), json!(value.min(latencies.max())))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn curve(latencies: &Histogram<u64>) -> Value {
    if latencies.is_empty() {
        return json!([]);
    }
    CURVE
        .iter()
        .map(|percentile| json!([percentile, latencies.value_at_percentile(*percentile)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tally: &Tally, which: &str, percentile: &str) -> u64 {
        tally.figures()[which][percentile]
            .as_u64()
            .expect("a figure")
    }

    /// A second in which 1000 requests would have been due, and one was sent.
    fn stalled(by_schedule: bool) -> Tally {
        let tally = Tally::new(5);
        tally.begin(by_schedule);
        for _ in 0..1000 {
            tally.answered(Duration::from_millis(1));
        }
        tally.answered(Duration::from_secs(1));
        tally
    }

    #[test]
    fn a_stall_counts_for_all_requests_it_kept_from_being_sent() {
        let tally = stalled(false);
        assert_eq!(told(&tally, "uncorrected_us", "p99") / 100, 10);
        // Half of all were due in the stall and waited for a second down to nothing.
        let p90 = told(&tally, "latency_us", "p90");
        assert!((780_000..=820_000).contains(&p90), "{p90}");
    }

    #[test]
    fn by_a_schedule_nothing_is_filled_in() {
        let tally = stalled(true);
        assert_eq!(
            tally.figures()["latency_us"],
            tally.figures()["uncorrected_us"]
        );
    }

    #[test]
    fn what_failed_or_came_late_is_no_answer() {
        let tally = Tally::new(2);
        tally.begin(false);
        tally.failed("refused");
        tally.answered(Duration::from_millis(1));
        tally.end();
        tally.answered(Duration::from_millis(1));
        let figures = tally.figures();
        assert_eq!(figures["requests"], 1);
        assert_eq!(figures["failures"]["refused"], 1);
        assert_eq!(figures["gave_up"], false);
    }

    #[test]
    fn nothing_but_failures_is_no_measurement_however_few() {
        let tally = Tally::new(20);
        tally.begin(false);
        tally.failed("refused");
        assert_eq!(tally.figures()["gave_up"], true);
        tally.answered(Duration::from_millis(1));
        assert_eq!(tally.figures()["gave_up"], false);
        assert_eq!(tally.figures()["failing"], false);
    }

    #[test]
    fn failures_in_a_row_end_it() {
        let tally = Tally::new(2);
        tally.begin(false);
        tally.failed("refused");
        assert!(!tally.hopeless());
        tally.failed("refused");
        assert!(tally.hopeless());
    }
}
