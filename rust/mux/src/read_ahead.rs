//! A connection that is read in large pieces while it has much to say.
//!
//! TLS asks for a few kilobytes at a time, a system call each. Under bulk they come out of one
//! buffer instead; while there is none, reads go straight through and nothing is held.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes read at once under bulk.
const PIECE: usize = 64 * 1024;
/// A read ahead that brings less than this was not worth its copy.
const WORTH: usize = 8 * 1024;

/// Reads ahead on `T`; writes go through.
#[derive(Debug)]
pub struct ReadAhead<T> {
    inner: T,
    ahead: BytesMut,
    hot: bool,
}

// === impl ReadAhead ===

impl<T> ReadAhead<T> {
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            ahead: BytesMut::new(),
            hot: false,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadAhead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let wanted = buf.remaining();
        if this.ahead.is_empty() {
            if !this.hot || wanted >= PIECE {
                ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
                this.hot = buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            this.ahead.reserve(PIECE);
            match poll_read_buf(Pin::new(&mut this.inner), cx, &mut this.ahead) {
                Poll::Ready(Ok(length)) => this.hot = length >= WORTH,
                waiting_or_failed => {
                    this.ahead = BytesMut::new();
                    this.hot = false;
                    return waiting_or_failed.map_ok(|_| ());
                }
            }
        }
        let length = wanted.min(this.ahead.len());
        buf.put_slice(&this.ahead[..length]);
        this.ahead.advance(length);
        if this.ahead.is_empty() && !this.hot {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadAhead<T> {
    crate::pass_on!(inner: poll_write, poll_write_vectored, is_write_vectored, poll_flush, poll_shutdown);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_in_its_order_whatever_the_sizes() {
        let (mut near, far) = tokio::io::duplex(100_000);
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            for piece in copy.chunks(37_111) {
                near.write_all(piece).await.unwrap();
            }
        });
        let mut reader = ReadAhead::new(far);
        let mut got = Vec::new();
        for size in [1, 4_096, 5, 70_000, 16_384].into_iter().cycle() {
            let mut buffer = vec![0; size];
            let length = reader.read(&mut buffer).await.unwrap();
            if length == 0 {
                break;
            }
            got.extend_from_slice(&buffer[..length]);
        }
        writing.await.unwrap();
        assert!(got == sent);
    }

    #[tokio::test]
    async fn nothing_is_held_while_nothing_comes() {
        let (mut near, far) = tokio::io::duplex(100_000);
        let mut reader = ReadAhead::new(far);
        near.write_all(&vec![7; 90_000]).await.unwrap();
        let mut buffer = vec![0; 4_096];
        let mut left = 90_000;
        let mut held = 0;
        while left > 0 {
            left -= reader.read(&mut buffer).await.unwrap();
            held = held.max(reader.ahead.capacity());
        }
        assert!(held > PIECE / 2, "bulk is read ahead");
        let pending = tokio::time::timeout(std::time::Duration::ZERO, reader.read(&mut buffer));
        assert!(pending.await.is_err());
        assert_eq!(reader.ahead.capacity(), 0);
    }
}
