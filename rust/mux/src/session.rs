//! A session without its transport: bytes in, bytes out, streams between (wire-protocol §2).
//!
//! No I/O, no clock, no lock. What others wait for is collected in [`Wakes`] and told by the
//! caller once it has let go of the lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};

use crate::config::{Config, Peer};
use crate::error::{CloseReason, Closed, ErrorCode, OpenError};
use crate::frame::{self, FIN, HEADER_LEN, Header, Kind, MAX_31, SYN};
use crate::sched::Scheduler;
use crate::stream::{Entry, Fin};
use crate::window::Growth;

/// Bytes handed to the transport at once: four full TLS records.
const OUT_BYTES: usize = 64 * 1024;
/// Payloads below this are copied, so that a slow reader does not pin a read buffer.
const COPY_BELOW: usize = 4096;
/// Bytes of a GOAWAY's text that are kept.
const MAX_DEBUG: usize = 1024;
/// Bytes that name a stream's type: nobody is bothered with a stream that has fewer.
const TYPE_LEN: usize = 4;
/// Streams whose late data was answered once already.
const REMEMBERED: usize = 32;

/// Figures of one session since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub open_streams: usize,
    pub opened: u64,
    pub accepted: u64,
    /// Streams of the peer refused for a limit (RST 5, RST 9).
    pub refused: u64,
    /// Payload bytes of DATA.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Frames of undefined types, which were skipped.
    pub unknown_frames: u64,
    /// RSTs sent for data nobody wanted.
    pub late_data: u64,
}

/// What to tell once the lock is free.
#[derive(Debug, Default)]
pub struct Wakes {
    pub(crate) tasks: Vec<Waker>,
    /// Streams that may be opened now.
    pub(crate) room: usize,
    pub(crate) over: bool,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// GOAWAY is to be sent (where one is), then the transport closed.
    Closing {
        closed: Closed,
        goaway: bool,
    },
    Over(Arc<Closed>),
}

/// Where in a frame the input stands.
#[derive(Debug)]
enum Parse {
    Header {
        bytes: [u8; HEADER_LEN],
        have: usize,
    },
    Control {
        header: Header,
        bytes: [u8; 8],
        have: usize,
    },
    Data {
        stream: u32,
        left: usize,
        fin: bool,
    },
    Skip {
        left: usize,
    },
}

/// An RST to be sent, behind a FIN where none was sent before (wire-protocol §2.7).
#[derive(Debug)]
struct Rst {
    stream: u32,
    code: ErrorCode,
    fin_first: bool,
    /// No entry stands for the stream: the peer alone decides how many of these there are.
    owed: bool,
}

/// Both directions of every stream, and the frames between.
#[derive(Debug)]
pub struct Core {
    config: Config,
    peer: Peer,
    phase: Phase,
    streams: HashMap<u32, Entry>,
    growth: Growth,
    parse: Parse,
    next_id: u32,
    last_peer_id: u32,
    unaccepted: usize,
    /// Streams of the peer not accepted yet, announced or not.
    waiting: usize,
    accept: VecDeque<u32>,
    accept_waker: Option<Waker>,
    sched: Scheduler,
    rsts: VecDeque<Rst>,
    /// How many of them are for streams without an entry.
    rsts_owed: usize,
    /// Streams with an increment to send, and how much.
    increments: VecDeque<(u32, u32)>,
    late: VecDeque<u32>,
    driver: Option<Waker>,
    wakes: Wakes,
    stats: Stats,
}

// === impl Core: life of the session ===

impl Core {
    pub fn new(config: Config) -> Self {
        let next_id = config.role.first_id();
        let growth = Growth {
            budget: config.session_window,
            max_stream: config
                .max_stream_window
                .clamp(crate::INITIAL_WINDOW, MAX_31),
            enabled: false,
        };
        Self {
            config,
            peer: Peer::UNKNOWN,
            phase: Phase::Open,
            streams: HashMap::new(),
            growth,
            parse: Parse::start(),
            next_id,
            last_peer_id: 0,
            unaccepted: 0,
            waiting: 0,
            accept: VecDeque::new(),
            accept_waker: None,
            sched: Scheduler::default(),
            rsts: VecDeque::new(),
            rsts_owed: 0,
            increments: VecDeque::new(),
            late: VecDeque::new(),
            driver: None,
            wakes: Wakes::default(),
            stats: Stats::default(),
        }
    }

    /// Where ids of streams opened here go on; tests need not open a thousand million.
    #[doc(hidden)]
    pub fn start_at(&mut self, id: u32) {
        self.next_id = id;
    }

    pub fn set_peer(&mut self, peer: Peer) {
        self.peer = peer;
        self.growth.enabled = !peer.clamps_credit;
        self.wakes.room = usize::MAX;
    }

    /// Begins the end: GOAWAY is the last thing sent. Streams end at once.
    pub fn close(&mut self, code: ErrorCode, reason: CloseReason, debug: &str) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        let goaway = matches!(reason, CloseReason::Local | CloseReason::Protocol);
        let debug = cut(debug, MAX_DEBUG).to_owned();
        self.phase = Phase::Closing {
            closed: Closed {
                code,
                reason,
                debug,
            },
            goaway,
        };
        self.end_streams();
        self.wake_driver();
    }

    /// The transport is gone: nothing can be sent any more.
    pub fn lost(&mut self, reason: CloseReason) {
        let closed = match &self.phase {
            Phase::Over(_) => return,
            // What began the end is what ended it.
            Phase::Closing { closed, .. } => closed.clone(),
            Phase::Open => Closed {
                code: ErrorCode::NO_ERROR,
                reason,
                debug: String::new(),
            },
        };
        self.phase = Phase::Over(Arc::new(closed));
        self.wakes.over = true;
        self.wakes.room = usize::MAX;
        self.end_streams();
    }

    pub fn closed(&self) -> Option<Arc<Closed>> {
        match &self.phase {
            Phase::Over(closed) => Some(closed.clone()),
            _ => None,
        }
    }

    /// Whether no stream can be opened or used any more.
    pub fn closing(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    pub fn stats(&self) -> Stats {
        Stats {
            open_streams: self.streams.len(),
            ..self.stats
        }
    }

    pub(crate) fn take_wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    /// The driver is to be woken by whoever queues something next; `false`: something is queued.
    pub(crate) fn park(&mut self, waker: &Waker) -> bool {
        if self.has_output() {
            return false;
        }
        self.watch(waker);
        true
    }

    /// The driver waits for the transport; only what is urgent need wake it.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        self.driver = Some(waker.clone());
    }

    /// The driver is running: it needs no waking until it registers again.
    pub(crate) fn driver_runs(&mut self) {
        self.driver = None;
    }

    fn wake_driver(&mut self) {
        self.wakes.tasks.extend(self.driver.take());
    }

    fn end_streams(&mut self) {
        let mut streams = std::mem::take(&mut self.streams);
        for entry in streams.values_mut() {
            self.wakes.tasks.extend(entry.recv.waker.take());
            self.wakes.tasks.extend(entry.send.waker.take());
            self.wakes.tasks.extend(entry.gone_waker.take());
        }
        self.wakes.tasks.extend(self.accept_waker.take());
        self.accept = VecDeque::new();
        self.waiting = 0;
        self.unaccepted = 0;
    }
}

// === impl Core: what the owners of streams do ===

impl Core {
    /// Opens a stream whose first frame carries all of `first`: four type bytes and more.
    pub fn open(&mut self, first: Bytes) -> Result<u32, OpenError> {
        if first.len() < TYPE_LEN {
            return Err(OpenError::TooShort);
        }
        if self.closing() {
            return Err(OpenError::Closed);
        }
        if self.next_id > MAX_31 {
            return Err(OpenError::Exhausted);
        }
        let limit = self.config.max_streams.min(self.peer.max_streams);
        if self.streams.len() >= limit || self.unaccepted >= self.peer.max_unaccepted {
            return Err(OpenError::Busy);
        }
        let id = self.next_id;
        self.next_id += 2;
        let mut entry = Entry {
            handles: 2,
            unaccepted: true,
            ..Entry::default()
        };
        entry.send.syn = true;
        entry.send.queued = first.len();
        entry.send.queue.push_back(first);
        entry.send.scheduled = true;
        self.sched.push(id, 0);
        self.streams.insert(id, entry);
        self.unaccepted += 1;
        self.stats.opened += 1;
        self.wake_driver();
        Ok(id)
    }

    /// The next stream of the peer whose type is known.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        while let Some(id) = self.accept.pop_front() {
            let Some(entry) = self.streams.get_mut(&id) else {
                continue;
            };
            entry.waiting = false;
            entry.announced = false;
            entry.handles = 2;
            self.waiting -= 1;
            self.stats.accepted += 1;
            return Poll::Ready(Some(id));
        }
        if self.closing() {
            return Poll::Ready(None);
        }
        register(&mut self.accept_waker, cx);
        Poll::Pending
    }

    /// The next bytes the peer sent; empty at its end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<Result<Bytes, Gone>> {
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Gone::Session));
        };
        let Some(chunk) = entry.recv.queue.pop_front() else {
            // An RST behind a FIN says that the peer stopped reading; what it sent is whole.
            if entry.recv.fin {
                return Poll::Ready(Ok(Bytes::new()));
            }
            if let Some(code) = entry.reset {
                return Poll::Ready(Err(Gone::Reset(code)));
            }
            // An idle stream holds no memory.
            entry.recv.queue = VecDeque::new();
            register(&mut entry.recv.waker, cx);
            return Poll::Pending;
        };
        entry.recv.unread -= chunk.len();
        self.give_back(id, chunk.len());
        Poll::Ready(Ok(chunk))
    }

    /// Queues `chunk`, all of it, once less than the send buffer is queued.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        id: u32,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), Gone>> {
        match self.poll_writable(cx, id) {
            Poll::Ready(Ok(())) if !chunk.is_empty() => {}
            other => return other,
        }
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Gone::Session));
        };
        entry.send.queued += chunk.len();
        entry.send.queue.push_back(std::mem::take(chunk));
        self.schedule(id);
        Poll::Ready(Ok(()))
    }

    /// Ready when [`poll_write`](Self::poll_write) would take a chunk.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<Result<(), Gone>> {
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Gone::Session));
        };
        if let Some(code) = entry.reset {
            return Poll::Ready(Err(Gone::Reset(code)));
        }
        if entry.send.fin != Fin::Open {
            return Poll::Ready(Err(Gone::Finished));
        }
        if entry.send.queued >= self.config.send_buffer {
            register(&mut entry.send.waker, cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// FIN behind what is queued. Idempotent.
    pub fn finish(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && entry.send.fin == Fin::Open
        {
            entry.send.fin = Fin::Queued;
            self.schedule(id);
        }
    }

    /// Gives the stream up: FIN, then RST.
    pub fn reset(&mut self, id: u32, code: ErrorCode) {
        debug_assert_ne!(
            code,
            ErrorCode::NO_ERROR,
            "peers ignore an RST without a reason"
        );
        if let Some(entry) = self.streams.get(&id)
            && entry.reset.is_none()
        {
            let (unseen, fin_first) = (entry.send.syn, entry.send.fin != Fin::Sent);
            if !unseen {
                self.push_rst(id, code, fin_first);
            }
            self.kill(id, code);
        }
    }

    /// Lets go of a stream without telling the peer.
    pub(crate) fn abandon(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.send.fin = Fin::Sent;
        }
    }

    /// The reader went away: what still comes is thrown away.
    pub fn drop_reader(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.handles -= 1;
            entry.recv.discard = true;
            entry.recv.queue = VecDeque::new();
            let unread = std::mem::take(&mut entry.recv.unread);
            if unread > 0 && entry.handles > 0 {
                self.give_back(id, unread);
            }
            self.forget_if_done(id);
        }
    }

    /// The writer went away: FIN behind what is queued.
    pub fn drop_writer(&mut self, id: u32) {
        self.finish(id);
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.handles -= 1;
            self.forget_if_done(id);
        }
    }

    /// Ready once the stream was reset or the session ended.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<()> {
        match self.streams.get_mut(&id) {
            Some(entry) if entry.reset.is_none() => {
                register(&mut entry.gone_waker, cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    fn give_back(&mut self, id: u32, length: usize) {
        let Some(entry) = self.streams.get_mut(&id) else {
            return;
        };
        if entry.recv.fin || entry.reset.is_some() {
            return;
        }
        let recv = &mut entry.recv;
        if let Some(increment) = recv
            .window
            .consume(length as u32, recv.unread, &mut self.growth)
        {
            self.increments.push_back((id, increment));
            self.wake_driver();
        }
    }

    fn schedule(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && !entry.send.scheduled
            && entry.sendable()
        {
            entry.send.scheduled = true;
            self.sched.push(id, entry.send.burst);
            self.wake_driver();
        }
    }

    /// Both directions are dead, but for what came before a FIN; readers and writers learn of it.
    fn kill(&mut self, id: u32, code: ErrorCode) {
        let Some(entry) = self.streams.get_mut(&id) else {
            return;
        };
        entry.reset = Some(code);
        if !entry.recv.fin {
            entry.recv.queue = VecDeque::new();
            entry.recv.unread = 0;
        }
        entry.send.queue = VecDeque::new();
        entry.send.queued = 0;
        self.wakes.tasks.extend(entry.recv.waker.take());
        self.wakes.tasks.extend(entry.send.waker.take());
        self.wakes.tasks.extend(entry.gone_waker.take());
        self.seen(id);
        if let Some(entry) = self.streams.get_mut(&id)
            && std::mem::take(&mut entry.waiting)
        {
            // Nobody will ask for it.
            self.waiting -= 1;
            if std::mem::take(&mut entry.announced) {
                self.accept.retain(|announced| *announced != id);
            }
        }
        self.forget_if_done(id);
    }

    fn forget_if_done(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(Entry::done) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u32) {
        self.seen(id);
        if let Some(entry) = self.streams.remove(&id) {
            entry.recv.window.release(&mut self.growth);
            self.wakes.room = self.wakes.room.saturating_add(1);
            if self.streams.is_empty() {
                self.streams = HashMap::new();
                self.sched.shrink();
            }
        }
    }

    /// The peer has shown that it knows of a stream opened here.
    fn seen(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id)
            && std::mem::take(&mut entry.unaccepted)
        {
            self.unaccepted -= 1;
            self.wakes.room = self.wakes.room.saturating_add(1);
        }
    }

    /// Queues the RST of a stream in the table. Its entry stays there until the RST is sent, so
    /// that there are never more of these than streams may be open, whoever has them reset.
    fn push_rst(&mut self, stream: u32, code: ErrorCode, fin_first: bool) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.rst_queued = true;
            self.rsts.push_back(Rst {
                stream,
                code,
                fin_first,
                owed: false,
            });
            self.wake_driver();
        }
    }

    /// Queues an RST for a stream without an entry; `false`: too many wait already.
    fn owe_rst(&mut self, stream: u32, code: ErrorCode, fin_first: bool) -> bool {
        if self.rsts_owed >= self.config.max_pending_resets {
            return false;
        }
        self.rsts_owed += 1;
        self.rsts.push_back(Rst {
            stream,
            code,
            fin_first,
            owed: true,
        });
        self.wake_driver();
        true
    }
}

// === impl Core: frames in ===

impl Core {
    /// Takes bytes from the transport, cut anywhere.
    pub fn recv(&mut self, mut input: Bytes) {
        while !input.is_empty() && !self.closing() {
            match &mut self.parse {
                Parse::Header { bytes, have } => {
                    if take(&mut input, bytes, have, HEADER_LEN) {
                        let header = Header::decode(*bytes);
                        self.parse = Parse::start();
                        self.recv_header(header);
                    }
                }
                Parse::Control {
                    header,
                    bytes,
                    have,
                } => {
                    let header = *header;
                    if take(&mut input, bytes, have, (header.length as usize).min(8)) {
                        let bytes = *bytes;
                        self.parse = Parse::start();
                        self.recv_control(header, bytes, &input);
                    }
                }
                Parse::Data { stream, left, fin } => {
                    let (stream, fin) = (*stream, *fin);
                    let chunk = input.split_to(input.len().min(*left));
                    *left -= chunk.len();
                    let ends = *left == 0;
                    if ends {
                        self.parse = Parse::start();
                    }
                    self.recv_data(stream, chunk);
                    if ends {
                        self.recv_end_of_frame(stream, fin);
                    }
                }
                Parse::Skip { left } => {
                    let skipped = input.len().min(*left);
                    input.advance(skipped);
                    *left -= skipped;
                    if *left == 0 {
                        self.parse = Parse::start();
                    }
                }
            }
        }
    }

    fn recv_header(&mut self, header: Header) {
        match (header.kind, header.stream, header.length) {
            (Kind::Unknown(_), ..) => {
                self.stats.unknown_frames += 1;
                self.skip(header.length);
            }
            (Kind::GoAway, stream, length) if stream != 0 || length < 8 => {
                self.violation(ErrorCode::FRAME_SIZE, "malformed GOAWAY");
            }
            (Kind::GoAway, ..) => self.parse = Parse::control(header),
            (_, 0, _) => self.violation(ErrorCode::PROTOCOL, "frame on stream 0"),
            (Kind::Data, ..) => self.recv_data_header(header),
            (Kind::Rst | Kind::WndInc, _, 4) => self.parse = Parse::control(header),
            (Kind::Rst | Kind::WndInc, ..) => {
                self.violation(ErrorCode::FRAME_SIZE, "RST and WNDINC carry four bytes");
            }
        }
    }

    fn recv_control(&mut self, header: Header, bytes: [u8; 8], rest: &[u8]) {
        // Read as one number: the first word is its upper half.
        let both = u64::from_be_bytes(bytes);
        let (first, second) = ((both >> 32) as u32, both as u32);
        match header.kind {
            Kind::WndInc => self.recv_increment(header.stream, first & MAX_31),
            Kind::Rst => self.recv_rst(header.stream, ErrorCode(first)),
            _ => {
                // Nothing behind it is looked at: some peers write a wrong length here.
                let text = &rest[..rest.len().min(header.length as usize - 8).min(MAX_DEBUG)];
                let text = String::from_utf8_lossy(text).into_owned();
                self.close(ErrorCode(second), CloseReason::GoAway, &text);
            }
        }
    }

    fn recv_data_header(&mut self, header: Header) {
        let Header {
            stream,
            length,
            flags,
            ..
        } = header;
        if flags & SYN != 0 && !self.recv_syn(stream) {
            return self.skip(length);
        }
        let fin = flags & FIN != 0;
        let Some(entry) = self.streams.get_mut(&stream) else {
            if length > 0 {
                self.late_data(stream);
            }
            return self.skip(length);
        };
        if entry.reset.is_some() {
            return self.skip(length);
        }
        let refused = if entry.recv.fin {
            (length > 0).then_some(ErrorCode::STREAM_CLOSED)
        } else if entry.recv.window.receive(length) {
            None
        } else {
            Some(ErrorCode::FLOW_CONTROL)
        };
        if let Some(code) = refused {
            self.push_rst(stream, code, false);
            self.kill(stream, code);
            return self.skip(length);
        }
        self.seen(stream);
        if length == 0 {
            self.recv_end_of_frame(stream, fin);
        } else {
            self.parse = Parse::Data {
                stream,
                left: length as usize,
                fin,
            };
        }
    }

    /// Whether the stream was opened.
    fn recv_syn(&mut self, stream: u32) -> bool {
        if !self.config.role.peer_may_open(stream) {
            self.violation(ErrorCode::PROTOCOL, "SYN with an id of the other side");
            return false;
        }
        if self.streams.contains_key(&stream) {
            self.violation(ErrorCode::PROTOCOL, "SYN on an open stream");
            return false;
        }
        self.last_peer_id = self.last_peer_id.max(stream);
        let refusal = if self.streams.len() >= self.config.max_streams {
            Some(ErrorCode::STREAM_REFUSED)
        } else if self.waiting >= self.config.accept_backlog {
            Some(ErrorCode::ACCEPT_QUEUE_FULL)
        } else {
            None
        };
        if let Some(code) = refusal {
            self.stats.refused += 1;
            if self.owe_rst(stream, code, true) {
                self.remember_late(stream);
            } else {
                // An opener that is not told would wait for ever.
                let text = "too many streams had to be refused";
                self.violation(ErrorCode::ENHANCE_YOUR_CALM, text);
            }
            return false;
        }
        self.late.retain(|late| *late != stream);
        self.streams.insert(
            stream,
            Entry {
                waiting: true,
                ..Entry::default()
            },
        );
        self.waiting += 1;
        true
    }

    fn recv_data(&mut self, stream: u32, chunk: Bytes) {
        self.stats.bytes_in += chunk.len() as u64;
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if entry.reset.is_some() {
            return;
        }
        if entry.recv.discard {
            return self.give_back(stream, chunk.len());
        }
        let recv = &mut entry.recv;
        recv.unread += chunk.len();
        recv.queue.push_back(if chunk.len() < COPY_BELOW {
            Bytes::copy_from_slice(&chunk)
        } else {
            chunk
        });
        self.wakes.tasks.extend(recv.waker.take());
        self.announce(stream);
    }

    fn recv_end_of_frame(&mut self, stream: u32, fin: bool) {
        let Some(entry) = self.streams.get_mut(&stream).filter(|_| fin) else {
            return;
        };
        entry.recv.fin = true;
        self.wakes.tasks.extend(entry.recv.waker.take());
        if entry.waiting && entry.recv.unread < TYPE_LEN {
            // It ended before it said what it was.
            self.waiting -= 1;
            entry.waiting = false;
            entry.send.fin = Fin::Queued;
            self.schedule(stream);
        }
    }

    /// Lets a stream be accepted once its type is there.
    fn announce(&mut self, stream: u32) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if entry.waiting && !entry.announced && entry.recv.unread >= TYPE_LEN {
            entry.announced = true;
            self.accept.push_back(stream);
            self.wakes.tasks.extend(self.accept_waker.take());
        }
    }

    fn recv_increment(&mut self, stream: u32, increment: u32) {
        self.seen(stream);
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.send.credit = entry.send.credit.saturating_add(u64::from(increment));
            self.schedule(stream);
        }
    }

    /// Code 0 is an abort like any other.
    fn recv_rst(&mut self, stream: u32, code: ErrorCode) {
        if self
            .streams
            .get(&stream)
            .is_some_and(|entry| entry.reset.is_none())
        {
            self.kill(stream, code);
        }
    }

    fn late_data(&mut self, stream: u32) {
        // Where too many answers wait already, a later frame gets one: that much data can be under
        // way to streams which were given up here all at once.
        if !self.late.contains(&stream) && self.owe_rst(stream, ErrorCode::STREAM_CLOSED, false) {
            self.remember_late(stream);
            self.stats.late_data += 1;
        }
    }

    fn remember_late(&mut self, stream: u32) {
        if self.late.len() == REMEMBERED {
            self.late.pop_front();
        }
        self.late.push_back(stream);
    }

    fn skip(&mut self, length: u32) {
        if length > 0 {
            self.parse = Parse::Skip {
                left: length as usize,
            };
        }
    }

    fn violation(&mut self, code: ErrorCode, text: &str) {
        self.close(code, CloseReason::Protocol, text);
    }
}

// === impl Core: frames out ===

impl Core {
    /// Appends what is to be sent now, about [`OUT_BYTES`] at most. `true`: this was the last.
    pub fn fill(&mut self, out: &mut BytesMut) -> bool {
        if let Phase::Closing { closed, goaway } = &mut self.phase {
            if std::mem::take(goaway) {
                let frame =
                    frame::goaway(self.last_peer_id, closed.code.0, closed.debug.as_bytes());
                out.extend_from_slice(&frame);
            }
            return true;
        }
        while out.len() < OUT_BYTES
            && let Some((stream, increment)) = self.increments.pop_front()
        {
            if self
                .streams
                .get(&stream)
                .is_some_and(|entry| entry.reset.is_none() && !entry.recv.fin)
            {
                out.extend_from_slice(&frame::wndinc(stream, increment));
            }
        }
        while out.len() < OUT_BYTES
            && let Some(rst) = self.rsts.pop_front()
        {
            if rst.fin_first {
                out.extend_from_slice(&Header::data(rst.stream, FIN, 0).encode());
            }
            out.extend_from_slice(&frame::rst(rst.stream, rst.code.0));
            if rst.owed {
                self.rsts_owed -= 1;
            } else if let Some(entry) = self.streams.get_mut(&rst.stream) {
                entry.rst_queued = false;
                self.forget_if_done(rst.stream);
            }
        }
        while out.len() < OUT_BYTES
            && let Some(stream) = self.sched.pop()
        {
            self.fill_stream(stream, out);
        }
        false
    }

    /// Whether [`fill`](Self::fill) would append anything.
    pub fn has_output(&self) -> bool {
        self.closing()
            || !self.sched.is_empty()
            || !self.rsts.is_empty()
            || !self.increments.is_empty()
    }

    fn fill_stream(&mut self, stream: u32, out: &mut BytesMut) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        entry.send.scheduled = false;
        if !entry.sendable() {
            return;
        }
        let send = &mut entry.send;
        if send.queued > 0 {
            // The first frame is not cut: its reader may block on a part of it.
            let first = if send.syn {
                send.queue.front().map_or(0, Bytes::len)
            } else {
                0
            };
            let room = self.config.send_frame.max(first).min(send.queued);
            let length = room.min(usize::try_from(send.credit).unwrap_or(usize::MAX));
            let flags = if std::mem::take(&mut send.syn) {
                SYN
            } else {
                0
            };
            out.extend_from_slice(&Header::data(stream, flags, length).encode());
            let mut left = length;
            while left > 0
                && let Some(chunk) = send.queue.front_mut()
            {
                let part = chunk.len().min(left);
                out.extend_from_slice(&chunk[..part]);
                chunk.advance(part);
                left -= part;
                if chunk.is_empty() {
                    send.queue.pop_front();
                }
            }
            send.credit -= length as u64;
            send.queued -= length;
            send.burst += length;
            self.stats.bytes_out += length as u64;
            if send.queued < self.config.send_buffer {
                self.wakes.tasks.extend(send.waker.take());
            }
            if send.queued == 0 {
                send.burst /= 2;
                send.queue = VecDeque::new();
            }
        } else {
            out.extend_from_slice(&Header::data(stream, FIN, 0).encode());
            send.fin = Fin::Sent;
        }
        if entry.sendable() {
            entry.send.scheduled = true;
            self.sched.push(stream, entry.send.burst);
        } else {
            self.forget_if_done(stream);
        }
    }
}

/// Why a stream cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    Session,
    Reset(ErrorCode),
    /// Written after its FIN.
    Finished,
}

impl Parse {
    const fn start() -> Self {
        Self::Header {
            bytes: [0; HEADER_LEN],
            have: 0,
        }
    }

    const fn control(header: Header) -> Self {
        Self::Control {
            header,
            bytes: [0; 8],
            have: 0,
        }
    }
}

/// Moves input into `bytes` until `want` are there; whether they are.
fn take(input: &mut Bytes, bytes: &mut [u8; 8], have: &mut usize, want: usize) -> bool {
    let length = input.len().min(want - *have);
    input.copy_to_slice(&mut bytes[*have..*have + length]);
    *have += length;
    *have == want
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
