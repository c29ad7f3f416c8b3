//! HTTP connections inside streams to agents. One visitor's connection keeps them for its next
//! requests; they are never shared between visitors, for agents are told whose bytes a stream
//! carries.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use portway_mux::{ErrorCode, Stream};
use portway_wire::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::body::Upload;
use crate::endpoint::{Endpoint, NOTHING, Visit};

/// Connections that one visitor's connection keeps; more at a time are opened for it all the same.
const KEPT: usize = 16;
/// Credit of HTTP/2 towards upstreams, in bytes. h2 takes more than half the second in overhead, 256
/// bytes for each small message that waits, for a flood and ends the connection: one stream that a
/// slow visitor holds up must not come near it. Windows that grow by themselves begin with room for
/// a hundred messages.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How long the last response may take to be finished with before a new connection is opened.
const SETTLE: Duration = Duration::from_millis(250);

/// An HTTP connection to one endpoint.
pub(super) enum Link {
    Http1(http1::SendRequest<Upload>),
    Http2(http2::SendRequest<Upload>),
}

/// The connections of one visitor.
#[derive(Default)]
pub(super) struct Links(Mutex<Vec<(Arc<Endpoint>, Link)>>);

// === impl Links ===

impl Links {
    /// A connection to this endpoint that can take a request, and whether it has carried one.
    ///
    /// # Errors
    /// The code of what is in the way of a new one.
    pub(super) async fn take(
        &self,
        endpoint: &Arc<Endpoint>,
        visit: Visit,
    ) -> Result<(Link, bool), Code> {
        while let Some(mut link) = self.pop(endpoint) {
            let ready = match &mut link {
                Link::Http1(sender) => matches!(timeout(SETTLE, sender.ready()).await, Ok(Ok(()))),
                Link::Http2(sender) => sender.ready().await.is_ok(),
            };
            if ready {
                return Ok((link, true));
            }
        }
        Ok((Link::open(endpoint, visit).await?, false))
    }

    /// Keeps a connection for the next request, unless it would take the place of another visitor.
    pub(super) fn put(&self, endpoint: &Arc<Endpoint>, link: Link) {
        let mut links = self.0.lock();
        if links.len() < KEPT && !endpoint.session.is_crowded() {
            links.push((endpoint.clone(), link));
        }
    }

    /// Keeps a stream on which every request so far was answered.
    pub(super) async fn take_over(&self, endpoint: &Arc<Endpoint>, stream: Stream) {
        if let Some(link) = Link::over(TokioIo::new(Transport::new(stream))).await {
            self.put(endpoint, link);
        }
    }

    fn pop(&self, endpoint: &Arc<Endpoint>) -> Option<Link> {
        let mut links = self.0.lock();
        let mut index = 0;
        while index < links.len() {
            if links[index].1.is_closed() {
                links.swap_remove(index);
            } else if Arc::ptr_eq(&links[index].0, endpoint) {
                return match &links[index].1 {
                    Link::Http2(sender) => Some(Link::Http2(sender.clone())),
                    Link::Http1(_) => Some(links.swap_remove(index).1),
                };
            } else {
                index += 1;
            }
        }
        None
    }
}

// === impl Link ===

impl Link {
    async fn open(endpoint: &Arc<Endpoint>, visit: Visit) -> Result<Self, Code> {
        let stream = endpoint.connect(visit, &NOTHING).await?;
        let io = TokioIo::new(Transport::new(stream));
        let gone = |_| Code::AGENT_UNREACHABLE;
        if endpoint.http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW);
            let (sender, driver) = builder.handshake(io).await.map_err(gone)?;
            tokio::spawn(driver);
            return Ok(Self::Http2(sender));
        }
        Self::over(io).await.ok_or(Code::AGENT_UNREACHABLE)
    }

    /// HTTP/1.1 over a stream that is there.
    async fn over(io: TokioIo<Transport>) -> Option<Self> {
        let (sender, driver) = http1::handshake(io).await.ok()?;
        tokio::spawn(driver);
        Some(Self::Http1(sender))
    }

    /// A connection that may turn into plain bytes.
    ///
    /// # Errors
    /// As [`Links::take`].
    pub(super) async fn open_for_upgrade(
        endpoint: &Arc<Endpoint>,
        visit: Visit,
    ) -> Result<http1::SendRequest<Upload>, Code> {
        let stream = endpoint.connect(visit, &NOTHING).await?;
        let io = TokioIo::new(Transport::new(stream));
        let (sender, driver) = http1::handshake(io)
            .await
            .map_err(|_| Code::AGENT_UNREACHABLE)?;
        tokio::spawn(driver.with_upgrades());
        Ok(sender)
    }

    /// Sends a request. One that never left is handed back with the error.
    ///
    /// # Errors
    /// hyper's, with the request where it was not begun.
    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// A stream as hyper uses it. Let go before the agent has ended it, it is reset, so that the agent
/// closes its upstream at once (wire-protocol §2.7).
///
/// An agent may answer, or refuse the stream, before it has read the request, or even before the
/// request is sent. hyper takes the one for an answer to nothing and the other for a broken
/// connection; so nothing is read before something was written, and that nobody reads any more what
/// is written is left to the reader to find, behind the answer.
pub(super) struct Transport {
    stream: Option<Stream>,
    asked: bool,
    /// Waits until something was asked.
    reader: Option<Waker>,
    ended: bool,
}

// === impl Transport ===

impl Transport {
    fn new(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            asked: false,
            reader: None,
            ended: false,
        }
    }

    /// The stream, which is the caller's to end from now on.
    pub(super) fn into_stream(mut self) -> Option<Stream> {
        self.stream.take()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        match &mut self.stream {
            Some(stream) => Ok(Pin::new(stream)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(self.stream()?.poll_read(cx, buf))?;
        if buf.filled().len() == before && buf.remaining() > 0 {
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        let wrote = ready!(self.stream()?.poll_write(cx, buf));
        Poll::Ready(Ok(wrote.unwrap_or(buf.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && !self.ended
        {
            stream.reset(ErrorCode::STREAM_CANCELLED);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use portway_mux::Config;
    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::super::proxy::reset_code;
    use super::*;

    /// A stream to an agent that says this at once, and then resets it.
    async fn reset_after(data: &[u8], code: ErrorCode) -> (Stream, DuplexStream) {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (edge, _, driver) = portway_mux::session(near, Config::edge());
        tokio::spawn(driver);
        let stream = edge.try_open(Bytes::from_static(b"type")).unwrap();
        let head = |length: usize, flags: u32| {
            let first = (length as u32) << 8 | flags;
            [first.to_be_bytes(), stream.id().to_be_bytes()].concat()
        };
        far.write_all(&head(data.len(), 0x11)).await.unwrap(); // DATA, FIN
        far.write_all(data).await.unwrap();
        far.write_all(&head(4, 0)).await.unwrap(); // RST
        far.write_all(&code.0.to_be_bytes()).await.unwrap();
        stream.peer_gone().await;
        (stream, far)
    }

    async fn ask(stream: Stream) -> Result<Response<Incoming>, hyper::Error> {
        let io = TokioIo::new(Transport::new(stream));
        let (mut sender, driver) = http1::handshake(io).await.unwrap();
        tokio::spawn(driver);
        for _ in 0..10 {
            // The driver sees what there is to read.
            tokio::task::yield_now().await;
        }
        let body = Upload::whole(Bytes::from(vec![0; 1 << 20]));
        let request = Request::post("/").body(body).unwrap();
        sender
            .try_send_request(request)
            .await
            .map_err(|mut failed| {
                assert!(failed.take_message().is_none(), "it was answered");
                failed.into_error()
            })
    }

    #[tokio::test]
    async fn an_answer_is_whole_though_it_comes_before_the_request_and_nobody_reads_that() {
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 100000\r\n\r\n";
        let answer = [&answer[..], &vec![b'x'; 100_000]].concat();
        let (stream, _far) = reset_after(&answer, ErrorCode::STREAM_CLOSED).await;
        let response = ask(stream).await.unwrap();
        assert_eq!(response.status(), 413);
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), 100_000);
    }

    #[tokio::test]
    async fn a_refusal_before_the_request_is_told_as_one_behind_it() {
        let (stream, _far) = reset_after(b"", ErrorCode::ACCEPT_QUEUE_FULL).await;
        let error = ask(stream).await.unwrap_err();
        assert_eq!(reset_code(&error), Some(ErrorCode::ACCEPT_QUEUE_FULL));
    }
}
