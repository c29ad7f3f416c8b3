//! One visitor's connection: limits, TLS where there is any, and HTTP/1.1 or HTTP/2 on it.

use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use portway_wire::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::link::Links;
use super::proxy::Connection;
use super::pulse::{Pulse, Watched};
use crate::config::Limits;
use crate::core::{Core, Stage};
use crate::endpoint::{Endpoint, Visit};
use crate::listen::Visitor;
use crate::metrics::{Door, Turned};
use crate::transport::Rewound;

/// Requests of one HTTP/2 connection at a time.
const H2_STREAMS: u32 = 256;
/// Credit of an HTTP/2 stream and connection towards visitors, in bytes.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;

/// A visitor without TLS.
pub(crate) async fn plain(core: Arc<Core>, visitor: Visitor, io: TcpStream) {
    let io = Rewound::new(visitor.first.clone(), io);
    http(core, &visitor, Door::Http, io, Handshake::default()).await;
}

/// What the TLS handshake has settled.
#[derive(Default)]
pub(crate) struct Handshake {
    /// The name asked for, lower case.
    pub name: Option<String>,
    /// The endpoint whose client certificate check was passed.
    pub verified: Option<Arc<Endpoint>>,
}

/// Serves HTTP until the connection ends.
pub(crate) async fn http<T>(
    core: Arc<Core>,
    visitor: &Visitor,
    door: Door,
    io: T,
    handshake: Handshake,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = core.config.load().limits.clone();
    let pulse = Arc::new(Pulse::default());
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
    let service = service_fn(move |request| connection.clone().handle(request));
    let builder = builder(&limits);
    let io = Watched::new(io, pulse.clone());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(serving);
    let silence = pulse.silence(&limits);
    tokio::pin!(silence);
    let mut draining = false;
    let served = loop {
        tokio::select! {
            served = serving.as_mut() => break served,
            why = silence.as_mut() => return core.metrics.turned(door, why),
            () = core.reached(Stage::Draining), if !draining => {
                serving.as_mut().graceful_shutdown();
                draining = true;
            }
        }
    };
    if let Err(error) = served {
        let why = match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_timeout() => pulse.timed_out(),
            Some(error) if error.is_parse_too_large() => Turned::Oversized,
            Some(error) if error.is_parse() => Turned::Garbage,
            _ => return,
        };
        core.metrics.turned(door, why);
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
