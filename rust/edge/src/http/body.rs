//! Bodies: a visitor's on its way to the agent, and responses on their way back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_compression::tokio::bufread::GzipEncoder;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyDataStream, Full};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Sleep, sleep};
use tokio_util::io::{ReaderStream, StreamReader};

use super::pulse::Pulse;
use crate::endpoint::Endpoint;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A response body.
pub(super) struct Body(Kind);

enum Kind {
    Whole(Full<Bytes>),
    Upstream(Incoming, Option<Arc<Endpoint>>, Arc<Pulse>),
    Compressed(Pin<Box<Compressed>>),
}

type Compressed = ReaderStream<GzipEncoder<StreamReader<Data, Bytes>>>;

/// The data of a body with errors a reader knows.
pub(super) struct Data(BodyDataStream<Incoming>);

/// A request body.
pub(super) enum Upload {
    /// With the pulses of its connection and of itself.
    Visitor(Incoming, Idle, [Arc<Pulse>; 2]),
    Whole(Full<Bytes>),
}

/// How long a visitor may pause in the middle of a body.
pub(super) struct Idle {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Body ===

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Full::new(bytes)))
    }

    pub(super) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// As it comes from the upstream. `watched`: whose circuit breaker is told of its end.
    pub(super) fn upstream(
        body: Incoming,
        watched: Option<Arc<Endpoint>>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self(Kind::Upstream(body, watched, pulse))
    }

    pub(super) fn compressed(body: Incoming) -> Self {
        let reader = StreamReader::new(Data(BodyDataStream::new(body)));
        Self(Kind::Compressed(Box::pin(ReaderStream::new(
            GzipEncoder::new(reader),
        ))))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut self.0 {
            Kind::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Kind::Upstream(body, watched, pulse) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                pulse.beat();
                if matches!(frame, Some(Err(_)))
                    && let Some(endpoint) = watched.take()
                {
                    endpoint.chain.ended(true);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Kind::Compressed(stream) => {
                let chunk = ready!(futures_util::Stream::poll_next(stream.as_mut(), cx));
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data).map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Upstream(body, ..) => body.is_end_stream(),
            Kind::Compressed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Upstream(body, ..) => body.size_hint(),
            Kind::Compressed(_) => SizeHint::default(),
        }
    }
}

impl futures_util::Stream for Data {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let chunk = ready!(futures_util::Stream::poll_next(Pin::new(&mut self.0), cx));
        Poll::Ready(chunk.map(|chunk| chunk.map_err(io::Error::other)))
    }
}

// === impl Upload ===

impl Upload {
    pub(super) fn visitor(body: Incoming, limit: Duration, pulse: Arc<Pulse>) -> Self {
        Self::Visitor(body, Idle { limit, timer: None }, [pulse, Arc::default()])
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// Beats with what is uploaded; nothing where all of it is here.
    pub(super) fn pulse(&self) -> Option<Arc<Pulse>> {
        match self {
            Self::Visitor(_, _, [_, own]) if !self.is_empty() => Some(own.clone()),
            _ => None,
        }
    }

    /// Whether there is nothing to upload.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Visitor(body, ..) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Visitor(body, idle, pulses) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => {
                    for pulse in pulses.iter() {
                        pulse.beat();
                    }
                    idle.timer = None;
                    Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
                }
                Poll::Pending => {
                    // Only who pauses gets a timer.
                    let limit = idle.limit;
                    let timer = idle.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
                    ready!(std::future::Future::poll(timer.as_mut(), cx));
                    Poll::Ready(Some(Err("the visitor's body stalled".into())))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Visitor(body, ..) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
        }
    }
}
