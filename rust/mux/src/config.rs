//! What a session is told from outside: its own limits, and what is known of the peer.

use std::time::Duration;

/// Credit that every stream has in each direction when it is opened (wire-protocol §2.5).
pub const INITIAL_WINDOW: u32 = 262_144;

/// Bytes that the transport of a session should have taken and not sent, at most: what waits in it
/// goes before whatever is queued here later, be it ever so small.
pub const UNSENT: u32 = 128 * 1024;

/// Which end of the session this is; it decides the parity of stream ids (§2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens 3, 5, 7…
    Agent,
    /// Opens 2, 4, 6…
    Edge,
}

impl Role {
    pub(crate) fn first_id(self) -> u32 {
        match self {
            Self::Agent => 3,
            Self::Edge => 2,
        }
    }

    /// Whether the peer may open a stream with this id.
    pub(crate) fn peer_may_open(self, id: u32) -> bool {
        id.is_multiple_of(2) == (self == Self::Agent)
    }
}

/// Limits of this side.
#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    /// Open streams of both directions together; one more from the peer is answered RST 5.
    pub max_streams: usize,
    /// Streams of the peer that were not accepted yet; one more is answered RST 9.
    pub accept_backlog: usize,
    /// Up to where the receive window of one stream may grow, in bytes.
    pub max_stream_window: u32,
    /// What all windows of the session together may have grown beyond their first size, in bytes.
    pub session_window: u64,
    /// Largest DATA frame sent, header and all, in bytes. Frames end where a multiple of it does in
    /// what is written at once: at the size of a TLS record, neither is cut by the other.
    pub send_frame: usize,
    /// Bytes that may wait in one stream for sending before its writer has to.
    pub send_buffer: usize,
    /// How many callers may wait in [`crate::Session::open`].
    pub open_waiters: usize,
    /// RST frames that may wait for streams which are not open: refused ones, and data of others
    /// that comes late. One refusal more, and the peer is flooding us.
    pub max_pending_resets: usize,
    /// How long the last bytes of a closing session may take.
    pub close_timeout: Duration,
}

impl Config {
    /// Defaults of an agent.
    pub fn agent() -> Self {
        Self {
            role: Role::Agent,
            max_streams: 16_384,
            accept_backlog: 1_024,
            max_stream_window: 16 << 20,
            session_window: 32 << 20,
            send_frame: 16 << 10,
            send_buffer: 128 << 10,
            open_waiters: 1_024,
            max_pending_resets: 1_024,
            close_timeout: Duration::from_secs(1),
        }
    }

    /// Defaults of an edge.
    pub fn edge() -> Self {
        Self {
            role: Role::Edge,
            session_window: 64 << 20,
            ..Self::agent()
        }
    }
}

/// What is known of the other side of the session (§2.5, §2.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its senders hold at most 262 144 bytes of credit; what is granted beyond is lost.
    pub clamps_credit: bool,
    /// Streams it can have open, those of both sides together.
    pub max_streams: usize,
    /// Streams opened here that it has not shown to have accepted yet.
    pub max_unaccepted: usize,
    /// How long a stream that has ended may still count among those it can have open: its entry
    /// goes when the task that used it has run, which may have to hear from its upstream first.
    /// Nothing on the wire tells when that is.
    pub forgets_within: Duration,
}

impl Peer {
    /// Before Auth: nothing is promised.
    pub const UNKNOWN: Self = Self {
        clamps_credit: true,
        max_streams: 480,
        max_unaccepted: 64,
        forgets_within: Duration::from_secs(1),
    };
    /// Dies at 512 entries, wedges at 64 unaccepted ones.
    pub const RUST_SDK: Self = Self::UNKNOWN;
    /// Answers RST 9 at 128 unaccepted streams.
    pub const GO_SDK: Self = Self {
        clamps_credit: false,
        max_streams: 16_000,
        max_unaccepted: 120,
        forgets_within: Duration::ZERO,
    };
    /// Another portway with its default [`Config`].
    pub const PORTWAY: Self = Self {
        clamps_credit: false,
        max_streams: 16_000,
        max_unaccepted: 1_000,
        forgets_within: Duration::ZERO,
    };
}
