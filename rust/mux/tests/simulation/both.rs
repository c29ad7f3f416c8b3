//! Both roles of our session against each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use portway_mux::{
    Acceptor, CloseReason, Config, ErrorCode, OpenError, Peer, ReadHalf, Role, Session, Stream,
    StreamReset, WriteHalf,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::link::{self, Conditions};
use crate::plan::{Ending, Half, Plan};
use crate::rng::Rng;
use crate::rules::Rules;

/// Longer than anything here takes: what is not over then hangs.
pub(crate) const PATIENCE: Duration = Duration::from_hours(4);

/// How reading ended, behind so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    End(usize),
    /// The reader had enough.
    Stopped,
    Reset(usize, ErrorCode),
    SessionOver,
}

/// What each side of each stream saw: key, whether it is the opener.
pub(crate) type Seen = Arc<Mutex<HashMap<(u32, bool), Read>>>;

/// How the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// When all is done.
    Done,
    /// One side closes it in the middle.
    Closed,
    /// The connection breaks.
    Cut,
}

fn config(role: Role, rng: &mut Rng, crowded: bool) -> Config {
    let base = match role {
        Role::Agent => Config::agent(),
        Role::Edge => Config::edge(),
    };
    Config {
        send_frame: rng.pick(&[100, 4096, 16_384]),
        send_buffer: rng.pick(&[1, 10_000, 65_536]),
        max_stream_window: rng.pick(&[262_144, 600_000, 16 << 20]),
        session_window: rng.pick(&[0, 500_000, 32 << 20]),
        accept_backlog: if crowded { 2 } else { 1024 },
        max_streams: if crowded { 6 } else { 16_384 },
        ..base
    }
}

/// One run. Whatever is wrong panics.
pub(crate) async fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut conditions = Conditions::draw(&mut rng);
    let fate = rng.pick(&[Fate::Done, Fate::Done, Fate::Done, Fate::Closed, Fate::Cut]);
    if fate == Fate::Cut {
        conditions.cut_after = Some(rng.below(1_000_000));
    }
    let crowded = rng.one_in(4);
    let agent_config = config(Role::Agent, &mut rng, crowded);
    let edge_config = config(Role::Edge, &mut rng, crowded);
    let stream_window = agent_config
        .max_stream_window
        .max(edge_config.max_stream_window);
    let rules = Rules::new(
        u64::from(stream_window) - 262_144,
        agent_config.session_window.max(edge_config.session_window),
    );
    let (left, right) = link::link(conditions, rng.fork(1), rules.clone());
    let (agent, agent_acceptor, agent_driver) = portway_mux::session(left, agent_config);
    let (edge, edge_acceptor, edge_driver) = portway_mux::session(right, edge_config);
    let peer = rng.pick(&[Peer::UNKNOWN, Peer::PORTWAY]);
    agent.set_peer(peer);
    edge.set_peer(peer);
    let drivers = [tokio::spawn(agent_driver), tokio::spawn(edge_driver)];

    let seen = Seen::default();
    let sides = [
        Side::new(seed, agent.clone(), &seen),
        Side::new(seed, edge.clone(), &seen),
    ];
    let answering = [
        tokio::spawn(sides[0].clone().answer(agent_acceptor)),
        tokio::spawn(sides[1].clone().answer(edge_acceptor)),
    ];
    let mut opening = JoinSet::new();
    let count = 1 + rng.below(40);
    for key in 0..count as u32 {
        let side = sides[rng.below(2)].clone();
        let after = Duration::from_micros(rng.below(300_000) as u64);
        opening.spawn(async move {
            sleep(after).await;
            side.open(key).await;
        });
    }
    if fate == Fate::Closed {
        let session = if rng.one_in(2) { &agent } else { &edge };
        sleep(Duration::from_micros(rng.below(400_000) as u64)).await;
        session.close(ErrorCode::NO_ERROR, "enough");
    }
    timeout(PATIENCE, async {
        while let Some(opened) = opening.join_next().await {
            opened.unwrap();
        }
        if fate == Fate::Done {
            // Until nothing is left on either side, nor under way between them.
            let mut calm = 0;
            while calm < 2 {
                sleep(link::LATEST).await;
                let rest = agent.at_rest() && edge.at_rest();
                calm = if rest { calm + 1 } else { 0 };
            }
            assert!(!agent.is_closed() && !edge.is_closed());
            agent.close(ErrorCode::NO_ERROR, "no error");
        }
        if fate == Fate::Cut && !agent.is_closed() {
            // All was done before so many bytes were written.
            agent.close(ErrorCode::NO_ERROR, "no error");
        }
        for task in answering {
            task.await.unwrap();
        }
        for driver in drivers {
            // Whoever still writes when the other has closed may find the connection gone.
            let closed = driver.await.unwrap();
            assert_ne!(closed.reason, CloseReason::Protocol, "{closed}");
        }
    })
    .await
    .unwrap_or_else(|_| {
        let (agent, edge) = (agent.stats(), edge.stats());
        panic!("something hangs: {fate:?}, {peer:?}, {conditions:?}\n{agent:?}\n{edge:?}");
    });
    let seen = seen.lock();
    for key in 0..count as u32 {
        judge(&Plan::of(seed, key), &seen, fate, crowded);
    }
}

/// Compares what was seen of a stream with what the plan says.
fn judge(plan: &Plan, seen: &HashMap<(u32, bool), Read>, fate: Fate, crowded: bool) {
    let refused = |read: &Read| {
        let codes = [ErrorCode::ACCEPT_QUEUE_FULL, ErrorCode::STREAM_REFUSED];
        matches!(read, Read::Reset(0, code) if codes.contains(code))
    };
    for by_opener in [true, false] {
        let (own, other) = if by_opener {
            (&plan.opener, &plan.acceptor)
        } else {
            (&plan.acceptor, &plan.opener)
        };
        let Some(read) = seen.get(&(plan.key, by_opener)) else {
            // Streams that the session did not live long enough for, or had no room for. A stream
            // that is reset at once need not arrive at all.
            let lost = fate != Fate::Done || crowded || plan.opener.ending == Ending::Reset;
            assert!(lost, "nobody saw {plan:?}, opener: {by_opener}");
            continue;
        };
        let right = match read {
            // The FIN in front of a refusal, read before the refusal was there.
            Read::End(0) if crowded && by_opener && !seen.contains_key(&(plan.key, false)) => true,
            Read::End(bytes) => {
                *bytes == other.bytes || (other.ending == Ending::Reset && *bytes < other.bytes)
            }
            Read::Stopped => own.reads.is_some_and(|limit| limit <= other.bytes),
            Read::Reset(bytes, ErrorCode::STREAM_CANCELLED) => {
                own.ending == Ending::Reset
                    || (other.ending == Ending::Reset && *bytes <= other.bytes)
            }
            // Only a side that has let go of the stream says so, and behind its FIN.
            Read::Reset(..) => crowded && by_opener && refused(read),
            Read::SessionOver => fate != Fate::Done,
        };
        assert!(right, "{read:?}, opener: {by_opener}, of {plan:?}");
    }
}

/// One session and all that runs on it.
#[derive(Clone)]
pub(crate) struct Side {
    seed: u64,
    session: Session,
    seen: Seen,
}

// === impl Side ===

impl Side {
    pub(crate) fn new(seed: u64, session: Session, seen: &Seen) -> Self {
        Self {
            seed,
            session,
            seen: seen.clone(),
        }
    }

    pub(crate) async fn open(self, key: u32) {
        let plan = Plan::of(self.seed, key);
        match self.session.open(plan.first()).await {
            Ok(stream) => self.run(plan, stream, true).await,
            Err(OpenError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn answer(self, mut acceptor: Acceptor) {
        let mut tasks = JoinSet::new();
        while let Some(stream) = acceptor.accept().await {
            tasks.spawn(self.clone().accepted(stream));
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    }

    async fn accepted(self, mut stream: Stream) {
        match stream.read_type().await {
            Ok(Some(3)) => {}
            Ok(other) => panic!("a stream of type {other:?}"),
            Err(_) => return,
        }
        // Four more bytes: the key.
        let Ok(key) = stream.read_type().await else {
            return;
        };
        let plan = Plan::of(self.seed, key.expect("the first frame is not cut"));
        self.run(plan, stream, false).await;
    }

    async fn run(&self, plan: Plan, stream: Stream, by_opener: bool) {
        let half = if by_opener {
            plan.opener
        } else {
            plan.acceptor
        };
        let (reader, writer) = stream.split();
        let writing = tokio::spawn(write(plan, half, by_opener, writer));
        let read = read(plan, half, by_opener, reader).await;
        self.seen.lock().insert((plan.key, by_opener), read);
        writing.await.unwrap();
    }
}

async fn read(plan: Plan, half: Half, by_opener: bool, mut reader: ReadHalf) -> Read {
    let mut total = 0;
    loop {
        if half.reads.is_some_and(|limit| total >= limit) {
            return Read::Stopped;
        }
        if !half.read_pause.is_zero() {
            sleep(half.read_pause).await;
        }
        match reader.read_chunk().await {
            Ok(Some(chunk)) => {
                plan.check(!by_opener, total, &chunk);
                total += chunk.len();
            }
            Ok(None) => return Read::End(total),
            Err(error) => {
                return StreamReset::code_of(&error)
                    .map_or(Read::SessionOver, |code| Read::Reset(total, code));
            }
        }
    }
}

async fn write(plan: Plan, half: Half, by_opener: bool, mut writer: WriteHalf) {
    let mut sent = 0;
    let mut rng = Rng::new(u64::from(plan.key)).fork(u64::from(by_opener));
    while sent < half.bytes {
        let length = (1 + rng.below(half.chunk)).min(half.bytes - sent);
        let chunk = plan.content(by_opener, sent, length);
        if writer.write_chunk(chunk).await.is_err() {
            // The reader's doing, and the reader's to judge.
            return;
        }
        sent += length;
        if !half.write_pause.is_zero() && rng.one_in(4) {
            sleep(half.write_pause).await;
        }
    }
    match half.ending {
        Ending::Finish => {
            writer.finish();
            // Held a while: the end must not depend on a drop.
            sleep(Duration::from_secs(1)).await;
        }
        Ending::Drop => {}
        Ending::Reset => writer.reset(ErrorCode::STREAM_CANCELLED),
    }
}

/// Bytes per second through one stream over a link with this round trip, once it is running.
pub(crate) async fn rate(round_trip: Duration, peer: Peer) -> f64 {
    let conditions = Conditions {
        delay: [round_trip / 2; 2],
        capacity: 64 << 20,
        piece: 65_536,
        stall_every: usize::MAX,
        cut_after: None,
    };
    let rules = Rules::new(u64::MAX / 4, u64::MAX / 4);
    let (left, right) = link::link(conditions, Rng::new(1), rules);
    let (agent, mut acceptor, driver) = portway_mux::session(left, Config::agent());
    tokio::spawn(driver);
    let (edge, _edge_acceptor, driver) = portway_mux::session(right, Config::edge());
    tokio::spawn(driver);
    agent.set_peer(peer);
    edge.set_peer(peer);
    let mut stream = edge.open(Bytes::from_static(&[0, 0, 0, 3])).await.unwrap();
    let mut upload = acceptor.accept().await.unwrap();
    upload.read_type().await.unwrap();
    tokio::spawn(async move {
        while upload
            .write_chunk(Bytes::from(vec![0; 65_536]))
            .await
            .is_ok()
        {}
    });
    let mut read = async |bytes: usize| {
        let begun = Instant::now();
        let mut total = 0;
        while total < bytes {
            total += stream.read_chunk().await.unwrap().unwrap().len();
        }
        total as f64 / begun.elapsed().as_secs_f64()
    };
    read(24 << 20).await;
    read(24 << 20).await
}
