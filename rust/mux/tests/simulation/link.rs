//! A connection that a seed decides: each direction keeps its order, and nothing else is sure. It
//! is late, it stalls, it takes and gives bytes in pieces of any size, and it may break.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::rng::Rng;
use crate::rules::Rules;

/// What the driver of a session holds has arrived by then, on the worst of connections.
pub(crate) const LATEST: Duration = Duration::from_mins(5);

/// How a connection behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// One way, for each direction.
    pub(crate) delay: [Duration; 2],
    /// Bytes under way in one direction, at most.
    pub(crate) capacity: usize,
    /// Bytes given or taken at once, at most.
    pub(crate) piece: usize,
    /// One piece of so many arrives much later, and all behind it.
    pub(crate) stall_every: usize,
    /// Both directions break when so many bytes were written.
    pub(crate) cut_after: Option<usize>,
}

impl Conditions {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let delay =
            |rng: &mut Rng| Duration::from_micros(rng.pick(&[0, 50, 1000, 40_000, 200_000]));
        Self {
            delay: [delay(rng), delay(rng)],
            capacity: rng.pick(&[1000, 20_000, 200_000, 2_000_000]),
            piece: rng.pick(&[40, 1500, 16_384, 100_000]),
            stall_every: rng.pick(&[50, 1000, usize::MAX]),
            cut_after: None,
        }
    }
}

/// One end of the connection.
pub(crate) struct End {
    wire: Arc<Mutex<Wire>>,
    /// Which of the two pipes this end writes into.
    side: usize,
    timer: Pin<Box<Sleep>>,
}

struct Wire {
    pipes: [Pipe; 2],
    conditions: Conditions,
    rng: Rng,
    written: usize,
    cut: bool,
    rules: Rules,
}

#[derive(Default)]
struct Pipe {
    pieces: VecDeque<(Instant, VecDeque<u8>)>,
    under_way: usize,
    /// The writing end has said that nothing follows, or is gone.
    ended: bool,
    /// The reading end is gone.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends; `rules` sees every byte that is written and every byte that arrives.
pub(crate) fn link(conditions: Conditions, rng: Rng, rules: Rules) -> (End, End) {
    let wire = Arc::new(Mutex::new(Wire {
        pipes: [Pipe::default(), Pipe::default()],
        conditions,
        rng,
        written: 0,
        cut: false,
        rules,
    }));
    let end = |side| End {
        wire: wire.clone(),
        side,
        timer: Box::pin(sleep_until(Instant::now())),
    };
    (end(0), end(1))
}

fn broken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

// === impl Wire ===

impl Wire {
    fn piece(&mut self, limit: usize) -> usize {
        let piece = self.conditions.piece;
        limit.min(1 + self.rng.below(piece))
    }

    fn cut(&mut self) {
        self.cut = true;
        for pipe in &mut self.pipes {
            for waker in [pipe.reader.take(), pipe.writer.take()]
                .into_iter()
                .flatten()
            {
                waker.wake();
            }
        }
    }
}

// === impl End ===

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut wire = this.wire.lock();
        let wire = &mut *wire;
        if wire.cut {
            return broken();
        }
        let length = wire.piece(buf.remaining());
        let pipe = &mut wire.pipes[1 - this.side];
        let Some((due, bytes)) = pipe.pieces.front_mut() else {
            if pipe.ended {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if *due > Instant::now() {
            this.timer.as_mut().reset(*due);
            if this.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let length = length.min(bytes.len());
        let piece: Vec<u8> = bytes.drain(..length).collect();
        if bytes.is_empty() {
            pipe.pieces.pop_front();
        }
        pipe.under_way -= length;
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
        wire.rules.arrived(this.side, &piece);
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.wire.lock();
        let wire = &mut *wire;
        let length = wire.piece(bytes.len());
        let Conditions {
            delay,
            capacity,
            stall_every,
            cut_after,
            ..
        } = wire.conditions;
        let pipe = &mut wire.pipes[self.side];
        if wire.cut || pipe.unread {
            return broken();
        }
        let length = length.min(capacity - pipe.under_way);
        if length == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut due = Instant::now() + delay[self.side];
        if wire.rng.one_in(stall_every) {
            due += Duration::from_millis(wire.rng.below(3000) as u64);
        }
        if let Some((last, _)) = pipe.pieces.back() {
            due = due.max(*last);
        }
        wire.rules.written(self.side, &bytes[..length]);
        pipe.pieces
            .push_back((due, bytes[..length].iter().copied().collect()));
        pipe.under_way += length;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        wire.written += length;
        if cut_after.is_some_and(|limit| wire.written >= limit) {
            wire.cut();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire.lock();
        let pipe = &mut wire.pipes[self.side];
        pipe.ended = true;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut wire = self.wire.lock();
        wire.pipes[self.side].ended = true;
        wire.pipes[1 - self.side].unread = true;
        for pipe in &mut wire.pipes {
            for waker in [pipe.reader.take(), pipe.writer.take()]
                .into_iter()
                .flatten()
            {
                waker.wake();
            }
        }
    }
}
