//! Our session against a peer that behaves as an SDK made in Rust (wire-protocol §2.5–§2.10): its
//! senders clamp credit, its readers return what each read took, it counts credit exactly, sends
//! small frames, ends streams with FIN alone, does not hear an RST while it reads, and dies of too
//! many streams.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use portway_mux::{Config, ErrorCode, Peer, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::both::{PATIENCE, Read, Seen, Side};
use crate::link::{self, Conditions, End};
use crate::plan::{Ending, Half, Plan};
use crate::rng::Rng;
use crate::rules::Rules;

const WINDOW: usize = 262_144;
/// Bytes of a copy: the largest frame sent, and the largest read.
const COPY: usize = 8192;
const MAX_ENTRIES: usize = 512;
const MAX_UNACCEPTED: usize = 64;

/// One run. Whatever is wrong panics.
pub(crate) async fn run(seed: u64) {
    let mut rng = Rng::new(seed).fork(2);
    let conditions = Conditions::draw(&mut rng);
    over(conditions, seed, 1 + rng.below(30) as u32, 300).await;
}

/// So many streams at once.
pub(crate) async fn crowd(count: u32) {
    let conditions = Conditions {
        delay: [Duration::from_millis(20); 2],
        capacity: 2_000_000,
        piece: 1_000_000,
        stall_every: usize::MAX,
        cut_after: None,
    };
    over(conditions, 1, count, 0).await;
}

/// The streams are opened within so many milliseconds.
async fn over(conditions: Conditions, seed: u64, count: u32, within: usize) {
    let mut rng = Rng::new(seed);
    let role = rng.pick(&[Role::Agent, Role::Edge]);
    let config = match role {
        Role::Agent => Config::agent(),
        Role::Edge => Config::edge(),
    };
    // Towards this peer nothing may grow.
    let rules = Rules::new(0, 0);
    let (agent, edge) = link::link(conditions, rng.fork(1), rules);
    let (ours, theirs) = match role {
        Role::Agent => (agent, edge),
        Role::Edge => (edge, agent),
    };
    let (session, acceptor, driver) = portway_mux::session(ours, config);
    session.set_peer(Peer::RUST_SDK);
    let driver = tokio::spawn(driver);
    let seen = Seen::default();
    let side = Side::new(seed, session.clone(), &seen);
    let answering = tokio::spawn(side.clone().answer(acceptor));

    // Every third stream is opened by the SDK.
    let by_sdk: Vec<u32> = (0..count).filter(|key| key % 3 == 0).collect();
    let sdk = Sdk::new(seed, role, theirs, by_sdk);
    let reads = sdk.reads.clone();
    let sdk = tokio::spawn(sdk.run());
    let mut opening = JoinSet::new();
    for key in (0..count).filter(|key| key % 3 != 0) {
        let side = side.clone();
        let after = Duration::from_micros(rng.below(within * 1000) as u64);
        opening.spawn(async move {
            sleep(after).await;
            side.open(key).await;
        });
    }
    timeout(PATIENCE, async {
        while let Some(opened) = opening.join_next().await {
            opened.unwrap();
        }
        let mut calm = 0;
        while calm < 2 {
            sleep(link::LATEST).await;
            calm = if session.at_rest() { calm + 1 } else { 0 };
        }
        assert!(!session.is_closed(), "{:?}", session.closed().await);
        session.close(ErrorCode::NO_ERROR, "no error");
        sdk.await.unwrap();
        answering.await.unwrap();
        driver.await.unwrap();
    })
    .await
    .unwrap_or_else(|_| {
        panic!(
            "something hangs: {role:?}, {conditions:?}, {:?}",
            session.stats()
        )
    });
    let seen = seen.lock();
    let reads = reads.lock();
    for key in 0..count {
        let plan = Plan::of(seed, key);
        let opened_here = key % 3 != 0;
        let (ours, theirs) = if opened_here {
            (plan.opener, plan.acceptor)
        } else {
            (plan.acceptor, plan.opener)
        };
        // A stream that is reset at once need not arrive at all; any other was seen by both.
        let given_up = ours.ending == Ending::Reset;
        let read = seen.get(&(key, opened_here)).copied();
        let right = match read {
            Some(Read::End(bytes)) => bytes == theirs.bytes,
            Some(Read::Stopped) => ours.reads.is_some(),
            Some(Read::Reset(..)) => given_up,
            Some(Read::SessionOver) | None => false,
        };
        assert!(right, "{read:?} here, of {plan:?}");
        let read = reads.get(&key).copied();
        let right = match read {
            Some(bytes) => bytes == ours.bytes || given_up,
            None => given_up || drops_early(&theirs, &ours),
        };
        assert!(right, "{read:?} there, of {plan:?}");
    }
}

/// Whether the SDK drops the stream before it has read all. A sender that waits for credit then is
/// never told: only streams that need none are dropped so.
fn drops_early(theirs: &Half, ours: &Half) -> bool {
    theirs.reads.is_some() && ours.bytes + 8 <= WINDOW
}

/// The model. One task moves it: it reads, lets each stream take a step, and writes.
struct Sdk {
    seed: u64,
    role: Role,
    end: End,
    input: BytesMut,
    output: BytesMut,
    entries: HashMap<u32, Entry>,
    next_id: u32,
    to_open: Vec<u32>,
    /// Bytes that came before the end of each stream.
    reads: Arc<Mutex<HashMap<u32, usize>>>,
    over: bool,
}

struct Entry {
    plan: Option<Plan>,
    half: Option<Half>,
    opener: bool,
    /// Exactly what the other side may still send.
    recv_credit: usize,
    send_credit: usize,
    buffer: BytesMut,
    fin_received: bool,
    /// Its writes fail; its reads do not know.
    reset: bool,
    read: usize,
    reading: bool,
    written: usize,
    writing: bool,
}

// === impl Sdk ===

impl Sdk {
    fn new(seed: u64, peer_role: Role, end: End, to_open: Vec<u32>) -> Self {
        Self {
            seed,
            role: peer_role,
            end,
            input: BytesMut::new(),
            output: BytesMut::new(),
            entries: HashMap::new(),
            // It is what the peer is not.
            next_id: if peer_role == Role::Agent { 2 } else { 3 },
            to_open,
            reads: Arc::default(),
            over: false,
        }
    }

    async fn run(mut self) {
        poll_fn(move |cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let read = self.poll_read(cx);
            self.parse();
            let moved = self.step();
            let wrote = self.poll_write(cx);
            if self.over {
                return Poll::Ready(());
            }
            if !(read || moved || wrote) {
                return Poll::Pending;
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut bytes = [0; 16_384];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.end).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.input.extend_from_slice(buffer.filled());
                true
            }
            Poll::Ready(_) => {
                self.over = true;
                false
            }
            Poll::Pending => false,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.output.is_empty() {
            return false;
        }
        match Pin::new(&mut self.end).poll_write(cx, &self.output) {
            Poll::Ready(Ok(length)) => {
                self.output.advance(length);
                true
            }
            _ => false,
        }
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        self.output.extend_from_slice(&length[1..]);
        self.output.extend_from_slice(&[kind << 4 | flags]);
        self.output.extend_from_slice(&stream.to_be_bytes());
        self.output.extend_from_slice(payload);
    }

    /// Whole frames only: nothing of one is looked at before all of it is there.
    fn parse(&mut self) {
        while let Some(head) = self.input.get(..8) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3] >> 4, head[3] & 15);
            let stream = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            if self.input.len() < 8 + length {
                break;
            }
            let frame = self.input.split_to(8 + length);
            self.frame(kind, flags, stream, &frame[8..]);
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let word = || u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
        match kind {
            1 => {
                if flags & 2 != 0 {
                    assert!(self.entries.len() < MAX_ENTRIES, "the session dies of this");
                    let waiting = self.entries.values().filter(|entry| entry.plan.is_none());
                    assert!(waiting.count() < MAX_UNACCEPTED, "the connection is wedged");
                    self.entries.insert(id, Entry::new(None));
                }
                let Some(entry) = self.entries.get_mut(&id) else {
                    if !payload.is_empty() {
                        self.send(0, 0, id, &4u32.to_be_bytes());
                    }
                    return;
                };
                let credit = entry.recv_credit.checked_sub(payload.len());
                entry.recv_credit = credit.expect("more than the credit was sent");
                entry.buffer.extend_from_slice(payload);
                entry.fin_received |= flags & 1 != 0;
            }
            2 => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.send_credit = WINDOW.min(entry.send_credit + word() as usize);
                }
            }
            0 => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.reset = true;
                }
            }
            3 => self.over = true,
            other => panic!("a frame of kind {other}"),
        }
    }

    /// Every stream reads once and writes once. `true`: some did.
    fn step(&mut self) -> bool {
        let mut moved = !self.to_open.is_empty();
        if let Some(key) = self.to_open.pop() {
            let plan = Plan::of(self.seed, key);
            let id = self.next_id;
            self.next_id += 2;
            self.entries.insert(id, Entry::new(Some(plan)));
            // The type is a frame of its own, as SDKs write it.
            self.send(1, 2, id, &plan.first()[..4]);
            self.send(1, 0, id, &plan.first()[4..]);
        }
        let mut ids: Vec<u32> = self.entries.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(mut entry) = self.entries.remove(&id) else {
                continue;
            };
            let before = entry.progress();
            if self.advance(id, &mut entry) {
                moved |= entry.progress() != before;
                self.entries.insert(id, entry);
            }
        }
        moved
    }

    /// Whether the stream is still there.
    fn advance(&mut self, id: u32, entry: &mut Entry) -> bool {
        if entry.plan.is_none() {
            // Type and key, read one after the other.
            if entry.buffer.len() < 8 {
                return true;
            }
            for _ in 0..2 {
                self.give_back(id, entry, 4);
            }
            let key = [4, 5, 6, 7].map(|place| entry.buffer[place]);
            entry.buffer.advance(8);
            let plan = Plan::of(self.seed, u32::from_be_bytes(key));
            entry.plan = Some(plan);
            entry.half = Some(plan.acceptor);
            return true;
        }
        let (Some(plan), Some(half)) = (entry.plan, entry.half) else {
            return true;
        };
        let ours = if entry.opener {
            plan.acceptor
        } else {
            plan.opener
        };
        let enough = half.reads.is_some_and(|limit| entry.read >= limit);
        if entry.reading && enough && drops_early(&half, &ours) {
            entry.reading = false;
        }
        if entry.reading && !entry.buffer.is_empty() {
            let length = entry.buffer.len().min(COPY);
            plan.check(!entry.opener, entry.read, &entry.buffer[..length]);
            entry.buffer.advance(length);
            entry.read += length;
            self.give_back(id, entry, length);
        } else if entry.reading && entry.fin_received {
            self.reads.lock().insert(plan.key, entry.read);
            entry.reading = false;
        }
        if entry.writing && (entry.reset || entry.written == half.bytes) {
            entry.writing = false;
            self.send(1, 1, id, b"");
        } else if entry.writing && entry.send_credit > 0 {
            let length = (half.bytes - entry.written)
                .min(COPY)
                .min(entry.send_credit);
            let content = plan.content(entry.opener, entry.written, length);
            self.send(1, 0, id, &content);
            entry.written += length;
            entry.send_credit -= length;
        }
        // Both halves were dropped: what comes now is unknown here.
        entry.reading || entry.writing
    }

    fn give_back(&mut self, id: u32, entry: &mut Entry, length: usize) {
        entry.recv_credit += length;
        if !entry.fin_received {
            self.send(2, 0, id, &(length as u32).to_be_bytes());
        }
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        // Said once: which side it was.
        if std::thread::panicking() {
            eprintln!("the session under test was {:?}", self.role);
        }
    }
}

// === impl Entry ===

impl Entry {
    fn progress(&self) -> (bool, usize, bool, usize, bool) {
        let known = self.plan.is_some();
        (known, self.read, self.reading, self.written, self.writing)
    }

    fn new(plan: Option<Plan>) -> Self {
        Self {
            plan,
            half: plan.map(|plan| plan.opener),
            opener: plan.is_some(),
            recv_credit: WINDOW,
            send_credit: WINDOW - if plan.is_some() { 8 } else { 0 },
            buffer: BytesMut::new(),
            fin_received: false,
            reset: false,
            read: 0,
            reading: true,
            written: 0,
            writing: true,
        }
    }
}
