//! What the multiplexer alone costs, for `bench/test_mux.py` to time: one command a line on standard input, done when
//! its answer stands on standard output.
//!
//! `frame N` · `sched N` · `window N`: N rounds of a part that does no I/O. `bulk MIB`: one stream through two sessions
//! over memory; `plain MIB`: the same bytes over the same memory without them. `small N PARALLEL`: requests of 100
//! bytes, answered with 1 KiB, a stream each. `idle N`: heap bytes that N open streams hold.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use portway_mux::frame::{self, Header};
use portway_mux::sched::Scheduler;
use portway_mux::window::{Growth, RecvWindow};
use portway_mux::{Acceptor, Config, Peer, Session, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes that the memory between two sessions holds, as much as a socket's buffers.
const PIPE: usize = 256 * 1024;
const CHUNK: usize = 64 * 1024;
const TYPE: [u8; 4] = [0, 0, 0, 3];
const REQUEST: usize = 100;
const ANSWER: usize = 1024;

/// Counts what is on the heap, to the byte: resident memory would count the allocator's habits too.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator with the arguments it came with.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Outcome<()> {
    // One thread: what is measured is work, not how well two cores share it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| -> Outcome<usize> {
            Ok(words.get(at).ok_or("a number is missing")?.parse()?)
        };
        let result = match words.first().copied().unwrap_or_default() {
            "frame" => frames(number(1)?),
            "sched" => schedule(number(1)?),
            "window" => windows(number(1)?),
            "bulk" => runtime.block_on(bulk(number(1)? << 20))?,
            "plain" => runtime.block_on(plain(number(1)? << 20))?,
            "small" => runtime.block_on(small(number(1)?, number(2)?))?,
            "idle" => runtime.block_on(idle(number(1)?))?,
            other => return Err(format!("unknown command {other:?}").into()),
        };
        writeln!(out, "{result}")?;
        out.flush()?;
    }
    Ok(())
}

// === parts without I/O

/// Headers written and read.
fn frames(rounds: usize) -> usize {
    let mut sum = 0;
    for round in 0..rounds {
        let header = Header::data(round as u32, frame::FIN, round & 0xffff);
        sum += Header::decode(black_box(header.encode())).length as usize;
    }
    sum
}

/// Turns of 64 streams, half of them bulk.
fn schedule(rounds: usize) -> usize {
    let mut scheduler = Scheduler::default();
    for stream in 0..64 {
        scheduler.push(stream, if stream % 2 == 0 { 0 } else { 1 << 20 });
    }
    let mut sum = 0;
    for _ in 0..rounds {
        if let Some(stream) = black_box(&mut scheduler).pop() {
            sum += stream as usize;
            scheduler.push(stream, if stream % 2 == 0 { 0 } else { 1 << 20 });
        }
    }
    sum
}

/// Frames that arrive and are read at once.
fn windows(rounds: usize) -> usize {
    let mut window = RecvWindow::default();
    let mut growth = Growth {
        budget: 64 << 20,
        max_stream: 16 << 20,
        enabled: true,
        round_trip: Some(std::time::Duration::from_millis(1)),
        changed: None,
    };
    let mut granted = 0;
    for _ in 0..rounds {
        if black_box(&mut window).receive(16 * 1024) {
            granted += window
                .consume(16 * 1024, &mut growth, tokio::time::Instant::now)
                .unwrap_or(0) as usize;
        }
    }
    granted
}

// === two sessions over memory

struct Pair {
    edge: Session,
    agent: Session,
    accepting: Acceptor,
    _drivers: JoinSet<()>,
}

fn pair() -> Pair {
    let (one, other) = tokio::io::duplex(PIPE);
    let roomy = |config: Config| Config {
        max_streams: 1 << 20,
        accept_backlog: 1 << 20,
        ..config
    };
    let (edge, _, edge_driver) = portway_mux::session(one, roomy(Config::edge()));
    let (agent, accepting, agent_driver) = portway_mux::session(other, roomy(Config::agent()));
    let peer = Peer {
        max_streams: 1 << 20,
        max_unaccepted: 1 << 20,
        ..Peer::PORTWAY
    };
    edge.set_peer(peer);
    agent.set_peer(peer);
    let mut drivers = JoinSet::new();
    drivers.spawn(async move {
        let _ = edge_driver.await;
    });
    drivers.spawn(async move {
        let _ = agent_driver.await;
    });
    Pair {
        edge,
        agent,
        accepting,
        _drivers: drivers,
    }
}

async fn bulk(length: usize) -> Outcome<usize> {
    let mut pair = pair();
    let mut sending = pair.edge.open(Bytes::from_static(&TYPE)).await?;
    let sender = tokio::spawn(async move {
        let chunk = Bytes::from(vec![7; CHUNK]);
        for _ in 0..length / CHUNK {
            sending.write_chunk(chunk.clone()).await?;
        }
        sending.finish();
        // The stream stays until the other side has read everything.
        sending.read_chunk().await
    });
    let mut stream = pair.accepting.accept().await.ok_or("the session ended")?;
    stream.read_type().await?;
    let arrived = read_to_end(&mut stream).await?;
    drop(stream);
    sender.await??;
    Ok(arrived)
}

async fn plain(length: usize) -> Outcome<usize> {
    let (mut one, mut other) = tokio::io::duplex(PIPE);
    let sender = tokio::spawn(async move {
        let chunk = vec![7; CHUNK];
        for _ in 0..length / CHUNK {
            one.write_all(&chunk).await?;
        }
        one.shutdown().await
    });
    let mut buffer = vec![0; CHUNK];
    let mut arrived = 0;
    loop {
        match other.read(&mut buffer).await? {
            0 => break,
            read => arrived += read,
        }
    }
    sender.await??;
    Ok(arrived)
}

async fn small(count: usize, parallel: usize) -> Outcome<usize> {
    let Pair {
        edge,
        mut accepting,
        agent: _agent,
        _drivers,
    } = pair();
    tokio::spawn(async move {
        let answer = Bytes::from(vec![1; ANSWER]);
        while let Some(mut stream) = accepting.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                stream.read_type().await?;
                read_to_end(&mut stream).await?;
                stream.write_chunk(answer).await?;
                stream.finish();
                std::io::Result::Ok(())
            });
        }
    });
    let mut first = TYPE.to_vec();
    first.resize(TYPE.len() + REQUEST, 2);
    let first = Bytes::from(first);
    let mut askers = JoinSet::new();
    for asker in 0..parallel {
        let (edge, first) = (edge.clone(), first.clone());
        let share = count / parallel + usize::from(asker < count % parallel);
        askers.spawn(async move {
            let mut arrived = 0;
            for _ in 0..share {
                let opened = edge.open(first.clone()).await;
                let mut stream =
                    opened.map_err(|error| std::io::Error::other(error.to_string()))?;
                stream.finish();
                arrived += read_to_end(&mut stream).await?;
            }
            std::io::Result::Ok(arrived)
        });
    }
    let mut arrived = 0;
    while let Some(done) = askers.join_next().await {
        arrived += done??;
    }
    Ok(arrived)
}

/// Heap bytes of both sides for one stream that was used once and waits.
async fn idle(count: usize) -> Outcome<usize> {
    // What earlier commands left to be tidied up is not to be counted.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut pair = pair();
    let mut held: Vec<Stream> = Vec::with_capacity(2 * count);
    let before = HELD.load(Ordering::Relaxed);
    for _ in 0..count {
        held.push(pair.edge.open(Bytes::from_static(&TYPE)).await?);
        let mut stream = pair.accepting.accept().await.ok_or("the session ended")?;
        stream.read_type().await?;
        held.push(stream);
    }
    let open = pair.agent.open_streams().min(pair.edge.open_streams());
    if open < count {
        return Err(format!("{open} of {count} streams are open").into());
    }
    let more = HELD.load(Ordering::Relaxed).checked_sub(before);
    Ok(more.ok_or("something else was freed meanwhile")? / count.max(1))
}

async fn read_to_end(stream: &mut Stream) -> std::io::Result<usize> {
    let mut arrived = 0;
    while let Some(chunk) = stream.read_chunk().await? {
        arrived += chunk.len();
    }
    Ok(arrived)
}
