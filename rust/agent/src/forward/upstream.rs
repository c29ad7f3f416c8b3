//! Upstreams: what they are, and a connection to one (agent-behaviour §4.1).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::file::FileRoot;
use crate::dial::split;
use crate::plan::EndpointPlan;
use crate::trust::{self, TrustError};

const DIAL: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(15);
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
        match timeout(DIAL * 2, self.dial(before_tls)).await {
            Ok(connected) => connected,
            Err(_) => Err(Unreachable("it did not answer in time".into())),
        }
    }

    async fn dial(&self, before_tls: &[u8]) -> Result<Connection, Unreachable> {
        match self {
            Self::Tcp(host) => host.connect().await.map(Connection::Tcp),
            Self::Tls {
                host,
                name,
                config,
                http2,
            } => {
                let mut socket = host.connect().await?;
                if !before_tls.is_empty() {
                    let written = socket.write_all(before_tls).await;
                    written.map_err(|error| Unreachable(error.to_string()))?;
                }
                let shaken = TlsConnector::from(config.clone())
                    .connect(name.clone(), socket)
                    .await;
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
            Self::Unix(_) => Err(Unreachable("there are no unix sockets here".into())),
            Self::Folder(_) => Err(Unreachable("a folder is not connected to".into())),
        }
    }
}

// === impl Host ===

impl Host {
    /// Every address is tried: a service that listens on one family only is found on it.
    async fn connect(&self) -> Result<TcpStream, Unreachable> {
        let mut last = Unreachable("its name has no address".into());
        for address in self.addresses().await? {
            match timeout(DIAL, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    let _ = socket.set_nodelay(true);
                    let _ = SockRef::from(&socket)
                        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
                    return Ok(socket);
                }
                Ok(Err(error)) => last = cause(&error),
                Err(_) => last = Unreachable("it did not answer in time".into()),
            }
        }
        Err(last)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Unreachable> {
        if let Some((since, addresses)) = &*self.resolved.lock()
            && since.elapsed() < RESOLVED
        {
            return Ok(addresses.clone());
        }
        let found = lookup_host((self.name.as_str(), self.port)).await;
        let found: Vec<_> = found
            .map_err(|_| Unreachable(format!("the name {} cannot be resolved", self.name)))?
            .collect();
        *self.resolved.lock() = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

/// In words that are the same on all systems.
fn cause(error: &io::Error) -> Unreachable {
    Unreachable(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there".into(),
        io::ErrorKind::NotFound => "there is no such socket".into(),
        io::ErrorKind::TimedOut => "it did not answer in time".into(),
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
    let text = error.to_string();
    let hint = if text.contains("UnknownIssuer") {
        " (give its CA with --upstream-tls-verify-cas, or leave --upstream-tls-verify out)"
    } else if text.contains("InvalidContentType") {
        " (it does not speak TLS: use http:// instead of https://)"
    } else {
        ""
    };
    Unreachable(format!("TLS failed: {text}{hint}"))
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
