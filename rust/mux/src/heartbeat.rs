//! Heartbeats (wire-protocol §3): four bytes and their echo, over a stream of their own.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::Stream;

/// Type of a heartbeat stream.
pub const STREAM_TYPE: u32 = 0xFFFF_FFFF;

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
pub async fn beat(mut stream: Stream, pace: Pace, mut on_beat: impl FnMut(Duration)) -> Failure {
    let failure = loop {
        let sent = Instant::now();
        let id = token();
        if let Err(error) = stream.write_chunk(Bytes::copy_from_slice(&id)).await {
            break failure_of(&error);
        }
        match timeout_at(
            sent + pace.interval + pace.tolerance,
            read_beat(&mut stream),
        )
        .await
        {
            Err(_) => break Failure::Timeout,
            Ok(Err(error)) => break failure_of(&error),
            Ok(Ok(None)) => break Failure::PeerEnded,
            Ok(Ok(Some(reply))) if reply != id => break Failure::WrongReply,
            Ok(Ok(Some(_))) => {
                let latency = sent.elapsed();
                stream.measured(latency);
                on_beat(latency);
            }
        }
        sleep_until(sent + pace.interval).await;
    };
    stream.abandon();
    failure
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
