//! Bytes on their way to the transport: small ones gathered in one buffer, large ones lent as they
//! are. A lent chunk is copied once, by the encryption.

use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::copy::Outbox;

/// Chunks below this are cheaper copied than kept apart.
const LEND: usize = 4096;

/// What is to be written, in its order. Empty, it holds no memory once [`clear`](Self::clear)ed.
#[derive(Debug, Default)]
pub struct Outgoing {
    parts: Outbox,
    /// What follows the parts.
    tail: BytesMut,
    length: usize,
    lends: bool,
}

// === impl Outgoing ===

impl Outgoing {
    /// `lends`: large chunks are kept apart. Only a transport that writes several at once gains.
    pub fn new(lends: bool) -> Self {
        Self {
            lends,
            ..Self::default()
        }
    }

    /// Bytes that are still to be written.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends a copy.
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Whether a chunk of this length would be lent by [`put_chunk`](Self::put_chunk).
    pub fn lends(&self, length: usize) -> bool {
        self.lends && length >= LEND
    }

    /// Appends a chunk as it is.
    pub fn put_chunk(&mut self, chunk: Bytes) {
        self.length += chunk.len();
        self.parts.push(self.tail.split().freeze());
        self.parts.push(chunk);
    }

    /// Writes once; how many bytes have gone.
    ///
    /// # Errors
    /// The transport's, and `WriteZero` where it takes nothing any more.
    pub fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
    ) -> Poll<io::Result<usize>> {
        if !self.parts.is_empty() {
            self.parts.push(self.tail.split().freeze());
            let written = self.parts.poll_write(cx, io);
            return written.map_ok(|written| {
                self.length -= written;
                written
            });
        }
        let written = std::pin::Pin::new(io).poll_write(cx, &self.tail);
        written.map(|written| match written? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => {
                self.tail.advance(written);
                self.length -= written;
                Ok(written)
            }
        })
    }

    /// All of it, for who writes it nowhere.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = self.parts.to_vec();
        all.extend_from_slice(&self.tail);
        all
    }

    /// Drops what is left, and the memory.
    pub fn clear(&mut self) {
        *self = Self::new(self.lends);
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::pin::Pin;
    use std::task::Waker;

    use super::*;

    /// Takes a few bytes at a time, and several slices at once.
    #[derive(Default)]
    struct Narrow(Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let length = buf.len().min(3001);
            self.0.extend_from_slice(&buf[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn bytes_leave_in_their_order_copied_or_lent() {
        let mut cx = Context::from_waker(Waker::noop());
        for lends in [false, true] {
            let mut outgoing = Outgoing::new(lends);
            let mut wanted = Vec::new();
            let mut narrow = Narrow::default();
            for number in 0..40_usize {
                let chunk = vec![number as u8; number * 397 % 9000];
                wanted.extend_from_slice(&chunk);
                if outgoing.lends(chunk.len()) {
                    outgoing.put_chunk(chunk.into());
                } else {
                    outgoing.put(&chunk);
                }
                if number % 3 == 0 && !outgoing.is_empty() {
                    assert!(outgoing.poll_write(&mut cx, &mut narrow).is_ready());
                }
            }
            assert_eq!([narrow.0.clone(), outgoing.to_vec()].concat(), wanted);
            while !outgoing.is_empty() {
                assert!(outgoing.poll_write(&mut cx, &mut narrow).is_ready());
            }
            assert!(narrow.0 == wanted, "lends: {lends}");
            assert_eq!(outgoing.parts.is_empty(), outgoing.tail.is_empty());
        }
    }
}
