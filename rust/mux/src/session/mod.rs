//! A session without its transport: bytes in, bytes out, streams between (wire-protocol §2).
//!
//! No I/O, no lock, and of the clock no more than how long a round trip took. What others wait
//! for is collected in [`Wakes`] and told by the caller once it has let go of the lock.
//!
//! - here: the state of a session, and its life.
//! - [`streams`]: what the owners of streams do with them.
//! - [`recv`]: frames in.
//! - [`send`]: frames out.

mod recv;
mod send;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

use crate::config::{Config, Peer};
use crate::error::{CloseReason, Closed, ErrorCode};
use crate::frame::MAX_31;
use crate::sched::Scheduler;
use crate::stream::Entry;
use crate::window::Growth;

use recv::Parse;
use send::Rst;
pub use streams::Gone;

/// Bytes of a GOAWAY's text that are kept.
const MAX_DEBUG: usize = 1024;
/// Bytes that name a stream's type: nobody is bothered with a stream that has fewer.
const TYPE_LEN: usize = 4;

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
    /// Most often there is one task to wake, and this one needs no memory.
    pub(crate) task: Option<Waker>,
    pub(crate) more_tasks: Vec<Waker>,
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

/// Both directions of every stream, and the frames between.
#[derive(Debug)]
pub struct Core {
    config: Config,
    peer: Peer,
    phase: Phase,
    streams: HashMap<u32, Entry>,
    growth: Growth,
    /// The stream that data has come for last.
    last_data: u32,
    parse: Parse,
    next_id: u32,
    last_peer_id: u32,
    unaccepted: usize,
    /// When streams ended that the peer may still count.
    ended: VecDeque<Instant>,
    /// Streams of the peer not accepted yet, announced or not.
    waiting: usize,
    accept: VecDeque<u32>,
    accept_waker: Option<Waker>,
    sched: Scheduler,
    rsts: VecDeque<Rst>,
    /// How many of them are for streams without an entry.
    rsts_owed: usize,
    /// Streams with an increment to send.
    increments: VecDeque<u32>,
    late: VecDeque<u32>,
    driver: Option<Waker>,
    wakes: Wakes,
    stats: Stats,
}

// === impl Wakes ===

impl Wakes {
    fn task(&mut self, waker: Option<Waker>) {
        match waker {
            Some(waker) if self.task.is_none() => self.task = Some(waker),
            Some(waker) => self.more_tasks.push(waker),
            None => {}
        }
    }
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
            round_trip: None,
            changed: None,
        };
        Self {
            config,
            peer: Peer::UNKNOWN,
            phase: Phase::Open,
            streams: HashMap::new(),
            growth,
            last_data: 0,
            parse: Parse::start(),
            next_id,
            last_peer_id: 0,
            unaccepted: 0,
            ended: VecDeque::new(),
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

    /// A heartbeat has come back after so long.
    pub fn measured(&mut self, round_trip: Duration) {
        self.growth.measured(round_trip);
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

    /// Whether more than half of the streams are open that may be open at a time.
    pub fn crowded(&self) -> bool {
        self.streams.len() > self.config.max_streams.min(self.peer.max_streams) / 2
    }

    pub fn stats(&self) -> Stats {
        Stats {
            open_streams: self.streams.len(),
            ..self.stats
        }
    }

    /// Whether no stream has left anything behind: no entry, no place in a list, no window.
    pub(crate) fn at_rest(&self) -> bool {
        self.streams.is_empty()
            && self.streams.capacity() == 0
            && self.accept.is_empty()
            && self.sched.is_empty()
            && self.rsts.is_empty()
            && self.increments.is_empty()
            && (self.waiting, self.unaccepted, self.rsts_owed) == (0, 0, 0)
            && self.growth.budget == self.config.session_window
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
        self.wakes.task(self.driver.take());
    }

    fn end_streams(&mut self) {
        let mut streams = std::mem::take(&mut self.streams);
        for entry in streams.values_mut() {
            self.wakes.task(entry.recv.waker.take());
            self.wakes.task(entry.send.waker.take());
            self.wakes.task(entry.gone_waker.take());
        }
        self.wakes.task(self.accept_waker.take());
        self.accept = VecDeque::new();
        self.waiting = 0;
        self.unaccepted = 0;
    }
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
