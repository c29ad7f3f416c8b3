//! From a stream of the edge to an upstream and back (agent-behaviour §4, §5).
//!
//! - [`upstream`]: what visitors are led to, and a connection to it.
//! - [`answer`]: HTTP that is answered here. [`file`]: a folder as an upstream.
//! - [`termination`]: visitors' TLS that ends here.
//! - [`unreachable`]: the page of an upstream that is down.
//! - [`tap`]: requests, seen as they go by.

mod answer;
pub(crate) mod file;
mod rate;
pub(crate) mod tap;
pub(crate) mod termination;
pub(crate) mod unreachable;
pub(crate) mod upstream;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use portway_mux::any::AnyIo;
use portway_mux::copy::{Copied, Joint, join};
use portway_mux::{ErrorCode, Stream, pass_on};
use portway_wire::proxied::{Decoder, ProxyHeader};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use self::rate::{Passed, Rate};
use self::tap::{Side, Spoke, Tapped};
use self::termination::Termination;
use self::unreachable::Page;
use self::upstream::{Connection, Unreachable, Upstream};
use crate::board::Board;
use crate::capture::recorder::Interest;
use crate::capture::{Origin, Store};
use crate::endpoint::Endpoint;
use crate::room::Room;
use crate::shortage::Shortage;

/// How long the header of a connection may take; it comes in one piece.
const HEADER: Duration = Duration::from_secs(10);
/// An upstream connection of an http endpoint that carries nothing; whether somebody waits for an answer, only a tap
/// knows.
const IDLE: Duration = Duration::from_hours(2);
/// Between two records of refused connections.
const REFUSALS: Duration = Duration::from_mins(1);
/// Records a second of connections, and of upstreams that cannot be reached; beyond, they are counted.
const JOINS: u64 = 1000;
const FAILURES: u64 = 10;
/// Bytes of a PROXY header, of either version.
const PROXY_HEADER: usize = 2048;

/// What all connections of an agent share.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) board: Arc<Board>,
    /// Upstream connections open now, and how many there may be.
    open: AtomicUsize,
    most: usize,
    shortage: Shortage,
    /// Where requests are kept for the local interface; nothing: they are of no interest to it, and are
    /// not even counted.
    pub(crate) captured: Option<Arc<Store>>,
    joins: Mutex<Rate>,
    failures: Mutex<Rate>,
    /// When a refusal was told.
    refused: Mutex<Option<Instant>>,
    closed: Notify,
}

// === impl Forwarder ===

impl Forwarder {
    pub(crate) fn new(board: Arc<Board>, room: &Room, captured: Option<Arc<Store>>) -> Self {
        Self {
            board,
            open: AtomicUsize::new(0),
            most: room.connections(),
            shortage: Shortage::new(*room),
            captured,
            joins: Mutex::new(Rate::new(JOINS)),
            failures: Mutex::new(Rate::new(FAILURES)),
            refused: Mutex::default(),
            closed: Notify::new(),
        }
    }

    /// Resolves when no visitor is served.
    pub(crate) async fn idle(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            closed.await;
        }
    }

    /// Serves a proxied stream, behind its type. `find`: the endpoint of a bind's id.
    pub(crate) async fn serve(
        &self,
        mut stream: Stream,
        ours: bool,
        find: impl FnOnce(&str) -> Option<Arc<Endpoint>>,
    ) {
        let Ok(Some((header, first))) = timeout(HEADER, read_header(&mut stream)).await else {
            return;
        };
        // Another bind's, or one that is gone: the edge sees a FIN without data.
        let Some(endpoint) = find(&header.id) else {
            tracing::debug!(
                obj = "join",
                id = header.id,
                "connection for an endpoint that is not here"
            );
            return;
        };
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.most || self.short() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.refused();
            return stream.reset(ErrorCode::STREAM_REFUSED);
        }
        let counted = (self.board.connected(), endpoint.metrics.connected());
        // In its place from the start: moved, its memory would be taken twice.
        let forwarding = pin!(self.forward(stream, header, first, &endpoint, ours));
        tokio::select! {
            () = endpoint.ended.cancelled() => {}
            () = forwarding => {}
        }
        drop(counted);
        self.open.fetch_sub(1, Ordering::Release);
        self.closed.notify_waiters();
    }

    /// Whether memory runs out, when all that can go has gone.
    fn short(&self) -> bool {
        self.shortage.short(|| {
            if let Some(captured) = &self.captured {
                captured.make_room();
            }
        })
    }

    fn refused(&self) {
        let mut told = self.refused.lock();
        if told.is_none_or(|told| told.elapsed() >= REFUSALS) {
            *told = Some(Instant::now());
            drop(told);
            let err = if self.short() {
                "memory runs out"
            } else {
                "too many open connections"
            };
            tracing::warn!(limit = self.most, err, "connection refused");
        }
    }

    async fn forward(
        &self,
        stream: Stream,
        header: ProxyHeader,
        first: Bytes,
        endpoint: &Endpoint,
        ours: bool,
    ) {
        let id = random_id();
        let shown = endpoint.plan.shown_upstream();
        let mut stream = Prefixed { first, stream };
        let started = Instant::now();
        if let Upstream::Folder(root) = &endpoint.upstream {
            self.joined(&id, shown, &header.client_addr);
            let mut stream = stream;
            if endpoint.plan.proxy_protocol != 0 && take_proxy_header(&mut stream).await.is_err() {
                return;
            }
            let interest = self.interest(endpoint, &header.client_addr);
            let http2 = endpoint.is_http2();
            return Box::pin(serve_folder(stream, root.clone(), interest, http2)).await;
        }
        // A PROXY header stays in front of TLS, whoever ends or begins it.
        let tls = endpoint.visitors_tls.as_ref();
        // By labels visitors may come whose TLS the edge has ended.
        let tls = tls.filter(|_| endpoint.plan.labels.is_empty() || header.passthrough_tls);
        let needs_header = tls.is_some() || matches!(endpoint.upstream, Upstream::Tls { .. });
        let mut proxy_header = Bytes::new();
        if endpoint.plan.proxy_protocol != 0 && needs_header {
            match timeout(HEADER, take_proxy_header(&mut stream)).await {
                Ok(Ok(header)) => proxy_header = header,
                _ => return,
            }
        }
        let leg = Leg {
            id: &id,
            endpoint,
            visitor: &header.client_addr,
            proxy_header,
        };
        // What is over soon, or rare, has memory of its own: a connection that is held keeps what it needs.
        let copied = if let Some(tls) = tls {
            let ended = Box::pin(self.end_tls(tls, stream, &leg)).await;
            let Some(copied) = ended else { return };
            copied
        } else {
            let http = speaks_http(endpoint, &header);
            match Box::pin(self.dial(&leg)).await {
                Ok(upstream) => {
                    let interest = http.then(|| self.interest(endpoint, leg.visitor));
                    // Before the upstream's TLS the header has gone already.
                    let spoke = Spoke {
                        http2: endpoint.is_http2(),
                        fronted: endpoint.plan.proxy_protocol != 0 && leg.proxy_header.is_empty(),
                    };
                    copy(stream, upstream, interest, spoke).await
                }
                Err(cause) if http => {
                    let interest = self.interest(endpoint, leg.visitor);
                    let failed = failed(stream, endpoint, interest, cause.0, ours);
                    return Box::pin(failed).await;
                }
                Err(_) => return,
            }
        };
        tracing::debug!(
            obj = "join",
            id,
            r#in = copied.received,
            out = copied.sent,
            dur = ?started.elapsed(),
            err = copied.error.map_or_else(|| "nil".into(), |error| error.to_string()),
            "closed connections"
        );
    }

    /// A connection to the upstream of an endpoint, or why there is none; told either way.
    async fn dial(&self, leg: &Leg<'_>) -> Result<Connection, Unreachable> {
        let shown = leg.endpoint.plan.shown_upstream();
        let dialled = leg.endpoint.upstream.connect(&leg.proxy_header).await;
        match &dialled {
            Ok(connection) => {
                let address = connection.address();
                self.joined(leg.id, address.as_deref().unwrap_or(shown), leg.visitor);
            }
            Err(cause) => self.unreached(leg.id, shown, &cause.0),
        }
        dialled
    }

    /// Serves a visitor whose TLS ends here. Who is not let in does not come as far as the upstream.
    async fn end_tls(
        &self,
        tls: &Arc<Termination>,
        stream: Prefixed,
        leg: &Leg<'_>,
    ) -> Option<Copied> {
        let mut visitor = tls.accept(stream).await.ok()?;
        let Ok(upstream) = self.dial(leg).await else {
            let _ = visitor.shutdown().await;
            return None;
        };
        Some(copy_ended(visitor, upstream, &leg.proxy_header).await)
    }

    fn unreached(&self, id: &str, upstream: &str, cause: &str) {
        const MESSAGE: &str = "failed to open private leg";
        let passed = self.failures.lock().pass(Instant::now());
        if let Passed::After(suppressed) = passed {
            tracing::warn!(suppressed, "{MESSAGE}");
        }
        if passed != Passed::Not {
            tracing::warn!(id, privaddr = upstream, err = cause, "{MESSAGE}");
        }
    }

    /// Who wants to know of an endpoint's requests. A visitor's address stands before its port.
    fn interest(&self, endpoint: &Endpoint, visitor: &str) -> Interest {
        let store = self.captured.as_ref().filter(|_| endpoint.inspects());
        let origin = || Origin {
            endpoint: endpoint.plan.name.as_str().into(),
            visitor: visitor
                .parse()
                .ok()
                .map(|visitor: std::net::SocketAddr| visitor.ip()),
            replay_of: None,
        };
        Interest {
            metrics: self.captured.as_ref().map(|_| endpoint.metrics.clone()),
            board: self.board.watched().then(|| self.board.clone()),
            store: store.map(|store| (store.clone(), origin())),
            given: None,
            at: None,
        }
    }

    fn joined(&self, id: &str, upstream: &str, visitor: &str) {
        const MESSAGE: &str = "join connections";
        let passed = self.joins.lock().pass(Instant::now());
        if let Passed::After(suppressed) = passed {
            tracing::info!(obj = "join", suppressed, "{MESSAGE}");
        }
        if passed != Passed::Not {
            tracing::info!(obj = "join", id, l = upstream, r = visitor, "{MESSAGE}");
        }
    }
}

/// `interest`: who wants to know of requests; nothing where there are none.
async fn copy(
    stream: Prefixed,
    mut upstream: Connection,
    interest: Option<Interest>,
    spoke: Spoke,
) -> Copied {
    let Prefixed { first, stream } = stream;
    let joint = Joint {
        half_close: interest.is_none(),
        idle: interest.is_some().then_some(IDLE),
    };
    if let Some(interest) = interest.filter(|interest| !interest.is_none()) {
        let mut tapped = Tapped::new(upstream, Side::Upstream, interest, spoke);
        return match tapped.write_all(&first).await {
            Ok(()) => join(tapped, stream, joint).await,
            Err(error) => failed_copy(error),
        };
    }
    if !first.is_empty()
        && let Err(error) = upstream.write_all(&first).await
    {
        return failed_copy(error);
    }
    join(upstream, stream, joint).await
}

/// A stream that breaks concerns its visitor alone, so errors are not told.
async fn serve_folder(
    stream: Prefixed,
    root: Arc<file::FileRoot>,
    interest: Interest,
    http2: bool,
) {
    let _ = file::serve(seen(stream, interest, http2), root, http2).await;
}

/// A stream that is answered here, with whoever wants to know of its requests.
fn seen(stream: Prefixed, interest: Interest, http2: bool) -> AnyIo {
    if interest.is_none() {
        return Box::new(stream);
    }
    let spoke = Spoke {
        http2,
        fronted: false,
    };
    Box::new(Tapped::new(stream, Side::Visitor, interest, spoke))
}

async fn failed(
    mut stream: Prefixed,
    endpoint: &Endpoint,
    interest: Interest,
    cause: String,
    ours: bool,
) {
    let in_front =
        endpoint.plan.proxy_protocol != 0 && !matches!(endpoint.upstream, Upstream::Tls { .. });
    if in_front && take_proxy_header(&mut stream).await.is_err() {
        return;
    }
    let page = Page {
        upstream: endpoint.plan.shown_upstream().to_owned(),
        cause,
        token: ours.then(|| endpoint.token()).flatten(),
    };
    let http2 = endpoint.is_http2();
    unreachable::serve(seen(stream, interest, http2), page, http2).await;
}

/// One visitor's way to an upstream.
struct Leg<'a> {
    /// In the log.
    id: &'a str,
    endpoint: &'a Endpoint,
    /// `ip:port`.
    visitor: &'a str,
    /// Goes in front of everything, TLS included.
    proxy_header: Bytes,
}

/// A stream of whose bytes some were read with its header.
pub(crate) struct Prefixed {
    first: Bytes,
    stream: Stream,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    pass_on!(stream: poll_write, poll_flush, poll_shutdown);
}

/// What was in a visitor's TLS goes to the upstream, and back.
async fn copy_ended(
    mut visitor: TlsStream<Prefixed>,
    mut upstream: Connection,
    proxy_header: &[u8],
) -> Copied {
    // Where the upstream has TLS of its own the header went in front of that already.
    let in_clear = matches!(upstream, Connection::Tls(_));
    if !in_clear && let Err(error) = upstream.write_all(proxy_header).await {
        return failed_copy(error);
    }
    match tokio::io::copy_bidirectional(&mut visitor, &mut upstream).await {
        Ok((received, sent)) => Copied {
            sent,
            received,
            error: None,
        },
        Err(error) => failed_copy(error),
    }
}

/// Whether a visitor's bytes are HTTP. By labels the edge may lead visitors of TCP and TLS here too, and says so.
fn speaks_http(endpoint: &Endpoint, header: &ProxyHeader) -> bool {
    match header.edge_type.as_str() {
        "1" | "2" => false,
        "3" => true,
        _ => endpoint.is_http(),
    }
}

async fn read_header(stream: &mut Stream) -> Option<(ProxyHeader, Bytes)> {
    let mut decoder = Decoder::new();
    while let Ok(Some(chunk)) = stream.read_chunk().await {
        match decoder.push(&chunk) {
            Ok(Some(found)) => return Some(found),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(obj = "join", err = %error, "connection dropped");
                return None;
            }
        }
    }
    None
}

/// Takes the PROXY header that the edge has written off the front of a stream.
async fn take_proxy_header(stream: &mut Prefixed) -> io::Result<Bytes> {
    let mut bytes = BytesMut::from(&stream.first[..]);
    loop {
        if let Some(length) = proxy_header_length(&bytes) {
            if bytes.len() >= length {
                let header = bytes.split_to(length).freeze();
                stream.first = bytes.freeze();
                return Ok(header);
            }
        } else if bytes.len() > PROXY_HEADER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match stream.stream.read_chunk().await? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Its length, once that can be told.
fn proxy_header_length(bytes: &[u8]) -> Option<usize> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    if bytes.starts_with(SIGNATURE) {
        let length = bytes.get(14..16)?;
        return Some(16 + usize::from(u16::from_be_bytes([length[0], length[1]])));
    }
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    bytes.starts_with(b"PROXY ").then_some(end + 2)
}

fn failed_copy(error: io::Error) -> Copied {
    Copied {
        sent: 0,
        received: 0,
        error: Some(error),
    }
}

/// Twelve hex digits for the log.
fn random_id() -> String {
    format!("{:012x}", RandomState::new().build_hasher().finish() >> 16)
}
