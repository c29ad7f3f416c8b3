//! The life of an agent (agent-behaviour §1): connect, serve, reconnect, and an end in order.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portway_wire::{Code, Reaction, Refusal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::backoff::{self, Backoff};
use crate::board::Board;
use crate::capture::Store;
use crate::console::{self, Background};
use crate::endpoint::Endpoint;
use crate::forward::Forwarder;
use crate::plan::{EdgeAddress, Plan};
use crate::room::Room;
use crate::roster::Roster;
use crate::session::{Agent, Live, Phase, Request, SessionError};
use crate::wake;
use crate::web;

/// At the end: for unbinding, and for visitors that are still served.
const UNBIND: Duration = Duration::from_secs(1);
const VISITORS: Duration = Duration::from_secs(5);
/// A change of the network ends a wait for the next attempt, this often at most.
const SKIP: Duration = Duration::from_secs(5);
/// While attempts fail at the longest delay, the same cause is told this often.
const REPEAT: Duration = Duration::from_mins(1);

/// What keeps an agent from going on; the text is for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(pub String);

// === impl AgentError ===

impl AgentError {
    /// The last records of a run that fails.
    fn tell(&self) {
        tracing::error!(obj = "app", err = self.0, "terminating with error");
        tracing::error!(crit = true, err = self.0, "command failed");
    }
}

/// What others want to know of a running agent.
pub trait Hooks: Send + Sync {
    /// An endpoint got its URL for the first time.
    fn endpoint_up(&self, url: &str, upstream: &str);
    /// There is no session, and why; the agent goes on trying.
    fn offline(&self, cause: &str);
    /// All wanted endpoints are bound.
    fn ready(&self);
    /// The end has begun.
    fn stopping(&self);
}

/// How far a stop is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    #[default]
    No,
    /// Endpoints and session are closed, visitors are waited for.
    Graceful,
    Now,
}

/// Runs an agent until it is stopped. `edge`: where it connects. `hint`: a line for the screen.
///
/// # Errors
/// [`AgentError`] for what no further attempt can mend.
pub async fn run(
    plan: Plan,
    edge: EdgeAddress,
    hint: Option<String>,
    room: Room,
    mut stop: watch::Receiver<Stop>,
    hooks: &dyn Hooks,
) -> Result<(), AgentError> {
    let mut endpoints = Vec::new();
    for endpoint in &plan.endpoints {
        let prepared =
            Endpoint::new(endpoint.clone()).map_err(|error| AgentError(error.to_string()))?;
        endpoints.push(Arc::new(prepared));
    }
    let console = plan.console.clone();
    let shown = endpoints.iter().map(|endpoint| {
        (
            endpoint.plan.name.clone(),
            endpoint.plan.shown_upstream().to_owned(),
        )
    });
    let has_http = endpoints.iter().any(|endpoint| endpoint.is_http());
    let board = Arc::new(Board::new(shown.collect(), has_http, console.show, hint));
    room.tell();
    let listening = match &plan.web {
        Some(web) => Some(web::listen(web).await.inspect_err(AgentError::tell)?),
        None => None,
    };
    if let Some(listening) = &listening {
        board.web(&listening.address);
    }
    // Without the interface nobody could ask for them.
    let captured = match plan.web {
        Some(_) => Store::new(plan.inspect_db_size, &room).map(Arc::new),
        None => None,
    };
    let forwarder = Arc::new(Forwarder::new(
        board.clone(),
        &room,
        plan.web.is_some(),
        captured,
    ));
    let (sender, requests) = mpsc::channel(16);
    let alone = plan.command != "start";
    let agent = Arc::new(Agent::new(
        plan,
        edge,
        board.clone(),
        Roster::new(endpoints),
        forwarder,
        sender,
        room,
    ));
    let local = {
        let agent = agent.clone();
        async move {
            if let Some(listening) = listening {
                listening.serve(agent).await;
            }
            std::future::pending::<()>().await;
        }
    };
    let life = Life {
        agent,
        hooks,
        requests,
        alone,
    };
    let screen = async {
        if console.show {
            let background = match console.background.as_str() {
                _ if !console.color => Background::None,
                "transparent" => Background::Transparent,
                _ => Background::Black,
            };
            // Without a screen the agent goes on all the same.
            let _ = console::show(background, || board.view(), board.changes()).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = life.live(&mut stop) => ended,
        () = screen => Ok(()),
        () = local => Ok(()),
    }
}

struct Life<'a> {
    agent: Arc<Agent>,
    hooks: &'a dyn Hooks,
    requests: mpsc::Receiver<Request>,
    /// Nothing is left to do without an endpoint.
    alone: bool,
}

/// Why a session is not served any more.
enum End {
    Lost(String),
    Stopped,
    Fatal(String),
}

// === impl Life ===

impl Life<'_> {
    async fn live(mut self, stop: &mut watch::Receiver<Stop>) -> Result<(), AgentError> {
        let mut backoff = Backoff::connecting();
        let mut refusals = Backoff::refused();
        let mut first = true;
        let mut told: Option<(Instant, String)> = None;
        let mut wake = self.agent.wake.clone();
        let mut skipped: Option<Instant> = None;
        loop {
            let attempt = tokio::select! {
                attempt = self.agent.connect(first) => attempt,
                () = wanted(stop, Stop::Graceful) => {
                    self.stopped();
                    return Ok(());
                }
            };
            let delay = match attempt {
                Ok(mut live) => {
                    told = None;
                    refusals = Backoff::refused();
                    if first {
                        self.up();
                    }
                    first = false;
                    let since = Instant::now();
                    match self.serve(&mut live, stop).await {
                        End::Stopped => {
                            self.end(&mut live, stop).await;
                            return Ok(());
                        }
                        End::Fatal(text) => {
                            live.close().await;
                            return self.failed(&text, true);
                        }
                        End::Lost(cause) => {
                            tracing::error!(
                                obj = "tunnels.session",
                                err = cause,
                                "session closed, starting reconnect loop"
                            );
                            self.agent.phase.send_replace(Phase::Offline);
                            self.agent.board.reconnecting(&cause);
                            self.hooks.offline(&cause);
                            backoff.worked(since.elapsed());
                            backoff.next()
                        }
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    let repeated = told
                        .as_ref()
                        .is_some_and(|(when, earlier)| *earlier == text && when.elapsed() < REPEAT);
                    if !(backoff.at_longest() && repeated) {
                        if matches!(error, SessionError::Refused(_)) {
                            tracing::error!(obj = "tunnels.session", err = text, "failed to auth");
                        }
                        if !matches!(error, SessionError::Bind { .. }) {
                            tracing::error!(
                                obj = "tunnels.session",
                                err = text,
                                "failed to reconnect session"
                            );
                        }
                        told = Some((Instant::now(), text.clone()));
                    }
                    let reaction = reaction(&error, first);
                    if reaction == Reaction::Fatal {
                        let logged_in = matches!(error, SessionError::Bind { .. });
                        return self.failed(&text, logged_in);
                    }
                    self.agent.phase.send_replace(Phase::Offline);
                    self.agent.board.reconnecting(&text);
                    self.hooks.offline(&text);
                    match reaction {
                        Reaction::ForgetIdentity => Duration::ZERO,
                        Reaction::RetrySoon => backoff::soon(),
                        Reaction::FatalFirst => refusals.next(),
                        Reaction::Retry | Reaction::Fatal => backoff.next(),
                    }
                }
            };
            let woken = async {
                wake::changed(&mut wake).await;
                let since = skipped.map_or(SKIP, |when| when.elapsed());
                sleep(SKIP.saturating_sub(since)).await;
            };
            tokio::select! {
                () = sleep(delay) => {}
                () = woken => skipped = Some(Instant::now()),
                () = wanted(stop, Stop::Graceful) => {
                    self.stopped();
                    return Ok(());
                }
            }
        }
    }

    /// Everything is bound for the first time.
    fn up(&self) {
        for endpoint in self.agent.roster.all() {
            if let Some(bound) = endpoint.bound() {
                self.hooks
                    .endpoint_up(&bound.url, endpoint.plan.shown_upstream());
            }
        }
        self.hooks.ready();
    }

    async fn serve(&mut self, live: &mut Live, stop: &mut watch::Receiver<Stop>) -> End {
        let retries = std::mem::take(&mut live.refused);
        let agent = self.agent.clone();
        let mux = live.mux.clone();
        let rebinding = async {
            let all = retries
                .into_iter()
                .map(|(endpoint, refusal)| rebind(&agent, &mux, endpoint, refusal));
            match futures_util::future::try_join_all(all).await {
                Ok(_) => std::future::pending().await,
                Err(refusal) => refusal.to_string(),
            }
        };
        tokio::pin!(rebinding);
        loop {
            tokio::select! {
                cause = live.over() => return End::Lost(cause),
                () = wanted(stop, Stop::Graceful) => return End::Stopped,
                text = &mut rebinding => return End::Fatal(text),
                Some(request) = self.requests.recv() => match request {
                    Request::Stop => return End::Stopped,
                    Request::Ended { name, reason } => {
                        if self.alone && self.agent.roster.is_empty() {
                            return End::Fatal(format!("the edge has ended the endpoint {name}: {reason}"));
                        }
                    }
                }
            }
        }
    }

    /// The end in order: unbind, let visitors finish, GOAWAY.
    async fn end(&self, live: &mut Live, stop: &mut watch::Receiver<Stop>) {
        self.hooks.stopping();
        if *stop.borrow() == Stop::Graceful {
            tracing::info!(obj = "app", from = "signal", "received stop request");
        }
        tracing::info!(obj = "tunnels.session", err = "nil", "session closing");
        let agent = &self.agent;
        let orderly = async {
            let _ = timeout(UNBIND, agent.unbind_all(&live.mux)).await;
            // Streams that the edge keeps for its visitors carry nothing now; it ends them.
            agent.visitors.close();
            let _ = timeout(VISITORS, visitors_gone(agent)).await;
        };
        tokio::select! {
            () = orderly => {}
            () = wanted(stop, Stop::Now) => {}
        }
        live.close().await;
        tracing::info!(obj = "controller", "all component stopped");
    }

    fn stopped(&self) {
        self.hooks.stopping();
        tracing::info!(obj = "app", from = "signal", "received stop request");
        tracing::info!(obj = "controller", "all component stopped");
    }

    fn failed(&self, text: &str, logged_in: bool) -> Result<(), AgentError> {
        self.hooks.stopping();
        tracing::error!(obj = "tunnels.session", err = text, "session closing");
        tracing::info!(
            obj = "tunnels.session",
            err = "reconnecting session closed",
            "accept failed"
        );
        if logged_in {
            tracing::info!(obj = "tunnels.session", "no more state changes");
        }
        tracing::info!(obj = "app", from = "app", "received stop request");
        let error = AgentError(text.to_owned());
        error.tell();
        Err(error)
    }
}

/// Tries an endpoint again that the edge refused after a reconnect, where that may help.
///
/// # Errors
/// The [`Refusal`] that means the whole agent.
async fn rebind(
    agent: &Arc<Agent>,
    mux: &portway_mux::Session,
    endpoint: Arc<Endpoint>,
    refusal: Refusal,
) -> Result<(), Refusal> {
    let mut backoff = Backoff::binding();
    let mut refusal = refusal;
    while may_pass(refusal.code) {
        sleep(backoff.next()).await;
        if !agent.roster.has(&endpoint) {
            return Ok(());
        }
        match agent.bind(mux, &endpoint).await {
            Ok(bound) => {
                agent.started(&endpoint, &bound, true);
                return Ok(());
            }
            Err(SessionError::Bind { refusal: again, .. }) => refusal = again,
            Err(_) => return Ok(()),
        }
    }
    if refusal.code.reaction() == Reaction::Fatal {
        return Err(refusal);
    }
    Ok(())
}

/// Whether an edge that refuses what it has given before may give it again: somebody else, or a dead
/// session of ours, has the place; the edge has trouble; or nobody here knows what the code means.
fn may_pass(code: Code) -> bool {
    match code.reaction() {
        Reaction::Retry | Reaction::RetrySoon => true,
        Reaction::Fatal => false,
        _ => matches!(code.0, 334 | 350) || code.text().is_empty(),
    }
}

/// No connection of a visitor is served any more.
async fn visitors_gone(agent: &Agent) {
    agent.forwarder.idle().await;
}

fn reaction(error: &SessionError, first: bool) -> Reaction {
    match error {
        SessionError::Refused(refusal) => match refusal.code.reaction() {
            Reaction::FatalFirst if first => Reaction::Fatal,
            other => other,
        },
        SessionError::Bind { refusal, .. } => match refusal.code.reaction() {
            Reaction::Retry | Reaction::RetrySoon => refusal.code.reaction(),
            _ => Reaction::Fatal,
        },
        SessionError::Trust(_) if first => Reaction::Fatal,
        SessionError::Dial(crate::dial::DialError::Address(_)) => Reaction::Fatal,
        SessionError::Dial(error) if first && error.is_login() => Reaction::Fatal,
        _ => Reaction::Retry,
    }
}

fn wanted(stop: &watch::Receiver<Stop>, at_least: Stop) -> impl Future<Output = ()> + use<> {
    let mut stop = stop.clone();
    async move {
        // Whoever could ask for a stop is gone: then nobody will.
        if stop.wait_for(|stop| *stop >= at_least).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
