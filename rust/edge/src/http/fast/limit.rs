//! How long something may take, without touching the runtime's timers each time it changes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The end of a time that is often set anew, mostly to a later one.
#[derive(Debug)]
pub(super) struct Limit {
    timer: Pin<Box<Sleep>>,
    at: Instant,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            timer: Box::pin(sleep(length)),
            at: Instant::now() + length,
        }
    }

    /// From now on this long.
    pub(super) fn set(&mut self, length: Duration) {
        self.at = Instant::now() + length;
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Ready when the time is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_that_was_set_counts() {
        let begin = Instant::now();
        let mut limit = Limit::new(Duration::from_secs(10));
        limit.set(Duration::from_mins(5));
        let first = tokio::time::timeout(Duration::from_secs(200), wait(&mut limit)).await;
        assert!(first.is_err());
        limit.set(Duration::from_secs(10));
        wait(&mut limit).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(210));
    }

    async fn wait(limit: &mut Limit) {
        std::future::poll_fn(|cx| limit.poll(cx)).await;
    }
}
