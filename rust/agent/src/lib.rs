//! The agent: keeps a session with an edge and leads its visitors to upstreams.
//!
//! - [`plan`]: what it is told. [`room`]: how much it takes on. [`run`]: its life; [`backoff`]: its
//!   patience.
//! - [`dial`], [`trust`], [`session`], [`endpoint`]: the way to the edge and what is said there.
//! - [`forward`]: visitors to upstreams.
//! - [`board`], [`console`]: what it shows.

mod backoff;
mod board;
mod console;
mod dial;
mod endpoint;
mod forward;
pub mod plan;
mod room;
mod run;
mod session;
mod trust;

pub use board::without_number;
pub use room::Room;
pub use run::{AgentError, Hooks, Stop, run};
