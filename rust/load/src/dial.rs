//! Connections to the endpoint, and why there is none. The reasons are words that Python has
//! sentences for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::plan::Target;

/// How long a connection may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) type Body = BoxBody<Bytes, std::convert::Infallible>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("name not found")]
    Name,
    #[error("connection refused")]
    Refused,
    #[error("no answer in time")]
    Late,
    #[error("certificate not trusted: {0}")]
    Untrusted(String),
    #[error("no TLS: {0}")]
    NoTls(String),
    #[error("connection lost")]
    Lost,
    #[error("status {0}")]
    Status(u16),
    #[error("{0}")]
    Other(String),
}

pub(crate) struct Dialer {
    address: String,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// One connection of HTTP/1.1.
pub(crate) struct Link {
    sender: SendRequest<Body>,
    driver: tokio::task::JoinHandle<()>,
}

// === impl Failure

impl Failure {
    /// One word for programs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Untrusted(_) => "untrusted",
            Self::NoTls(_) => "no_tls",
            Self::Lost => "lost",
            Self::Status(_) => "status",
            Self::Other(_) => "other",
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Late,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Lost,
            _ => Self::Other(error.to_string()),
        }
    }

    fn of_tls(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Untrusted(format!("{why}")),
            Some(other) => Self::NoTls(other.to_string()),
            None => Self::of_io(error),
        }
    }

    fn of_http(error: &hyper::Error) -> Self {
        if error.is_parse() {
            Self::Other("the answer is no HTTP".into())
        } else {
            Self::Lost
        }
    }
}

// === impl Dialer

impl Dialer {
    pub(crate) fn new(target: &Target) -> Result<Self, String> {
        let address = target.connect.clone().unwrap_or_else(|| {
            if target.host.contains(':') {
                format!("[{}]:{}", target.host, target.port)
            } else {
                format!("{}:{}", target.host, target.port)
            }
        });
        let tls = if target.tls {
            let name = ServerName::try_from(target.host.clone())
                .map_err(|_| format!("{} is no name TLS can be used with", target.host))?;
            Some((
                TlsConnector::from(Arc::new(trusting(target.ca_pem.as_deref())?)),
                name,
            ))
        } else {
            None
        };
        Ok(Self {
            address,
            authority: target.authority.clone(),
            path: target.path.clone(),
            tls,
        })
    }

    pub(crate) async fn connect(&self) -> Result<Link, Failure> {
        timeout(PATIENCE, self.dial())
            .await
            .unwrap_or(Err(Failure::Late))
    }

    async fn dial(&self) -> Result<Link, Failure> {
        let addresses = tokio::net::lookup_host(&self.address)
            .await
            .map_err(|_| Failure::Name)?;
        let mut last = Failure::Name;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Only latency suffers where it is not to be had.
                    let _ = stream.set_nodelay(true);
                    return match &self.tls {
                        None => link(stream).await,
                        Some((tls, name)) => {
                            let stream = tls
                                .connect(name.clone(), stream)
                                .await
                                .map_err(|error| Failure::of_tls(&error))?;
                            link(stream).await
                        }
                    };
                }
                Err(error) => last = Failure::of_io(&error),
            }
        }
        Err(last)
    }

    /// A request without a body.
    pub(crate) fn get(&self, path: Option<&str>) -> Result<Request<Body>, Failure> {
        self.request("GET", path, Empty::new().boxed())
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: Option<&str>,
        body: Body,
    ) -> Result<Request<Body>, Failure> {
        Request::builder()
            .method(method)
            .uri(path.unwrap_or(&self.path))
            .header("host", &self.authority)
            .header("user-agent", "portway-bench")
            .body(body)
            .map_err(|error| Failure::Other(error.to_string()))
    }
}

async fn link<S>(stream: S) -> Result<Link, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::of_http(&error))?;
    let driver = tokio::spawn(async {
        // Its error shows at the request that met it.
        let _ = connection.await;
    });
    Ok(Link { sender, driver })
}

// === impl Link

impl Link {
    /// Sends a request; the answer's head.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let answer = async {
            self.sender
                .ready()
                .await
                .map_err(|error| Failure::of_http(&error))?;
            self.sender
                .send_request(request)
                .await
                .map_err(|error| Failure::of_http(&error))
        };
        let answer = timeout(PATIENCE, answer)
            .await
            .unwrap_or(Err(Failure::Late))?;
        if answer.status().as_u16() >= 400 {
            return Err(Failure::Status(answer.status().as_u16()));
        }
        Ok(answer)
    }

    /// The same for an upload, which takes as long as it takes.
    pub(crate) async fn send_patiently(&mut self, request: Request<Body>) -> Result<u16, Failure> {
        let answer = self
            .sender
            .send_request(request)
            .await
            .map_err(|error| Failure::of_http(&error))?;
        let status = answer.status().as_u16();
        drained(answer).await?;
        Ok(status)
    }

    /// A whole exchange; what came is thrown away.
    pub(crate) async fn exchange(&mut self, request: Request<Body>) -> Result<(), Failure> {
        let answer = self.send(request).await?;
        timeout(PATIENCE, drained(answer))
            .await
            .unwrap_or(Err(Failure::Late))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drained(answer: Response<Incoming>) -> Result<(), Failure> {
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| Failure::of_http(&error))?;
    }
    Ok(())
}

/// Whom TLS trusts: the CA that was named, else the system's and the public ones.
fn trusting(ca_pem: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("cannot use the CA: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("cannot use the CA: {error}"))?;
        }
        if roots.is_empty() {
            return Err("cannot use the CA: there is no certificate in it".into());
        }
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
