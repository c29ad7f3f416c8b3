//! What goes on while an edge cannot be reached (agent-behaviour §3): the wait for the next attempt,
//! and what is told of those that failed.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::wake;

/// A change of the network ends a wait for the next attempt, this often at most.
const SKIP: Duration = Duration::from_secs(5);
/// While attempts fail at the longest delay, the same cause is told this often.
const REPEAT: Duration = Duration::from_mins(1);

/// Waits between attempts.
pub(crate) struct Pause {
    wake: watch::Receiver<()>,
    skipped: Option<Instant>,
}

/// Causes that were told.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Option<(Instant, String)>);

// === impl Pause ===

impl Pause {
    /// `wake`: when the machine wakes up or its network changes.
    pub(crate) fn new(wake: watch::Receiver<()>) -> Self {
        Self {
            wake,
            skipped: None,
        }
    }

    pub(crate) async fn wait(&mut self, delay: Duration) {
        let skipped = self.skipped;
        let woken = async {
            wake::changed(&mut self.wake).await;
            let since = skipped.map_or(SKIP, |when| when.elapsed());
            sleep(SKIP.saturating_sub(since)).await;
        };
        tokio::select! {
            () = sleep(delay) => {}
            () = woken => self.skipped = Some(Instant::now()),
        }
    }
}

// === impl Complaints ===

impl Complaints {
    /// Whether a cause is to be told. `seldom`: attempts fail at the longest delay by now.
    pub(crate) fn are_due(&mut self, cause: &str, seldom: bool) -> bool {
        let told = self.0.as_ref();
        let repeated =
            told.is_some_and(|(when, earlier)| earlier == cause && when.elapsed() < REPEAT);
        let due = !(seldom && repeated);
        if due {
            self.0 = Some((Instant::now(), cause.to_owned()));
        }
        due
    }
}
