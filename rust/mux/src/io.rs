//! A session and its streams as their owners hold them.
//!
//! Every handle reaches the [`Core`] through one mutex that is held for a few dozen instructions;
//! tasks are woken after it is free.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep_until;

use crate::config::{Config, Peer};
use crate::error::{CloseReason, Closed, ErrorCode, OpenError, StreamReset};
use crate::session::{Core, Gone, Stats};

/// What all handles of a session and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// A stream may be opened again.
    room: Notify,
    /// How many may wait for room, and who does: their places are taken.
    open_waiters: usize,
    waiters: Semaphore,
    over: Notify,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            open_waiters: config.open_waiters,
            waiters: Semaphore::new(config.open_waiters),
            core: Mutex::new(Core::new(config)),
            room: Notify::new(),
            over: Notify::new(),
        })
    }

    /// Runs `act` on the core, then tells whoever waited for what it changed.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.lock();
        let result = act(&mut core);
        let wakes = core.take_wakes();
        drop(core);
        for task in wakes.task.into_iter().chain(wakes.more_tasks) {
            task.wake();
        }
        if wakes.room > 0 {
            let waiting = self.open_waiters - self.waiters.available_permits();
            (0..wakes.room.min(waiting)).for_each(|_| self.room.notify_one());
        }
        if wakes.over {
            self.over.notify_waiters();
        }
        result
    }
}

/// A session: opens streams, and ends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Session(Arc<Shared>);

// === impl Session ===

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Opens a stream. `first` begins with the four type bytes and is sent in one frame.
    ///
    /// # Errors
    /// [`OpenError::Busy`] at a limit of either side, and what cannot be mended by waiting.
    pub fn try_open(&self, first: Bytes) -> Result<Stream, OpenError> {
        let id = self.0.with(|core| core.open(first))?;
        Ok(Stream::new(self.0.clone(), id))
    }

    /// Opens a stream once there is room for it.
    ///
    /// # Cancel safety
    /// Dropping the future gives its place to the next one who waits.
    ///
    /// # Errors
    /// As [`try_open`](Self::try_open); `Busy` only where too many wait already.
    pub async fn open(&self, first: Bytes) -> Result<Stream, OpenError> {
        match self.try_open(first.clone()) {
            Err(OpenError::Busy) => {}
            done => return done,
        }
        let _place = self.0.waiters.try_acquire().map_err(|_| OpenError::Busy)?;
        loop {
            let mut room = pin!(self.0.room.notified());
            // From here on each stream that ends wakes one of those who wait, and not one twice.
            room.as_mut().enable();
            match self.try_open(first.clone()) {
                Err(OpenError::Busy) => match self.0.with(|core| core.next_forgotten()) {
                    Some(at) => tokio::select! {
                        () = room.as_mut() => {}
                        () = sleep_until(at) => {}
                    },
                    None => room.await,
                },
                done => return done,
            }
        }
    }

    /// Tells what is known of the peer: its limits, and whether it uses larger windows.
    pub fn set_peer(&self, peer: Peer) {
        self.0.with(|core| core.set_peer(peer));
    }

    /// Ends the session: GOAWAY is the last frame, then the transport is closed. Idempotent.
    pub fn close(&self, code: ErrorCode, debug: &str) {
        self.0
            .with(|core| core.close(code, CloseReason::Local, debug));
    }

    /// Resolves when the transport is closed.
    pub async fn closed(&self) -> Arc<Closed> {
        loop {
            let over = self.0.over.notified();
            if let Some(closed) = self.0.with(|core| core.closed()) {
                return closed;
            }
            over.await;
        }
    }

    /// Whether no stream can be opened any more.
    pub fn is_closed(&self) -> bool {
        self.0.with(|core| core.closing())
    }

    /// Whether more than half of the streams are open that may be open at a time: streams that
    /// nobody uses right now are better closed then.
    pub fn is_crowded(&self) -> bool {
        self.0.with(|core| core.crowded())
    }

    /// Streams that are open; none once the session is ending.
    pub fn load(&self) -> Option<usize> {
        self.0
            .with(|core| (!core.closing()).then(|| core.stats().open_streams))
    }

    pub fn open_streams(&self) -> usize {
        self.stats().open_streams
    }

    pub fn stats(&self) -> Stats {
        self.0.with(|core| core.stats())
    }

    /// Whether nothing is left of the streams there were; for tests.
    #[doc(hidden)]
    pub fn at_rest(&self) -> bool {
        self.0.with(|core| core.at_rest())
    }
}

/// The streams that the peer opens.
#[derive(Debug)]
pub struct Acceptor(Arc<Shared>);

// === impl Acceptor ===

impl Acceptor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The next stream whose four type bytes have arrived; `None` when the session is over.
    ///
    /// # Cancel safety
    /// No stream is lost when the future is dropped.
    pub async fn accept(&mut self) -> Option<Stream> {
        let id = std::future::poll_fn(|cx| self.0.with(|core| core.poll_accept(cx))).await?;
        Some(Stream::new(self.0.clone(), id))
    }
}

/// One stream: bytes both ways. Dropping it sends FIN behind what was written.
#[derive(Debug)]
pub struct Stream {
    read: ReadHalf,
    write: WriteHalf,
}

/// The reading half of a stream; dropped, it throws away what still comes.
#[derive(Debug)]
pub struct ReadHalf {
    shared: Arc<Shared>,
    id: u32,
    /// What an [`AsyncRead`] with a small buffer left over.
    rest: Bytes,
}

/// The writing half of a stream; dropped, it sends FIN.
#[derive(Debug)]
pub struct WriteHalf {
    shared: Arc<Shared>,
    id: u32,
}

// === impl Stream ===

impl Stream {
    fn new(shared: Arc<Shared>, id: u32) -> Self {
        Self {
            read: ReadHalf {
                shared: shared.clone(),
                id,
                rest: Bytes::new(),
            },
            write: WriteHalf { shared, id },
        }
    }

    pub fn id(&self) -> u32 {
        self.read.id
    }

    /// The four bytes that name the stream's type; `None` if it ended before.
    ///
    /// # Errors
    /// As [`read_chunk`](Self::read_chunk).
    pub async fn read_type(&mut self) -> io::Result<Option<u32>> {
        self.read.read_type().await
    }

    /// The next bytes of the peer, uncopied; `None` at its FIN.
    ///
    /// # Errors
    /// `ConnectionReset` with [`StreamReset`] inside, `ConnectionAborted` where the session ended.
    pub fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.read.poll_read_chunk(cx)
    }

    /// As [`poll_read_chunk`](Self::poll_read_chunk).
    ///
    /// # Errors
    /// As there.
    pub async fn read_chunk(&mut self) -> io::Result<Option<Bytes>> {
        self.read.read_chunk().await
    }

    /// Queues all of `chunk`, uncopied, once there is room; leaves it empty.
    ///
    /// # Errors
    /// As for reading, and `BrokenPipe` after FIN.
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        self.write.poll_write_chunk(cx, chunk)
    }

    /// As [`poll_write_chunk`](Self::poll_write_chunk).
    ///
    /// # Errors
    /// As there.
    pub async fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        self.write.write_chunk(chunk).await
    }

    /// Half-close: FIN behind what was written. Idempotent.
    pub fn finish(&mut self) {
        self.write.finish();
    }

    /// Gives the stream up: FIN, then RST. What was not sent yet is dropped.
    pub fn reset(self, code: ErrorCode) {
        self.write.reset(code);
    }

    /// Lets go of the stream without a FIN.
    pub(crate) fn abandon(self) {
        self.read.shared.with(|core| core.abandon(self.read.id));
    }

    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// A beat over this stream came back after so long.
    pub(crate) fn measured(&self, round_trip: Duration) {
        self.read.shared.with(|core| core.measured(round_trip));
    }

    /// Resolves when the peer reset the stream or the session ended, not on FIN.
    pub async fn peer_gone(&self) {
        std::future::poll_fn(|cx| self.poll_peer_gone(cx)).await;
    }

    pub fn poll_peer_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.read.poll_peer_gone(cx)
    }
}

// === impl ReadHalf ===

impl ReadHalf {
    pub fn id(&self) -> u32 {
        self.id
    }

    /// As [`Stream::read_type`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_type(&mut self) -> io::Result<Option<u32>> {
        let mut bytes = [0; 4];
        for place in &mut bytes {
            match std::future::poll_fn(|cx| self.poll_take(cx, 1)).await? {
                Some(byte) => *place = byte[0],
                None => return Ok(None),
            }
        }
        Ok(Some(u32::from_be_bytes(bytes)))
    }

    /// As [`Stream::poll_read_chunk`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.poll_take(cx, usize::MAX)
    }

    /// As [`Stream::read_chunk`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_chunk(&mut self) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_read_chunk(cx)).await
    }

    /// As [`Stream::peer_gone`].
    pub async fn peer_gone(&self) {
        std::future::poll_fn(|cx| self.poll_peer_gone(cx)).await;
    }

    pub fn poll_peer_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.with(|core| core.poll_gone(cx, self.id))
    }

    /// Ready, with the error, once the peer has given the stream up or the session ended: what was
    /// not read yet is of no use to anybody.
    pub fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.shared
            .with(|core| core.poll_given_up(cx, self.id))
            .map(io_error)
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<Option<Bytes>>> {
        if self.rest.is_empty() {
            let read = ready!(self.shared.with(|core| core.poll_read(cx, self.id)));
            self.rest = read.map_err(io_error)?;
            if self.rest.is_empty() {
                return Poll::Ready(Ok(None));
            }
        }
        Poll::Ready(Ok(Some(self.rest.split_to(self.rest.len().min(limit)))))
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(chunk) = ready!(self.poll_take(cx, buf.remaining()))?
        {
            buf.put_slice(&chunk);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.shared.with(|core| core.drop_reader(self.id));
    }
}

// === impl WriteHalf ===

impl WriteHalf {
    pub fn id(&self) -> u32 {
        self.id
    }

    /// As [`Stream::poll_write_chunk`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        self.shared
            .with(|core| core.poll_write(cx, self.id, chunk))
            .map_err(io_error)
    }

    /// As [`Stream::write_chunk`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_chunk(&mut self, mut chunk: Bytes) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_write_chunk(cx, &mut chunk)).await
    }

    /// As [`Stream::finish`].
    pub fn finish(&mut self) {
        self.shared.with(|core| core.finish(self.id));
    }

    /// As [`Stream::reset`]: both directions.
    pub fn reset(self, code: ErrorCode) {
        self.shared.with(|core| core.reset(self.id, code));
    }

    /// As [`Stream::peer_gone`].
    pub async fn peer_gone(&self) {
        std::future::poll_fn(|cx| self.poll_peer_gone(cx)).await;
    }

    pub fn poll_peer_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.with(|core| core.poll_gone(cx, self.id))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(
            self.shared
                .with(|core| core.poll_writable(cx, self.id))
                .map_err(io_error)
        )?;
        let length = buf.len().min(COPY_BYTES);
        let mut chunk = BytesMut::from(&buf[..length]).freeze();
        // Room was there, and nobody else writes on this half.
        match self.poll_write_chunk(cx, &mut chunk) {
            Poll::Ready(done) => Poll::Ready(done.map(|()| length)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The driver sends what is queued without being asked.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.shared.with(|core| core.drop_writer(self.id));
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    crate::pass_on!(write: poll_write, poll_flush, poll_shutdown);
}

/// Bytes an [`AsyncWrite`] copies at once.
const COPY_BYTES: usize = 64 * 1024;

fn io_error(gone: Gone) -> io::Error {
    match gone {
        Gone::Session => io::Error::new(io::ErrorKind::ConnectionAborted, "the session ended"),
        Gone::Reset(code) => StreamReset(code).into(),
        Gone::Finished => io::Error::new(io::ErrorKind::BrokenPipe, "written after FIN"),
    }
}
