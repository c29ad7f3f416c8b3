//! One connection to the edge, from dialling to its end (agent-behaviour §1, §2; wire-protocol
//! §3, §4).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use portway_mux::heartbeat::{self, Failure, Pace};
use portway_mux::{Acceptor, Closed, ErrorCode, Peer, Session, Stream};
use portway_wire::auth::{Abilities, AuthExtra, AuthRequest, AuthResponse, VERSION};
use portway_wire::bind::{self as messages, BindResponse, LabeledRequest};
use portway_wire::commands::{self, Command};
use portway_wire::{Malformed, Reaction, Refusal, rpc, stream_type};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::crl::{Crl, CrlError};
use crate::dial::{DialError, Dialer};
use crate::endpoint::{Bound, Endpoint};
use crate::forward::Forwarder;
use crate::plan::{Cas, Plan};
use crate::room::Room;
use crate::roster::Roster;
use crate::trust::{self, TrustError};
use crate::wake;

/// How long the edge may take to answer a message.
const ANSWER: Duration = Duration::from_secs(10);
/// Binds that are asked for side by side.
const BINDS: usize = 16;
/// How long a command's body may take; it comes in one piece.
const COMMAND: Duration = Duration::from_secs(10);
/// How long the edge may take to let go of one endpoint.
const UNBIND: Duration = Duration::from_secs(1);

/// Why there is no session, or none any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Crl(#[from] CrlError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("authentication failed: {0}")]
    Refused(Refusal),
    #[error("failed to start tunnel: {refusal}")]
    Bind { name: String, refusal: Refusal },
    #[error("the edge's answer makes no sense: {0}")]
    Answer(#[from] Malformed),
    #[error("{0}")]
    Lost(String),
}

/// What stays the same from one connection to the next.
pub(crate) struct Agent {
    pub(crate) plan: Plan,
    pub(crate) edge: crate::plan::EdgeAddress,
    pub(crate) board: Arc<Board>,
    pub(crate) roster: Roster,
    /// Whether there is a session, for those who want to use it.
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) forwarder: Arc<Forwarder>,
    /// Connections of visitors.
    pub(crate) visitors: TaskTracker,
    identity: Mutex<Identity>,
    /// Endpoints by the id the edge calls them by.
    routes: Mutex<HashMap<String, Arc<Endpoint>>>,
    pub(crate) requests: mpsc::Sender<Request>,
    /// Where the next attempt begins in the list of addresses.
    turn: std::sync::atomic::AtomicUsize,
    managed: bool,
    room: Room,
    pub(crate) dialer: Dialer,
    crl: Option<Crl>,
    /// Changes when the machine wakes up or its network changes.
    pub(crate) wake: watch::Receiver<()>,
}

/// What the edge gave us to be known by.
#[derive(Debug, Default)]
struct Identity {
    client_id: String,
    cookie: String,
}

/// Whether endpoints can be bound right now.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Offline,
    /// Logged in.
    Online(Session),
}

/// What the edge wants of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Stop,
    /// An endpoint was ended by the edge, with its reason.
    Ended {
        name: String,
        reason: String,
    },
}

/// A session that is up: logged in, endpoints bound.
pub(crate) struct Live {
    pub(crate) mux: Session,
    driver: tokio::task::JoinHandle<Arc<Closed>>,
    /// Set when our own heartbeat failed: then that is why it ended.
    heartbeat_failed: Arc<AtomicBool>,
    /// Endpoints the edge refuses for now.
    pub(crate) refused: Vec<(Arc<Endpoint>, Refusal)>,
}

// === impl Agent ===

impl Agent {
    pub(crate) fn new(
        plan: Plan,
        edge: crate::plan::EdgeAddress,
        board: Arc<Board>,
        roster: Roster,
        forwarder: Arc<Forwarder>,
        requests: mpsc::Sender<Request>,
        room: Room,
    ) -> Self {
        // An edge inside this process has nobody who could manage it from afar.
        let managed = plan.remote_management && plan.embedded.is_none();
        let dialer = Dialer::new(&edge, plan.connect_timeout);
        let crl = edge.crl.clone().map(Crl::new);
        let wake = wake::follow();
        Self {
            plan,
            edge,
            board,
            roster,
            phase: watch::Sender::new(Phase::Offline),
            forwarder,
            visitors: TaskTracker::new(),
            identity: Mutex::default(),
            routes: Mutex::default(),
            requests,
            turn: std::sync::atomic::AtomicUsize::new(0),
            managed,
            room,
            dialer,
            crl,
            wake,
        }
    }

    /// Connects, logs in and binds all endpoints. `first`: a refused bind fails everything.
    pub(crate) async fn connect(self: &Arc<Self>, first: bool) -> Result<Live, SessionError> {
        let addresses = &self.edge.addrs;
        let turn = self.turn.load(Ordering::Relaxed) % addresses.len().max(1);
        let address = addresses
            .get(turn)
            .ok_or_else(|| DialError::Address(String::new()))?;
        let connected = self.connect_to(address, first).await;
        match &connected {
            Ok(_) => self.dialer.worked(address).await,
            // The next attempt is for the next address.
            Err(_) => {
                self.turn.fetch_add(1, Ordering::Relaxed);
            }
        }
        connected
    }

    async fn connect_to(
        self: &Arc<Self>,
        address: &str,
        first: bool,
    ) -> Result<Live, SessionError> {
        let lists = match &self.crl {
            Some(crl) => Some(crl.get(&self.dialer).await?),
            None => None,
        };
        let config = trust::edge(&self.edge.cas, lists)?;
        let tls = self.dialer.edge(address, config).await?;
        let (mux, acceptor, driver) = portway_mux::session(tls, self.room.mux());
        let driver = tokio::spawn(driver);
        let ours = Arc::new(AtomicBool::new(false));
        tokio::spawn(self.clone().accept(acceptor, ours.clone()));
        let heartbeat_failed = Arc::new(AtomicBool::new(false));
        tokio::spawn(self.clone().beat(mux.clone(), heartbeat_failed.clone()));
        let proxy = self.dialer.proxy_kind(address);
        match self.enter(&mux, first, &ours, proxy).await {
            Ok(refused) => Ok(Live {
                mux,
                driver,
                heartbeat_failed,
                refused,
            }),
            Err(error) => {
                mux.close(ErrorCode::NO_ERROR, "giving up");
                let _ = driver.await;
                Err(error)
            }
        }
    }

    async fn enter(
        &self,
        mux: &Session,
        first: bool,
        ours: &AtomicBool,
        proxy: &str,
    ) -> Result<Vec<(Arc<Endpoint>, Refusal)>, SessionError> {
        let response = self.log_in(mux, proxy).await?;
        ours.store(response.portway.is_some(), Ordering::Relaxed);
        if response.portway.is_some() {
            mux.set_peer(Peer::PORTWAY);
        } else {
            mux.set_peer(Peer {
                clamps_credit: true,
                ..Peer::GO_SDK
            });
        }
        self.board.online(
            &response.account_name,
            &response.plan_name,
            &response.region,
            &response.banner,
        );
        tracing::info!(obj = "tunnels.session", "client session established");
        tracing::info!(obj = "tunnels.session", "tunnel session started");
        self.routes.lock().clear();
        self.phase.send_replace(Phase::Online(mux.clone()));
        let mut refused = Vec::new();
        let all = self.roster.all();
        let (followers, leaders): (Vec<_>, Vec<_>) = all
            .iter()
            .cloned()
            .partition(|endpoint| endpoint.plan.host_of.is_some());
        self.bind_all(mux, leaders, first, &mut refused).await?;
        for follower in &followers {
            let leader = follower.plan.host_of.as_deref();
            if let Some(leader) = all
                .iter()
                .find(|one| Some(one.plan.name.as_str()) == leader)
            {
                follower.follow(leader);
            }
        }
        self.bind_all(mux, followers, first, &mut refused).await?;
        Ok(refused)
    }

    /// Binds side by side. Who is refused and may be asked for again goes to `refused`.
    async fn bind_all(
        &self,
        mux: &Session,
        endpoints: Vec<Arc<Endpoint>>,
        first: bool,
        refused: &mut Vec<(Arc<Endpoint>, Refusal)>,
    ) -> Result<(), SessionError> {
        let binds = stream::iter(endpoints).map(|endpoint| async move {
            let bound = self.bind(mux, &endpoint).await;
            (endpoint, bound)
        });
        let mut binds = binds.buffered(BINDS);
        while let Some((endpoint, bound)) = binds.next().await {
            match bound {
                // It may have been stopped while the edge was asked.
                Ok(bound) if !self.roster.has(&endpoint) => self.unbind(&bound.id).await,
                Ok(bound) => self.started(&endpoint, &bound, first),
                Err(SessionError::Bind { name, refusal })
                    if first || refusal.code.reaction() == Reaction::Fatal =>
                {
                    return Err(SessionError::Bind { name, refusal });
                }
                Err(SessionError::Bind { refusal, .. }) => {
                    tracing::error!(obj = "tunnels", name = endpoint.plan.name, err = %refusal, "failed to start tunnel");
                    self.board.endpoint(&endpoint.plan.name, None);
                    refused.push((endpoint, refusal));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn log_in(&self, mux: &Session, proxy: &str) -> Result<AuthResponse, SessionError> {
        let (client_id, cookie) = {
            let identity = self.identity.lock();
            (identity.client_id.clone(), identity.cookie.clone())
        };
        let unsupported = |why: &str| {
            Some(if self.managed {
                String::new()
            } else {
                why.to_owned()
            })
        };
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let version = env!("CARGO_PKG_VERSION");
        let request = AuthRequest {
            version: vec![VERSION.into(), "2".into()],
            client_id,
            extra: AuthExtra {
                os: os().into(),
                arch: arch().into(),
                authtoken: self.plan.authtoken.clone(),
                version: version.into(),
                user_agent: format!("portway/{version}"),
                metadata: self.plan.metadata.clone(),
                cookie,
                heartbeat_interval: nanos(self.plan.heartbeat_interval),
                heartbeat_tolerance: nanos(self.plan.heartbeat_tolerance),
                update_unsupported: Some(NO_UPDATE.into()),
                stop_unsupported: unsupported(NOT_MANAGED),
                restart_unsupported: Some(NO_RESTART.into()),
                service_run: self.plan.service,
                proxy_type: proxy.into(),
                custom_interface: self.edge.interface.is_some(),
                custom_cas: !matches!(self.edge.cas, Cas::Trusted),
                client_type: "portway".into(),
                portway: Some(Abilities::default()),
                ..AuthExtra::default()
            },
        };
        let answer = call(mux, stream_type::AUTH, &request.encode()).await?;
        let response = AuthResponse::decode(&answer)?;
        if !response.error.is_empty() {
            let refusal = Refusal::parse(&response.error);
            if refusal.code.reaction() == Reaction::ForgetIdentity {
                *self.identity.lock() = Identity::default();
            }
            return Err(SessionError::Refused(refusal));
        }
        let mut identity = self.identity.lock();
        identity.client_id.clone_from(&response.client_id);
        identity.cookie.clone_from(&response.cookie);
        Ok(response)
    }

    /// Binds one endpoint; its visitors may come once this has been answered.
    pub(crate) async fn bind(
        &self,
        mux: &Session,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Bound, SessionError> {
        if let Some(request) = endpoint.labeled_request() {
            return self.bind_labeled(mux, endpoint, &request).await;
        }
        let request = endpoint.request();
        let mut stream = begin(mux, stream_type::BIND, &request.encode()).await?;
        let answer = read(&mut stream).await?;
        let response = BindResponse::decode(&answer)?;
        if !response.error.is_empty() {
            return Err(SessionError::Bind {
                name: endpoint.plan.name.clone(),
                refusal: Refusal::parse(&response.error),
            });
        }
        let bound = endpoint.answered(response);
        self.routes
            .lock()
            .insert(bound.id.clone(), endpoint.clone());
        // The end of our side tells the edge that visitors may come now.
        drop(stream);
        Ok(bound)
    }

    async fn bind_labeled(
        &self,
        mux: &Session,
        endpoint: &Arc<Endpoint>,
        request: &LabeledRequest,
    ) -> Result<Bound, SessionError> {
        let mut stream = begin(mux, stream_type::BIND_LABELED, &request.encode()).await?;
        let answer = read(&mut stream).await?;
        let error = messages::error_of(&answer)?;
        if !error.is_empty() {
            return Err(SessionError::Bind {
                name: endpoint.plan.name.clone(),
                refusal: Refusal::parse(&error),
            });
        }
        let bound = endpoint.labeled_as(messages::labeled_id(&answer)?);
        self.routes
            .lock()
            .insert(bound.id.clone(), endpoint.clone());
        drop(stream);
        Ok(bound)
    }

    /// Tells that an endpoint is up. Only the first time at a level that wrappers see.
    pub(crate) fn started(&self, endpoint: &Endpoint, bound: &Bound, first: bool) {
        self.board.endpoint(&endpoint.plan.name, Some(&bound.url));
        let (name, addr, url) = (
            &endpoint.plan.name,
            endpoint.plan.shown_upstream(),
            &bound.url,
        );
        if first {
            tracing::info!(obj = "tunnels", name, addr, url, "started tunnel");
        } else {
            tracing::debug!(obj = "tunnels", name, addr, url, "started tunnel");
        }
    }

    /// Whether a bind gets visitors in this session.
    pub(crate) fn routes(&self, id: &str) -> bool {
        self.routes.lock().contains_key(id)
    }

    /// The visitors of a bind are led by this endpoint from now on.
    pub(crate) fn reroute(&self, id: &str, endpoint: &Arc<Endpoint>) {
        if let Some(place) = self.routes.lock().get_mut(id) {
            place.clone_from(endpoint);
        }
    }

    /// Lets go of one bind: no visitor of it comes any more. That the edge did not hear of it is no
    /// failure; it asks before it gives us a visitor.
    pub(crate) async fn unbind(&self, id: &str) {
        self.routes.lock().remove(id);
        let phase = self.phase.borrow().clone();
        if let Phase::Online(mux) = phase {
            let message = messages::encode_unbind(id);
            let _ = timeout(UNBIND, call(&mux, stream_type::UNBIND, &message)).await;
        }
    }

    /// Lets go of all endpoints.
    pub(crate) async fn unbind_all(&self, mux: &Session) {
        let ids: Vec<_> = self.routes.lock().drain().map(|(id, _)| id).collect();
        let unbinds = stream::iter(ids).map(|id| async move {
            call(mux, stream_type::UNBIND, &messages::encode_unbind(&id)).await
        });
        // A failed one is ended with the session.
        unbinds
            .buffer_unordered(BINDS)
            .for_each(|_| std::future::ready(()))
            .await;
    }

    // === what the edge opens

    async fn accept(self: Arc<Self>, mut acceptor: Acceptor, ours: Arc<AtomicBool>) {
        while let Some(stream) = acceptor.accept().await {
            let agent = self.clone();
            let ours = ours.clone();
            self.visitors
                .spawn(async move { agent.serve(stream, ours.load(Ordering::Relaxed)).await });
        }
    }

    async fn serve(&self, mut stream: Stream, ours: bool) {
        match stream.read_type().await {
            Ok(Some(stream_type::PROXY)) => {
                let find = |id: &str| self.routes.lock().get(id).cloned();
                self.forwarder.serve(stream, ours, find).await;
            }
            Ok(Some(heartbeat::STREAM_TYPE)) => heartbeat::answer(stream).await,
            Ok(Some(kind)) => Box::pin(self.command(kind, stream)).await,
            Ok(None) | Err(_) => {}
        }
    }

    async fn command(&self, kind: u32, mut stream: Stream) {
        if !Command::is_type(kind) {
            tracing::debug!(
                obj = "tunnels.session",
                kind,
                "stream of an unknown type dropped"
            );
            return;
        }
        let command = match timeout(COMMAND, read(&mut stream)).await {
            Ok(Ok(body)) => Command::decode(kind, &body).map_err(|error| error.to_string()),
            Ok(Err(SessionError::Answer(error))) => Err(error.to_string()),
            Ok(Err(_)) => Err("The command ended before it was complete.".into()),
            Err(_) => Err(format!("The command was not complete within {COMMAND:?}.")),
        };
        let command = match command {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(error) => {
                if stream.write_chunk(commands::reply(&error)).await.is_ok() {
                    stream.finish();
                }
                return;
            }
        };
        let refusal = match &command {
            Command::Stop if self.managed => "",
            Command::Stop => NOT_MANAGED,
            Command::Restart => NO_RESTART,
            Command::Update { .. } => NO_UPDATE,
            Command::StopTunnel { id, message, code } => {
                return self.stopped_by_edge(id, message, code.as_deref()).await;
            }
        };
        if stream.write_chunk(commands::reply(refusal)).await.is_ok() {
            stream.finish();
        }
        if command == Command::Stop && refusal.is_empty() {
            tracing::info!(obj = "app", from = "remote", "received stop request");
            let _ = self.requests.send(Request::Stop).await;
        }
    }

    async fn stopped_by_edge(&self, id: &str, message: &str, code: Option<&str>) {
        let Some(endpoint) = self.routes.lock().remove(id) else {
            return;
        };
        let reason = match code {
            Some(code) => format!("{message}\r\n\r\n{code}\r\n"),
            None => message.to_owned(),
        };
        let url = endpoint.bound().map(|bound| bound.url).unwrap_or_default();
        endpoint.forget();
        self.roster.remove(&endpoint);
        self.board.endpoint(&endpoint.plan.name, None);
        tracing::warn!(
            obj = "tunnels",
            name = endpoint.plan.name,
            url,
            err = reason,
            "tunnel stopped by server"
        );
        let name = endpoint.plan.name.clone();
        let _ = self.requests.send(Request::Ended { name, reason }).await;
    }

    // === heartbeat

    async fn beat(self: Arc<Self>, mux: Session, failed: Arc<AtomicBool>) {
        let first = Bytes::copy_from_slice(&heartbeat::STREAM_TYPE.to_be_bytes());
        let Ok(stream) = mux.open(first).await else {
            return;
        };
        let pace = Pace {
            interval: self.plan.heartbeat_interval,
            tolerance: self.plan.heartbeat_tolerance,
        };
        let mut wake = self.wake.clone();
        wake.borrow_and_update();
        let told = |latency| self.board.latency(latency);
        let failure = heartbeat::beat_nudged(stream, pace, wake, told).await;
        if matches!(failure, Failure::Timeout | Failure::WrongReply) {
            let client_id = self.identity.lock().client_id.clone();
            tracing::error!(obj = "csess", id = client_id, clientid = client_id, err = ?failure, "heartbeat timeout, terminating session");
            failed.store(true, Ordering::Relaxed);
            mux.close(ErrorCode::NO_ERROR, "heartbeat timeout");
        }
    }
}

// === impl Live ===

impl Live {
    /// Resolves with the cause when the session is over and its connection closed.
    pub(crate) async fn over(&mut self) -> String {
        let closed = (&mut self.driver).await;
        if self.heartbeat_failed.load(Ordering::Relaxed) {
            return "heartbeat timeout".into();
        }
        closed.map_or_else(|error| error.to_string(), |closed| closed.to_string())
    }

    /// GOAWAY, and the connection closed.
    pub(crate) async fn close(&mut self) {
        self.mux.close(ErrorCode::NO_ERROR, "no error");
        let _ = (&mut self.driver).await;
    }
}

const NOT_MANAGED: &str = "remote management is disabled in this agent's configuration";
const NO_RESTART: &str =
    "this agent cannot restart itself; stop it and let what started it start it again";
const NO_UPDATE: &str = "this agent was installed by a package manager (pip) and does not replace itself; upgrade it there";

/// Opens a message's stream: type and JSON in one frame.
async fn begin(mux: &Session, kind: u32, message: &Value) -> Result<Stream, SessionError> {
    let text = message.to_string();
    let mut frame = BytesMut::with_capacity(4 + text.len());
    frame.put_u32(kind);
    frame.put_slice(text.as_bytes());
    mux.open(frame.freeze())
        .await
        .map_err(|error| SessionError::Lost(error.to_string()))
}

/// The first JSON value of a stream.
async fn read(stream: &mut Stream) -> Result<Value, SessionError> {
    let mut reader = rpc::Reader::new();
    let reading = async {
        while let Some(chunk) = stream
            .read_chunk()
            .await
            .map_err(|error| SessionError::Lost(error.to_string()))?
        {
            if let Some(value) = reader.push(&chunk)? {
                return Ok(value);
            }
        }
        Err(SessionError::Lost(
            "the edge closed the stream without an answer".into(),
        ))
    };
    let slow = || SessionError::Lost(format!("the edge did not answer within {ANSWER:?}"));
    timeout(ANSWER, reading).await.map_err(|_| slow())?
}

pub(crate) async fn call(mux: &Session, kind: u32, message: &Value) -> Result<Value, SessionError> {
    let mut stream = begin(mux, kind, message).await?;
    read(&mut stream).await
}

pub(crate) fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    }
}
