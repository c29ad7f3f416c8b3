//! From a host's name to its addresses (agent-behaviour §2.2): by the system or by chosen servers,
//! then public resolvers, DNS over HTTPS, and the addresses that led to the edge last time.
//!
//! Answers are not trusted: TLS is checked against the name, so a false one costs an attempt.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use rustls::ClientConfig;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::happy::Found;
use super::kept::Kept;
use crate::plan::Dns;

/// For the system's answer.
const SYSTEM: Duration = Duration::from_secs(5);
/// For the answer of a server, by UDP and then by TCP.
const SERVER: Duration = Duration::from_secs(2);
const HTTPS: Duration = Duration::from_secs(5);
/// How long IPv6 addresses are waited for once the others are there (RFC 8305 §3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

const PUBLIC: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];
/// Of the same operator; its address is known, so that asking needs no DNS.
const HTTPS_NAME: &str = "dns.google";

/// Ends of names that are private to a machine or a network: nobody outside is asked for them.
const PRIVATE: [&str; 6] = ["localhost", "local", "internal", "lan", "home.arpa", "test"];

/// A way to find out addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The host is an address already.
    Literal(IpAddr),
    System,
    /// `dns_resolver_ips`, instead of the system.
    Servers,
    Public,
    Https,
    /// `dns_fallback_url`.
    Published,
    Kept,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal(_) => "the address itself",
            Self::System => "the system's resolver",
            Self::Servers => "the servers of dns_resolver_ips",
            Self::Public => "public resolvers",
            Self::Https => "DNS over HTTPS",
            Self::Published => "the addresses of dns_fallback_url",
            Self::Kept => "the addresses of last time",
        })
    }
}

/// How names are resolved.
pub(crate) struct Names {
    servers: Vec<SocketAddr>,
    fallback: bool,
    published: bool,
    pub(crate) kept: Kept,
}

// === impl Names ===

impl Names {
    pub(crate) fn new(dns: &Dns) -> Self {
        Self {
            servers: dns.servers.clone(),
            fallback: dns.fallback,
            published: dns.published.is_some(),
            kept: Kept::new(dns.kept.clone()),
        }
    }

    /// The ways to find out the addresses of a host, in the order to try them.
    pub(crate) fn sources(&self, host: &str) -> Vec<Source> {
        if let Ok(ip) = host.parse() {
            return vec![Source::Literal(ip)];
        }
        let first = if self.servers.is_empty() || is_local(host) {
            Source::System
        } else {
            Source::Servers
        };
        let mut sources = vec![first];
        if self.fallback && !is_private(host) {
            sources.extend([Source::Public, Source::Https]);
        }
        if !is_local(host) {
            // Whom the operator has named knows of the name anyhow.
            sources.extend(self.published.then_some(Source::Published));
            sources.push(Source::Kept);
        }
        sources
    }

    /// Asks one of them. `tls`: for DNS over HTTPS.
    ///
    /// # Errors
    /// Why there is no address, for people.
    pub(crate) async fn ask(
        &self,
        source: Source,
        host: &str,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, String>,
    ) -> Result<Found, String> {
        let servers = |ips: &[SocketAddr]| {
            let pair = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let resolvers = pair.map(|connection| {
                let with = |address: &SocketAddr| {
                    let mut connection = connection.clone();
                    connection.port = address.port();
                    NameServerConfig::new(address.ip(), true, vec![connection])
                };
                resolver(ips.iter().map(with).collect(), SERVER, None)
            });
            let [udp, tcp] = resolvers;
            Ok::<_, String>(vec![(udp?, SERVER), (tcp?, SERVER)])
        };
        match source {
            Source::Literal(ip) => Ok(Found {
                now: vec![ip],
                ..Found::default()
            }),
            Source::System => system(host).await,
            Source::Published => Err("they are not looked for here".into()),
            Source::Kept => match self.kept.of(host).await {
                now if now.is_empty() => Err("there are none".into()),
                now => Ok(Found {
                    now,
                    ..Found::default()
                }),
            },
            Source::Servers => both_families(host, servers(&self.servers)?).await,
            Source::Public => {
                both_families(host, servers(&PUBLIC.map(|ip| (ip, 53).into()))?).await
            }
            Source::Https => {
                let config = |ip| NameServerConfig::https(ip, HTTPS_NAME.into(), None);
                let tls = Arc::unwrap_or_clone(tls()?);
                let resolver = resolver(PUBLIC.map(config).to_vec(), HTTPS, Some(tls))?;
                both_families(host, vec![(resolver, HTTPS)]).await
            }
        }
    }
}

/// Names that mean this machine.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Names that nobody outside has to know.
pub(crate) fn is_private(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    !host.contains('.')
        || PRIVATE.iter().any(|end| {
            host.strip_suffix(end)
                .is_some_and(|left| left.is_empty() || left.ends_with('.'))
        })
}

async fn system(host: &str) -> Result<Found, String> {
    // Not every resolver knows that these are this machine (RFC 6761 §6.3).
    let asked = if is_local(host) { "localhost" } else { host };
    let found = timeout(SYSTEM, lookup_host((asked, 0))).await;
    let found = found.map_err(|_| no_answer(SYSTEM))?;
    let found = found.map_err(|error| error.to_string())?;
    let now: Vec<_> = found.map(|address| address.ip()).collect();
    if now.is_empty() {
        return Err("it has no address".into());
    }
    Ok(Found {
        now,
        ..Found::default()
    })
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {limit:?}")
}

fn resolver(
    servers: Vec<NameServerConfig>,
    limit: Duration,
    tls: Option<ClientConfig>,
) -> Result<TokioResolver, String> {
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let provider = TokioRuntimeProvider::default();
    let mut options = ResolverOpts::default();
    options.timeout = limit;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    let tls = match tls {
        Some(tls) => tls,
        // None of its own: it would take roots and a provider that are not ours.
        None => (*crate::trust::nobody()).clone(),
    };
    TokioResolver::builder_with_config(config, provider)
        .with_options(options)
        .with_tls_config(tls)
        .build()
        .map_err(|error| error.to_string())
}

/// Asks for both families at once. IPv6 addresses that are late are waited for a moment only; what
/// is missing then comes later. `resolvers`: one after the other, until one has an answer.
async fn both_families(
    host: &str,
    resolvers: Vec<(TokioResolver, Duration)>,
) -> Result<Found, String> {
    let resolvers = Arc::new(resolvers);
    let family = |kind| Box::pin(addresses(host.to_owned(), kind, resolvers.clone()));
    let (mut four, mut six) = (family(RecordType::A), family(RecordType::AAAA));
    tokio::select! {
        found = &mut six => match found {
            Ok(now) => Ok(Found { now, later: Some(Box::pin(or_none(four))), ..Found::default() }),
            Err(_) => Ok(Found { now: four.await?, ..Found::default() }),
        },
        found = &mut four => {
            let Ok(mut now) = found else {
                return Ok(Found { now: six.await?, ..Found::default() });
            };
            match timeout(RESOLUTION_DELAY, &mut six).await {
                Ok(more) => {
                    now.splice(0..0, more.unwrap_or_default());
                    Ok(Found { now, ..Found::default() })
                }
                Err(_) => Ok(Found { now, later: Some(Box::pin(or_none(six))), ..Found::default() }),
            }
        }
    }
}

async fn or_none(found: impl Future<Output = Result<Vec<IpAddr>, String>>) -> Vec<IpAddr> {
    found.await.unwrap_or_default()
}

/// The addresses of one family.
async fn addresses(
    host: String,
    kind: RecordType,
    resolvers: Arc<Vec<(TokioResolver, Duration)>>,
) -> Result<Vec<IpAddr>, String> {
    let mut last = String::new();
    // Whole already: nothing is to be appended to it.
    let name = format!("{}.", host.trim_end_matches('.'));
    for (resolver, limit) in resolvers.iter() {
        // The library's own limits are not reached in every state of a connection.
        match timeout(*limit, resolver.lookup(name.as_str(), kind)).await {
            Ok(Ok(found)) => {
                let records = found.answers().iter();
                let found: Vec<_> = records.filter_map(|record| record.data.ip_addr()).collect();
                if !found.is_empty() {
                    return Ok(found);
                }
                last = "it has no address".into();
            }
            // That there is none is an answer.
            Ok(Err(error)) if error.is_nx_domain() => return Err("there is no such name".into()),
            Ok(Err(error)) if is_empty(&error) => return Err("it has no address".into()),
            Ok(Err(error)) => last = told(&error),
            Err(_) => last = no_answer(*limit),
        }
    }
    Err(last)
}

/// The name is known, without an address of this family.
fn is_empty(error: &NetError) -> bool {
    use hickory_resolver::net::DnsError;
    use hickory_resolver::proto::op::ResponseCode;
    matches!(error, NetError::Dns(DnsError::NoRecordsFound(none))
        if none.response_code == ResponseCode::NoError)
}

fn told(error: &NetError) -> String {
    match error {
        NetError::Timeout => "no answer in time".into(),
        NetError::NoConnections => "none of them can be reached".into(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_private_are_known_as_such() {
        for host in [
            "edge",
            "localhost",
            "a.localhost",
            "printer.local",
            "edge.internal",
            "x.lan",
            "nas.home.arpa",
            "edge.test",
            "EDGE.Test.",
            "edge.",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "edge.example.com",
            "mylan.example",
            "internal.example.com",
            "test.org",
        ] {
            assert!(!is_private(host), "{host}");
        }
    }

    #[test]
    fn nobody_outside_is_asked_for_a_private_name_nor_where_it_is_off() {
        let names = |dns: Dns| Names::new(&dns);
        let all = names(Dns::default());
        assert_eq!(
            all.sources("edge.example.com"),
            [Source::System, Source::Public, Source::Https, Source::Kept]
        );
        assert_eq!(all.sources("edge.internal"), [Source::System, Source::Kept]);
        assert_eq!(all.sources("localhost"), [Source::System]);
        assert_eq!(
            all.sources("::1"),
            [Source::Literal("::1".parse().unwrap())]
        );
        let own = names(Dns {
            servers: vec!["192.0.2.53:53".parse().unwrap()],
            fallback: false,
            published: Some("https://192.0.2.1/".into()),
            kept: None,
        });
        assert_eq!(
            own.sources("edge.example.com"),
            [Source::Servers, Source::Published, Source::Kept]
        );
        assert_eq!(own.sources("a.localhost"), [Source::System]);
    }
}
