//! The agents that are connected: who they are, what they serve, and how one takes over from
//! itself (wire-protocol §4.8, design decision 12).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use portway_mux::{ErrorCode, Session};
use portway_wire::auth::{AuthExtra, PeerKind};

use crate::control::Account;
use crate::endpoint::Endpoint;
use crate::latency::Latency;
use crate::registry::Registry;
use crate::tcp::TcpPorts;

/// What makes two connections the same agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub account: String,
    pub client_id: String,
    pub leg: u32,
}

/// One connected agent.
#[derive(Debug)]
pub(crate) struct AgentSession {
    /// For logs and answers; not secret.
    pub id: String,
    pub identity: Identity,
    pub account: Account,
    /// Of the account, for its endpoints.
    pub name: Arc<str>,
    pub owner: Arc<str>,
    pub kind: PeerKind,
    pub about: About,
    pub from: SocketAddr,
    pub mux: Session,
    pub latency: Arc<Latency>,
    /// By bind id.
    endpoints: Mutex<HashMap<Arc<str>, Arc<Endpoint>>>,
}

/// What an agent has said of itself at its login.
#[derive(Debug)]
pub(crate) struct About {
    pub version: String,
    pub user_agent: String,
    pub os: String,
    pub metadata: String,
    pub since: SystemTime,
    /// As [`portway_wire::auth::AuthExtra`] has them.
    pub stop_unsupported: Option<String>,
    pub restart_unsupported: Option<String>,
    pub update_unsupported: Option<String>,
}

// === impl About ===

impl About {
    pub(crate) fn of(extra: AuthExtra) -> Self {
        Self {
            version: extra.version,
            user_agent: extra.user_agent,
            os: extra.os,
            metadata: extra.metadata,
            since: SystemTime::now(),
            stop_unsupported: extra.stop_unsupported,
            restart_unsupported: extra.restart_unsupported,
            update_unsupported: extra.update_unsupported,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Identity, Arc<AgentSession>>>);

// === impl AgentSession ===

impl AgentSession {
    pub(crate) fn new(
        id: String,
        identity: Identity,
        account: Account,
        kind: PeerKind,
        about: About,
        from: SocketAddr,
        mux: Session,
    ) -> Self {
        let owner = format!("{}/{}", identity.account, identity.client_id).into();
        Self {
            id,
            identity,
            name: account.name.as_str().into(),
            account,
            owner,
            kind,
            about,
            from,
            mux,
            latency: Arc::default(),
            endpoints: Mutex::default(),
        }
    }

    pub(crate) fn endpoint_count(&self) -> usize {
        self.endpoints.lock().len()
    }

    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.lock().values().cloned().collect()
    }

    pub(crate) fn endpoint(&self, id: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.lock().get(id).cloned()
    }

    /// Remembers an endpoint; the one it replaces, if any, is to be released.
    pub(crate) fn add(&self, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        self.endpoints.lock().insert(endpoint.id.clone(), endpoint)
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.lock().remove(id)
    }

    /// Makes everything it serves unreachable.
    pub(crate) fn release_all(&self, registry: &Registry, tcp: &TcpPorts) {
        let endpoints = std::mem::take(&mut *self.endpoints.lock());
        for endpoint in endpoints.values() {
            release(endpoint, registry, tcp);
        }
    }
}

/// Makes one endpoint unreachable, and closes its port where it was the last there.
pub(crate) fn release(endpoint: &Endpoint, registry: &Registry, tcp: &TcpPorts) {
    let _turn = (endpoint.url.scheme == portway_wire::Scheme::Tcp).then(|| tcp.turn());
    if registry.release(endpoint)
        && endpoint.url.scheme == portway_wire::Scheme::Tcp
        && let Some(port) = endpoint.url.port
    {
        tcp.close(port);
    }
}

// === impl Sessions ===

impl Sessions {
    /// Enters a session; the one it takes over from is handed back.
    pub(crate) fn enter(&self, session: Arc<AgentSession>) -> Option<Arc<AgentSession>> {
        self.0.lock().insert(session.identity.clone(), session)
    }

    /// Forgets a session, unless another has taken its place.
    pub(crate) fn leave(&self, session: &AgentSession) {
        let mut sessions = self.0.lock();
        if sessions
            .get(&session.identity)
            .is_some_and(|there| std::ptr::eq(Arc::as_ptr(there), session))
        {
            sessions.remove(&session.identity);
        }
    }

    /// The one of this id.
    pub(crate) fn named(&self, id: &str) -> Option<Arc<AgentSession>> {
        let sessions = self.0.lock();
        sessions.values().find(|session| session.id == id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<AgentSession>> {
        self.0.lock().values().cloned().collect()
    }

    /// All legs of one agent.
    pub(crate) fn legs(&self, identity: &Identity) -> Vec<Arc<AgentSession>> {
        let sessions = self.0.lock();
        sessions
            .values()
            .filter(|session| {
                session.identity.account == identity.account
                    && session.identity.client_id == identity.client_id
            })
            .cloned()
            .collect()
    }

    /// GOAWAY to everybody.
    pub(crate) fn close_all(&self, debug: &str) {
        for session in self.all() {
            session.mux.close(ErrorCode::NO_ERROR, debug);
        }
    }
}
