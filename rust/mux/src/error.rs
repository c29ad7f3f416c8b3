//! Error codes of the wire, and the reasons why streams and sessions end (wire-protocol §2.6).

use std::{fmt, io};

/// A code in an RST or GOAWAY frame. Any `u32` may arrive; the known ones have names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Clean close of a session. Never sent in an RST: ngrok-rust would ignore it (§2.6).
    pub const NO_ERROR: Self = Self(0x00);
    pub const PROTOCOL: Self = Self(0x01);
    pub const INTERNAL: Self = Self(0x02);
    pub const FLOW_CONTROL: Self = Self(0x03);
    pub const STREAM_CLOSED: Self = Self(0x04);
    pub const STREAM_REFUSED: Self = Self(0x05);
    /// What an edge says when the visitor went away.
    pub const STREAM_CANCELLED: Self = Self(0x06);
    pub const STREAM_RESET: Self = Self(0x07);
    pub const FRAME_SIZE: Self = Self(0x08);
    pub const ACCEPT_QUEUE_FULL: Self = Self(0x09);
    pub const ENHANCE_YOUR_CALM: Self = Self(0x0a);
    pub const REMOTE_GONE_AWAY: Self = Self(0x0b);
    pub const STREAMS_EXHAUSTED: Self = Self(0x0c);
    pub const WRITE_TIMEOUT: Self = Self(0x0d);
    pub const SESSION_CLOSED: Self = Self(0x0e);
    pub const PEER_EOF: Self = Self(0x0f);

    /// The name in the table of §2.6, or `unknown`.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 16] = [
            "no error",
            "protocol error",
            "internal error",
            "flow control error",
            "stream closed",
            "stream refused",
            "stream cancelled",
            "stream reset",
            "frame size error",
            "accept queue full",
            "enhance your calm",
            "remote gone away",
            "streams exhausted",
            "write timeout",
            "session closed",
            "peer eof",
        ];
        NAMES.get(self.0 as usize).copied().unwrap_or("unknown")
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A limit of either side is reached; later, or on another session, it may work.
    #[error("the session has no room for another stream now")]
    Busy,
    #[error("the session is over")]
    Closed,
    /// All 2³⁰ ids are used up; only a new session helps.
    #[error("the session has no stream ids left")]
    Exhausted,
    /// The first payload is shorter than the four type bytes.
    #[error("a stream must begin with its four type bytes")]
    TooShort,
}

impl OpenError {
    /// Whether opening again on the same session can help.
    pub fn retry(self) -> bool {
        self == Self::Busy
    }
}

/// How a session ended. Everybody who asks gets the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub code: ErrorCode,
    pub reason: CloseReason,
    /// What the closing side said about it; at most a few hundred bytes, from outside: not to be trusted.
    pub debug: String,
}

/// Whose doing the end of a session was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// [`crate::Session::close`] was called here, or the driver was dropped.
    Local,
    /// The peer sent GOAWAY.
    GoAway,
    /// The transport ended without a GOAWAY.
    Eof,
    /// The transport failed.
    Transport { kind: io::ErrorKind, text: String },
    /// The peer broke the protocol and was told so by GOAWAY.
    Protocol,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            CloseReason::Local => write!(f, "session closed: {}", self.code)?,
            // Why it did, the debug text tells.
            CloseReason::GoAway if self.code == ErrorCode::NO_ERROR => {
                write!(f, "the peer closed the session")?;
            }
            CloseReason::GoAway => write!(f, "the peer closed the session: {}", self.code)?,
            // Most peers end TCP without the farewell of TLS; what rustls says of that helps nobody.
            CloseReason::Eof
            | CloseReason::Transport {
                kind: io::ErrorKind::UnexpectedEof,
                ..
            } => write!(f, "the connection ended")?,
            CloseReason::Transport { text, .. } => write!(f, "the connection failed: {text}")?,
            CloseReason::Protocol => write!(f, "the peer broke the protocol: {}", self.code)?,
        }
        if self.debug.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.debug)
        }
    }
}

impl std::error::Error for Closed {}

/// Inner error of an `io::Error` of kind `ConnectionReset`: the stream was reset, with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream was reset: {0}")]
pub struct StreamReset(pub ErrorCode);

impl StreamReset {
    /// The code in a stream's I/O error, if a reset was its cause.
    pub fn code_of(error: &io::Error) -> Option<ErrorCode> {
        error.get_ref()?.downcast_ref::<Self>().map(|reset| reset.0)
    }
}

impl From<StreamReset> for io::Error {
    fn from(reset: StreamReset) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, reset)
    }
}
