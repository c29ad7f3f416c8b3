//! Watching HTTP/1.1 go by, for the list of requests on the screen. It only looks: bytes are never
//! held back or changed, and what it does not understand it passes over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use portway_mux::pass_on;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::board::Board;
use crate::metrics::Metrics;

/// Bytes of a head that are collected; longer ones are not shown.
const HEAD: usize = 16 * 1024;
const HEADERS: usize = 64;

/// An upstream's connection, watched.
pub(crate) struct Tapped<T> {
    inner: T,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    /// Towards the upstream: the head of the next request.
    request: Vec<u8>,
    /// The request that waits for its answer.
    pending: Option<(String, String, Instant)>,
    response: Vec<u8>,
}

// === impl Tapped ===

impl<T> Tapped<T> {
    pub(crate) fn new(inner: T, board: Arc<Board>, metrics: Arc<Metrics>) -> Self {
        Self {
            inner,
            board,
            metrics,
            request: Vec::new(),
            pending: None,
            response: Vec::new(),
        }
    }

    /// Bytes to the upstream. While a request waits for its answer they are its body.
    fn sent(&mut self, bytes: &[u8]) {
        if self.pending.is_some() {
            return;
        }
        collect(&mut self.request, bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        match head.parse(&self.request) {
            Ok(httparse::Status::Complete(_)) => {
                if let (Some(method), Some(path)) = (head.method, head.path) {
                    self.board.request(method, path);
                    self.metrics.requests.begun();
                    self.pending = Some((method.to_owned(), path.to_owned(), Instant::now()));
                }
                self.request = Vec::new();
            }
            Ok(httparse::Status::Partial) if self.request.len() < HEAD => {}
            // The rest of a body, or no HTTP.
            _ => self.request = Vec::new(),
        }
    }

    /// Bytes from the upstream. Without a request that waits they are a body.
    fn received(&mut self, bytes: &[u8]) {
        if self.pending.is_none() {
            return;
        }
        collect(&mut self.response, bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        match head.parse(&self.response) {
            Ok(httparse::Status::Complete(length)) => {
                let code = head.code.unwrap_or(0);
                let status = format!("{code} {}", head.reason.unwrap_or_default());
                if (100..200).contains(&code) && code != 101 {
                    // The answer proper is still to come, perhaps in the same bytes.
                    let rest = self.response.split_off(length);
                    self.response = Vec::new();
                    if !rest.is_empty() {
                        self.received(&rest);
                    }
                    return;
                }
                if let Some((method, path, since)) = self.pending.take() {
                    self.metrics.requests.took(since.elapsed());
                    self.board.answered(&method, &path, status.trim_end());
                }
                self.response = Vec::new();
            }
            Ok(httparse::Status::Partial) if self.response.len() < HEAD => {}
            _ => {
                self.pending = None;
                self.response = Vec::new();
            }
        }
    }
}

fn collect(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let room = HEAD.saturating_sub(buffer.len());
    buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.received(&buf.filled()[before..]);
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
        self.sent(&buf[..length]);
        Poll::Ready(Ok(length))
    }

    pass_on!(inner: poll_flush, poll_shutdown);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_their_answers_are_seen_however_they_are_cut() {
        let request = b"POST /a HTTP/1.1\r\nhost: x\r\n\r\nbody body";
        let response =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
        for cut in [0, 1, 10, 30] {
            let board = Arc::new(Board::new(Vec::new(), true, true, None));
            let mut tapped = Tapped::new(tokio::io::empty(), board.clone(), Arc::default());
            for _ in 0..2 {
                tapped.sent(&request[..cut]);
                tapped.sent(&request[cut..]);
                tapped.received(&response[..cut]);
                tapped.received(&response[cut..]);
            }
            let seen = board.view().requests.unwrap();
            assert_eq!(seen.len(), 2, "cut at {cut}");
            assert!(
                seen.iter()
                    .all(|line| line.path == "/a" && line.status == "201 Created")
            );
        }
    }
}
