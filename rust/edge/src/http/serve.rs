//! One visitor's connection: limits, TLS where there is any, and HTTP/1.1 or HTTP/2 on it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use portway_mux::any::AnyIo;
use portway_wire::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::link::Links;
use super::proxy::Connection;
use super::pulse::{Pulse, Watched};
use super::sieve::Sieve;
use super::{Unserved, fast};
use crate::config::Limits;
use crate::core::{Core, Stage};
use crate::endpoint::{Endpoint, Visit};
use crate::listen::Visitor;
use crate::metrics::{Door, Turned};
use crate::transport::Rewound;

/// Requests of one HTTP/2 connection at a time.
const H2_STREAMS: u32 = 256;
/// Credit of an HTTP/2 stream and connection towards visitors, in bytes. Why the second is so much
/// larger: as in [`super::link`].
const H2_STREAM_WINDOW: u32 = 512 << 10;
const H2_CONNECTION_WINDOW: u32 = 8 << 20;

/// A visitor without TLS.
pub(crate) async fn plain(core: Arc<Core>, visitor: Visitor, io: TcpStream) {
    let unserved = Unserved {
        first: visitor.first.clone(),
        io,
    };
    let settled = Handshake::default();
    connection(core, &visitor, Door::Http, unserved, settled).await;
}

/// What the TLS handshake has settled.
#[derive(Default)]
pub(crate) struct Handshake {
    /// The name asked for, lower case.
    pub name: Option<String>,
    /// HTTP/2 was agreed on, and nothing else is spoken.
    pub h2: bool,
    /// The endpoint whose client certificate check was passed.
    pub verified: Option<Arc<Endpoint>>,
}

/// A visitor whose TLS was ended here.
pub(crate) async fn secure<T>(core: Arc<Core>, visitor: &Visitor, io: T, settled: Handshake)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let first = Bytes::new();
    connection(core, visitor, Door::Https, Unserved { first, io }, settled).await;
}

/// Serves HTTP until the connection ends.
async fn connection<T>(
    core: Arc<Core>,
    visitor: &Visitor,
    door: Door,
    mut unserved: Unserved<T>,
    handshake: Handshake,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = core.config.load().limits.clone();
    let pulse = Arc::new(Pulse::default());
    let h2 = handshake.h2;
    let connection = Arc::new(Connection {
        core: core.clone(),
        visit: Visit {
            visitor: visitor.from,
            local: visitor.local,
            passthrough_tls: false,
        },
        scheme: if door == Door::Https {
            Scheme::Https
        } else {
            Scheme::Http
        },
        handshake,
        pulse: pulse.clone(),
        links: Links::default(),
    });
    if !h2 {
        let Unserved { first, io } = unserved;
        unserved = match fast::serve(&connection, door, &limits, first, io).await {
            Some(rest) => rest,
            None => return,
        };
    }
    // Memory of its own: what goes the short way holds none for the long one.
    let Unserved { first, io } = unserved;
    let io: AnyIo = Box::new(io);
    if let Err(over) = Box::pin(long_way(connection, &limits, Unserved { first, io }, h2)).await
        && let Some(why) = over.fault(&pulse)
    {
        core.metrics.turned(door, why);
    }
}

/// Serves all that hyper can read.
async fn long_way(
    connection: Arc<Connection>,
    limits: &Limits,
    unserved: Unserved<AnyIo>,
    h2: bool,
) -> Result<(), Over> {
    let (core, pulse) = (connection.core.clone(), connection.pulse.clone());
    let service = service_fn(move |request| connection.clone().handle(request));
    let builder = builder(limits);
    let io = TokioIo::new(Watched::new(
        Rewound::new(unserved.first, unserved.io),
        pulse.clone(),
        Sieve::new(limits.header_bytes),
    ));
    let silence = pulse.silence(limits);
    if h2 {
        let builder = builder.http2_only();
        let serving = builder.serve_connection(io, service);
        until_over(&core, serving, auto::Connection::graceful_shutdown, silence).await
    } else {
        let serving = builder.serve_connection_with_upgrades(io, service);
        let shut_down = auto::UpgradeableConnection::graceful_shutdown;
        until_over(&core, serving, shut_down, silence).await
    }
}

/// Why a connection is over before its time.
enum Over {
    Silent(Turned),
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl Over {
    /// What the visitor did wrong, if anything.
    fn fault(&self, pulse: &Pulse) -> Option<Turned> {
        match self {
            Self::Silent(why) => Some(*why),
            Self::Failed(error) => error.downcast_ref().and_then(|error| fault(error, pulse)),
        }
    }
}

/// Serves until nothing is left to serve, or nothing moves any more.
async fn until_over<F>(
    core: &Core,
    serving: F,
    shut_down: fn(std::pin::Pin<&mut F>),
    silence: impl Future<Output = Turned>,
) -> Result<(), Over>
where
    F: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>,
{
    tokio::pin!(serving, silence);
    let mut draining = false;
    loop {
        tokio::select! {
            served = serving.as_mut() => return served.map_err(Over::Failed),
            why = silence.as_mut() => return Err(Over::Silent(why)),
            () = core.reached(Stage::Draining), if !draining => {
                shut_down(serving.as_mut());
                draining = true;
            }
        }
    }
}

/// What the visitor did wrong; nothing for connections that just broke.
fn fault(error: &hyper::Error, pulse: &Pulse) -> Option<Turned> {
    let broke = error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || error.is_shutdown()
        || error.is_user()
        || std::error::Error::source(error)
            .is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    if error.is_timeout() {
        Some(pulse.timed_out())
    } else if error.is_parse_too_large() {
        Some(Turned::Oversized)
    } else {
        (!broke).then_some(Turned::Garbage)
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.header_bytes.max(8 * 1024))
        .max_headers(limits.header_count);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    builder
}
