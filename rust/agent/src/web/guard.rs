//! Who may ask the local interface (agent-api §2). Any page a user looks at can send requests to
//! this machine; a name that leads here (DNS rebinding) and a foreign origin give them away.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, Method, header};

use super::reply::Problem;

/// Hosts that requests may name.
#[derive(Debug)]
pub(super) struct Guard {
    /// Of all listeners.
    bound: Vec<IpAddr>,
    port: u16,
    allowed: Vec<Allowed>,
    /// As they were given.
    pub(super) shown: Vec<String>,
}

/// An entry of `web_allow_hosts`.
#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    /// An address, or a range of them by its length.
    Range(IpAddr, u8),
    Name(String),
    /// All names below this one; with its dot.
    Below(String),
}

// === impl Guard ===

impl Guard {
    pub(super) fn new(bound: Vec<IpAddr>, port: u16, entries: &[String]) -> Self {
        Self {
            bound,
            port,
            allowed: entries.iter().map(|entry| Allowed::read(entry)).collect(),
            shown: entries.to_vec(),
        }
    }

    /// Lets a request pass or says why not. `mirrored`: public URLs that lead to this listener.
    pub(super) fn check(
        &self,
        parts: &Parts,
        mirrored: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Problem> {
        let host = host(parts)?;
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let name = normal(without_port(host));
        let mut through = mirrored().into_iter();
        if through.any(|url| normal(host_of(&url)) == name) {
            // Who comes from outside may look, as far as the endpoint lets them.
            return if reads {
                Ok(())
            } else {
                Err(Problem::forbidden(
                    "only GET and HEAD are answered through a public URL",
                ))
            };
        }
        if self.is_checked() && !self.allows(&name) {
            return Err(Problem::forbidden(format!(
                "the host {name:?} is not allowed here; add it to web_allow_hosts if it should be"
            )));
        }
        if reads {
            Ok(())
        } else {
            own_origin(&parts.headers, host)
        }
    }

    /// Whether the listener of an upstream is this one.
    pub(super) fn is_here(&self, host: &str, port: u16) -> bool {
        port == self.port
            && (host == "localhost"
                || host.parse::<IpAddr>().is_ok_and(|ip| {
                    ip.is_loopback() || ip.is_unspecified() || self.bound.contains(&ip)
                }))
    }

    /// Neighbours of a container call it by any name; then only a list says who may.
    fn is_checked(&self) -> bool {
        !self.allowed.is_empty() || self.bound.iter().all(IpAddr::is_loopback)
    }

    fn allows(&self, name: &str) -> bool {
        if let Ok(ip) = name.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            return ip.is_loopback()
                || self.bound.contains(&ip)
                || self.allowed.iter().any(|entry| entry.has_address(ip));
        }
        name == "localhost"
            || name.ends_with(".localhost")
            || self.allowed.iter().any(|entry| entry.has_name(name))
    }
}

// === impl Allowed ===

impl Allowed {
    fn read(entry: &str) -> Self {
        let entry = normal(entry.trim());
        let (address, length) = match entry.split_once('/') {
            Some((address, length)) => (address, length.parse().ok()),
            None => (entry.as_str(), Some(128)),
        };
        if let (Ok(ip), Some(length)) = (without_port(address).parse::<IpAddr>(), length) {
            return Self::Range(ip, length.min(if ip.is_ipv4() { 32 } else { 128 }));
        }
        if entry.starts_with('.') {
            Self::Below(entry)
        } else {
            Self::Name(entry)
        }
    }

    fn has_address(&self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::Range(IpAddr::V4(range), length), IpAddr::V4(ip)) => {
                let differ = u32::from(*range) ^ u32::from(ip);
                differ.checked_shr(32 - u32::from(*length)).unwrap_or(0) == 0
            }
            (Self::Range(IpAddr::V6(range), length), IpAddr::V6(ip)) => {
                let differ = u128::from(*range) ^ u128::from(ip);
                differ.checked_shr(128 - u32::from(*length)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    fn has_name(&self, name: &str) -> bool {
        match self {
            Self::Range(..) => false,
            Self::Name(entry) => entry == name,
            Self::Below(entry) => name.ends_with(entry.as_str()),
        }
    }
}

/// The one host a request names; an absolute target must name the same.
fn host(parts: &Parts) -> Result<&str, Problem> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::request("there must be one Host header"));
    };
    let host = std::str::from_utf8(host.as_bytes())
        .ok()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| Problem::request("the Host header names nobody"))?;
    match parts.uri.authority() {
        Some(named) if !named.as_str().eq_ignore_ascii_case(host) => Err(Problem::request(
            "target and Host header name different hosts",
        )),
        _ => Ok(host),
    }
}

/// Browsers say where a request comes from; other programs say nothing.
fn own_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let told = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
    let foreign = || Problem::forbidden("requests from other sites' pages are not answered");
    if let Some(origin) = told("origin") {
        let own = format!("http://{host}");
        if !origin.eq_ignore_ascii_case(own.as_bytes()) {
            return Err(foreign());
        }
    }
    if told("sec-fetch-site").is_some_and(|site| site == b"cross-site") {
        return Err(foreign());
    }
    Ok(())
}

/// Of a URL, without the port and the brackets of IPv6.
pub(super) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    without_port(rest.split('/').next().unwrap_or_default())
}

/// Of `host:port`; brackets of IPv6 go too.
fn without_port(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match text.rsplit_once(':') {
        // More than one colon: an address without brackets.
        Some((host, _)) if !host.contains(':') => host,
        _ => text,
    }
}

fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(bound: &str, entries: &[&str]) -> Guard {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Guard::new(vec![bound.parse().unwrap()], 4040, &entries)
    }

    fn passes(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().method(method).uri("/api");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mirrored = || {
            vec![
                "https://mine.test".to_owned(),
                "http://low.test:8080".to_owned(),
            ]
        };
        guard.check(&parts, mirrored).is_ok()
    }

    #[test]
    fn names_of_this_machine_and_of_the_list_may() {
        let local = guard("127.0.0.1", &[]);
        for host in [
            "localhost",
            "LOCALHOST:4040",
            "localhost.",
            "app.localhost",
            "127.0.0.1:4040",
            "127.9.9.9",
            "[::1]:4040",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(passes(&local, "GET", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.test",
            "localhost.evil.test",
            "10.0.0.1",
            "[2001:db8::1]",
            "127.0.0.1.evil.test",
            "::1x",
        ] {
            assert!(!passes(&local, "GET", &[("host", host)]), "{host}");
        }
        let listed = guard(
            "127.0.0.1",
            &[
                "Agent.test",
                ".below.test",
                "10.1.0.0/16",
                "192.0.2.7",
                "2001:db8::/32",
            ],
        );
        for host in [
            "agent.test:1",
            "AGENT.TEST.",
            "a.below.test",
            "a.b.below.test",
            "10.1.255.1",
            "192.0.2.7:80",
            "[2001:db8:1::1]:4040",
            "localhost",
        ] {
            assert!(passes(&listed, "GET", &[("host", host)]), "{host}");
        }
        for host in [
            "x.agent.test",
            "below.test",
            "10.2.0.1",
            "192.0.2.8",
            "[2001:db9::1]",
        ] {
            assert!(!passes(&listed, "GET", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn beyond_loopback_only_a_list_is_a_limit() {
        assert!(passes(
            &guard("0.0.0.0", &[]),
            "POST",
            &[("host", "agent:4040")]
        ));
        let listed = guard("0.0.0.0", &["agent"]);
        assert!(passes(&listed, "POST", &[("host", "agent:4040")]));
        assert!(!passes(&listed, "POST", &[("host", "evil.test")]));
    }

    #[test]
    fn through_an_endpoint_of_its_own_it_is_only_looked_at() {
        let local = guard("127.0.0.1", &[]);
        for host in ["mine.test", "low.test:8080"] {
            assert!(passes(&local, "GET", &[("host", host)]));
            assert!(!passes(&local, "DELETE", &[("host", host)]));
        }
        assert!(!passes(
            &guard("0.0.0.0", &[]),
            "POST",
            &[("host", "mine.test")]
        ));
        assert!(local.is_here("localhost", 4040) && local.is_here("127.0.0.1", 4040));
        assert!(!local.is_here("localhost", 4041) && !local.is_here("nas.lan", 4040));
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let local = guard("127.0.0.1", &[]);
        let host = ("host", "localhost:4040");
        assert!(passes(&local, "POST", &[host]));
        assert!(passes(
            &local,
            "POST",
            &[host, ("origin", "http://localhost:4040")]
        ));
        for (name, value) in [
            ("origin", "http://localhost:4041"),
            ("origin", "https://evil.test"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert!(
                !passes(&local, "POST", &[host, (name, value)]),
                "{name}: {value}"
            );
            assert!(
                passes(&local, "GET", &[host, (name, value)]),
                "{name}: {value}"
            );
        }
        assert!(!passes(&local, "GET", &[]));
        assert!(!passes(&local, "GET", &[host, host]));
    }
}
