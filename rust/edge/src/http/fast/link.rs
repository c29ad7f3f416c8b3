//! A stream to an agent, and how it is let go.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use portway_mux::{ErrorCode, Stream};

use crate::endpoint::Endpoint;

/// A stream that carries requests to one endpoint. Let go before the agent has ended it, it is
/// reset, so that the agent closes its upstream at once (wire-protocol §2.7).
pub(super) struct Link {
    pub endpoint: Arc<Endpoint>,
    /// It has carried a response.
    pub used: bool,
    /// None: the agent has ended it.
    stream: Option<Stream>,
}

// === impl Link ===

impl Link {
    pub(super) fn new(endpoint: Arc<Endpoint>, stream: Stream) -> Self {
        Self {
            endpoint,
            used: false,
            stream: Some(stream),
        }
    }

    /// What the agent sends next, uncopied; none at its end.
    ///
    /// # Errors
    /// The stream's.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(None));
        };
        let chunk = ready!(stream.poll_read_chunk(cx))?;
        if chunk.is_none() {
            self.stream = None;
        }
        Poll::Ready(Ok(chunk))
    }

    /// Queues bytes for the agent; `false`: it does not take them now.
    pub(super) fn queue(&mut self, mut bytes: Bytes) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let queued = self
            .stream
            .as_mut()
            .map(|stream| stream.poll_write_chunk(&mut nobody, &mut bytes));
        matches!(queued, Some(Poll::Ready(Ok(()))))
    }

    /// The stream, if it goes on.
    pub(super) fn into_stream(mut self) -> Option<Stream> {
        self.stream.take()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.reset(ErrorCode::STREAM_CANCELLED);
        }
    }
}
