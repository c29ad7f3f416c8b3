//! Watching requests go by. It only looks: bytes are never held back or changed, and what it does
//! not understand it passes over.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use portway_mux::pass_on;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{PROXY_HEADER, proxy_header_length};
use crate::capture::recorder::{Interest, Recorder, StreamRecorder};
use crate::capture::{http1, http2};

/// A connection whose requests are looked at.
#[derive(Debug)]
pub(crate) struct Tapped<T> {
    inner: T,
    tap: Tap,
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
        Self { inner, tap }
    }

    /// Whether a request waits for the end of its answer.
    pub(crate) fn waits(&self) -> bool {
        match &self.tap.spoken {
            Spoken::Http1(both) => both.1.waits(),
            Spoken::Http2(both) => both.1.waits(),
        }
    }
}

// === impl Tap ===

impl Tap {
    fn read(&mut self, bytes: &[u8]) {
        match self.side {
            Side::Upstream if bytes.is_empty() => self.closed(),
            Side::Upstream => self.spoken.received(bytes),
            Side::Visitor => self.sent(bytes),
        }
    }

    fn written(&mut self, bytes: &[u8]) {
        match self.side {
            Side::Upstream => self.sent(bytes),
            Side::Visitor => self.spoken.received(bytes),
        }
    }

    /// The upstream has said all it had to say.
    fn closed(&mut self) {
        self.spoken.closed();
    }

    fn sent(&mut self, bytes: &[u8]) {
        let Some(front) = &mut self.front else {
            return self.spoken.sent(bytes);
        };
        front.extend_from_slice(bytes);
        let length = proxy_header_length(front);
        if length.is_none_or(|length| front.len() < length) && front.len() < PROXY_HEADER {
            return;
        }
        let front = self.front.take().unwrap_or_default();
        let rest = &front[length.unwrap_or_default().min(front.len())..];
        self.spoken.sent(rest);
    }
}

// === impl Spoken ===

impl Spoken {
    fn sent(&mut self, bytes: &[u8]) {
        match self {
            Self::Http1(both) => both.0.sent(bytes, &mut both.1),
            Self::Http2(both) => both.0.sent(bytes, &mut both.1),
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        match self {
            Self::Http1(both) => both.0.received(bytes, &mut both.1),
            Self::Http2(both) => both.0.received(bytes, &mut both.1),
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
        let (before, room) = (buf.filled().len(), buf.remaining());
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if room > 0 {
            self.tap.read(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.tap.written(&buf[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        let mut left = length;
        for buf in bufs {
            let part = left.min(buf.len());
            self.tap.written(&buf[..part]);
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
