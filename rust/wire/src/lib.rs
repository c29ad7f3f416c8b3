//! What agent and edge say to each other (wire-protocol §4–§6): pure data and codecs.
//!
//! - [`rpc`]: one JSON object each way on a stream; reading tolerant, writing exact.
//! - [`auth`], [`bind`], [`commands`]: the messages. [`opts`]: the options of a bind.
//! - [`proxied`]: the header in front of a visitor's bytes.
//! - [`url`]: URLs of endpoints, as asked for and as given.
//! - [`codes`]: the one table of error codes.
//!
//! No I/O and no tasks in here.

pub mod auth;
pub mod bind;
pub mod codes;
pub mod commands;
mod fields;
pub mod opts;
pub mod proxied;
pub mod rpc;
mod secret;
pub mod stream_type;
pub mod url;

pub use codes::{Code, Reaction, Refusal};
pub use fields::Malformed;
pub use opts::{HttpOptions, Opts, TcpOptions, TlsOptions};
pub use secret::Secret;
pub use url::{EndpointUrl, Scheme, UrlRequest};
