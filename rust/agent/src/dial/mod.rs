//! Reaching the edge (agent-behaviour §2): names resolved, addresses tried side by side, proxies,
//! TLS.

mod fetch;
mod happy;
mod kept;
mod proxy;
mod published;
mod resolve;
mod road;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use portway_mux::ReadAhead;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use self::happy::{Found, race};
pub(crate) use self::proxy::Proxy;
use self::published::Published;
pub(crate) use self::resolve::{Names, Source};
pub(crate) use self::road::Road;
use crate::plan::{Cas, EdgeAddress};
use crate::trust;

const KEEPALIVE: Duration = Duration::from_secs(30);

/// TLS to an edge.
pub(crate) type EdgeStream = TlsStream<ReadAhead<Road>>;

/// What went wrong on the way to an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("cannot resolve {host}: {reason}")]
    Resolve { host: String, reason: String },
    #[error("cannot reach {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("TLS with {address} failed: {reason}")]
    Tls { address: String, reason: String },
    #[error("{address} did not answer within {limit:?}")]
    Slow { address: String, limit: Duration },
    #[error("{0:?} is no address of an edge: write host:port")]
    Address(String),
    /// `login`: it wants other credentials.
    #[error("{proxy}: {reason}")]
    Proxy {
        proxy: String,
        reason: String,
        login: bool,
    },
    #[error("{source}, through {proxy}")]
    Through {
        proxy: String,
        source: Box<DialError>,
    },
}

/// Opens connections to an edge, and to what else the agent needs to reach it.
pub(crate) struct Dialer {
    proxy: Option<Proxy>,
    interface: Option<String>,
    names: Names,
    published: Option<Box<Published>>,
    /// Whom the edge is trusted by.
    cas: Cas,
    limit: Duration,
    /// What was reached last, by host: with that the next race begins.
    reached: Mutex<HashMap<String, IpAddr>>,
}

// === impl Dialer ===

impl Dialer {
    /// `limit`: for connecting, proxy and TLS together.
    pub(crate) fn new(edge: &EdgeAddress, limit: Duration) -> Self {
        Self {
            proxy: edge.proxy.clone().map(Proxy::new),
            interface: edge.interface.clone(),
            names: Names::new(&edge.dns),
            published: Published::new(edge),
            cas: edge.cas.clone(),
            limit,
            reached: Mutex::default(),
        }
    }

    /// What the Auth message says of the proxy on the way to this address; nothing for none.
    pub(crate) fn proxy_kind(&self, address: &str) -> &'static str {
        let proxy = split(address).and_then(|(host, port)| self.proxy_for(&host, port));
        proxy.map_or("", Proxy::kind)
    }

    /// A TLS connection to the edge at `host:port`.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn edge(
        &self,
        address: &str,
        config: Arc<ClientConfig>,
    ) -> Result<EdgeStream, DialError> {
        let wrong = || DialError::Address(address.to_owned());
        let (host, port) = split(address).ok_or_else(wrong)?;
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        let secure = |road| tls(address, &name, &config, road).boxed();
        self.open(address, &host, port, secure).await
    }

    /// A session with the edge at this address stands: how it was reached is kept.
    pub(crate) async fn worked(&self, address: &str) {
        let Some((host, port)) = split(address) else {
            return;
        };
        let reached = self.reached.lock().get(&host).copied();
        if let Some(reached) = reached
            && self.proxy_for(&host, port).is_none()
            && self.names.sources(&host).contains(&Source::Kept)
        {
            let mut addresses = vec![reached];
            let earlier = self.names.kept.of(&host).await;
            addresses.extend(earlier.into_iter().filter(|address| *address != reached));
            self.names.kept.keep(host, addresses).await;
        }
    }

    fn proxy_for(&self, host: &str, port: u16) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| proxy.is_for(host, port))
    }

    /// A connection to a host and what `finish` makes of it, within the limit. `address`: as
    /// errors show it.
    async fn open<'f, T>(
        &self,
        address: &str,
        host: &str,
        port: u16,
        finish: impl Fn(Road) -> BoxFuture<'f, Result<T, DialError>>,
    ) -> Result<T, DialError> {
        if let Some(proxy) = self.proxy_for(host, port) {
            return self.through(proxy, address, host, port, finish).await;
        }
        let mut failed = None;
        let mut reasons = Vec::new();
        let mut tried = Vec::new();
        for source in self.names.sources(host) {
            let started = Instant::now();
            let asked = match (source, &self.published) {
                (Source::Published, Some(published)) => published.of(host).await,
                _ => self.names.ask(source, host, || self.tls_of_others()).await,
            };
            if !matches!(source, Source::Literal(_)) {
                let err = asked.as_ref().err().map_or("nil", String::as_str);
                tracing::debug!(obj = "tunnels.session", host, resolver = %source, dur = ?started.elapsed(), err, "resolve");
            }
            let found = match asked {
                Ok(found) => found,
                Err(reason) => {
                    reasons.push((source, reason));
                    continue;
                }
            };
            if !reasons.is_empty() {
                tracing::info!(obj = "tunnels.session", host, by = %source, "name resolved by other means");
            }
            let attempt = async {
                let socket = self.race(host, port, address, found, &mut tried).await?;
                match socket {
                    Some(socket) => finish(Road::Plain(socket)).await.map(Some),
                    None => Ok(None),
                }
            };
            let slow = || DialError::Slow {
                address: address.to_owned(),
                limit: self.limit,
            };
            match timeout(self.limit, attempt).await {
                Ok(Ok(Some(done))) => return Ok(done),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(slow()),
            }
        }
        Err(failed.unwrap_or_else(|| unresolved(host, &reasons)))
    }

    /// Nothing: all these addresses have been tried already.
    async fn race(
        &self,
        host: &str,
        port: u16,
        address: &str,
        mut found: Found,
        tried: &mut Vec<IpAddr>,
    ) -> Result<Option<TcpStream>, DialError> {
        found.favourite = self.reached.lock().get(host).copied();
        let started = Instant::now();
        let raced = happy::race(found, port, self.interface.as_deref(), tried).await;
        step(
            "dial",
            address,
            started,
            raced.as_ref().err().map(|failed| {
                failed.as_ref().map_or_else(
                    || "nothing to try".into(),
                    |(at, error)| format!("{at}: {error}"),
                )
            }),
        );
        match raced {
            Ok(socket) => {
                settle(&socket);
                if let Ok(peer) = socket.peer_addr() {
                    self.reached.lock().insert(host.to_owned(), peer.ip());
                }
                Ok(Some(socket))
            }
            Err(None) => Ok(None),
            Err(Some((at, source))) => {
                let place = at.to_string();
                let address = if place == address {
                    place
                } else {
                    format!("{address} ({})", at.ip())
                };
                Err(DialError::Connect { address, source })
            }
        }
    }

    async fn through<'f, T>(
        &self,
        proxy: &Proxy,
        address: &str,
        host: &str,
        port: u16,
        finish: impl Fn(Road) -> BoxFuture<'f, Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let attempt = async {
            let started = Instant::now();
            let road = async {
                let socket = self.reach(proxy).await?;
                proxy.pass(socket, host, port).await
            };
            let road = road.await;
            let err = road.as_ref().err();
            let err = err.map_or_else(nil, ToString::to_string);
            tracing::debug!(obj = "tunnels.session", addr = address, via = proxy.shown(), dur = ?started.elapsed(), err, "proxy");
            let road = road?;
            let through = |source| DialError::Through {
                proxy: proxy.shown().to_owned(),
                source: Box::new(source),
            };
            finish(road).await.map_err(through)
        };
        let slow = |_| {
            let limit = self.limit;
            proxy.fail(format!("no connection to {address} within {limit:?}"))
        };
        timeout(self.limit, attempt).await.map_err(slow)?
    }

    async fn reach(&self, proxy: &Proxy) -> Result<TcpStream, DialError> {
        let (place, port) = proxy.place();
        let source = match place.parse() {
            Ok(ip) => Source::Literal(ip),
            // Of the name of a proxy nobody outside knows.
            Err(_) => Source::System,
        };
        let found = self.names.ask(source, place, || Err(String::new())).await;
        let found =
            found.map_err(|reason| proxy.fail(format!("cannot resolve its name: {reason}")))?;
        let interface = self.interface.as_deref();
        let socket = happy::race(found, port, interface, &mut Vec::new()).await;
        let socket = socket.map_err(|error| match error {
            Some((_, error)) => proxy.fail(format!("cannot reach it: {error}")),
            None => proxy.fail("it has no address"),
        })?;
        settle(&socket);
        Ok(socket)
    }

    /// A connection to an HTTP proxy itself, for a request that it passes on.
    async fn to_proxy(&self, proxy: &Proxy) -> Result<Road, DialError> {
        let attempt = async {
            let socket = self.reach(proxy).await?;
            proxy.itself(socket).await
        };
        let slow = |_| proxy.fail(format!("no connection to it within {:?}", self.limit));
        timeout(self.limit, attempt).await.map_err(slow)?
    }

    /// TLS towards others than the edge.
    fn tls_of_others(&self) -> Result<Arc<ClientConfig>, String> {
        trust::public(&self.cas).map_err(|error| error.to_string())
    }
}

// === impl DialError ===

impl DialError {
    /// A proxy on the way does not take us as we are.
    pub(crate) fn is_login(&self) -> bool {
        matches!(self, Self::Proxy { login: true, .. })
    }
}

fn unresolved(host: &str, reasons: &[(Source, String)]) -> DialError {
    let reason = match reasons {
        [(_, reason)] | [(_, reason), (Source::Kept, _)] => reason.clone(),
        several => {
            let told = several
                .iter()
                .map(|(source, reason)| format!("{source}: {reason}"));
            told.collect::<Vec<_>>().join("; ")
        }
    };
    DialError::Resolve {
        host: host.to_owned(),
        reason,
    }
}

/// One step of the way, for who looks for what takes so long or fails.
fn step(name: &str, address: &str, started: Instant, error: Option<String>) {
    let err = error.unwrap_or_else(nil);
    tracing::debug!(obj = "tunnels.session", addr = address, dur = ?started.elapsed(), err, "{name}");
}

fn nil() -> String {
    "nil".into()
}

fn settle(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let reference = SockRef::from(socket);
    let _ = reference.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    #[cfg(target_os = "linux")]
    let _ = reference.set_tcp_notsent_lowat(portway_mux::UNSENT);
}

async fn tls(
    address: &str,
    name: &ServerName<'static>,
    config: &Arc<ClientConfig>,
    road: Road,
) -> Result<EdgeStream, DialError> {
    let connector = TlsConnector::from(config.clone());
    let started = Instant::now();
    let connected = connector.connect(name.clone(), ReadAhead::new(road)).await;
    step(
        "tls",
        address,
        started,
        connected.as_ref().err().map(ToString::to_string),
    );
    connected.map_err(|error| DialError::Tls {
        address: address.to_owned(),
        reason: trust::why(&error),
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

/// The other way round.
fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
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
            if let Some((host, port)) = wanted {
                assert_eq!(host_port(&host, port), text);
            }
        }
    }
}
