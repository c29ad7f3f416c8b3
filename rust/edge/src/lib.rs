//! The edge: it owns public URLs and carries their visitors to agents.
//!
//! - [`config`]: what it is told. [`control`]: who may do what.
//! - [`listen`]: accepting; [`gate`]: limits; [`transport`]: PROXY headers and the like.
//! - [`ingress`]: agents; [`session`], [`bind`], [`naming`], [`logins`], [`rpc`]: what they do.
//! - [`registry`], [`endpoint`]: who serves a name, and the way there.
//! - [`http`], [`secure`], [`tcp`]: visitors.
//! - [`ca`], [`certs`], [`revocation`]: certificates. [`metrics`], [`api`]: what it tells its operator.
//! - [`parts`]: for `bench/` to time.

mod api;
mod bind;
mod ca;
mod certs;
mod command;
pub mod config;
pub mod control;
mod core;
mod endpoint;
mod gate;
mod http;
mod ingress;
mod join;
mod latency;
mod listen;
mod logins;
mod metrics;
mod naming;
#[doc(hidden)]
pub mod parts;
mod registry;
mod revocation;
mod rpc;
mod secure;
mod session;
mod tcp;
mod transport;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use portway_wire::{Refusal, Secret};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use portway_wire::commands::Command;

pub use crate::ca::CaError;
use crate::certs::Certificates;
pub use crate::config::EdgeConfig;
use crate::control::{Control, Embedded, Fixed};
use crate::core::{Core, Stage};
use crate::metrics::{Door, Metrics};
use crate::naming::PublicPorts;
use crate::registry::Registry;
use crate::session::Sessions;
use crate::tcp::TcpPorts;

/// How long agents are given to take in that the edge goes away.
const GOODBYE: Duration = Duration::from_secs(1);

/// Ports of TCP endpoints of the edge inside an agent.
const EMBEDDED_TCP_PORTS: std::ops::RangeInclusive<u16> = 20_000..=20_999;

/// Why an edge could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "cannot listen on {address} for {what}: {source}{}",
        advice(what, source)
    )]
    Listen {
        what: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("cannot keep the authtoken in {path}: {source}")]
    Token { path: String, source: io::Error },
}

/// Listening sockets that somebody else has opened, instead of the configured addresses.
#[derive(Debug, Default)]
pub struct Sockets {
    pub agent: Option<std::net::TcpListener>,
    pub http: Option<std::net::TcpListener>,
    pub https: Option<std::net::TcpListener>,
    pub api: Option<std::net::TcpListener>,
}

/// What a reload did.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// What cannot change while the edge runs, and files that could not be used.
    pub warnings: Vec<String>,
    /// Agents whose credential is gone.
    pub ended: usize,
}

/// What the edge's operator sees of an agent.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectedAgent {
    /// Of the session.
    pub id: String,
    pub account: String,
    pub client_id: String,
    pub leg: u32,
    pub ip: String,
    pub version: String,
    pub user_agent: String,
    pub os: String,
    pub metadata: String,
    /// Seconds since 1970.
    pub since: u64,
    pub urls: Vec<String>,
}

// === impl ConnectedAgent ===

impl ConnectedAgent {
    fn of(agent: &session::AgentSession) -> Self {
        let about = &agent.about;
        let since = about.since.duration_since(UNIX_EPOCH);
        let mut urls: Vec<_> = agent
            .endpoints()
            .iter()
            .map(|one| one.url.to_string())
            .collect();
        urls.sort();
        Self {
            id: agent.id.clone(),
            account: agent.account.name.clone(),
            client_id: agent.identity.client_id.clone(),
            leg: agent.identity.leg,
            ip: agent.from.ip().to_canonical().to_string(),
            version: about.version.clone(),
            user_agent: about.user_agent.clone(),
            os: about.os.clone(),
            metadata: about.metadata.clone(),
            since: since.map_or(0, |since| since.as_secs()),
            urls,
        }
    }
}

/// A running edge. Dropped, it ends at once.
pub struct Edge {
    core: Arc<Core>,
    accepting: Vec<AbortOnDropHandle<()>>,
    agent_addr: Option<SocketAddr>,
    http_addr: Option<SocketAddr>,
    https_addr: Option<SocketAddr>,
    api_addr: Option<SocketAddr>,
    ca_pem: String,
    join: String,
}

// === impl Edge ===

impl Edge {
    /// Starts an edge; it is listening when this returns. `control`: who may do what, where it is
    /// not decided by the configuration. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] with the address or file that is in the way.
    pub fn start(
        mut config: EdgeConfig,
        sockets: Sockets,
        control: Option<Arc<dyn Control>>,
    ) -> Result<Self, StartError> {
        let authority = Arc::new(ca::Authority::open(config.data_dir.as_deref())?);
        join::ensure_token(&mut config)?;
        let control: Arc<dyn Control> = match control {
            Some(control) => control,
            None if config.embedded => {
                let token = config.tokens.first().map(|token| token.token.clone());
                Arc::new(Embedded::new(token.unwrap_or_default()))
            }
            None => Arc::new(Fixed::new(&config)),
        };
        let shared = config.shares_port();
        let agent = open(
            "agents",
            if shared { None } else { config.agent_addr },
            sockets.agent,
        )?;
        let http = open("http", config.http_addr, sockets.http)?;
        let https = open("https", config.https_addr, sockets.https)?;
        let api = open("the API", config.api_addr, sockets.api)?;
        let bound = |listener: &Option<TcpListener>| {
            listener
                .as_ref()
                .and_then(|listener| listener.local_addr().ok())
        };
        let (http_addr, https_addr, api_addr) = (bound(&http), bound(&https), bound(&api));
        let agent_addr = bound(&agent).or(https_addr.filter(|_| shared));
        let registry = Arc::new(Registry::new());
        let agent_host = config
            .public_agent_addr
            .as_deref()
            .map(|address| address.rsplit_once(':').map_or(address, |(host, _)| host));
        let certificates = Arc::new(Certificates::new(
            authority.clone(),
            &config.domains,
            agent_host,
            registry.clone(),
        ));
        for error in certificates.load_pairs(config.certs_dir.as_deref()) {
            tracing::error!(obj = "tls", err = %error, "cannot use a certificate");
        }
        let own = join::address(&config, agent_addr);
        let join = join::text(&config, own.as_deref(), api_addr, authority.fingerprint());
        let named = config.connect_addresses.iter();
        let legs = named.filter_map(|address| match address.as_str() {
            "self" => own.clone(),
            other => Some(other.to_owned()),
        });
        let legs = legs.collect();
        let tcp_address = http_addr
            .or(https_addr)
            .or(agent_addr)
            .map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip());
        let ports = PublicPorts {
            http: http_addr.map(|address| config.public_http_port.unwrap_or(address.port())),
            https: https_addr.map(|address| config.public_https_port.unwrap_or(address.port())),
        };
        let https_config = Arc::new(certs::config(
            None,
            certificates.clone(),
            &[b"h2", b"http/1.1"],
        ));
        let core = Arc::new_cyclic(|weak| Core {
            config: ArcSwap::from_pointee(config),
            ports,
            legs,
            registry,
            certificates,
            authority: authority.clone(),
            https_config,
            control,
            metrics: Metrics::default(),
            sessions: Sessions::default(),
            tcp: TcpPorts::new(tcp_address, weak.clone()),
            logins: logins::Logins::default(),
            gates: Default::default(),
            visitors: TaskTracker::new(),
            agents: TaskTracker::new(),
            stage: watch::Sender::new(Stage::Serving),
        });
        let mut accepting = Vec::new();
        if let Some(listener) = agent {
            accepting.push(tokio::spawn(listen::accept(
                listener,
                core.clone(),
                Door::Agent,
                ingress::serve,
            )));
        }
        if let Some(listener) = http {
            accepting.push(tokio::spawn(listen::accept(
                listener,
                core.clone(),
                Door::Http,
                http::serve::plain,
            )));
        }
        if let Some(listener) = https {
            accepting.push(tokio::spawn(listen::accept(
                listener,
                core.clone(),
                Door::Https,
                secure::serve,
            )));
        }
        if let Some(listener) = api {
            accepting.push(tokio::spawn(api::accept(listener, core.clone())));
        }
        Ok(Self {
            core,
            accepting: accepting.into_iter().map(AbortOnDropHandle::new).collect(),
            agent_addr,
            http_addr,
            https_addr,
            api_addr,
            ca_pem: authority.pem().to_owned(),
            join,
        })
    }

    /// Starts the edge inside an agent: loopback, in memory, one token. Its http and https ports
    /// are these, or free ones where they are taken.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn embedded(
        config: EdgeConfig,
        token: &Secret,
        http_port: u16,
        https_port: u16,
    ) -> Result<Self, StartError> {
        let local = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        // Kept from here on: one that is looked at and opened later may be somebody else's by then.
        let listen = |port| std::net::TcpListener::bind(("127.0.0.1", port)).ok();
        let config = EdgeConfig {
            agent_addr: local(0),
            http_addr: local(0),
            https_addr: local(0),
            api_addr: None,
            tcp_ports: config.tcp_ports.or(Some(EMBEDDED_TCP_PORTS)),
            data_dir: None,
            embedded: true,
            tokens: vec![config::Token {
                token: token.clone(),
                name: "local".into(),
                acl: Vec::new(),
                metadata: String::new(),
            }],
            ..config
        };
        let sockets = Sockets {
            http: listen(http_port),
            https: listen(https_port),
            ..Sockets::default()
        };
        Self::start(config, sockets, None)
    }

    /// Where agents dial.
    pub fn agent_addr(&self) -> Option<SocketAddr> {
        self.agent_addr
    }

    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }

    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https_addr
    }

    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api_addr
    }

    /// The CA that agents have to trust, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Address, CA and a token in one text, for `portway config join`. It is a secret.
    pub fn join_string(&self) -> &str {
        &self.join
    }

    /// Takes up tokens, reservations, certificates and limits of a new configuration. No
    /// connection ends, but those of agents whose credential is gone; endpoints that the new rules
    /// do not allow get no more visitors.
    ///
    /// # Errors
    /// [`StartError::Token`] where the edge's own token cannot be read.
    pub fn reload(&self, mut config: EdgeConfig) -> Result<Reloaded, StartError> {
        join::ensure_token(&mut config)?;
        let mut report = Reloaded::default();
        let old = self.core.config.load();
        let fixed = [
            ("agent_addr", old.agent_addr == config.agent_addr),
            ("http_addr", old.http_addr == config.http_addr),
            ("https_addr", old.https_addr == config.https_addr),
            ("api_addr", old.api_addr == config.api_addr),
            ("data_dir", old.data_dir == config.data_dir),
            ("domains", old.domains == config.domains),
            ("tcp_ports", old.tcp_ports == config.tcp_ports),
            (
                "public_http_port",
                old.public_http_port == config.public_http_port,
            ),
            (
                "public_https_port",
                old.public_https_port == config.public_https_port,
            ),
            (
                "public_agent_addr",
                old.public_agent_addr == config.public_agent_addr,
            ),
            (
                "connect_addresses",
                old.connect_addresses == config.connect_addresses,
            ),
            ("crl_url", old.crl_url == config.crl_url),
            ("threads", old.threads == config.threads),
        ];
        for (key, same) in fixed {
            if !same {
                report
                    .warnings
                    .push(format!("{key} has changed; that takes a restart"));
            }
        }
        let config = EdgeConfig {
            agent_addr: old.agent_addr,
            http_addr: old.http_addr,
            https_addr: old.https_addr,
            api_addr: old.api_addr,
            data_dir: old.data_dir.clone(),
            domains: old.domains.clone(),
            tcp_ports: old.tcp_ports.clone(),
            public_http_port: old.public_http_port,
            public_https_port: old.public_https_port,
            public_agent_addr: old.public_agent_addr.clone(),
            connect_addresses: old.connect_addresses.clone(),
            crl_url: old.crl_url.clone(),
            threads: old.threads,
            ..config
        };
        for error in self
            .core
            .certificates
            .load_pairs(config.certs_dir.as_deref())
        {
            report.warnings.push(error.to_string());
        }
        self.core.control.reload(&config);
        self.core.config.store(Arc::new(config));
        for session in self.core.sessions.all() {
            if !self.core.control.stands(&session.account.credential) {
                report.ended += 1;
                session.mux.close(
                    portway_mux::ErrorCode::NO_ERROR,
                    "the authtoken was revoked",
                );
            }
        }
        tokio::spawn(bind::review(self.core.clone()));
        Ok(report)
    }

    /// The agents that are connected; each leg of one is there.
    pub fn agents(&self) -> Vec<ConnectedAgent> {
        let all = self.core.sessions.all();
        let mut agents: Vec<_> = all.iter().map(|agent| ConnectedAgent::of(agent)).collect();
        agents.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
        agents
    }

    /// Has the agent of a session carry out a command; nothing where there is no such session.
    ///
    /// # Errors
    /// The [`Refusal`] for who asked.
    pub async fn order(&self, session: &str, command: Command) -> Result<Option<()>, Refusal> {
        let Some(agent) = self.core.sessions.named(session) else {
            return Ok(None);
        };
        command::order(&agent, &command).await?;
        tracing::info!(obj = "command", id = agent.id, account = agent.account.name, command = ?command, "agent has been told");
        Ok(Some(()))
    }

    /// Ends in order: nothing new, what runs may end within `drain`, agents are told, all is
    /// closed.
    pub async fn stop(&self, drain: Duration) {
        let core = &self.core;
        core.stage.send_replace(Stage::Draining);
        core.tcp.close_all();
        core.visitors.close();
        let _ = timeout(drain, core.visitors.wait()).await;
        core.sessions.close_all("the edge is stopping");
        core.agents.close();
        let _ = timeout(GOODBYE, core.agents.wait()).await;
        core.stage.send_replace(Stage::Stopped);
        for accepting in &self.accepting {
            accepting.abort();
        }
    }

    /// How long a graceful stop waits, as configured.
    pub fn drain(&self) -> Duration {
        self.core.config.load().limits.drain
    }
}

/// A token nobody can guess.
pub fn random_token() -> Secret {
    Secret::new(naming::random_hex(20))
}

/// What can be done about a listener that failed; a line of its own.
fn advice(what: &str, error: &io::Error) -> String {
    let flag = match what {
        "agents" => "--agent-addr",
        "http" => "--http-addr",
        "https" => "--https-addr",
        _ => "--api-addr",
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "\nAnother program listens there, such as a second edge or the one inside an agent: stop it, or give another address with {flag}."
        ),
        io::ErrorKind::PermissionDenied => format!(
            "\nPorts below 1024 take the capability CAP_NET_BIND_SERVICE, or root; {flag} gives another address."
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("\nNo interface of this machine has this address; {flag} gives another.")
        }
        _ => String::new(),
    }
}

fn open(
    what: &'static str,
    address: Option<SocketAddr>,
    given: Option<std::net::TcpListener>,
) -> Result<Option<TcpListener>, StartError> {
    let fail = |address| {
        move |source| StartError::Listen {
            what,
            address,
            source,
        }
    };
    if let Some(listener) = given {
        let address = listener
            .local_addr()
            .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        listener.set_nonblocking(true).map_err(fail(address))?;
        return TcpListener::from_std(listener)
            .map(Some)
            .map_err(fail(address));
    }
    address
        .map(|address| listen::bind(address).map_err(fail(address)))
        .transpose()
}
