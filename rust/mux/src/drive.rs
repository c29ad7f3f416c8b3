//! The only I/O: one task that moves a session's bytes to and from its transport.
//!
//! Reading and writing happen in the same poll and wait for nothing but the transport, each on
//! its own: a peer that does not read is still read from. What tasks queue while they handle one
//! read leaves in one write, for they all run before it. Buffers are held while bytes are in them.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use crate::error::{CloseReason, Closed};
use crate::io::Shared;
use crate::outgoing::Outgoing;
use std::time::Duration;

/// Bytes read at once while the session is busy, and while it is not.
const HOT_READ: usize = 64 * 1024;
const COLD_READ: usize = 2 * 1024;
/// Reads and writes in one poll before other tasks have their turn: they wait for 1 MiB at most, and
/// for less where windows hold back what shares the session.
const TURNS: usize = 16;

/// Owns the transport. Resolves when it is closed; dropped, it ends the session at once.
#[derive(Debug)]
#[must_use = "a session moves only while its driver is polled"]
pub struct Driver<T> {
    transport: T,
    shared: Arc<Shared>,
    read: BytesMut,
    write: Outgoing,
    /// The last read filled its buffer: more is likely.
    hot: bool,
    unflushed: bool,
    /// Others have run since there was something to send.
    gathered: bool,
    /// The last frame is in `write`.
    last: bool,
    close_timeout: Duration,
    /// Runs while the session closes, whether or not the peer reads its last bytes.
    closing: Option<Pin<Box<Sleep>>>,
}

// === impl Driver ===

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(crate) fn new(transport: T, shared: Arc<Shared>, close_timeout: Duration) -> Self {
        let write = Outgoing::new(transport.is_write_vectored());
        Self {
            transport,
            shared,
            read: BytesMut::new(),
            write,
            hot: false,
            unflushed: false,
            gathered: false,
            last: false,
            close_timeout,
            closing: None,
        }
    }

    /// Reads what is there, up to one buffer full. `true`: something came.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        let want = if self.hot { HOT_READ } else { COLD_READ };
        if self.read.capacity() < want / 4 {
            self.read.reserve(want);
        }
        let mut end = None;
        loop {
            let offered = self.read.capacity() - self.read.len();
            match poll_read_buf(Pin::new(&mut self.transport), cx, &mut self.read) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => end = Some(transport(&error)),
                Poll::Ready(Ok(0)) => end = Some(CloseReason::Eof),
                Poll::Ready(Ok(length)) => {
                    self.hot |= length == offered;
                    // TLS hands out a record at a time; under bulk, several make one turn.
                    if self.hot && length >= COLD_READ && length < offered {
                        continue;
                    }
                }
            }
            break;
        }
        let came = !self.read.is_empty();
        if came {
            let input = self.read.split().freeze();
            self.shared.with(|core| core.recv(input));
        } else {
            // Idle sessions hold no buffer.
            self.read = BytesMut::new();
            self.hot = false;
        }
        end.map_or(Ok(came), Err)
    }

    /// Writes what there is. `true`: something went out.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        let mut wrote = false;
        if self.write.is_empty() && !self.last {
            self.last = self.shared.with(|core| core.fill(&mut self.write));
        }
        while !self.write.is_empty() {
            match self.write.poll_write(cx, &mut self.transport) {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(Ok(_)) => wrote = true,
                Poll::Ready(Err(error)) => return Err(transport(&error)),
            }
            self.unflushed = true;
        }
        Ok(wrote)
    }

    /// Whether tasks that can run are let go first: what they queue leaves in the same write.
    fn gathers(&mut self, cx: &mut Context<'_>) -> bool {
        let begins =
            !self.gathered && self.write.is_empty() && self.shared.with(|core| core.has_output());
        // They wake this one no more, so that it is the yielding that does.
        self.gathered = begins && pin!(tokio::task::yield_now()).poll(cx).is_pending();
        self.gathered
    }

    /// Runs both directions until each waits or the turns are used up. `true`: it is over.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        self.shared.with(super::session::Core::driver_runs);
        for _ in 0..TURNS {
            let read = !self.last && self.read(cx)?;
            if self.gathers(cx) {
                return Ok(false);
            }
            let wrote = self.write(cx)?;
            if self.write.is_empty() && self.unflushed {
                match Pin::new(&mut self.transport).poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.unflushed = false,
                    Poll::Ready(Err(error)) => return Err(transport(&error)),
                    Poll::Pending => {}
                }
            }
            if self.last && self.write.is_empty() && !self.unflushed {
                return Ok(true);
            }
            if read || wrote {
                continue;
            }
            if self.write.is_empty() {
                self.write.clear();
                // Something may have been queued since `fill`; then another turn is due.
                if self.shared.with(|core| core.park(cx.waker())) {
                    return Ok(false);
                }
            } else {
                // The transport wakes us, unless it never will: a close must be heard.
                self.shared.with(|core| core.watch(cx.waker()));
                return Ok(false);
            }
        }
        cx.waker().wake_by_ref();
        Ok(false)
    }
}

fn transport(error: &io::Error) -> CloseReason {
    CloseReason::Transport {
        kind: error.kind(),
        text: error.to_string(),
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Arc<Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<Closed>> {
        let this = &mut *self;
        let end = match this.turn(cx) {
            Ok(false) => None,
            Ok(true) => Some(CloseReason::Local),
            Err(reason) => Some(reason),
        };
        if end.is_none() {
            // The last frame may have to wait behind what the transport does not take.
            if !this.shared.with(|core| core.closing()) {
                return Poll::Pending;
            }
            let limit = Instant::now() + this.close_timeout;
            let timer = this
                .closing
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(limit)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        } else if this.last {
            // Tells the other side that nothing follows; what it says to that is of no interest.
            let _ = Pin::new(&mut this.transport).poll_shutdown(cx);
        }
        let reason = end.unwrap_or(CloseReason::Local);
        let closed = this.shared.with(|core| {
            core.lost(reason);
            core.closed()
        });
        Poll::Ready(closed.unwrap_or_else(|| unreachable!("`lost` has just ended it")))
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.shared.with(|core| core.lost(CloseReason::Local));
    }
}
