//! Upstreams: what they are, and a connection to one (agent-behaviour §4.1).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::file::FileRoot;
use crate::dial::split;
use crate::plan::EndpointPlan;
use crate::trust::{self, TrustError};

/// A name's resolution and all its addresses together.
const DIAL: Duration = Duration::from_secs(10);
/// Between the starts of attempts at several addresses (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
const HANDSHAKE: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(15);
/// What `localhost` means.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];
/// How long a resolved name is believed.
const RESOLVED: Duration = Duration::from_secs(1);

/// Where an endpoint's visitors go.
#[derive(Debug)]
pub(crate) enum Upstream {
    Tcp(Host),
    Tls {
        host: Host,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
        http2: bool,
    },
    Unix(PathBuf),
    Folder(Arc<FileRoot>),
}

/// A host and port, resolved when they are needed.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    port: u16,
    resolved: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

/// A connection of any of these kinds.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Why there is no connection; a cause for people.
#[derive(Debug)]
pub(crate) struct Unreachable(pub(crate) String);

// === impl Upstream ===

impl Upstream {
    /// Reads the normalised text of a plan.
    ///
    /// # Errors
    /// [`TrustError`] with what cannot be used: the text itself, a folder, CAs.
    pub(crate) fn of(plan: &EndpointPlan) -> Result<Self, TrustError> {
        let text = plan.upstream.as_str();
        let bad = |why: &str| TrustError(format!("the upstream {text:?} of {} {why}", plan.name));
        if let Some(path) = text.strip_prefix("file://") {
            let root = FileRoot::open(path.as_ref(), plan.listing);
            return root
                .map(|root| Self::Folder(Arc::new(root)))
                .map_err(|error| bad(&format!("cannot be served: {error}")));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if cfg!(not(unix)) {
                return Err(bad("is a unix socket, which this system has not"));
            }
            return Ok(Self::Unix(path.into()));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let secure = matches!(scheme, "https" | "tls");
        let default = match scheme {
            "http" => ":80",
            "https" | "tls" => ":443",
            _ => "",
        };
        let with_port = format!("{rest}{default}");
        let parts = split(rest).or_else(|| split(&with_port));
        let (host, port) = parts.ok_or_else(|| bad("is no address: write host:port"))?;
        let target = Host {
            name: host.clone(),
            port,
            resolved: Mutex::default(),
        };
        // On a tls endpoint the visitor's own TLS goes through; TLS in TLS is nobody's wish.
        let passes_through = plan.proto == "tls"
            && plan.agent_tls.is_none()
            && !plan.opts.contains_key("TLSTermination");
        if !secure || passes_through {
            return Ok(Self::Tcp(target));
        }
        let http2 = plan.upstream_protocol == "http2";
        Ok(Self::Tls {
            name: ServerName::try_from(host).map_err(|_| bad("has no valid host"))?,
            config: trust::upstream(plan.tls_verify, plan.tls_verify_cas.as_deref(), http2)?,
            host: target,
            http2,
        })
    }

    /// Host and port, where it is one of the network.
    pub(crate) fn host(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp(host) | Self::Tls { host, .. } => Some((&host.name, host.port)),
            Self::Unix(_) | Self::Folder(_) => None,
        }
    }

    /// A connection; `before_tls` is written in the clear first (a PROXY header).
    pub(crate) async fn connect(&self, before_tls: &[u8]) -> Result<Connection, Unreachable> {
        match self {
            Self::Tcp(host) => host.connect().await.map(Connection::Tcp),
            Self::Tls {
                host,
                name,
                config,
                http2,
            } => {
                let mut socket = host.connect().await?;
                let handshake = async {
                    socket.write_all(before_tls).await?;
                    let connector = TlsConnector::from(config.clone());
                    connector.connect(name.clone(), socket).await
                };
                let shaken = timeout(HANDSHAKE, handshake).await;
                let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                let tls = shaken.map_err(|error| tls_cause(&error))?;
                if *http2 && tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(Unreachable("it does not speak HTTP/2 over TLS".into()));
                }
                Ok(Connection::Tls(Box::new(tls)))
            }
            #[cfg(unix)]
            Self::Unix(path) => {
                let connected = tokio::net::UnixStream::connect(path).await;
                connected
                    .map(Connection::Unix)
                    .map_err(|error| cause(&error))
            }
            #[cfg(not(unix))]
            Self::Unix(path) => Err(Unreachable(format!(
                "there are no unix sockets here, so {} is none",
                path.display()
            ))),
            Self::Folder(_) => Err(Unreachable("a folder is not connected to".into())),
        }
    }
}

// === impl Host ===

impl Host {
    async fn connect(&self) -> Result<TcpStream, Unreachable> {
        let dialled = timeout(DIAL, self.dial()).await;
        let socket = dialled.unwrap_or_else(|_| Err(late()))?;
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        Ok(socket)
    }

    /// Every address is tried: a service that listens on one family only is found on it, and an
    /// address that swallows everything holds up the next for a moment only.
    async fn dial(&self) -> Result<TcpStream, Unreachable> {
        let mut waiting = self.addresses().await?.into_iter();
        let mut running = FuturesUnordered::new();
        let mut last = Unreachable("its name has no address".into());
        loop {
            match waiting.next() {
                Some(address) => running.push(TcpStream::connect(address)),
                None if running.is_empty() => return Err(last),
                None => {}
            }
            let more = waiting.len() > 0;
            tokio::select! {
                biased;
                Some(done) = running.next() => match done {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = cause(&error),
                },
                () = sleep(STAGGER), if more => {}
            }
        }
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Unreachable> {
        if let Some((since, addresses)) = &*self.resolved.lock()
            && since.elapsed() < RESOLVED
        {
            return Ok(addresses.clone());
        }
        let found: Vec<_> = match lookup_host((self.name.as_str(), self.port)).await {
            Ok(found) => found.collect(),
            // This machine, also where no file of names says so (RFC 6761 §6.3).
            Err(_) if self.name.eq_ignore_ascii_case("localhost") => LOOPBACK
                .map(|address| SocketAddr::new(address, self.port))
                .into(),
            Err(_) => {
                let why = format!("the name {} cannot be resolved", self.name);
                return Err(Unreachable(why));
            }
        };
        *self.resolved.lock() = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

fn late() -> Unreachable {
    Unreachable("it did not answer in time".into())
}

/// In words that are the same on all systems.
fn cause(error: &io::Error) -> Unreachable {
    Unreachable(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there".into(),
        io::ErrorKind::NotFound => "there is no such socket".into(),
        io::ErrorKind::TimedOut => return late(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "the network does not reach it".into()
        }
        _ if is_out_of_files(error) => {
            "the agent has too many files open; its limit (ulimit -n) must be raised".into()
        }
        _ => error.to_string(),
    })
}

/// EMFILE, ENFILE; on Windows WSAEMFILE.
fn is_out_of_files(error: &io::Error) -> bool {
    let numbers: &[i32] = if cfg!(windows) { &[10024] } else { &[23, 24] };
    error
        .raw_os_error()
        .is_some_and(|number| numbers.contains(&number))
}

fn tls_cause(error: &io::Error) -> Unreachable {
    use rustls::{CertificateError as Wrong, Error, InvalidMessage};
    let known = error.get_ref().and_then(|inner| inner.downcast_ref());
    let hint = match known {
        Some(Error::InvalidCertificate(Wrong::UnknownIssuer)) => {
            " (give its CA with --upstream-tls-verify-cas, or leave --upstream-tls-verify out)"
        }
        Some(Error::InvalidCertificate(
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. },
        )) => {
            " (its certificate is for another name: dial it by that, or leave --upstream-tls-verify out)"
        }
        Some(Error::InvalidCertificate(_)) => {
            " (renew its certificate, or leave --upstream-tls-verify out)"
        }
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            " (it does not speak TLS: use http:// instead of https://)"
        }
        _ if error.kind() == io::ErrorKind::TimedOut => {
            return Unreachable("TLS failed: it did not answer in time".into());
        }
        _ => "",
    };
    Unreachable(format!("TLS failed: {error}{hint}"))
}

// === impl Connection ===

impl Connection {
    /// The address at its other end, where it is one of the network.
    pub(crate) fn address(&self) -> Option<String> {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
            #[cfg(unix)]
            Self::Unix(_) => return None,
        };
        socket.peer_addr().ok().map(|address| address.to_string())
    }
}

portway_mux::pass_on_each!(Connection {
    Tcp,
    Tls,
    #[cfg(unix)]
    Unix,
});
