//! Further connections of one session (wire-protocol §4.9): where the edge offers several addresses
//! and several legs are wanted, each address gets one. All have the same identity and serve the same
//! endpoints, so one that is lost costs its visitors only; it comes back by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use portway_mux::Session;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::patience::{Complaints, Pause};
use crate::session::{Agent, BINDS, Live, SessionError};

/// Legs of a session, the first included.
const MOST: usize = 16;
/// The number of the leg that the agent begins with.
pub(crate) const FIRST: u32 = 0;

/// The legs that are logged in.
#[derive(Debug, Default)]
pub(crate) struct Up(Mutex<BTreeMap<u32, Session>>);

// === impl Up ===

impl Up {
    /// Whether it is the only one now.
    pub(crate) fn add(&self, number: u32, mux: Session) -> bool {
        let mut legs = self.0.lock();
        legs.insert(number, mux);
        legs.len() == 1
    }

    pub(crate) fn has(&self, number: u32) -> bool {
        self.0.lock().contains_key(&number)
    }

    /// Whether it was there.
    pub(crate) fn remove(&self, number: u32) -> bool {
        self.0.lock().remove(&number).is_some()
    }

    /// The one that messages are sent over.
    pub(crate) fn leading(&self) -> Option<Session> {
        self.0.lock().values().next().cloned()
    }

    pub(crate) fn all(&self) -> Vec<Session> {
        self.0.lock().values().cloned().collect()
    }
}

/// The legs beside the first.
#[derive(Debug, Default)]
pub(crate) struct Legs {
    addresses: Vec<String>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

// === impl Legs ===

impl Legs {
    /// Has a leg to each address but the first, which the agent has found by itself.
    pub(crate) async fn follow(&mut self, agent: &Arc<Agent>, addresses: &[String]) {
        if self.addresses == addresses {
            return;
        }
        self.close().await;
        self.addresses = addresses.to_vec();
        for (number, address) in (FIRST..).zip(addresses).skip(1).take(MOST - 1) {
            let leg = Leg {
                agent: agent.clone(),
                number,
                address: address.clone(),
                stop: self.stop.clone(),
            };
            self.tasks.spawn(leg.live());
        }
    }

    /// Ends all of them.
    pub(crate) async fn close(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        *self = Self::default();
    }
}

/// One of them.
struct Leg {
    agent: Arc<Agent>,
    number: u32,
    address: String,
    stop: CancellationToken,
}

// === impl Leg ===

impl Leg {
    /// Connects and serves until it is stopped. Nothing that happens to it means the whole agent.
    async fn live(self) {
        let mut backoff = Backoff::connecting();
        let mut refusals = Backoff::refused();
        let mut complaints = Complaints::default();
        let mut pause = Pause::new(self.agent.wake.clone());
        loop {
            let attempt = tokio::select! {
                attempt = self.agent.connect_leg(&self.address, self.number) => attempt,
                () = self.stop.cancelled() => break,
            };
            let delay = match attempt {
                Ok(mut live) => {
                    complaints = Complaints::default();
                    refusals = Backoff::refused();
                    let since = Instant::now();
                    let Some(cause) = self.serve(&mut live).await else {
                        live.close().await;
                        self.agent.departed(self.number, "stopped");
                        break;
                    };
                    self.agent.lost(self.number, &cause);
                    backoff.worked(since.elapsed(), true, false);
                    backoff.next()
                }
                Err(error) => {
                    let text = error.to_string();
                    if complaints.are_due(&text, backoff.at_longest()) {
                        tracing::warn!(
                            obj = "tunnels.session",
                            leg = self.number,
                            addr = self.address,
                            err = text,
                            "failed to connect leg"
                        );
                    }
                    match error {
                        SessionError::Refused(_) => refusals.next(),
                        _ => backoff.next(),
                    }
                }
            };
            tokio::select! {
                () = pause.wait(delay) => {}
                () = self.stop.cancelled() => break,
            }
        }
    }

    /// Binds what the first leg has bound, and what it binds later. Why it ended; nothing: it was
    /// stopped.
    async fn serve(&self, live: &mut Live) -> Option<String> {
        let mut served = Served::default();
        let mut backoff = Backoff::binding();
        let mut changes = self.agent.bindings.subscribe();
        let mux = live.mux.clone();
        loop {
            changes.borrow_and_update();
            let done = tokio::select! {
                done = served.catch_up(&self.agent, &mux) => done,
                cause = live.over() => return Some(cause),
                () = self.stop.cancelled() => return None,
            };
            let again = match done {
                Ok(()) => {
                    backoff = Backoff::binding();
                    None
                }
                Err(error) => {
                    let leg = self.number;
                    tracing::warn!(obj = "tunnels", leg, err = %error, "failed to start tunnel on leg");
                    Some(backoff.next())
                }
            };
            tokio::select! {
                cause = live.over() => return Some(cause),
                () = self.stop.cancelled() => return None,
                _ = changes.changed() => {}
                () = sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => {}
            }
        }
    }
}

/// What is bound on a leg, by name.
#[derive(Default)]
struct Served(HashMap<String, Arc<Endpoint>>);

// === impl Served ===

impl Served {
    /// Binds what is not bound here. All are tried; the error is that of one of those that failed.
    async fn catch_up(&mut self, agent: &Agent, mux: &Session) -> Result<(), SessionError> {
        let wanted = agent.roster.all();
        let there = |endpoint: &Arc<Endpoint>| {
            let here = self.0.get(&endpoint.plan.name);
            here.is_some_and(|here| Arc::ptr_eq(here, endpoint))
        };
        let missing: Vec<_> = wanted
            .iter()
            .filter(|endpoint| endpoint.bound().is_some() && !there(endpoint))
            .cloned()
            .collect();
        self.0.retain(|_, here| agent.roster.has(here));
        let binds = stream::iter(missing).map(|endpoint| async {
            let bound = agent.bind_again(mux, &endpoint).await;
            (endpoint, bound)
        });
        let mut binds = binds.buffer_unordered(BINDS);
        let mut failed = Ok(());
        while let Some((endpoint, bound)) = binds.next().await {
            match bound {
                Ok(()) => {
                    self.0.insert(endpoint.plan.name.clone(), endpoint);
                }
                Err(error) => failed = Err(error),
            }
        }
        failed
    }
}
