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
use crate::legs::{FIRST, Legs};
use crate::patience::{Complaints, Pause};
use crate::plan::{EdgeAddress, Plan};
use crate::release;
use crate::room::Room;
use crate::roster::Roster;
use crate::session::{Agent, Live, Request, SessionError};
use crate::web;

/// At the end, for visitors that are still served.
const VISITORS: Duration = Duration::from_secs(5);

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
    /// It has, and another beginning comes after it.
    fn restarting(&self);
}

/// How an agent has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    /// It is to be replaced by this command.
    Again(Vec<String>),
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
) -> Result<Ended, AgentError> {
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
    let forwarder = Arc::new(Forwarder::new(board.clone(), &room, captured));
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
    let looking = look_for_update(agent.clone());
    let typing = agent.clone();
    let life = Life {
        agent,
        hooks,
        requests,
        alone,
        legs: Legs::default(),
    };
    let screen = async {
        if console.show {
            let background = match console.background.as_str() {
                _ if !console.color => Background::None,
                "transparent" => Background::Transparent,
                _ => Background::Black,
            };
            // Without a screen the agent goes on all the same.
            let update = || {
                tokio::spawn(typing.clone().update_by_hand());
            };
            let _ = console::show(background, || board.view(), board.changes(), update).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = life.live(&mut stop) => ended,
        () = screen => Ok(Ended::Stopped),
        () = local => Ok(Ended::Stopped),
        () = looking => Ok(Ended::Stopped),
    }
}

/// Looks for a newer version beside all else.
async fn look_for_update(agent: Arc<Agent>) {
    if let Some(update) = agent.plan.update.as_ref().filter(|update| update.check) {
        let here = update.unsupported.is_empty() && agent.plan.again.is_some() && !cfg!(windows);
        let instead = (!here).then(|| update.brought_by().to_owned());
        agent.board.brought_by(instead);
        release::look(&agent.dialer, update, &agent.board).await;
    }
    std::future::pending::<()>().await;
}

struct Life<'a> {
    agent: Arc<Agent>,
    hooks: &'a dyn Hooks,
    requests: mpsc::Receiver<Request>,
    /// Nothing is left to do without an endpoint.
    alone: bool,
    legs: Legs,
}

/// Why a session is not served any more.
enum End {
    Lost(String),
    Stopped,
    /// It is to begin anew.
    Again,
    Fatal(String),
}

// === impl Life ===

impl Life<'_> {
    async fn live(mut self, stop: &mut watch::Receiver<Stop>) -> Result<Ended, AgentError> {
        let mut backoff = Backoff::connecting();
        let mut refusals = Backoff::refused();
        let mut first = true;
        let mut complaints = Complaints::default();
        let mut pause = Pause::new(self.agent.wake.clone());
        let agent = self.agent.clone();
        loop {
            let attempt = match self.meanwhile(stop, Box::pin(agent.connect(first))).await {
                Ok(attempt) => attempt,
                Err(end) => return self.finish(end, None, stop).await,
            };
            let delay = match attempt {
                Ok(mut live) => {
                    complaints = Complaints::default();
                    refusals = Backoff::refused();
                    if first {
                        self.up();
                    }
                    first = false;
                    self.legs.follow(&agent, &live.offered).await;
                    let (since, visits) = (Instant::now(), agent.board.visits());
                    let whole = live.refused.is_empty();
                    let cause = match self.serve(&mut live, stop).await {
                        End::Lost(cause) => cause,
                        end => return self.finish(end, Some(live), stop).await,
                    };
                    if agent.lost(FIRST, &cause) {
                        self.hooks.offline(&cause);
                    }
                    let served = agent.board.visits() > visits;
                    backoff.worked(since.elapsed(), whole, served);
                    backoff.next()
                }
                Err(error) => {
                    let text = error.to_string();
                    if complaints.are_due(&text, backoff.at_longest()) {
                        self.complain(&error, &text);
                    }
                    let reaction = reaction(&error, first);
                    if reaction == Reaction::Fatal {
                        self.legs.close().await;
                        let logged_in = matches!(error, SessionError::Bind { .. });
                        return self.failed(&text, logged_in);
                    }
                    if !agent.is_online() {
                        agent.board.reconnecting(&text);
                        self.hooks.offline(&text);
                    }
                    match reaction {
                        Reaction::ForgetIdentity => {
                            // The other legs have the old one, and hold what it has bound.
                            self.legs.close().await;
                            Duration::ZERO
                        }
                        Reaction::RetrySoon => backoff::soon(),
                        Reaction::FatalFirst => refusals.next(),
                        Reaction::Retry | Reaction::Fatal => backoff.next(),
                    }
                }
            };
            if let Err(end) = self.meanwhile(stop, pause.wait(delay)).await {
                return self.finish(end, None, stop).await;
            }
        }
    }

    /// Tells of an attempt that failed.
    fn complain(&self, error: &SessionError, text: &str) {
        if self.agent.is_online() {
            tracing::warn!(
                obj = "tunnels.session",
                leg = FIRST,
                err = text,
                "failed to connect leg"
            );
            return;
        }
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
    }

    /// Does something while nothing ends the agent; else, what does.
    async fn meanwhile<T>(
        &mut self,
        stop: &watch::Receiver<Stop>,
        work: impl Future<Output = T>,
    ) -> Result<T, End> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = wanted(stop, Stop::Graceful) => return Err(End::Stopped),
                Some(request) = self.requests.recv() => {
                    if let Some(end) = self.asked(request) {
                        return Err(end);
                    }
                }
            }
        }
    }

    /// What a wish of the edge's comes to.
    fn asked(&self, request: Request) -> Option<End> {
        match request {
            Request::Stop => Some(End::Stopped),
            Request::Again => Some(End::Again),
            Request::Ended { name, reason } if self.alone && self.agent.roster.is_empty() => Some(
                End::Fatal(format!("the edge has ended the endpoint {name}: {reason}")),
            ),
            Request::Ended { .. } => None,
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

    async fn serve(&mut self, live: &mut Live, stop: &watch::Receiver<Stop>) -> End {
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
        let over = async {
            tokio::select! {
                cause = live.over() => End::Lost(cause),
                text = rebinding => End::Fatal(text),
            }
        };
        self.meanwhile(stop, over).await.unwrap_or_else(|end| end)
    }

    /// The end, of which there are several kinds. `live`: the first leg, if it is there.
    async fn finish(
        mut self,
        end: End,
        mut live: Option<Live>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Ended, AgentError> {
        let again = matches!(end, End::Again);
        let fatal = match end {
            End::Fatal(text) | End::Lost(text) => Some(text),
            End::Stopped | End::Again if live.is_some() || self.agent.is_online() => {
                self.wind_up(again, stop).await;
                None
            }
            End::Stopped | End::Again => {
                self.stopped(again);
                None
            }
        };
        let first = async {
            if let Some(live) = &mut live {
                live.close().await;
            }
        };
        tokio::join!(self.legs.close(), first);
        if let Some(text) = fatal {
            return self.failed(&text, true);
        }
        tracing::info!(obj = "controller", "all component stopped");
        let command = self.agent.plan.again.as_ref().filter(|_| again);
        Ok(match command {
            // Who asked for a stop meanwhile gets that.
            Some(again) if *stop.borrow() == Stop::No => Ended::Again(again.argv.clone()),
            _ => Ended::Stopped,
        })
    }

    /// What goes before an end in order: unbind, let visitors finish.
    async fn wind_up(&self, again: bool, stop: &watch::Receiver<Stop>) {
        self.end_begins(again);
        if *stop.borrow() == Stop::Graceful {
            tracing::info!(obj = "app", from = "signal", "received stop request");
        }
        tracing::info!(obj = "tunnels.session", err = "nil", "session closing");
        let agent = &self.agent;
        let orderly = async {
            agent.unbind_all().await;
            // Streams that the edge keeps for its visitors carry nothing now; it ends them.
            agent.visitors.close();
            let _ = timeout(VISITORS, visitors_gone(agent)).await;
        };
        tokio::select! {
            () = orderly => {}
            () = wanted(stop, Stop::Now) => {}
        }
    }

    /// There is no session to wind up.
    fn stopped(&self, again: bool) {
        self.end_begins(again);
        if !again {
            tracing::info!(obj = "app", from = "signal", "received stop request");
        }
    }

    fn end_begins(&self, again: bool) {
        if again {
            self.hooks.restarting();
        } else {
            self.hooks.stopping();
        }
    }

    fn failed(&self, text: &str, logged_in: bool) -> Result<Ended, AgentError> {
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
