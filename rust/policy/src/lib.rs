//! What an edge does to a visitor before and after the upstream: the options of a bind, compiled
//! once, run per connection and per request (traffic-policy §9). No sockets and no bodies in here.
//!
//! What this edge cannot do is refused at the bind, never passed over: that would open what its
//! owner meant to close.
//!
//! - [`chain`]: all of an endpoint's options in their order.
//! - [`restriction`]: allowed and denied addresses.
//! - [`user_agent`]: allowed and denied browsers.
//! - [`credentials`]: basic authentication.
//! - [`webhook`]: signatures of providers.
//! - [`breaker`]: the circuit breaker.
//! - [`headers`]: headers added and removed.

mod breaker;
mod chain;
mod credentials;
mod headers;
mod restriction;
mod user_agent;
mod webhook;

pub use chain::{Answer, Chain};
pub use headers::HeaderRules;
pub use webhook::{Seen, Webhook};
