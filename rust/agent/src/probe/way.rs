//! The way to a host, step by step: its proxy, its names, TCP and TLS.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portway_mux::ReadAhead;
use portway_wire::Secret;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::event::{Certificate, Event};
use super::{Family, ProbePlan, edge};
use crate::crl::{self, Crl};
use crate::dial::{Dialer, EdgeStream, Names, Proxy, Road, Source, race};
use crate::plan::Cas;
use crate::trust;

/// For each step (agent-behaviour §12).
const STEP: Duration = Duration::from_secs(5);
/// Addresses of one host that are tried.
const ADDRESSES: usize = 16;

pub(crate) struct Way<'a> {
    plan: &'a ProbePlan,
    names: Names,
    proxy: Option<Proxy>,
    pub(crate) tell: &'a (dyn Fn(Event) + Sync),
}

// === impl Way ===

impl<'a> Way<'a> {
    pub(crate) fn new(plan: &'a ProbePlan, tell: &'a (dyn Fn(Event) + Sync)) -> Self {
        Self {
            plan,
            names: Names::new(&plan.edge.dns),
            proxy: plan.edge.proxy.clone().map(Proxy::new),
            tell,
        }
    }

    /// Whether the proxy, where there is one, can be reached.
    pub(crate) async fn proxy(&self) -> bool {
        let Some(proxy) = &self.proxy else {
            return true;
        };
        let (host, port) = proxy.place();
        let started = Instant::now();
        let source = host.parse().map_or(Source::System, Source::Literal);
        let found = self.ask(source, host).await;
        let mut event = Event::new("proxy", "resolve", host);
        event.resolver = named(source);
        event.addrs = found.iter().flatten().map(ToString::to_string).collect();
        (self.tell)(event.ended(started.elapsed(), &found, 8005));
        let Ok(found) = found else { return false };
        let started = Instant::now();
        let reached = self.connect(&found, port).await;
        let mut event = Event::new("proxy", "tcp", host);
        if let Ok((_, at)) = &reached {
            event.addr = at.to_string();
        }
        let reached =
            reached.map_err(|error| proxy.fail(format!("cannot reach it: {error}")).to_string());
        (self.tell)(event.ended(started.elapsed(), &reached, 8006));
        reached.is_ok()
    }

    /// The addresses that all resolvers know for a host, each once; each resolver is told. Nothing
    /// where a proxy does this.
    pub(crate) async fn names(&self, section: &str, host: &str, port: u16) -> Vec<IpAddr> {
        if self.is_proxied(host, port) {
            return Vec::new();
        }
        let mut sources = self.names.sources(host);
        sources.retain(|source| match source {
            Source::Public | Source::Https => !self.plan.alone,
            Source::Published | Source::Kept => false,
            _ => true,
        });
        if sources.contains(&Source::Servers) {
            sources.insert(0, Source::System);
        }
        let asked = sources.into_iter().map(async |source| {
            let started = Instant::now();
            let found = self.ask(source, host).await;
            let mut event = Event::new(section, "resolve", host);
            event.resolver = named(source);
            event.addrs = found.iter().flatten().map(ToString::to_string).collect();
            (self.tell)(event.ended(started.elapsed(), &found, 8000));
            found.unwrap_or_default()
        });
        let mut all = Vec::new();
        for address in join_all(asked).await.into_iter().flatten() {
            if !all.contains(&address) && all.len() < ADDRESSES {
                all.push(address);
            }
        }
        all
    }

    /// TCP and TLS to every address of a family, and for an edge (`talk`: its token) what is said then.
    #[allow(clippy::too_many_arguments)]
    pub(crate) async fn secure(
        &self,
        section: &str,
        host: &str,
        port: u16,
        found: &[IpAddr],
        family: Family,
        cas: &Cas,
        talk: Option<&Secret>,
    ) {
        // Without the list an agent connects to nobody.
        let Ok(lists) = self.revoked(section, host, talk.is_some()).await else {
            return;
        };
        let config = match trust::edge(cas, lists) {
            Ok(config) => config,
            Err(error) => {
                let event = Event::new(section, "tls", host);
                (self.tell)(event.ended(Duration::ZERO, &Err::<(), _>(error), 8003));
                return;
            }
        };
        let targets: Vec<Option<IpAddr>> = if self.is_proxied(host, port) {
            vec![None]
        } else {
            let four = found.iter().filter(|address| address.is_ipv4());
            let six = found.iter().filter(|address| address.is_ipv6());
            let chosen: Vec<_> = match family {
                Family::Usual if four.clone().next().is_some() => four.collect(),
                Family::Usual | Family::V6 => six.collect(),
            };
            if chosen.is_empty() && family == Family::V6 {
                let event = Event::new(section, "resolve", host);
                let none = Err::<(), _>("it has no IPv6 address");
                (self.tell)(event.ended(Duration::ZERO, &none, 8011));
            }
            chosen.into_iter().copied().map(Some).collect()
        };
        join_all(targets.into_iter().map(|target| {
            let config = config.clone();
            let one = One {
                way: self,
                section,
                host,
                port,
                target,
                is_edge: talk.is_some(),
                six: family == Family::V6,
            };
            async move {
                if let Some(stream) = one.reach(config).await {
                    match talk {
                        Some(token) => edge::talk(&one, self.plan, stream, token).await,
                        None => one.clock(stream).await,
                    }
                }
            }
        }))
        .await;
    }

    /// The list of revoked certificates that an agent would have for an edge, if it asks for one.
    async fn revoked(
        &self,
        section: &str,
        host: &str,
        is_edge: bool,
    ) -> Result<Option<crl::Lists>, ()> {
        let Some(url) = self.plan.edge.crl.clone().filter(|_| is_edge) else {
            return Ok(None);
        };
        let started = Instant::now();
        let dialer = Dialer::new(&self.plan.edge, STEP);
        let lists = Crl::new(url).get(&dialer).await;
        let event = Event::new(section, "crl", host);
        (self.tell)(event.ended(started.elapsed(), &lists, 8003));
        lists.map(Some).map_err(drop)
    }

    fn is_proxied(&self, host: &str, port: u16) -> bool {
        self.proxy
            .as_ref()
            .is_some_and(|proxy| proxy.is_for(host, port))
    }

    async fn ask(&self, source: Source, host: &str) -> Result<Vec<IpAddr>, String> {
        let all = async {
            let tls = || trust::public(&self.plan.edge.cas).map_err(|error| error.to_string());
            let found = self.names.ask(source, host, tls).await?;
            let mut all = found.now;
            if let Some(later) = found.later {
                all.extend(later.await);
            }
            Ok(all)
        };
        timeout(STEP, all).await.map_err(|_| slow())?
    }

    async fn connect(
        &self,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<(tokio::net::TcpStream, SocketAddr), String> {
        let found = crate::dial::Found {
            now: addresses.to_vec(),
            ..crate::dial::Found::default()
        };
        let mut tried = Vec::new();
        let race = race(found, port, self.plan.edge.interface.as_deref(), &mut tried);
        let socket = timeout(STEP, race).await.map_err(|_| slow())?;
        let socket = socket.map_err(|failed| {
            failed.map_or_else(
                || "it has no address".into(),
                |(_, error)| error.to_string(),
            )
        })?;
        let at = socket.peer_addr().map_err(|error| error.to_string())?;
        Ok((socket, at))
    }
}

/// One address of a host, or the host as a proxy finds it.
pub(crate) struct One<'a> {
    pub(crate) way: &'a Way<'a>,
    pub(crate) section: &'a str,
    pub(crate) host: &'a str,
    port: u16,
    target: Option<IpAddr>,
    is_edge: bool,
    six: bool,
}

// === impl One ===

impl One<'_> {
    pub(crate) fn event(&self, name: &'static str) -> Event {
        let mut event = Event::new(self.section, name, self.host);
        event.addr = match self.target {
            Some(ip) => SocketAddr::new(ip, self.port).to_string(),
            None => format!("{}:{}", self.host, self.port),
        };
        event
    }

    /// Tells how a step ended. Over IPv6 alone everything that fails has one code.
    pub(crate) fn told<T, E: Display>(
        &self,
        event: Event,
        started: Instant,
        result: &Result<T, E>,
        code: u16,
    ) {
        let code = if self.six { 8011 } else { code };
        (self.way.tell)(event.ended(started.elapsed(), result, code));
    }

    /// TCP, then TLS.
    async fn reach(&self, config: Arc<ClientConfig>) -> Option<EdgeStream> {
        let started = Instant::now();
        let road = self.road().await;
        let code = if self.is_edge { 8002 } else { 8001 };
        self.told(self.event("tcp"), started, &road, code);
        let road = road.ok()?;
        let started = Instant::now();
        let secured = self.handshake(road, config).await;
        let mut event = self.event("tls");
        match &secured {
            Ok(stream) => event.cert = chain(stream),
            Err(error) if error.is_verification => {
                // What it showed is looked at once more, and nothing is said there.
                let shown = self.unverified().await;
                event.cert = shown.as_ref().map(chain).unwrap_or_default();
                if let (false, Some(shown)) = (self.is_edge, shown) {
                    self.clock(shown).await;
                }
            }
            Err(_) => {}
        }
        self.told(event, started, &secured, 8003);
        secured.ok()
    }

    async fn unverified(&self) -> Option<EdgeStream> {
        let config = trust::upstream(false, None, false).ok()?;
        self.handshake(self.road().await.ok()?, config).await.ok()
    }

    async fn road(&self) -> Result<Road, String> {
        let Some(ip) = self.target else {
            let proxy = self.way.proxy.as_ref().ok_or_else(String::new)?;
            let (place, port) = proxy.place();
            let source = place.parse().map_or(Source::System, Source::Literal);
            let found = self.way.ask(source, place).await?;
            let (socket, _) = self.way.connect(&found, port).await?;
            let passed = timeout(STEP, proxy.pass(socket, self.host, self.port));
            return passed
                .await
                .map_err(|_| proxy.fail(slow()).to_string())?
                .map_err(|error| error.to_string());
        };
        let (socket, _) = self.way.connect(&[ip], self.port).await?;
        let _ = socket.set_nodelay(true);
        Ok(Road::Plain(socket))
    }

    async fn handshake(
        &self,
        road: Road,
        config: Arc<ClientConfig>,
    ) -> Result<EdgeStream, TlsFailure> {
        let other = |text: String| TlsFailure {
            text,
            is_verification: false,
        };
        let name = ServerName::try_from(self.host.to_owned());
        let name = name.map_err(|error| other(error.to_string()))?;
        let connecting = TlsConnector::from(config).connect(name, ReadAhead::new(road));
        let connected = timeout(STEP, connecting).await;
        connected.map_err(|_| other(slow()))?.map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            let is_verification = matches!(
                inner,
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_))
            );
            TlsFailure {
                text: trust::why(&error),
                is_verification,
            }
        })
    }

    /// How far the clock of this machine is off, by the answer to a request.
    async fn clock(&self, stream: EdgeStream) {
        let started = Instant::now();
        let asked = timeout(STEP, edge::date(stream, self.host)).await;
        let theirs = asked.map_err(|_| slow()).and_then(|theirs| theirs);
        let mut event = self.event("clock");
        if let Ok(theirs) = &theirs {
            let ours = jiff::Timestamp::now().as_second();
            event.ahead_s = Some(ours - theirs);
        }
        (self.way.tell)(event.ended(started.elapsed(), &theirs, 0));
    }
}

/// Why there is no TLS. `is_verification`: there would be, were the certificate trusted.
struct TlsFailure {
    text: String,
    is_verification: bool,
}

impl Display for TlsFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn chain(stream: &EdgeStream) -> Vec<Certificate> {
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    shown
        .iter()
        .map(|certificate| Certificate::read(certificate))
        .collect()
}

fn slow() -> String {
    format!("no answer within {STEP:?}")
}

fn named(source: Source) -> &'static str {
    match source {
        Source::Literal(_) => "address",
        Source::System => "system",
        Source::Servers => "configured",
        Source::Public => "public",
        Source::Https => "https",
        Source::Published => "published",
        Source::Kept => "kept",
    }
}
