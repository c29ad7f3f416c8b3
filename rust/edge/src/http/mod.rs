//! HTTP visitors: request by request, parsed by hyper or its parser (design, decision 8). Nothing
//! that was not parsed is ever passed on, so two parsers cannot read one request in two ways.
//!
//! - [`serve`]: one visitor's connection.
//! - [`fast`]: the short way of requests that are only passed on.
//! - [`sieve`]: what hyper would settle instead of refusing.
//! - [`head`]: what a request must be before anything else is asked.
//! - [`proxy`]: the way of one request through policy, agent and back.
//! - [`link`]: HTTP connections inside streams to agents, kept for the next request.
//! - [`fields`]: headers that are taken off and put on.
//! - [`body`]: what flows to and fro.
//! - [`page`]: errors as visitors see them.
//! - [`pulse`]: connections on which nothing moves, and how one ends.
//! - [`upgrade`]: requests that turn into plain bytes.
//! - [`websocket`]: messages turned into bytes for upstreams that know no WebSocket.

mod body;
pub(crate) mod fast;
mod fields;
mod head;
mod link;
mod page;
mod proxy;
mod pulse;
pub(crate) mod serve;
mod sieve;
mod upgrade;
mod websocket;

use bytes::Bytes;

/// A connection of which something was read already.
struct Unserved<T> {
    first: Bytes,
    io: T,
}
