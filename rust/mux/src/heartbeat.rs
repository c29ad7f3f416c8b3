//! Heartbeats (wire-protocol §3): four bytes and their echo, over a stream of their own.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::Stream;

/// Type of a heartbeat stream.
pub const STREAM_TYPE: u32 = 0xFFFF_FFFF;

/// How long a reply may take when the road may be gone.
pub const NUDGED: Duration = Duration::from_secs(3);

/// How often to beat, and how much longer than that a reply may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub interval: Duration,
    pub tolerance: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            tolerance: Duration::from_secs(15),
        }
    }
}

/// Why a heartbeat ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No reply within interval + tolerance.
    Timeout,
    /// The reply was not what was sent.
    WrongReply,
    /// The peer ended or reset the heartbeat stream.
    PeerEnded,
    /// The session is over.
    SessionOver,
}

/// Beats on `stream` (opened with [`STREAM_TYPE`] as its first payload) until it fails: at once,
/// then every interval, one at a time. `on_beat` gets each round trip.
///
/// The stream is not ended while the session lives, failed or not: some peers answer its FIN
/// with replies without end.
pub async fn beat(stream: Stream, pace: Pace, on_beat: impl FnMut(Duration)) -> Failure {
    let (_nobody, nudges) = watch::channel(());
    beat_nudged(stream, pace, nudges, on_beat).await
}

/// The same; whenever `nudges` changes, because the machine has slept or its network has changed,
/// it beats at once, and a reply may take [`NUDGED`] only.
pub async fn beat_nudged(
    mut stream: Stream,
    pace: Pace,
    mut nudges: watch::Receiver<()>,
    mut on_beat: impl FnMut(Duration),
) -> Failure {
    let mut patience = pace.interval + pace.tolerance;
    let failure = loop {
        let sent = Instant::now();
        let id = token();
        if let Err(error) = stream.write_chunk(Bytes::copy_from_slice(&id)).await {
            break failure_of(&error);
        }
        let reply = within(sent + patience, &mut nudges, read_beat(&mut stream)).await;
        match reply {
            None => break Failure::Timeout,
            Some(Err(error)) => break failure_of(&error),
            Some(Ok(None)) => break Failure::PeerEnded,
            Some(Ok(Some(reply))) if reply != id => break Failure::WrongReply,
            Some(Ok(Some(_))) => {
                let latency = sent.elapsed();
                stream.measured(latency);
                on_beat(latency);
            }
        }
        tokio::select! {
            () = sleep_until(sent + pace.interval) => patience = pace.interval + pace.tolerance,
            () = nudged(&mut nudges) => patience = NUDGED,
        }
    };
    stream.abandon();
    failure
}

/// What comes until then; a nudge leaves no more than [`NUDGED`].
async fn within<T>(
    mut deadline: Instant,
    nudges: &mut watch::Receiver<()>,
    reading: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(reading);
    loop {
        tokio::select! {
            read = &mut reading => return Some(read),
            () = sleep_until(deadline) => return None,
            () = nudged(nudges) => deadline = deadline.min(Instant::now() + NUDGED),
        }
    }
}

async fn nudged(nudges: &mut watch::Receiver<()>) {
    if nudges.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Echoes beats until the peer ends the stream: four bytes are answered in one frame.
pub async fn answer(mut stream: Stream) {
    while let Ok(Some(beat)) = read_beat(&mut stream).await {
        if stream
            .write_chunk(Bytes::copy_from_slice(&beat))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn read_beat(stream: &mut Stream) -> std::io::Result<Option<[u8; 4]>> {
    Ok(stream.read_type().await?.map(u32::to_be_bytes))
}

/// Four bytes nobody can guess; 31 bits, as some peers read them as a signed number.
fn token() -> [u8; 4] {
    let random = RandomState::new().build_hasher().finish() as u32;
    (random & 0x7fff_ffff).to_be_bytes()
}

fn failure_of(error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::ConnectionAborted => Failure::SessionOver,
        _ => Failure::PeerEnded,
    }
}
