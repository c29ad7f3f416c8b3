//! Heartbeats (wire-protocol §3); bodies follow.
#![allow(clippy::todo, unused_variables, clippy::unused_async)]
use std::time::Duration;

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
        Self { interval: Duration::from_secs(10), tolerance: Duration::from_secs(15) }
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

/// Beats on `stream` (opened with [`STREAM_TYPE`] as its first payload) until it fails.
pub async fn beat(stream: Stream, pace: Pace, on_beat: impl FnMut(Duration)) -> Failure {
    todo!()
}

/// Echoes beats until the peer ends the stream.
pub async fn answer(stream: Stream) {
    todo!()
}
