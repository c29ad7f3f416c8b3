//! Reaching the edge (agent-behaviour §2): names resolved, addresses tried side by side, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portway_mux::ReadAhead;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Between the starts of attempts at several addresses (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
const RESOLVE: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What went wrong on the way to an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("cannot resolve {host}: {reason}")]
    Resolve { host: String, reason: String },
    #[error("cannot reach {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("TLS with {address} failed: {source}{hint}")]
    Tls {
        address: String,
        source: io::Error,
        hint: &'static str,
    },
    #[error("{address} did not answer within {limit:?}")]
    Slow { address: String, limit: Duration },
    #[error("{0:?} is no address of an edge: write host:port")]
    Address(String),
}

/// A TLS connection to `host:port`, within `limit`.
pub(crate) async fn edge(
    address: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<TlsStream<ReadAhead<TcpStream>>, DialError> {
    let slow = || DialError::Slow {
        address: address.to_owned(),
        limit,
    };
    timeout(limit, connect(address, config))
        .await
        .map_err(|_| slow())?
}

async fn connect(
    address: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<ReadAhead<TcpStream>>, DialError> {
    let (host, port) = split(address).ok_or_else(|| DialError::Address(address.to_owned()))?;
    let name =
        ServerName::try_from(host.clone()).map_err(|_| DialError::Address(address.to_owned()))?;
    let addresses = resolve(&host, port).await?;
    let socket = race(&addresses)
        .await
        .map_err(|source| DialError::Connect {
            address: address.to_owned(),
            source,
        })?;
    let _ = socket.set_nodelay(true);
    let reference = SockRef::from(&socket);
    let _ = reference.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    #[cfg(target_os = "linux")]
    let _ = reference.set_tcp_notsent_lowat(portway_mux::UNSENT);
    TlsConnector::from(config).connect(name, ReadAhead::new(socket)).await.map_err(|source| {
        let text = source.to_string();
        let hint = if text.contains("UnknownIssuer") {
            " (its certificate is signed by a CA that is not trusted here: set connect_cas, or join the edge with `config join`)"
        } else if text.contains("InvalidContentType") {
            " (what listens there speaks no TLS: is it the address for agents?)"
        } else if text.contains("NotValidYet") {
            " (is the clock of this machine right?)"
        } else {
            ""
        };
        DialError::Tls {
            address: address.to_owned(),
            source,
            hint,
        }
    })
}

/// Host, without brackets, and port.
pub(crate) fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// The addresses of a host, both families in turns, the system's first one first.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    let fail = |reason: String| DialError::Resolve {
        host: host.to_owned(),
        reason,
    };
    // Not every resolver knows that these are this machine (RFC 6761 §6.3).
    let asked = match host.strip_suffix(".localhost") {
        Some(_) => "localhost",
        None => host,
    };
    let found = timeout(RESOLVE, lookup_host((asked, port))).await;
    let found = found.map_err(|_| fail("no answer in time".into()))?;
    let addresses: Vec<_> = found.map_err(|error| fail(error.to_string()))?.collect();
    let Some(first) = addresses.first() else {
        return Err(fail("it has no address".into()));
    };
    let (mut one, mut other): (Vec<_>, Vec<_>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first.is_ipv6());
    one.reverse();
    other.reverse();
    let mut turns = Vec::with_capacity(addresses.len());
    while let Some(next) = one.pop().or_else(|| other.pop()) {
        turns.push(next);
        turns.extend(other.pop());
    }
    Ok(turns)
}

/// The first address that answers; each gets a head start before the next is tried too.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            running.push(TcpStream::connect(*address));
        }
        let head_start = async {
            if waiting.len() > 0 {
                sleep(STAGGER).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            done = running.next() => match done {
                Some(Ok(socket)) => return Ok(socket),
                Some(Err(error)) => last = error,
                None => return Err(last),
            },
            () = head_start => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split() {
        for (text, wanted) in [
            ("h:443", Some(("h", 443))),
            ("[::1]:7", Some(("::1", 7))),
            ("h", None),
            ("h:0", None),
            ("h:x", None),
            (":1", None),
        ] {
            let wanted = wanted.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(split(text), wanted, "{text}");
        }
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_keep_from_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        assert_eq!(
            race(&[closed, there]).await.unwrap().peer_addr().unwrap(),
            there
        );
        assert_eq!(
            race(&[closed]).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
