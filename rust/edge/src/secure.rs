//! The door for TLS visitors (edge.md §6): the name in the ClientHello decides between an https
//! endpoint, a tls endpoint whose bytes go through untouched, and one where the edge ends TLS. Where
//! agents share the port, it tells them too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use portway_mux::copy::{Joint, join};
use portway_wire::Scheme;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::core::Core;
use crate::endpoint::{Endpoint, Visit};
use crate::http::serve::{self, Handshake};
use crate::ingress;
use crate::listen::Visitor;
use crate::metrics::{Door, Turned};
use crate::registry::Pick;
use crate::transport::{Rewound, of_an_agent};

/// Bytes of a ClientHello, with all its extensions.
const LARGEST_HELLO: usize = 64 * 1024;
/// SNI of agents on a port they share with visitors.
const AGENT_NAME: &str = "connect.";

/// What a ClientHello asks for.
struct Hello {
    name: Option<String>,
    /// The bytes themselves, and what came behind them.
    bytes: Bytes,
}

/// Serves a TLS visitor.
pub(crate) async fn serve(core: Arc<Core>, visitor: Visitor, mut io: TcpStream) {
    let limit = core.config.load().limits.handshake_timeout;
    let hello = match timeout(limit, read_hello(&visitor.first, &mut io)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(_)) => return core.metrics.turned(Door::Https, Turned::Garbage),
        Err(_) => return core.metrics.turned(Door::Https, Turned::Slow),
    };
    let io = Rewound::new(hello.bytes, io);
    let Some(name) = hello.name else {
        return nameless(core, visitor, io).await;
    };
    if core.config.load().shares_port() && is_agent_name(&core, &name) {
        return agent(core, visitor, io).await;
    }
    if let Some(endpoint) = find(&core, Scheme::Tls, &name).await {
        return tls_endpoint(core, visitor, io, endpoint).await;
    }
    // Client certificates are asked for by the name in the hello; nothing else is open then.
    let strict = find(&core, Scheme::Https, &name)
        .await
        .filter(|endpoint| endpoint.tls.is_some());
    let config = strict.as_ref().and_then(|endpoint| endpoint.tls.clone());
    let config = config.unwrap_or_else(|| core.https());
    if let Some(tls) = handshake(&core, &visitor, config, io).await {
        let settled = Handshake {
            name: Some(name),
            h2: is_h2(&tls),
            verified: strict,
        };
        serve::secure(core, &visitor, tls, settled).await;
    }
}

/// No name: a visitor of an address, or an agent that dialled one. The first byte inside TLS tells
/// them apart: a frame of an agent begins with a zero, a request with a letter.
async fn nameless(core: Arc<Core>, visitor: Visitor, io: Rewound<TcpStream>) {
    if !core.config.load().shares_port() {
        if let Some(tls) = handshake(&core, &visitor, core.https(), io).await {
            let settled = Handshake {
                h2: is_h2(&tls),
                ..Handshake::default()
            };
            serve::secure(core, &visitor, tls, settled).await;
        }
        return;
    }
    let Ok(config) = core.certificates.for_agent(visitor.local.ip()) else {
        return;
    };
    let (first, io) = io.into_parts();
    let (io, quick) = of_an_agent(first, io);
    let Some(mut tls) = handshake(&core, &visitor, config, io).await else {
        return;
    };
    let mut first = BytesMut::with_capacity(1024);
    let limit = core.config.load().limits.handshake_timeout;
    match timeout(limit, tls.read_buf(&mut first)).await {
        Ok(Ok(1..)) if first[0] == 0 => {
            let io = Rewound::new(first.freeze(), tls);
            ingress::run(core, visitor, io, quick).await;
        }
        Ok(Ok(1..)) => {
            quick.store(false, Ordering::Relaxed);
            let io = Rewound::new(first.freeze(), tls);
            serve::secure(core, &visitor, io, Handshake::default()).await;
        }
        Ok(_) => {}
        Err(_) => core.metrics.turned(Door::Https, Turned::Slow),
    }
}

async fn agent(core: Arc<Core>, visitor: Visitor, io: Rewound<TcpStream>) {
    let Ok(config) = core.certificates.for_agent(visitor.local.ip()) else {
        return;
    };
    let (first, io) = io.into_parts();
    let (io, quick) = of_an_agent(first, io);
    if let Some(tls) = handshake(&core, &visitor, config, io).await {
        ingress::run(core, visitor, tls, quick).await;
    }
}

/// A tls endpoint: untouched, or plain bytes for the agent.
async fn tls_endpoint(
    core: Arc<Core>,
    visitor: Visitor,
    io: Rewound<TcpStream>,
    endpoint: Arc<Endpoint>,
) {
    if !endpoint.chain.admits(visitor.from.ip()) {
        return;
    }
    let visit = Visit {
        visitor: visitor.from,
        local: visitor.local,
        passthrough_tls: endpoint.tls.is_none(),
    };
    let idle = Some(core.config.load().limits.tcp_idle_timeout);
    let joint = Joint {
        half_close: true,
        idle,
    };
    let copied = match endpoint.tls.clone() {
        None => {
            let (first, io) = io.into_parts();
            match endpoint.connect(visit, &first).await {
                Ok(stream) => join(io, stream, joint).await,
                Err(code) => return core.metrics.failed(code),
            }
        }
        Some(config) => {
            let Some(tls) = handshake(&core, &visitor, config, io).await else {
                return;
            };
            match endpoint.connect(visit, &[]).await {
                Ok(stream) => join(tls, stream, joint).await,
                Err(code) => return core.metrics.failed(code),
            }
        }
    };
    visitor.copied(&core, &endpoint, &copied);
}

async fn handshake<T: AsyncRead + AsyncWrite + Unpin>(
    core: &Core,
    visitor: &Visitor,
    config: Arc<ServerConfig>,
    io: T,
) -> Option<tokio_rustls::server::TlsStream<T>> {
    let limit = core.config.load().limits.handshake_timeout;
    match timeout(limit, TlsAcceptor::from(config).accept(io)).await {
        Ok(Ok(tls)) => Some(tls),
        Ok(Err(error)) => {
            core.metrics.turned(Door::Https, Turned::Garbage);
            tracing::debug!(obj = "tls", r = %visitor.from, err = %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            core.metrics.turned(Door::Https, Turned::Slow);
            None
        }
    }
}

fn is_h2<T>(tls: &tokio_rustls::server::TlsStream<T>) -> bool {
    tls.get_ref().1.alpn_protocol() == Some(b"h2")
}

async fn find(core: &Core, scheme: Scheme, name: &str) -> Option<Arc<Endpoint>> {
    match core.registry.find(scheme, name)?.pick() {
        Pick::Ready(endpoint) => Some(endpoint),
        Pick::Soon(endpoint) => endpoint.live().await.then_some(endpoint),
        Pick::Nothing => None,
    }
}

fn is_agent_name(core: &Core, name: &str) -> bool {
    let config = core.config.load();
    name.strip_prefix(AGENT_NAME)
        .is_some_and(|rest| config.domains.iter().any(|domain| domain == rest))
}

/// Reads until the ClientHello is whole, and keeps all bytes for whoever goes on.
async fn read_hello(first: &Bytes, io: &mut TcpStream) -> io::Result<Hello> {
    let mut bytes = BytesMut::from(&first[..]);
    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    loop {
        while fed < bytes.len() {
            let mut rest = &bytes[fed..];
            fed += acceptor.read_tls(&mut rest)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted
                    .client_hello()
                    .server_name()
                    .map(str::to_ascii_lowercase);
                return Ok(Hello {
                    name,
                    bytes: bytes.freeze(),
                });
            }
            Ok(None) if bytes.len() < LARGEST_HELLO => {}
            Ok(None) => return Err(io::ErrorKind::InvalidData.into()),
            Err((error, mut alert)) => {
                let mut message = Vec::new();
                if alert.write(&mut message).is_ok() {
                    let _ = io.write_all(&message).await;
                }
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        if io.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
