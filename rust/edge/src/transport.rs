//! Byte streams with something in front: bytes that were read too early, quick acknowledgements,
//! and the PROXY header of a load balancer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use portway_mux::{ReadAhead, pass_on};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes a PROXY header may have.
const PROXY_HEADER: usize = 2048;
const PREFIX_V1: &[u8] = b"PROXY ";
/// The longest line of version 1 there can be.
const LONGEST_V1: usize = 107;

/// A transport of which the first bytes were read already.
#[derive(Debug)]
pub(crate) struct Rewound<T> {
    first: Bytes,
    inner: T,
}

// === impl Rewound ===

impl<T> Rewound<T> {
    pub(crate) fn new(first: Bytes, inner: T) -> Self {
        Self { first, inner }
    }

    pub(crate) fn into_parts(self) -> (Bytes, T) {
        (self.first, self.inner)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..length]);
        self.first.advance(length);
        if self.first.is_empty() {
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    pass_on!(inner: poll_write, poll_write_vectored, is_write_vectored, poll_flush, poll_shutdown);
}

/// The connection of an agent. Agents that leave Nagle's algorithm on wait for our
/// acknowledgement before they send on, so it is asked for before each read (wire-protocol §1.2).
#[derive(Debug)]
pub(crate) struct AgentSocket {
    inner: TcpStream,
    /// Off once the agent is known not to need it.
    quick: Arc<AtomicBool>,
}

/// A connection as agents need it, on whatever port they come in: acknowledged quickly while the
/// flag says so, and read ahead under bulk. `first`: what was read of it already.
pub(crate) fn of_an_agent(
    first: Bytes,
    io: TcpStream,
) -> (ReadAhead<Rewound<AgentSocket>>, Arc<AtomicBool>) {
    // Where it cannot be set, small messages wait behind large ones, and all arrive.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&io).set_tcp_notsent_lowat(portway_mux::UNSENT);
    let (socket, quick) = AgentSocket::new(io);
    (ReadAhead::new(Rewound::new(first, socket)), quick)
}

// === impl AgentSocket ===

impl AgentSocket {
    fn new(inner: TcpStream) -> (Self, Arc<AtomicBool>) {
        let quick = Arc::new(AtomicBool::new(true));
        let socket = Self {
            inner,
            quick: quick.clone(),
        };
        (socket, quick)
    }
}

impl AsyncRead for AgentSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.quick.load(Ordering::Relaxed) {
            acknowledge_at_once(&self.inner);
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for AgentSocket {
    pass_on!(inner: poll_write, poll_write_vectored, is_write_vectored, poll_flush, poll_shutdown);
}

/// What comes next, that is. Where it cannot be set, reading goes on as well, only slower.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_tcp_quickack(true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_: &TcpStream) {}

/// Reads a PROXY header, version 1 or 2, that something in front has written: the visitor's
/// address where it tells one, and the bytes that followed it.
///
/// # Errors
/// `InvalidData` where there is no such header.
pub(crate) async fn read_proxy_header(
    io: &mut TcpStream,
) -> io::Result<(Option<SocketAddr>, Bytes)> {
    let mut bytes = BytesMut::with_capacity(256);
    loop {
        if io.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if is_begun(&bytes) {
            continue;
        }
        let parsed = ppp::HeaderResult::parse(&bytes);
        let (source, length) = match &parsed {
            ppp::HeaderResult::V1(Ok(header)) => (v1_source(header.addresses), header.header.len()),
            ppp::HeaderResult::V2(Ok(header)) => (v2_source(header.addresses), header.len()),
            incomplete
                if ppp::PartialResult::is_incomplete(incomplete) && bytes.len() < PROXY_HEADER =>
            {
                continue;
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "no PROXY header in front",
                ));
            }
        };
        bytes.advance(length);
        return Ok((source, bytes.freeze()));
    }
}

/// Version 1 in the middle of its line. The parser takes a number that is still to come for none.
fn is_begun(bytes: &[u8]) -> bool {
    let begins = bytes.starts_with(PREFIX_V1) || PREFIX_V1.starts_with(bytes);
    begins && bytes.len() <= LONGEST_V1 && !bytes.contains(&b'\n')
}

fn v1_source(addresses: ppp::v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        ppp::v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
        ppp::v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
        ppp::v1::Addresses::Unknown => None,
    }
}

fn v2_source(addresses: ppp::v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        ppp::v2::Addresses::IPv4(it) => Some((it.source_address, it.source_port).into()),
        ppp::v2::Addresses::IPv6(it) => Some((it.source_address, it.source_port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::is_begun;

    #[test]
    fn a_header_is_not_judged_before_it_is_there() {
        let headers: [&[u8]; 4] = [
            b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n",
            b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x01\xbb",
        ];
        for header in headers {
            for end in 1..header.len() {
                let part = &header[..end];
                let parsed = ppp::HeaderResult::parse(part);
                assert!(
                    is_begun(part) || ppp::PartialResult::is_incomplete(&parsed),
                    "{part:?}"
                );
            }
            assert!(!is_begun(header));
        }
        assert!(!is_begun(&[b"PROXY ", &[b'1'; 200][..]].concat()));
        assert!(!is_begun(b"GET / HTTP/1.1"));
    }
}
