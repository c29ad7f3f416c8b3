//! Signs of life of one visitor's connection. Who only holds it open is let go, and who is let go
//! gets to read the last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portway_mux::pass_on;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use super::sieve::Sieve;
use crate::config::Limits;
use crate::metrics::Turned;

/// A write of fewer bytes is no sign of life: an answered ping of HTTP/2 looks like that.
const SIGN: usize = 64;
/// How long, and for how many bytes, somebody is listened to after the last answer. Closed at once
/// with something unread, a connection is reset, and the answer may be lost on its way (RFC 9112
/// §9.6).
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 256 * 1024;

/// So much later than the limit a connection is given up: whoever stopped the beating is told first,
/// and the visitor by its error page.
const LATE: Duration = Duration::from_secs(1);

/// What moved on a connection, and when.
#[derive(Debug)]
pub(super) struct Pulse {
    since: Instant,
    /// Of the last beat, in milliseconds from `since`.
    last: AtomicU64,
    requests: AtomicU64,
    upgraded: AtomicBool,
}

/// A visitor's connection that beats with what is written, and whose requests are sieved.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    pulse: Arc<Pulse>,
    sieve: Sieve,
    farewell: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

// === impl Pulse ===

impl Default for Pulse {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            last: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            upgraded: AtomicBool::new(false),
        }
    }
}

impl Pulse {
    /// Something of a request or of its response moved.
    pub(super) fn beat(&self) {
        let now = self.since.elapsed().as_millis();
        self.last
            .store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When nothing will have moved for so long, unless something does.
    fn quiet_for(&self, limit: Duration) -> Instant {
        self.since + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit
    }

    /// A request's head is there.
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.beat();
    }

    /// The reason when a head was too long in coming.
    pub(super) fn timed_out(&self) -> Turned {
        if self.requests.load(Ordering::Relaxed) == 0 {
            Turned::Slow
        } else {
            Turned::Idle
        }
    }

    /// From now on the connection carries plain bytes, and its ends are not ours to make.
    pub(super) fn upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// What this resolves to, unless nothing has beaten for as long as the limit.
    pub(super) async fn outlasts<F: Future>(
        &self,
        limit: Duration,
        waited_for: F,
    ) -> Option<F::Output> {
        tokio::pin!(waited_for);
        self.beat();
        loop {
            let end = self.quiet_for(limit + LATE / 2);
            match timeout_at(end, waited_for.as_mut()).await {
                Ok(output) => return Some(output),
                Err(_) if self.quiet_for(limit + LATE / 2) == end => return None,
                Err(_) => {}
            }
        }
    }

    /// Resolves when no request has come in time, or nothing has moved for too long.
    pub(super) async fn silence(&self, limits: &Limits) -> Turned {
        sleep(limits.head_timeout).await;
        if self.requests.load(Ordering::Relaxed) == 0 {
            return Turned::Slow;
        }
        loop {
            let end = self.quiet_for(limits.idle_timeout + LATE);
            sleep_until(end).await;
            if self.quiet_for(limits.idle_timeout + LATE) == end {
                return Turned::Idle;
            }
        }
    }
}

// === impl Watched ===

impl<T> Watched<T> {
    pub(super) fn new(io: T, pulse: Arc<Pulse>, sieve: Sieve) -> Self {
        Self {
            io,
            pulse,
            sieve,
            farewell: None,
            discarded: 0,
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if matches!(result, Poll::Ready(Ok(SIGN..))) {
            self.pulse.beat();
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = self.sieve.end() {
            buf.put_slice(&end[..end.len().min(buf.remaining())]);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if self.pulse.upgraded.load(Ordering::Relaxed) {
            self.sieve.off();
        }
        self.sieve.look(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(&wrote);
        wrote
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if this.pulse.upgraded.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let farewell = this
            .farewell
            .get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
        let mut bytes = [0; 4096];
        while this.discarded < FAREWELL_BYTES {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut this.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    this.discarded += buf.filled().len();
                }
                Poll::Ready(_) => break,
                Poll::Pending => return farewell.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }

    pass_on!(io: is_write_vectored, poll_flush);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn limits() -> Limits {
        Limits {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(80),
            ..Limits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_is_slow_and_who_stops_moving_idle() {
        let limits = limits();
        let pulse = Pulse::default();
        assert_eq!(pulse.silence(&limits).await, Turned::Slow);
        pulse.request();
        let begin = Instant::now();
        let moving = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(45)).await;
                pulse.beat();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            why = pulse.silence(&limits) => assert_eq!(why, Turned::Idle),
            () = moving => {}
        }
        let last = Duration::from_secs(450);
        assert_eq!(begin.elapsed(), last + limits.idle_timeout + LATE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_is_waited_for_and_who_does_not_is_not() {
        let (pulse, limit) = (Pulse::default(), Duration::from_secs(80));
        let uploading = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(79)).await;
                pulse.beat();
            }
        };
        assert_eq!(pulse.outlasts(limit, uploading).await, Some(()));
        let never = std::future::pending::<()>();
        let begin = Instant::now();
        assert_eq!(pulse.outlasts(limit, never).await, None);
        assert_eq!(begin.elapsed(), limit + LATE / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_is_read_before_the_end() {
        let (here, mut there) = tokio::io::duplex(1 << 20);
        let mut watched = Watched::new(here, Arc::default(), Sieve::new(0));
        there.write_all(&vec![7; 100_000]).await.unwrap();
        watched.write_all(b"bad request").await.unwrap();
        let (mut seen, begin) = (Vec::new(), Instant::now());
        let (ended, read) = tokio::join!(watched.shutdown(), there.read_to_end(&mut seen));
        assert_eq!((ended.unwrap(), read.unwrap()), ((), 11));
        assert_eq!(watched.discarded, 100_000);
        assert_eq!(begin.elapsed(), FAREWELL, "the other side stayed");
    }
}
