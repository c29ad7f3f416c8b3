//! The stream multiplexer of the agent protocol: frames, streams, windows, scheduler, session.

mod config;
mod error;
mod handle;
pub mod heartbeat;

pub use config::{Config, INITIAL_WINDOW, Peer, Role};
pub use error::{CloseReason, Closed, ErrorCode, OpenError, StreamReset};
pub use handle::{Acceptor, Driver, ReadHalf, Session, Stats, Stream, WriteHalf, session};
