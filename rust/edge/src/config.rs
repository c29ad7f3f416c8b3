//! What an edge is told (the `edge` part of its plan). Python has read and checked it; a key that
//! is not known here is refused, so that the two cannot drift apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use portway_wire::Secret;
use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// Base domains; names are given below the first.
    #[serde(default = "default_domains")]
    pub domains: Vec<String>,
    /// Port 0 is any free one; nothing is no such listener.
    #[serde(default)]
    pub agent_addr: Option<SocketAddr>,
    #[serde(default)]
    pub http_addr: Option<SocketAddr>,
    #[serde(default)]
    pub https_addr: Option<SocketAddr>,
    #[serde(default)]
    pub api_addr: Option<SocketAddr>,
    /// Ports of TCP endpoints.
    #[serde(default, deserialize_with = "ports")]
    pub tcp_ports: Option<RangeInclusive<u16>>,
    /// CA and leaves live here; nothing: in memory.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// PEM pairs of visitors' certificates.
    #[serde(default)]
    pub certs_dir: Option<PathBuf>,
    /// What URLs show, where it is not the port listened on.
    #[serde(default)]
    pub public_http_port: Option<u16>,
    #[serde(default)]
    pub public_https_port: Option<u16>,
    /// Where agents dial from elsewhere, `host:port`; part of the join string.
    #[serde(default)]
    pub public_agent_addr: Option<String>,
    /// Where agents may connect that want several connections, `host:port`; `self`: where they do
    /// anyway. A place that is named twice takes two connections.
    #[serde(default)]
    pub connect_addresses: Vec<String>,
    /// Where agents get the list of revoked certificates, if not at the API's address; part of the
    /// join string. `off`: they are not told to.
    #[serde(default)]
    pub crl_url: Option<String>,
    /// Worker threads; nothing: one for two cores.
    #[serde(default)]
    pub threads: Option<usize>,
    /// The edge inside an agent: loopback only, everybody may do everything.
    #[serde(default)]
    pub embedded: bool,
    #[serde(default)]
    pub tokens: Vec<Token>,
    #[serde(default)]
    pub reserved: Vec<Reserved>,
    /// Names and TCP ports that an agent chooses must be reserved for it.
    #[serde(default)]
    pub reserved_only: bool,
    /// Where the binds with labels are served.
    #[serde(default)]
    pub labels: Vec<LabelRoute>,
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    #[serde(default)]
    pub limits: Limits,
}

/// A credential of agents.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub token: Secret,
    /// Who uses it: the account in logs and reservations.
    #[serde(default)]
    pub name: String,
    /// `bind:PATTERN` rules; none: anything.
    #[serde(default)]
    pub acl: Vec<String>,
    #[serde(default)]
    pub metadata: String,
}

/// A name or TCP address that belongs to one token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// `host`, `*.host` or `host:port`.
    pub name: String,
    /// The owner's name.
    pub token: String,
}

/// Binds that carry all these labels are served at this URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRoute {
    #[serde(rename = "match")]
    pub labels: BTreeMap<String, String>,
    pub url: String,
}

/// Listeners in front of which something writes a PROXY header.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyProtocol {
    pub agent: bool,
    pub http: bool,
    pub https: bool,
    pub tcp: bool,
}

/// What nobody may exceed. Times are in milliseconds in the plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of one listener at a time.
    pub connections: usize,
    /// The same from one address, as a PROXY header tells it; loopback is not counted.
    pub connections_per_address: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes: usize,
    pub header_count: usize,
    /// Until a request's head is there, kept-alive connections included; until a PROXY header is.
    #[serde(deserialize_with = "millis")]
    pub head_timeout: Duration,
    /// Until TLS is agreed on, of visitors and agents.
    #[serde(deserialize_with = "millis")]
    pub handshake_timeout: Duration,
    /// A pause in a visitor's body, the wait for an upstream's answer, a connection on which
    /// nothing moves.
    #[serde(deserialize_with = "millis")]
    pub idle_timeout: Duration,
    /// A TCP, TLS or upgraded connection without a byte either way.
    #[serde(deserialize_with = "millis")]
    pub tcp_idle_timeout: Duration,
    pub streams_per_session: usize,
    pub endpoints_per_session: usize,
    /// Failed logins from one address in a minute.
    pub failed_logins: u32,
    /// Until an agent has logged in, once TLS is agreed on.
    #[serde(deserialize_with = "millis")]
    pub login_timeout: Duration,
    /// The edge's own beats to agents, and how much longer than that an echo may take.
    #[serde(deserialize_with = "millis")]
    pub heartbeat_interval: Duration,
    #[serde(deserialize_with = "millis")]
    pub heartbeat_tolerance: Duration,
    /// How long running requests are waited for at a graceful stop.
    #[serde(deserialize_with = "millis")]
    pub drain: Duration,
    /// Bytes of a body that is collected to verify a webhook.
    pub webhook_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 2_048,
            header_bytes: 256 * 1024,
            header_count: 128,
            head_timeout: Duration::from_mins(1),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(5),
            tcp_idle_timeout: Duration::from_hours(2),
            streams_per_session: 16_000,
            endpoints_per_session: 10_000,
            failed_logins: 60,
            login_timeout: Duration::from_secs(20),
            heartbeat_interval: Duration::from_secs(10),
            // Agents echo only once they have bound all they serve.
            heartbeat_tolerance: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            webhook_bytes: 10 << 20,
        }
    }
}

// === impl EdgeConfig ===

impl EdgeConfig {
    /// The domain below which names are given.
    pub fn base_domain(&self) -> &str {
        self.domains.first().map_or("localhost", String::as_str)
    }

    /// Agents and https visitors come to one port.
    pub fn shares_port(&self) -> bool {
        self.agent_addr.is_some_and(|address| address.port() != 0)
            && self.agent_addr == self.https_addr
    }
}

fn default_domains() -> Vec<String> {
    vec!["localhost".into()]
}

fn millis<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    u64::deserialize(input).map(Duration::from_millis)
}

/// `20000-20999`, or one port.
fn ports<'de, D: Deserializer<'de>>(input: D) -> Result<Option<RangeInclusive<u16>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(input)? else {
        return Ok(None);
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Some(first..=last)),
        _ => Err(serde::de::Error::custom(format!(
            "{text:?} is no range of ports such as 20000-20999"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_ranges_are_read() {
        let read = |text: &str| serde_json::from_str::<EdgeConfig>(text);
        let config = read(r#"{"tcp_ports": "7070-7079", "limits": {"drain": 1500}}"#).unwrap();
        assert_eq!(config.tcp_ports, Some(7070..=7079));
        assert_eq!(config.limits.drain, Duration::from_millis(1500));
        assert!(!config.shares_port());
        for bad in [
            r#"{"tcp_port": "1-2"}"#,
            r#"{"tcp_ports": "9-1"}"#,
            r#"{"tcp_ports": "0-1"}"#,
            r#"{"limits": {"drian": 1}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
