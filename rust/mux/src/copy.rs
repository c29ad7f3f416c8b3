//! A stream joined to a connection: bytes both ways until both sides have ended.
//!
//! A buffer is taken when there may be something to read and given back when there is not, so an
//! idle connection holds none. One side that does not read stops the other, and nothing else.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};
use tokio_util::io::poll_read_buf;

use crate::{ErrorCode, ReadHalf, Stream, WriteHalf};

/// Bytes read at once from a connection that has much to say, and from others.
const HOT_READ: usize = 128 * 1024;
const COLD_READ: usize = 4 * 1024;
/// Chunks written at once.
const VECTORED: usize = 8;
/// Chunks that one system call writes.
const SLICES: usize = 16;

/// How a stream and a connection are joined.
#[derive(Clone, Copy, Debug)]
pub struct Joint {
    /// The end of one direction is passed on while the other goes on; else the end of the stream
    /// ends everything at once.
    pub half_close: bool,
    /// Without a byte either way for so long, both are given up.
    pub idle: Option<Duration>,
}

/// What went through, and why it ended.
#[derive(Debug)]
pub struct Copied {
    /// Bytes from the connection into the stream.
    pub sent: u64,
    /// Bytes from the stream to the connection.
    pub received: u64,
    /// Nothing: both sides ended in order.
    pub error: Option<io::Error>,
}

/// Copies until both directions have ended, one has failed, or nothing moves any more. A stream
/// that is not at its end then is reset, so that the peer lets go of its side at once. Where all of
/// the connection was read, all of it is delivered, whatever the peer still sends.
///
/// # Cancel safety
/// Dropped, it drops both: the stream ends with FIN.
pub async fn join<T: AsyncRead + AsyncWrite + Unpin>(
    mut io: T,
    stream: Stream,
    joint: Joint,
) -> Copied {
    let (mut reader, writer) = stream.split();
    let mut writer = Some(writer);
    let mut up = Up::default();
    let mut down = Down::default();
    let mut timer = pin!(joint.idle.map(sleep));
    let mut moved = (0, 0);
    let mut since = Instant::now();
    let error = std::future::poll_fn(|cx| {
        // Noticed though the connection does not take what came before.
        if !down.ended
            && let Poll::Ready(error) = reader.poll_given_up(cx)
        {
            return Poll::Ready(Some(error));
        }
        if let Some(writer) = &mut writer {
            match up.poll(cx, &mut io, writer) {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(error)),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        match down.poll(cx, &mut io, &mut reader, joint.half_close) {
            Poll::Ready(Err(error)) => return Poll::Ready(Some(error)),
            Poll::Ready(Ok(())) if up.ended || !joint.half_close => return Poll::Ready(None),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        // What is awaited now wakes us; the timer only has to notice that nothing did.
        if moved != (up.bytes, down.bytes) {
            moved = (up.bytes, down.bytes);
            since = Instant::now();
        }
        if let (Some(mut timer), Some(idle)) = (timer.as_mut().as_pin_mut(), joint.idle) {
            while timer.as_mut().poll(cx).is_ready() {
                if since.elapsed() >= idle {
                    return Poll::Ready(Some(io::ErrorKind::TimedOut.into()));
                }
                timer.as_mut().reset(since + idle);
            }
        }
        Poll::Pending
    })
    .await;
    let timed_out = error
        .as_ref()
        .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
    if let Some(writer) = writer.take() {
        match (up.ended, down.ended) {
            (false, _) => writer.reset(ErrorCode::STREAM_CANCELLED),
            // Its FIN went out long ago, and says nothing to a peer that waits as we did.
            (true, false) if timed_out => writer.reset(ErrorCode::STREAM_CLOSED),
            // Dropped, both halves leave the FIN behind what is queued.
            (true, _) => {}
        }
    }
    Copied {
        sent: up.bytes,
        received: down.bytes,
        error,
    }
}

/// From the connection into the stream.
#[derive(Default)]
struct Up {
    chunk: Bytes,
    hot: bool,
    ended: bool,
    bytes: u64,
}

// === impl Up ===

impl Up {
    fn poll<T: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        writer: &mut WriteHalf,
    ) -> Poll<io::Result<()>> {
        // The peer reads no more. What it has sent is still to be delivered, so this is no failure.
        if !self.ended && writer.poll_peer_gone(cx).is_ready() {
            self.ended = true;
            self.chunk = Bytes::new();
        }
        while !self.ended {
            if !self.chunk.is_empty()
                && ready!(writer.poll_write_chunk(cx, &mut self.chunk)).is_err()
            {
                self.ended = true;
                break;
            }
            let read = if self.hot {
                read_hot(cx, io)
            } else {
                read_cold(cx, io)
            };
            self.chunk = match ready!(read) {
                // TLS without a word of farewell: many programs just close.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Bytes::new(),
                read => read?,
            };
            if self.chunk.is_empty() {
                writer.finish();
                self.ended = true;
            }
            self.hot = self.chunk.len() >= COLD_READ;
            self.bytes += self.chunk.len() as u64;
        }
        Poll::Ready(Ok(()))
    }
}

fn read_hot<T: AsyncRead + Unpin>(cx: &mut Context<'_>, io: &mut T) -> Poll<io::Result<Bytes>> {
    let mut buffer = BytesMut::with_capacity(HOT_READ);
    ready!(poll_read_buf(Pin::new(io), cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.freeze()))
}

/// Into memory of just that size, so that a try which brings nothing takes none.
fn read_cold<T: AsyncRead + Unpin>(cx: &mut Context<'_>, io: &mut T) -> Poll<io::Result<Bytes>> {
    let mut space = [const { MaybeUninit::uninit() }; COLD_READ];
    let mut buf = ReadBuf::uninit(&mut space);
    ready!(Pin::new(io).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
}

/// Chunks to be written, several in one system call. Empty, it holds no memory.
#[derive(Debug, Default)]
pub struct Outbox(Vec<Bytes>);

// === impl Outbox ===

impl Outbox {
    /// Puts a chunk behind the others.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.0.push(chunk);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether more chunks would not go out in the same call.
    pub fn is_full(&self, vectored: bool) -> bool {
        self.0.len() >= if vectored { VECTORED } else { 1 }
    }

    /// All chunks, joined.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// Writes once; how many bytes have gone.
    ///
    /// # Errors
    /// The connection's, and `WriteZero` where it takes nothing any more.
    pub fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(io);
        let written = if let [chunk] = &self.0[..] {
            ready!(io.poll_write(cx, chunk))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.0.len().min(SLICES);
            for (slice, chunk) in slices.iter_mut().zip(&self.0) {
                *slice = IoSlice::new(chunk);
            }
            ready!(io.poll_write_vectored(cx, &slices[..count]))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let mut left = written;
        self.0.retain_mut(|chunk| {
            let part = left.min(chunk.len());
            left -= part;
            chunk.advance(part);
            !chunk.is_empty()
        });
        Poll::Ready(Ok(written))
    }

    /// Gives its memory back.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

/// From the stream to the connection.
#[derive(Default)]
struct Down {
    chunks: Outbox,
    unflushed: bool,
    at_end: bool,
    ended: bool,
    bytes: u64,
}

// === impl Down ===

impl Down {
    fn poll<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        reader: &mut ReadHalf,
        shut_down: bool,
    ) -> Poll<io::Result<()>> {
        while !self.ended {
            while !self.chunks.is_empty() {
                self.bytes += ready!(self.chunks.poll_write(cx, io))? as u64;
                self.unflushed = true;
            }
            if self.at_end {
                if shut_down {
                    ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
                }
                self.ended = true;
                break;
            }
            match self.poll_take(cx, reader, io.is_write_vectored()) {
                Poll::Ready(taken) => taken?,
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *io).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is there, a few chunks at most: under bulk each is a frame, and several go out in
    /// one system call.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut ReadHalf,
        vectored: bool,
    ) -> Poll<io::Result<()>> {
        while !self.chunks.is_full(vectored) && !self.at_end {
            match reader.poll_read_chunk(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.chunks.push(chunk),
                Poll::Ready(Ok(None)) => self.at_end = true,
                // What came before is written first.
                _ if !self.chunks.is_empty() => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // An idle connection holds no memory.
                    self.chunks.shrink();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
