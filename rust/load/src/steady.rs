//! Requests over connections that stay open: one after the other, or by a schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::Load;
use crate::dial::{Dialer, Failure, Link};
use crate::event::PROGRESS;
use crate::tally::Tally;

/// Rest after a failure, so that one that lasts is no busy loop.
pub(crate) const REST: Duration = Duration::from_millis(20);

/// When requests are due.
struct Schedule {
    from: Instant,
    interval: Duration,
    next: AtomicU64,
}

pub(crate) async fn run(load: &Load) {
    let mut workers = JoinSet::new();
    let count = load.connections();
    let links: Arc<tokio::sync::Barrier> = Arc::new(tokio::sync::Barrier::new(count + 1));
    let schedule = load.measure.rate.map(|rate| {
        Arc::new(Schedule {
            from: Instant::now() + Duration::from_millis(100),
            interval: Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::from_secs(1)),
            next: AtomicU64::new(0),
        })
    });
    for _ in 0..count {
        let (dialer, tally, links) = (load.dialer.clone(), load.tally.clone(), links.clone());
        let schedule = schedule.clone();
        workers.spawn(async move {
            // All are connected before the first request, or the first would be alone.
            let mut link = connected(&dialer, &tally).await;
            links.wait().await;
            while !tally.hopeless() {
                let due = match &schedule {
                    None => None,
                    Some(schedule) => Some(schedule.wait().await),
                };
                once(&dialer, &mut link, &tally, due).await;
            }
        });
    }
    links.wait().await;
    span(load, async { while workers.join_next().await.is_some() {} }).await;
}

/// Warm-up and measurement, while `running` goes on by itself; ends early where it ends.
pub(crate) async fn span(load: &Load, running: impl Future<Output = ()>) {
    let Load {
        measure,
        tally,
        events,
        ..
    } = load;
    let clock = async {
        sleep(measure.warm_up()).await;
        tally.begin(measure.rate.is_some());
        events.tell(&serde_json::json!({"event": "began"}));
        let end = tokio::time::Instant::now() + measure.time();
        loop {
            let next = (tokio::time::Instant::now() + PROGRESS).min(end);
            sleep_until(next).await;
            events.tell(&tally.progress());
            if next == end {
                break;
            }
        }
    };
    tokio::select! {
        () = clock => {}
        () = running => {}
    }
    tally.end();
}

async fn connected(dialer: &Dialer, tally: &Tally) -> Option<Link> {
    match dialer.connect().await {
        Ok(link) => Some(link),
        Err(failure) => {
            tally.failed(&failure.to_string());
            None
        }
    }
}

/// One request, on a new connection where the old one is lost.
pub(crate) async fn once(
    dialer: &Dialer,
    link: &mut Option<Link>,
    tally: &Tally,
    due: Option<Instant>,
) {
    let from = due.unwrap_or_else(Instant::now);
    match attempt(dialer, link).await {
        Ok(()) => tally.answered(from.elapsed()),
        Err(failure) => {
            *link = None;
            failed(tally, &failure).await;
        }
    }
}

/// Counts a failure, and rests.
pub(crate) async fn failed(tally: &Tally, failure: &Failure) {
    tally.failed(&failure.to_string());
    sleep(REST).await;
}

async fn attempt(dialer: &Dialer, link: &mut Option<Link>) -> Result<(), Failure> {
    let link = match link {
        Some(link) => link,
        None => link.insert(dialer.connect().await?),
    };
    link.exchange(dialer.get(None)?).await
}

// === impl Schedule

impl Schedule {
    /// The next request's time, once it has come.
    async fn wait(&self) -> Instant {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let after = Duration::from_secs_f64(self.interval.as_secs_f64() * number as f64);
        let due = self.from + after;
        sleep_until(due.into()).await;
        due
    }
}
