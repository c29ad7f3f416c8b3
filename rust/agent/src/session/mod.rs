//! One connection to the edge, from dialling to its end (agent-behaviour §1, §2; wire-protocol
//! §3, §4).
//!
//! - [`login`]: who we are. [`bind`]: endpoints. [`message`]: how anything is asked and answered.

mod bind;
mod login;
mod message;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use portway_mux::heartbeat::{self, Failure, Pace};
use portway_mux::{Acceptor, Closed, ErrorCode, Peer, Session, Stream};
use portway_wire::auth::AuthResponse;
use portway_wire::{Malformed, Refusal, stream_type};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

pub(crate) use self::bind::BINDS;
use self::login::heed;
pub(crate) use self::login::{arch, os};
pub(crate) use self::message::{call, read, useless};
use crate::board::Board;
use crate::crl::{Crl, CrlError};
use crate::dial::{DialError, Dialer};
use crate::endpoint::Endpoint;
use crate::forward::Forwarder;
use crate::legs::{FIRST, Up};
use crate::plan::Plan;
use crate::room::Room;
use crate::roster::Roster;
use crate::trust::{self, TrustError};
use crate::wake;

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
    #[error("{address} did not answer the login: {reason}")]
    Unanswered { address: String, reason: String },
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
    /// Its connections.
    up: Up,
    /// Changes with what is bound.
    pub(crate) bindings: watch::Sender<()>,
    pub(crate) forwarder: Arc<Forwarder>,
    /// Connections of visitors.
    pub(crate) visitors: TaskTracker,
    identity: Mutex<Identity>,
    /// Endpoints by the id the edge calls them by.
    routes: Mutex<HashMap<String, Arc<Endpoint>>>,
    pub(crate) requests: mpsc::Sender<Request>,
    /// Where the next attempt begins in the list of addresses.
    turn: std::sync::atomic::AtomicUsize,
    /// The edge may stop, restart and update it.
    pub(crate) managed: bool,
    /// It is doing so.
    pub(crate) commanded: AtomicBool,
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
    /// An end, and the same from the beginning.
    Again,
    /// An endpoint was ended by the edge, with its reason.
    Ended {
        name: String,
        reason: String,
    },
}

/// A connection that is logged in. That of the first leg has all endpoints bound.
pub(crate) struct Live {
    pub(crate) mux: Session,
    driver: tokio::task::JoinHandle<Arc<Closed>>,
    /// Set when our own heartbeat failed: then that is why it ended.
    heartbeat_failed: Arc<AtomicBool>,
    /// Endpoints the edge refuses for now.
    pub(crate) refused: Vec<(Arc<Endpoint>, Refusal)>,
    /// Where the edge offers further legs, the place of this one first.
    pub(crate) offered: Vec<String>,
}

/// What is decided when a leg has logged in.
#[derive(Default)]
struct Entered {
    refused: Vec<(Arc<Endpoint>, Refusal)>,
    offered: Vec<String>,
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
            up: Up::default(),
            bindings: watch::Sender::new(()),
            forwarder,
            visitors: TaskTracker::new(),
            identity: Mutex::default(),
            routes: Mutex::default(),
            requests,
            turn: std::sync::atomic::AtomicUsize::new(0),
            managed,
            commanded: AtomicBool::new(false),
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
        let connected = self.connect_to(address, FIRST, first).await;
        match &connected {
            Ok(_) => self.dialer.worked(address).await,
            // The next attempt is for the next address.
            Err(_) => {
                self.turn.fetch_add(1, Ordering::Relaxed);
            }
        }
        connected
    }

    /// Connects and logs in once more, as a leg beside the first.
    pub(crate) async fn connect_leg(
        self: &Arc<Self>,
        address: &str,
        number: u32,
    ) -> Result<Live, SessionError> {
        let connected = self.connect_to(address, number, false).await?;
        self.dialer.worked(address).await;
        Ok(connected)
    }

    async fn connect_to(
        self: &Arc<Self>,
        address: &str,
        leg: u32,
        first: bool,
    ) -> Result<Live, SessionError> {
        let lists = match &self.crl {
            Some(crl) => {
                let started = Instant::now();
                let got = crl.get(&self.dialer).await;
                let err = got.as_ref().err().map_or("nil".into(), ToString::to_string);
                tracing::debug!(obj = "tunnels.session", dur = ?started.elapsed(), err, "crl");
                Some(got?)
            }
            None => None,
        };
        let config = trust::edge(&self.edge.cas, lists)?;
        let tls = self.dialer.edge(address, config).await?;
        let (mux, acceptor, driver) = portway_mux::session(tls, self.room.mux());
        let driver = tokio::spawn(driver);
        let ours = Arc::new(AtomicBool::new(false));
        tokio::spawn(self.clone().accept(acceptor, ours.clone()));
        let heartbeat_failed = Arc::new(AtomicBool::new(false));
        let latency = Arc::new(OnceLock::new());
        tokio::spawn(self.clone().beat(
            leg,
            mux.clone(),
            heartbeat_failed.clone(),
            latency.clone(),
        ));
        let proxy = self.dialer.proxy_kind(address);
        let entered = self.enter(&mux, leg, first, &ours, &latency, proxy).await;
        match entered {
            Ok(Entered { refused, offered }) => Ok(Live {
                mux,
                driver,
                heartbeat_failed,
                refused,
                offered,
            }),
            Err(error) => {
                mux.close(ErrorCode::NO_ERROR, "giving up");
                let closed = driver.await;
                let error = match (error, closed) {
                    (SessionError::Lost(text), Ok(closed)) if !self.up.has(leg) => {
                        let told = useless(&closed);
                        told.map_or(SessionError::Lost(text), |reason| {
                            let address = address.to_owned();
                            SessionError::Unanswered { address, reason }
                        })
                    }
                    (error, _) => error,
                };
                self.departed(leg, &error.to_string());
                Err(error)
            }
        }
    }

    async fn enter(
        &self,
        mux: &Session,
        leg: u32,
        first: bool,
        ours: &AtomicBool,
        latency: &OnceLock<Duration>,
        proxy: &str,
    ) -> Result<Entered, SessionError> {
        let response = self.log_in(mux, leg, proxy).await?;
        ours.store(response.portway.is_some(), Ordering::Relaxed);
        if response.portway.is_some() {
            mux.set_peer(Peer::PORTWAY);
        } else {
            mux.set_peer(Peer {
                clamps_credit: true,
                ..Peer::GO_SDK
            });
        }
        self.arrived(leg, mux, &response, latency);
        if leg != FIRST {
            return Ok(Entered::default());
        }
        heed(&response);
        let mut entered = Entered::default();
        if self.plan.multi_leg && response.connect_addresses.len() > 1 {
            let offered = response.connect_addresses.into_iter();
            entered.offered = offered.map(|leg| with_port(leg.address)).collect();
        }
        let refused = &mut entered.refused;
        let all = self.roster.all();
        let (followers, leaders): (Vec<_>, Vec<_>) = all
            .iter()
            .cloned()
            .partition(|endpoint| endpoint.plan.host_of.is_some());
        // Of two schemes the plain one is told of first, as others do it.
        let late: HashSet<_> = all.iter().filter_map(|one| one.plan.plain_of()).collect();
        let mut untold = self.bind_all(mux, leaders, &late, first, refused).await?;
        for follower in &followers {
            let leader = follower.plan.host_of.as_deref();
            if let Some(leader) = all
                .iter()
                .find(|one| Some(one.plan.name.as_str()) == leader)
            {
                follower.follow(leader);
            }
        }
        untold.extend(self.bind_all(mux, followers, &late, first, refused).await?);
        for (endpoint, bound) in untold {
            bind::tell(&endpoint, &bound, first);
        }
        Ok(entered)
    }

    // === which legs there are

    /// A leg has logged in.
    fn arrived(
        &self,
        leg: u32,
        mux: &Session,
        response: &AuthResponse,
        latency: &OnceLock<Duration>,
    ) {
        let alone = self.up.add(leg, mux.clone());
        if alone {
            // Of the sessions that are over.
            self.routes.lock().clear();
        }
        if alone || leg == FIRST {
            self.board.online(
                &response.account_name,
                &response.plan_name,
                &response.banner,
            );
        }
        self.board.leg(leg, &response.region);
        // The first beat is usually answered before the login is.
        if let Some(latency) = latency.get() {
            self.board.latency(leg, *latency);
        }
        if alone {
            tracing::info!(obj = "tunnels.session", "client session established");
            tracing::info!(obj = "tunnels.session", "tunnel session started");
        } else {
            let region = &response.region;
            tracing::info!(obj = "tunnels.session", leg, region, "leg established");
        }
        self.led();
    }

    /// A leg is there no more. `true`: it was the last.
    pub(crate) fn departed(&self, leg: u32, cause: &str) -> bool {
        if !self.up.remove(leg) {
            return false;
        }
        self.board.no_leg(leg);
        self.led();
        if self.is_online() {
            tracing::warn!(obj = "tunnels.session", leg, err = cause, "leg closed");
            return false;
        }
        self.board.reconnecting(cause);
        true
    }

    /// The same, where it has served. `true`: it was the last.
    pub(crate) fn lost(&self, leg: u32, cause: &str) -> bool {
        let last = self.departed(leg, cause);
        if last {
            tracing::error!(
                obj = "tunnels.session",
                err = cause,
                "session closed, starting reconnect loop"
            );
        }
        last
    }

    fn led(&self) {
        let leading = self.up.leading();
        self.phase
            .send_replace(leading.map_or(Phase::Offline, Phase::Online));
    }

    pub(crate) fn is_online(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Online(_))
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

    // === heartbeat

    async fn beat(
        self: Arc<Self>,
        leg: u32,
        mux: Session,
        failed: Arc<AtomicBool>,
        first_latency: Arc<OnceLock<Duration>>,
    ) {
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
        let told = |latency| {
            let _ = first_latency.set(latency);
            self.board.latency(leg, latency);
        };
        let failure = heartbeat::beat_nudged(stream, pace, wake, told).await;
        if matches!(failure, Failure::Timeout | Failure::WrongReply) {
            let client_id = self.identity.lock().client_id.clone();
            let err = match failure {
                Failure::WrongReply => "another answer than the one that was due",
                _ => "no answer in time",
            };
            tracing::error!(
                obj = "csess",
                id = client_id,
                clientid = client_id,
                err,
                "heartbeat timeout, terminating session"
            );
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

/// An address of a leg, to be dialled.
fn with_port(address: String) -> String {
    if crate::dial::split(&address).is_some() {
        address
    } else {
        format!("{address}:443")
    }
}
