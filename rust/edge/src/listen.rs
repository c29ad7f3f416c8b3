//! Accepting connections: limits, the PROXY header of a load balancer, and what is known of who
//! connects.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use portway_mux::copy::Copied;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::core::{Core, Stage};
use crate::endpoint::Endpoint;
use crate::gate::Place;
use crate::metrics::{Door, Turned};
use crate::transport::read_proxy_header;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Pause after an accept that failed, as it does without free file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the door.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// As a PROXY header told, where one is expected.
    pub from: SocketAddr,
    pub local: SocketAddr,
    /// Read already.
    pub first: Bytes,
    place: Place,
}

// === impl Visitor ===

impl Visitor {
    /// Counts and logs a connection that carried plain bytes.
    pub(crate) fn copied(&self, core: &Core, endpoint: &Endpoint, copied: &Copied) {
        core.metrics
            .bytes_in
            .fetch_add(copied.sent, Ordering::Relaxed);
        core.metrics
            .bytes_out
            .fetch_add(copied.received, Ordering::Relaxed);
        tracing::debug!(
            obj = "visitor",
            url = %endpoint.url,
            r = %self.from,
            r#in = copied.sent,
            out = copied.received,
            err = copied.error.as_ref().map_or_else(|| "nil".into(), ToString::to_string),
            "connection closed"
        );
    }
}

/// A listening socket; a port that was just given up can be used again.
///
/// # Errors
/// As the operating system says, `AddrInUse` above all.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the edge drains, and serves each connection in a task of its own.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    core: Arc<Core>,
    door: Door,
    serve: fn(Arc<Core>, Visitor, TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(local) = listener.local_addr() else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.reached(Stage::Draining) => return,
        };
        let (io, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(obj = "listener", addr = %local, err = %error, "cannot accept");
                sleep(PAUSE).await;
                continue;
            }
        };
        let limits = core.config.load().limits.clone();
        let gate = &core.gates[door as usize];
        let Some(place) = gate.admit(limits.connections) else {
            core.metrics.turned(door, Turned::Limit);
            continue;
        };
        let tracker = match door {
            Door::Agent => core.agents.clone(),
            _ => core.visitors.clone(),
        };
        let core = core.clone();
        tracker.spawn(async move {
            let _connected = core.metrics.connected(door);
            let _ = io.set_nodelay(true);
            let _ = SockRef::from(&io).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
            let local = io.local_addr().unwrap_or(local);
            let visitor = Visitor {
                from: canonical(from),
                local: canonical(local),
                first: Bytes::new(),
                place,
            };
            if let Some((visitor, io)) = introduce(&core, door, visitor, io).await {
                let served = serve(core.clone(), visitor, io);
                tokio::select! {
                    () = served => {}
                    () = core.reached(Stage::Stopped) => {}
                }
            }
        });
    }
}

/// Reads the PROXY header where one is to be there, and counts the visitor for their address.
async fn introduce(
    core: &Core,
    door: Door,
    mut visitor: Visitor,
    mut io: TcpStream,
) -> Option<(Visitor, TcpStream)> {
    let config = core.config.load();
    let expected = match door {
        Door::Agent => config.proxy_protocol.agent,
        Door::Http => config.proxy_protocol.http,
        Door::Https => config.proxy_protocol.https,
        Door::Tcp => config.proxy_protocol.tcp,
        Door::Api => false,
    };
    if expected {
        let limit = config.limits.head_timeout;
        drop(config);
        let turned = match timeout(limit, read_proxy_header(&mut io)).await {
            Ok(Ok((source, first))) => {
                // Without one it is the load balancer itself, to see whether we live.
                visitor.from = source.map_or(visitor.from, canonical);
                visitor.first = first;
                None
            }
            Ok(Err(_)) => Some(Turned::Garbage),
            Err(_) => Some(Turned::Slow),
        };
        if let Some(why) = turned {
            core.metrics.turned(door, why);
            return None;
        }
    }
    let per_address = core.config.load().limits.connections_per_address;
    if !visitor.place.is_for(visitor.from.ip(), per_address) {
        core.metrics.turned(door, Turned::Limit);
        return None;
    }
    Some((visitor, io))
}

/// An IPv4 visitor of an IPv6 socket is an IPv4 visitor.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
