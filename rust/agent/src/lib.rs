//! The agent: keeps a session with an edge and leads its visitors to upstreams.
//!
//! - [`plan`]: what it is told. [`room`]: how much it takes on; [`shortage`]: when there is no more of
//!   it. [`run`]: its life; [`backoff`], [`patience`]: what it does while the edge cannot be reached.
//! - [`dial`], [`trust`], [`crl`], [`session`]: the way to the edge and what is said there; [`legs`]:
//!   the same over more than one connection.
//! - [`command`], [`again`], [`child`]: what the edge tells it to do. [`release`]: newer versions.
//! - [`endpoint`], [`roster`], [`metrics`]: what is wanted of it, and what came of that.
//! - [`wake`]: when all of that is to be looked at anew.
//! - [`forward`]: visitors to upstreams. [`capture`]: their requests, for who inspects them.
//! - [`board`], [`console`]: what it shows. [`web`]: the same for programs, and how they steer it.
//! - [`probe`]: the way to the edge, step by step.

mod again;
mod backoff;
mod board;
mod capture;
pub mod child;
mod clock;
mod command;
mod console;
mod crl;
mod dial;
mod endpoint;
mod forward;
mod legs;
mod metrics;
mod patience;
pub mod plan;
pub mod probe;
pub mod release;
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
pub use run::{AgentError, Ended, Hooks, Stop, run};
