//! The stream multiplexer under an agent session (wire-protocol §2, §3).
//!
//! One connection carries many streams, each with a credit window in either direction. This crate
//! knows nothing of TLS, messages or HTTP: it runs over any `AsyncRead + AsyncWrite`.
//!
//! - [`frame`]: eight-byte headers and their four kinds.
//! - [`window`]: receive credit, how it grows and when it is given back.
//! - [`stream`]: the state of one stream.
//! - [`sched`]: which stream may write next.
//! - [`outgoing`]: what waits for the transport.
//! - [`session`]: all of it together, without I/O; of the clock it asks round trips only.
//! - [`drive`]: the only I/O: one task per session.
//! - [`io`]: streams and sessions as their owners hold them.
//! - [`copy`]: a stream joined to a connection.
//! - [`ReadAhead`]: a connection read in large pieces.
//! - [`heartbeat`]: beats over streams.

#[doc(hidden)]
pub mod frame;
#[doc(hidden)]
pub mod outgoing;
#[doc(hidden)]
pub mod sched;
#[doc(hidden)]
pub mod session;
#[doc(hidden)]
pub mod window;

pub mod any;
mod chunks;
mod config;
pub mod copy;
mod drive;
mod error;
pub mod heartbeat;
mod io;
mod pass_on;
mod read_ahead;
mod stream;

use tokio::io::{AsyncRead, AsyncWrite};

pub use config::{Config, INITIAL_WINDOW, Peer, Role, UNSENT};
pub use drive::Driver;
pub use error::{CloseReason, Closed, ErrorCode, OpenError, StreamReset};
pub use io::{Acceptor, ReadHalf, Session, Stream, WriteHalf};
pub use read_ahead::ReadAhead;
pub use session::Stats;

/// Puts a session on `transport`. Nothing moves until the [`Driver`] is polled.
pub fn session<T>(transport: T, config: Config) -> (Session, Acceptor, Driver<T>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let close_timeout = config.close_timeout;
    let shared = io::Shared::new(config);
    let driver = Driver::new(transport, shared.clone(), close_timeout);
    (Session::new(shared.clone()), Acceptor::new(shared), driver)
}
