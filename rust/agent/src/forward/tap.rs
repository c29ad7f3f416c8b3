//! Watching requests go by. It only looks: bytes are never held back or changed, and what it does
//! not understand it passes over. Who looks knows when nobody waits for anything, so it is here that
//! an upstream connection ends that carries no request for long.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant as Clock};

use portway_mux::pass_on;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::{PROXY_HEADER, proxy_header_length};
use crate::capture::recorder::{Interest, Recorder, StreamRecorder};
use crate::capture::{http1, http2};

/// How long an upstream connection is kept between two requests (agent-behaviour §4.1).
const REST: Duration = Duration::from_secs(90);

/// A connection whose requests are looked at.
#[derive(Debug)]
pub(crate) struct Tapped<T> {
    inner: T,
    tap: Tap,
    rest: Rest,
}

/// Time between two requests.
#[derive(Debug, Default)]
struct Rest {
    /// Since when nothing has moved; nothing: something has, since this was looked at.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Which way requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The upstream is at the other end: what is written is the request.
    Upstream,
    /// The visitor is.
    Visitor,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spoke {
    pub(crate) http2: bool,
    /// A PROXY header stands before the requests.
    pub(crate) fronted: bool,
}

#[derive(Debug)]
struct Tap {
    side: Side,
    /// What has come of a PROXY header that stands in front; nothing: there is none.
    front: Option<Vec<u8>>,
    spoken: Spoken,
}

#[derive(Debug)]
enum Spoken {
    Http1(Box<(http1::Follower, Recorder)>),
    Http2(Box<(http2::Follower, StreamRecorder)>),
}

// === impl Tapped ===

impl<T> Tapped<T> {
    pub(crate) fn new(inner: T, side: Side, interest: Interest, how: Spoke) -> Self {
        let spoken = if how.http2 {
            Spoken::Http2(Box::new((
                http2::Follower::default(),
                StreamRecorder::new(interest),
            )))
        } else {
            Spoken::Http1(Box::new((
                http1::Follower::default(),
                Recorder::new(interest),
            )))
        };
        let tap = Tap {
            side,
            front: how.fronted.then(Vec::new),
            spoken,
        };
        let rest = Rest::default();
        Self { inner, tap, rest }
    }

    /// Whether a request waits for the end of its answer.
    pub(crate) fn waits(&self) -> bool {
        match &self.tap.spoken {
            Spoken::Http1(both) => both.1.waits(),
            Spoken::Http2(both) => both.1.waits(),
        }
    }
}

// === impl Rest ===

impl Rest {
    /// Ready when it has lasted too long. Asked whenever nothing more is to be read.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(REST)));
        // It runs on while requests come and go; set anew for each, it would cost each.
        ready!(timer.as_mut().poll(cx));
        while since.elapsed() < REST {
            timer.as_mut().reset(since + REST);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

// === impl Tap ===

impl Tap {
    fn read(&mut self, bytes: &[u8]) {
        match self.side {
            Side::Upstream if bytes.is_empty() => self.closed(),
            Side::Upstream => self.spoken.received(bytes),
            Side::Visitor => self.sent(bytes, Clock::now()),
        }
    }

    /// `at`: before they were. Where two processes share a core, the upstream may have answered by the
    /// time a write returns.
    fn written(&mut self, bytes: &[u8], at: Clock) {
        match self.side {
            Side::Upstream => self.sent(bytes, at),
            Side::Visitor => self.spoken.received(bytes),
        }
    }

    /// The upstream has said all it had to say.
    fn closed(&mut self) {
        self.spoken.closed();
    }

    /// Whether nobody waits for the upstream to say something.
    fn rests(&self) -> bool {
        self.side == Side::Upstream && self.front.is_none() && self.spoken.rests()
    }

    fn sent(&mut self, bytes: &[u8], at: Clock) {
        let Some(front) = &mut self.front else {
            return self.spoken.sent(bytes, at);
        };
        front.extend_from_slice(bytes);
        let length = proxy_header_length(front);
        if length.is_none_or(|length| front.len() < length) && front.len() < PROXY_HEADER {
            return;
        }
        let front = self.front.take().unwrap_or_default();
        let rest = &front[length.unwrap_or_default().min(front.len())..];
        self.spoken.sent(rest, at);
    }
}

// === impl Spoken ===

impl Spoken {
    fn sent(&mut self, bytes: &[u8], at: Clock) {
        match self {
            Self::Http1(both) => {
                both.1.at(at);
                both.0.sent(bytes, &mut both.1);
            }
            Self::Http2(both) => {
                both.1.at(at);
                both.0.sent(bytes, &mut both.1);
            }
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        match self {
            Self::Http1(both) => both.0.received(bytes, &mut both.1),
            Self::Http2(both) => both.0.received(bytes, &mut both.1),
        }
    }

    fn rests(&self) -> bool {
        match self {
            Self::Http1(both) => both.0.rests(),
            Self::Http2(both) => both.0.follows() && !both.1.waits(),
        }
    }

    fn closed(&mut self) {
        match self {
            Self::Http1(both) => both.0.closed(&mut both.1),
            Self::Http2(both) => both.0.closed(&mut both.1),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (before, room) = (buf.filled().len(), buf.remaining());
        if let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, buf) {
            read?;
            if room > 0 {
                this.rest.since = None;
                this.tap.read(&buf.filled()[before..]);
            }
            return Poll::Ready(Ok(()));
        }
        if this.tap.rests() {
            ready!(this.rest.poll_over(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let at = Clock::now();
        let length = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.rest.since = None;
        self.tap.written(&buf[..length], at);
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let at = Clock::now();
        let length = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.rest.since = None;
        let mut left = length;
        for buf in bufs {
            let part = left.min(buf.len());
            self.tap.written(&buf[..part], at);
            left -= part;
        }
        Poll::Ready(Ok(length))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tap.side == Side::Visitor {
            self.tap.closed();
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    pass_on!(inner: is_write_vectored, poll_flush);
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::advance;

    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    fn tapped() -> (Tapped<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(4096);
        let interest = Interest {
            metrics: Some(std::sync::Arc::default()),
            ..Interest::default()
        };
        (
            Tapped::new(near, Side::Upstream, interest, Spoke::default()),
            far,
        )
    }

    /// What a read says now.
    async fn read(tapped: &mut Tapped<DuplexStream>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 4096];
        let mut buf = ReadBuf::new(&mut bytes);
        poll_fn(|cx| {
            let read = Pin::new(&mut *tapped).poll_read(cx, &mut buf);
            Poll::Ready(read.map_ok(|()| buf.filled().len()))
        })
        .await
    }

    async fn exchange(tapped: &mut Tapped<DuplexStream>, far: &mut DuplexStream) {
        tapped.write_all(ASK).await.unwrap();
        far.write_all(ANSWER).await.unwrap();
        let mut answer = [0; ANSWER.len()];
        tapped.read_exact(&mut answer).await.unwrap();
        assert!(read(tapped).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_connection_lasts_ninety_seconds() {
        let (mut tapped, mut far) = tapped();
        for _ in 0..3 {
            exchange(&mut tapped, &mut far).await;
            advance(REST.mul_f32(0.9)).await;
            assert!(read(&mut tapped).await.is_pending());
        }
        exchange(&mut tapped, &mut far).await;
        let before = Instant::now();
        let error = tapped.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let lasted = before.elapsed();
        assert!(
            (REST..REST + Duration::from_secs(1)).contains(&lasted),
            "{lasted:?}"
        );
    }

    /// A write that comes back only when the other side has done its work.
    struct Outrun {
        inner: DuplexStream,
    }

    const OUTRUN: Duration = Duration::from_millis(20);

    impl AsyncRead for Outrun {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Outrun {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = Pin::new(&mut self.inner).poll_write(cx, buf);
            std::thread::sleep(OUTRUN);
            written
        }

        pass_on!(inner: poll_flush, poll_shutdown);
    }

    #[tokio::test]
    async fn an_upstream_that_is_faster_than_our_write_took_its_time_all_the_same() {
        let (near, mut far) = duplex(4096);
        let metrics = std::sync::Arc::<crate::metrics::Metrics>::default();
        let interest = Interest {
            metrics: Some(metrics.clone()),
            ..Interest::default()
        };
        let mut tapped = Tapped::new(
            Outrun { inner: near },
            Side::Upstream,
            interest,
            Spoke::default(),
        );
        far.write_all(ANSWER).await.unwrap();
        tapped.write_all(ASK).await.unwrap();
        tapped.read_exact(&mut [0; ANSWER.len()]).await.unwrap();
        let figures = metrics.requests.figures();
        assert_eq!(figures.count, 1);
        assert!(
            figures.percentiles[0] >= OUTRUN.as_secs_f64() * 1e9,
            "{figures:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_answer_may_wait() {
        let beginnings: [&[u8]; 4] = [
            b"",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            b"this is no HTTP",
        ];
        for beginning in beginnings {
            let (mut tapped, mut far) = tapped();
            exchange(&mut tapped, &mut far).await;
            tapped.write_all(ASK).await.unwrap();
            far.write_all(beginning).await.unwrap();
            for _ in 0..2 {
                let _ = read(&mut tapped).await;
                advance(REST * 2).await;
                assert!(read(&mut tapped).await.is_pending(), "{beginning:?}");
            }
        }
        let (mut tapped, mut far) = tapped();
        let upgrade = b"GET / HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        tapped.write_all(upgrade).await.unwrap();
        let switched = b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        far.write_all(switched).await.unwrap();
        let _ = read(&mut tapped).await;
        advance(REST * 2).await;
        assert!(read(&mut tapped).await.is_pending());
    }
}
