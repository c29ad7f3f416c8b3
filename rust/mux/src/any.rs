//! Connections whose kind does not matter. What serves few of them is compiled once for all kinds,
//! instead of once for each: a library of HTTP takes some 100 KB every time.

use tokio::io::{AsyncRead, AsyncWrite};

/// What can be read, written and moved to another thread.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Any of them.
pub type AnyIo = Box<dyn Io>;
