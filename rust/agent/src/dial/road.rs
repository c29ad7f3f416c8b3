//! What carries TLS to the edge: a TCP connection, or one inside the TLS of an HTTPS proxy.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection to the edge, or to the proxy that passes on to it.
#[derive(Debug)]
pub(crate) enum Road {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

portway_mux::pass_on_each!(Road { Plain, Secure });
