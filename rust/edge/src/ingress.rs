//! Where agents come in: TLS, mux, login, and then their requests (wire-protocol §1, §3, §4).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use portway_mux::heartbeat::{self, Failure, Pace};
use portway_mux::{CloseReason, Closed, Config, ErrorCode, Peer, Session, Stream};
use portway_wire::auth::{
    Abilities, AuthRequest, AuthResponse, ConnectAddress, OLDER_VERSION, PeerKind, VERSION,
};
use portway_wire::bind::{
    self as messages, BindRequest, BindResponse, LabeledRequest, PatchRequest,
};
use portway_wire::{Code, Malformed, Refusal, stream_type};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::bind;
use crate::control::Account;
use crate::core::{Core, Stage};
use crate::listen::Visitor;
use crate::metrics::{Door, Turned};
use crate::naming::random_hex;
use crate::rpc;
use crate::session::{About, AgentSession, Identity};
use crate::transport::of_an_agent;

/// Streams of an agent that has not logged in.
const STREAMS_BEFORE_LOGIN: usize = 16;
/// Messages of one agent that are worked on at a time.
const MESSAGES: usize = 64;
/// Types of messages an agent may send.
const KNOWN: [u32; 6] = [
    stream_type::AUTH,
    stream_type::BIND,
    stream_type::UNBIND,
    stream_type::BIND_LABELED,
    stream_type::SRV_INFO,
    stream_type::PATCH_TUNNEL,
];
/// After a refused login, so that the answer is read before the connection ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// Where this edge is. It has no other place to be told apart from.
const REGION: &str = "self";
/// From an SDK having read the answer to a bind until it surely knows of the endpoint.
const SETTLE: Duration = Duration::from_millis(50);

/// A connection that has not yet shown what it is.
struct Arrival {
    core: Arc<Core>,
    mux: Session,
    from: std::net::SocketAddr,
    quick: Arc<AtomicBool>,
    /// Set by the login.
    agent: OnceLock<Arc<AgentSession>>,
    logging_in: AtomicBool,
    /// The session is over; set before what it served is taken away.
    over: AtomicBool,
    left: AtomicBool,
    streams: AtomicUsize,
    messages: Semaphore,
    last_message: Mutex<Instant>,
}

/// Serves a connection to the agents' own listener.
pub(crate) async fn serve(core: Arc<Core>, visitor: Visitor, io: TcpStream) {
    let acceptor = match core.certificates.for_agent(visitor.local.ip()) {
        Ok(config) => TlsAcceptor::from(config),
        Err(error) => {
            tracing::error!(obj = "ingress", err = %error, "cannot make a certificate for agents");
            return;
        }
    };
    let (io, quick) = of_an_agent(visitor.first.clone(), io);
    let limit = core.config.load().limits.handshake_timeout;
    match timeout(limit, acceptor.accept(io)).await {
        Ok(Ok(tls)) => run(core, visitor, tls, quick).await,
        Ok(Err(error)) => {
            core.metrics.turned(Door::Agent, Turned::Garbage);
            tracing::debug!(obj = "ingress", r = %visitor.from, err = %error, "TLS handshake failed");
        }
        Err(_) => core.metrics.turned(Door::Agent, Turned::Slow),
    }
}

/// Runs the session of an agent on a connection that TLS has been taken off.
pub(crate) async fn run<T>(core: Arc<Core>, visitor: Visitor, io: T, quick: Arc<AtomicBool>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = core.config.load().limits.clone();
    let config = Config {
        max_streams: limits.streams_per_session,
        ..Config::edge()
    };
    let (mux, mut acceptor, driver) = portway_mux::session(io, config);
    let arrival = Arc::new(Arrival {
        core,
        mux,
        from: visitor.from,
        quick,
        agent: OnceLock::new(),
        logging_in: AtomicBool::new(false),
        over: AtomicBool::new(false),
        left: AtomicBool::new(false),
        streams: AtomicUsize::new(0),
        messages: Semaphore::new(MESSAGES),
        last_message: Mutex::new(Instant::now()),
    });
    let driving = tokio::spawn(driver);
    let login_limit = {
        let arrival = arrival.clone();
        tokio::spawn(async move {
            sleep(limits.login_timeout).await;
            if arrival.agent.get().is_none() {
                arrival.core.metrics.turned(Door::Agent, Turned::Slow);
                arrival.mux.close(ErrorCode::NO_ERROR, "no login in time");
            }
        })
    };
    while let Some(stream) = acceptor.accept().await {
        let arrival = arrival.clone();
        if arrival.agent.get().is_none()
            && arrival.streams.load(Ordering::Relaxed) >= STREAMS_BEFORE_LOGIN
        {
            arrival.mux.close(
                ErrorCode::ENHANCE_YOUR_CALM,
                "too many streams before the login",
            );
            break;
        }
        arrival.streams.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            arrival.serve(stream).await;
            arrival.streams.fetch_sub(1, Ordering::Relaxed);
        });
    }
    login_limit.abort();
    // Nothing reaches it any more; visitors are to know that at once, not when TCP has closed.
    arrival.ended();
    let closed = driving.await;
    let broken = |closed: &Closed| closed.reason == CloseReason::Protocol;
    if arrival.agent.get().is_none() && closed.as_deref().is_ok_and(broken) {
        arrival.core.metrics.turned(Door::Agent, Turned::Garbage);
    }
    if let Some(agent) = arrival.agent.get() {
        let why = closed.map_or_else(|error| error.to_string(), |closed| closed.to_string());
        tracing::info!(obj = "ingress", id = agent.id, account = agent.account.name, r = %agent.from, err = why, "agent disconnected");
    }
}

// === impl Arrival ===

impl Arrival {
    /// Takes away what the agent served. Called again by a login that ends later than its session.
    fn ended(&self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(agent) = self.agent.get()
            && !self.left.swap(true, Ordering::SeqCst)
        {
            agent.release_all(&self.core.registry, &self.core.tcp);
            self.core.sessions.leave(agent);
            self.core.metrics.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn serve(&self, mut stream: Stream) {
        match stream.read_type().await {
            Ok(Some(heartbeat::STREAM_TYPE)) => heartbeat::answer(stream).await,
            Ok(Some(kind)) => self.message(kind, stream).await,
            Ok(None) | Err(_) => {}
        }
    }

    async fn message(&self, kind: u32, mut stream: Stream) {
        let Ok(_permit) = self.messages.acquire().await else {
            return;
        };
        if !KNOWN.contains(&kind) {
            // Its body, if there is one, means nothing to this edge, so none is waited for.
            let refusal = Refusal::new(
                Code(800),
                format!("This edge knows no message of type {kind}."),
            );
            return self.refuse(stream, refusal).await;
        }
        let message = rpc::read(&mut stream).await;
        *self.last_message.lock() = Instant::now();
        match (kind, message, self.agent.get()) {
            (stream_type::SRV_INFO, ..) => {
                rpc::answer(stream, &messages::srv_info_answer(REGION)).await;
            }
            (stream_type::AUTH, message, None) => self.login(stream, message).await,
            (stream_type::AUTH, ..) => {
                self.refuse(
                    stream,
                    Refusal::new(Code(800), "This session is logged in already."),
                )
                .await;
            }
            (_, _, None) => {
                self.refuse(stream, Refusal::new(Code(800), "Log in first."))
                    .await;
            }
            (stream_type::BIND, message, Some(agent)) => self.bind(stream, agent, message).await,
            (stream_type::BIND_LABELED, message, Some(agent)) => {
                self.bind_labeled(stream, agent, message).await;
            }
            (stream_type::UNBIND, message, Some(agent)) => {
                match message.and_then(|message| messages::decode_unbind(&message)) {
                    Ok(id) => {
                        bind::unbind(&self.core, agent, &id);
                        rpc::answer(stream, &messages::plain_answer("")).await;
                    }
                    Err(error) => self.refuse(stream, malformed(Code(801), &error)).await,
                }
            }
            (stream_type::PATCH_TUNNEL, message, Some(agent)) => {
                let patched = message
                    .and_then(|message| PatchRequest::decode(&message))
                    .map_err(|error| malformed(Code(801), &error))
                    .and_then(|request| bind::patch(&self.core, agent, &request));
                match patched {
                    Ok(()) => {
                        rpc::answer(stream, &messages::plain_answer("")).await;
                    }
                    Err(refusal) => self.refuse(stream, refusal).await,
                }
            }
            _ => {}
        }
    }

    async fn refuse(&self, stream: Stream, refusal: Refusal) {
        self.core.metrics.failed(refusal.code);
        rpc::answer(stream, &messages::plain_answer(&refusal.to_string())).await;
    }

    // === login

    async fn login(&self, stream: Stream, message: Result<Value, Malformed>) {
        if self.logging_in.swap(true, Ordering::AcqRel) {
            return self
                .refuse(stream, Refusal::new(Code(800), "A login is under way."))
                .await;
        }
        let entered = match self.authenticate(message).await {
            Ok(entered) => entered,
            Err(refusal) => {
                self.core
                    .metrics
                    .logins_failed
                    .fetch_add(1, Ordering::Relaxed);
                self.core.metrics.failed(refusal.code);
                tracing::info!(obj = "ingress", r = %self.from, err = %refusal.code, "login refused");
                let answer = AuthResponse::refused(&refusal).encode();
                let _ = timeout(GOODBYE, rpc::answer(stream, &answer)).await;
                self.mux.close(ErrorCode::NO_ERROR, "login refused");
                return;
            }
        };
        let (agent, response) = entered;
        // Take over: what it served before is to be bound again here.
        if let Some(old) = self.core.sessions.enter(agent.clone()) {
            old.release_all(&self.core.registry, &self.core.tcp);
            old.mux
                .close(ErrorCode::NO_ERROR, "this agent has connected again");
            tracing::info!(
                obj = "ingress",
                id = agent.id,
                old = old.id,
                account = agent.account.name,
                "session taken over"
            );
        }
        self.core.metrics.sessions.fetch_add(1, Ordering::Relaxed);
        if self.agent.set(agent.clone()).is_err() {
            return;
        }
        if self.over.load(Ordering::SeqCst) {
            return self.ended();
        }
        self.core
            .metrics
            .sessions_started
            .fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            obj = "ingress",
            id = agent.id,
            account = agent.account.name,
            client_id = agent.identity.client_id,
            leg = agent.identity.leg,
            r = %agent.from,
            peer = ?agent.kind,
            "agent connected"
        );
        rpc::answer(stream, &response.encode()).await;
        if agent.mux.is_closed() {
            return;
        }
        self.beat(&agent).await;
    }

    async fn authenticate(
        &self,
        message: Result<Value, Malformed>,
    ) -> Result<(Arc<AgentSession>, AuthResponse), Refusal> {
        let core = &self.core;
        if core.stage() != Stage::Serving {
            return Err(Refusal::of(Code::DRAINING));
        }
        let request = message.and_then(|message| AuthRequest::decode(&message));
        let request = request.map_err(|error| malformed(Code::BAD_AUTH, &error))?;
        check(&request)?;
        let account = self.judge(&request).await?;
        let kind = request.extra.peer_kind();
        self.mux.set_peer(match kind {
            PeerKind::Portway => Peer::PORTWAY,
            PeerKind::GoSdk => Peer::GO_SDK,
            PeerKind::RustSdk => Peer::RUST_SDK,
            PeerKind::Other => Peer::UNKNOWN,
        });
        if matches!(kind, PeerKind::Portway | PeerKind::GoSdk) {
            self.quick.store(false, Ordering::Relaxed);
        }
        let client_id = if request.client_id.is_empty() {
            random_hex(16)
        } else {
            request.client_id.clone()
        };
        let identity = Identity {
            account: account.name.clone(),
            client_id: client_id.clone(),
            leg: request.extra.leg_number,
        };
        let id = format!("ts_{}", random_hex(8));
        let response = AuthResponse {
            client_id,
            protocol: chosen(&request.version)?.to_owned(),
            version: env!("CARGO_PKG_VERSION").into(),
            region: REGION.into(),
            cookie: if request.extra.cookie.is_empty() {
                random_hex(16)
            } else {
                request.extra.cookie.clone()
            },
            account_name: account.name.clone(),
            plan_name: "Self-hosted".into(),
            session_id: id.clone(),
            connect_addresses: core.legs.iter().map(|address| leg_at(address)).collect(),
            portway: request.extra.portway.map(|_| Abilities::default()),
            ..AuthResponse::default()
        };
        let about = About::of(request.extra);
        let mux = self.mux.clone();
        let agent = AgentSession::new(id, identity, account, kind, about, self.from, mux);
        Ok((Arc::new(agent), response))
    }

    /// Whose token it is. From an address that has failed too often the answer is the same for a
    /// wrong token and for one that could have been guessed.
    async fn judge(&self, request: &AuthRequest) -> Result<Account, Refusal> {
        let core = &self.core;
        let limit = core.config.load().limits.failed_logins;
        let known = core.control.authenticate(request, self.from).await;
        let (address, now) = (self.from.ip(), Instant::now());
        let crowded = core.logins.crowded(address, limit, now);
        let refusal = match known {
            Ok(account) if !(crowded && account.guessable) => return Ok(account),
            Err(refusal) if !crowded => refusal,
            _ => Refusal::new(
                Code::RATE_LIMIT,
                "Too many failed logins from this address; wait a minute.",
            ),
        };
        core.logins.failed(address, now);
        Err(refusal)
    }

    /// Beats until the session ends; ends it when the agent does not answer.
    async fn beat(&self, agent: &AgentSession) {
        let limits = self.core.config.load().limits.clone();
        let pace = Pace {
            interval: limits.heartbeat_interval,
            tolerance: limits.heartbeat_tolerance,
        };
        // An agent that binds many endpoints is busy with that first, and echoes nothing until then.
        loop {
            let quiet = self.last_message.lock().elapsed();
            if quiet >= pace.interval {
                break;
            }
            tokio::select! {
                () = sleep(pace.interval.saturating_sub(quiet)) => {}
                _ = self.mux.closed() => return,
            }
        }
        let first = Bytes::copy_from_slice(&heartbeat::STREAM_TYPE.to_be_bytes());
        let Ok(stream) = self.mux.open(first).await else {
            return;
        };
        let failure = heartbeat::beat(stream, pace, |latency| {
            agent.latency.measured(latency);
            tracing::debug!(obj = "ingress", id = agent.id, latency = ?latency, "heartbeat");
        })
        .await;
        if failure != Failure::SessionOver {
            tracing::warn!(obj = "ingress", id = agent.id, r = %agent.from, err = ?failure, "heartbeat failed, ending the session");
            self.mux.close(ErrorCode::NO_ERROR, "no heartbeat");
        }
    }

    // === binds

    async fn bind(
        &self,
        stream: Stream,
        agent: &Arc<AgentSession>,
        message: Result<Value, Malformed>,
    ) {
        let request = match message.and_then(|message| BindRequest::decode(&message)) {
            Ok(request) => request,
            Err(error) => return self.refuse(stream, malformed(Code::BAD_BIND, &error)).await,
        };
        match bind::bind(&self.core, agent, &request).await {
            Ok((response, endpoint)) => {
                rpc::answer(stream, &response.encode()).await;
                settled(agent).await;
                endpoint.go_live();
            }
            Err(refusal) => {
                self.core.metrics.failed(refusal.code);
                tracing::info!(obj = "bind", account = agent.account.name, r = %agent.from, err = %refusal.message, code = %refusal.code, "bind refused");
                rpc::answer(stream, &BindResponse::refused(&request, &refusal).encode()).await;
            }
        }
    }

    async fn bind_labeled(
        &self,
        stream: Stream,
        agent: &Arc<AgentSession>,
        message: Result<Value, Malformed>,
    ) {
        let bound = match message.and_then(|message| LabeledRequest::decode(&message)) {
            Ok(request) => bind::bind_labeled(&self.core, agent, &request).await,
            Err(error) => Err(malformed(Code::BAD_BIND, &error)),
        };
        match bound {
            Ok((id, endpoint)) => {
                rpc::answer(stream, &messages::labeled_answer(&id, "")).await;
                if let Some(endpoint) = endpoint {
                    settled(agent).await;
                    endpoint.go_live();
                }
            }
            Err(refusal) => {
                self.core.metrics.failed(refusal.code);
                rpc::answer(stream, &messages::labeled_answer("", &refusal.to_string())).await;
            }
        }
    }
}

/// The agent has read that an endpoint is bound. The SDKs enter it in their table just after that.
async fn settled(agent: &AgentSession) {
    if agent.kind != PeerKind::Portway {
        sleep(SETTLE).await;
    }
}

fn leg_at(address: &str) -> ConnectAddress {
    ConnectAddress {
        region: REGION.into(),
        address: address.into(),
    }
}

fn malformed(code: Code, error: &Malformed) -> Refusal {
    Refusal::new(code, format!("The message is malformed: {error}."))
}

/// The first of the offered protocol versions that this edge speaks.
fn chosen(offered: &[String]) -> Result<&str, Refusal> {
    if offered.is_empty() {
        return Ok(VERSION);
    }
    let spoken = |version: &&String| [VERSION, OLDER_VERSION].contains(&version.as_str());
    let found = offered.iter().find(spoken);
    found
        .map(String::as_str)
        .ok_or_else(|| Refusal::of(Code(811)))
}

/// What can be wrong with a login before anybody asks who it is.
fn check(request: &AuthRequest) -> Result<(), Refusal> {
    const SECOND: i64 = 1_000_000_000;
    let extra = &request.extra;
    let in_range = |value: i64| value == 0 || (SECOND..=3600 * SECOND).contains(&value);
    if extra.metadata.len() > 4096 {
        return Err(Refusal::of(Code(100)));
    }
    for (code, name, value) in [
        (111, "interval", extra.heartbeat_interval),
        (112, "tolerance", extra.heartbeat_tolerance),
    ] {
        if !in_range(value) {
            let text =
                format!("The heartbeat {name} is out of range: heartbeat_{name} may be 1s to 1h.");
            return Err(Refusal::new(Code(code), text));
        }
    }
    let plain =
        |text: &str| text.len() <= 256 && text.chars().all(|letter| letter.is_ascii_graphic());
    if !plain(&request.client_id) || !plain(&extra.cookie) {
        return Err(Refusal::of(Code(110)));
    }
    Ok(())
}
