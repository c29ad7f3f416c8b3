//! The first four bytes of every stream, big-endian (wire-protocol §2.12).

/// Login of an agent.
pub const AUTH: u32 = 0;
/// An agent's endpoint is to be served.
pub const BIND: u32 = 1;
/// It is to be served no longer.
pub const UNBIND: u32 = 2;
/// A visitor's connection.
pub const PROXY: u32 = 3;
pub const RESTART: u32 = 4;
pub const STOP: u32 = 5;
pub const UPDATE: u32 = 6;
/// Bind by labels instead of a URL.
pub const BIND_LABELED: u32 = 7;
/// Server information, allowed before login.
pub const SRV_INFO: u32 = 8;
/// The edge ends one endpoint.
pub const STOP_TUNNEL: u32 = 9;
pub const PATCH_TUNNEL: u32 = 10;
pub const AGENT_METRICS: u32 = 11;
pub const HEARTBEAT: u32 = 0xFFFF_FFFF;
