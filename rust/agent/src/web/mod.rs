//! The local HTTP interface (agent-api): what runs here, and how to start and stop it.
//!
//! - [`listen`]: where it is found. [`places`]: for how many at once. [`guard`]: who may ask. [`route`]: what there is to
//!   ask for.
//! - [`reply`], [`names`], [`objects`]: how answers look. [`mask`]: secrets are not in them.
//! - [`endpoints`], [`definition`], [`turns`]: endpoints that are started while the agent runs.
//! - [`requests`]: what visitors asked of them.
//! - [`ui`]: the page for people.
//!
//! Requests of any page the user looks at may arrive here, so nothing is done before the guard has
//! let a request pass.

mod definition;
mod endpoints;
mod guard;
mod listen;
mod mask;
mod names;
mod objects;
mod places;
mod reply;
mod requests;
mod route;
mod turns;
mod ui;

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::guard::Guard;
use self::places::{Place, Places};
use self::reply::Reply;
use self::turns::Turns;
use crate::plan;
use crate::run::AgentError;
use crate::session::Agent;

const CONNECTIONS: usize = 64;
/// A request's head, and a kept connection that says nothing.
const IDLE: Duration = Duration::from_mins(1);
const HEAD_BYTES: usize = 64 * 1024;

/// A listener that is bound and says so, but answers nobody yet.
pub(crate) struct Listening {
    listeners: Vec<TcpListener>,
    guard: Guard,
    /// As a client can dial it.
    pub(crate) address: String,
}

/// The interface of a running agent.
struct Web {
    agent: Arc<Agent>,
    guard: Guard,
    /// Endpoints that are being changed.
    changing: Turns,
    /// Places of pages that follow what happens.
    listeners: Arc<Semaphore>,
}

/// Binds the listener, and tells where it is.
///
/// # Errors
/// [`AgentError`] with the address that cannot be had.
pub(crate) async fn listen(web: &plan::Web) -> Result<Listening, AgentError> {
    let listeners = listen::bind(web).await?;
    let bound: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    let address = bound
        .first()
        .map_or_else(|| web.addr.clone(), ToString::to_string);
    let port = bound.first().map_or(0, SocketAddr::port);
    let ips = bound.iter().map(SocketAddr::ip).collect();
    let guard = Guard::new(ips, port, &web.allow_hosts);
    tracing::info!(
        obj = "web",
        addr = address,
        allow_hosts = guard.shown.join(" "),
        "starting web service"
    );
    Ok(Listening {
        listeners,
        guard,
        address,
    })
}

// === impl Listening ===

impl Listening {
    /// Answers until it is dropped.
    pub(crate) async fn serve(self, agent: Arc<Agent>) {
        let web = Arc::new(Web {
            agent,
            guard: self.guard,
            changing: Turns::default(),
            listeners: Arc::new(Semaphore::new(ui::LISTENERS)),
        });
        let places = Places::new(CONNECTIONS);
        let mut tasks = JoinSet::new();
        for listener in self.listeners {
            tasks.spawn(accept(listener, web.clone(), places.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, web: Arc<Web>, places: Arc<Places>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = loop {
            tokio::select! {
                accepted = listener.accept() => break accepted,
                Some(_) = connections.join_next() => {}
            }
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let taken = places.take().await;
        let web = web.clone();
        connections.spawn(async move {
            let place = taken.place.clone();
            let lost = taken.place.lost.clone();
            lost.run_until_cancelled(web.serve(socket, place)).await;
        });
    }
}

// === impl Web ===

impl Web {
    async fn serve(self: Arc<Self>, socket: TcpStream, place: Arc<Place>) {
        let _ = socket.set_nodelay(true);
        let service = service_fn(move |request| {
            let web = self.clone();
            let answering = place.answering();
            async move {
                let reply = web.answer(request).await;
                drop(answering);
                Ok::<_, Infallible>(reply)
            }
        });
        // Who goes away in the middle has nothing to be told.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(socket), service)
            .await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        let told = route::is_told(&path);
        let id = random_id();
        let since = Instant::now();
        if told {
            tracing::info!(pg = path, id, "start");
        }
        let mut reply = self.route(request).await.unwrap_or_else(Reply::from);
        let headers = reply.headers_mut();
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if told && reply.status() == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(pg = path, id, err = "see the answer", "internal error");
        }
        if told {
            let status = reply.status().as_u16();
            tracing::info!(pg = path, id, status, dur = ?since.elapsed(), "end");
        }
        reply
    }
}

/// 16 hex digits.
fn random_id() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
