//! The agent: keeps a session with an edge and leads its visitors to upstreams.
//!
//! - [`plan`]: what it is told. [`room`]: how much it takes on; [`shortage`]: when there is no more of
//!   it. [`run`]: its life; [`backoff`]: its patience.
//! - [`dial`], [`trust`], [`crl`], [`session`]: the way to the edge and what is said there.
//! - [`endpoint`], [`roster`], [`metrics`]: what is wanted of it, and what came of that.
//! - [`wake`]: when all of that is to be looked at anew.
//! - [`forward`]: visitors to upstreams. [`capture`]: their requests, for who inspects them.
//! - [`board`], [`console`]: what it shows. [`web`]: the same for programs, and how they steer it.
//! - [`probe`]: the way to the edge, step by step.

mod backoff;
mod board;
mod capture;
mod clock;
mod console;
mod crl;
mod dial;
mod endpoint;
mod forward;
mod metrics;
pub mod plan;
pub mod probe;
mod room;
mod roster;
mod run;
mod session;
mod shortage;
mod trust;
mod wake;
mod web;

pub use board::without_number;
pub use room::Room;
pub use run::{AgentError, Hooks, Stop, run};
