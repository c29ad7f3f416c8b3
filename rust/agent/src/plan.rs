//! What an agent is told (ARCHITECTURE: the plan). Python has read and checked it; a key that is
//! not known here is refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portway_wire::{Opts, Secret};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub version: u32,
    /// `http`, `tcp`, `tls` or `start`.
    pub command: String,
    /// The name the program was started by.
    #[serde(default = "default_name")]
    pub cmdline_name: String,
    /// Nothing: the edge inside this process.
    #[serde(default)]
    pub edge: Option<EdgeAddress>,
    /// Configuration of the edge inside; read by who starts it.
    #[serde(default)]
    pub embedded: Option<Value>,
    #[serde(default)]
    pub authtoken: Secret,
    /// Of the session.
    #[serde(default)]
    pub metadata: String,
    #[serde(
        default = "ten_seconds",
        rename = "connect_timeout_ms",
        deserialize_with = "millis"
    )]
    pub connect_timeout: Duration,
    #[serde(
        default = "ten_seconds",
        rename = "heartbeat_interval_ms",
        deserialize_with = "millis"
    )]
    pub heartbeat_interval: Duration,
    #[serde(
        default = "fifteen_seconds",
        rename = "heartbeat_tolerance_ms",
        deserialize_with = "millis"
    )]
    pub heartbeat_tolerance: Duration,
    #[serde(default)]
    pub log: Log,
    #[serde(default)]
    pub console: Console,
    /// The local HTTP interface; nothing: none.
    #[serde(default)]
    pub web: Option<Web>,
    /// Bytes that captured requests may take: 0 for as many as is usual, less for none at all.
    #[serde(default)]
    pub inspect_db_size: i64,
    /// One line on stdout for each URL.
    #[serde(default)]
    pub announce: bool,
    /// Where the edge offers several addresses, a connection to each.
    #[serde(default)]
    pub multi_leg: bool,
    #[serde(default = "yes")]
    pub remote_management: bool,
    /// How it is started again; nothing: it is not.
    #[serde(default)]
    pub again: Option<Again>,
    /// Where other versions come from; nothing: from nowhere.
    #[serde(default)]
    pub update: Option<UpdatePlan>,
    /// The operating system runs it as a service.
    #[serde(default)]
    pub service: bool,
    /// Files that an update has left behind, to go once this version has been online.
    #[serde(default)]
    pub proven: Vec<PathBuf>,
    /// What was noted before logging began.
    #[serde(default)]
    pub records: Vec<Note>,
    #[serde(default)]
    pub endpoints: Vec<EndpointPlan>,
}

/// The command line that made this plan.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    pub argv: Vec<String>,
    /// Makes the plan anew and writes it to its standard output, or tells what is in the way.
    pub check: Vec<String>,
    /// What that reads.
    pub stdin: String,
}

/// Releases, and who installs them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdatePlan {
    /// The address below which they are announced; may be empty.
    pub url: String,
    pub channel: String,
    /// Whose signatures count.
    pub keys: Vec<String>,
    /// Whether to look for one at the start.
    pub check: bool,
    /// Installs one; what it reads is told for each.
    pub argv: Vec<String>,
    /// The proxy from the configuration.
    pub proxy: String,
    /// Why it is not installed from here; may be empty.
    pub unsupported: String,
    /// The command that upgrades it then; may be empty.
    pub instead: String,
}

/// Where the edge is, the way there, and how it is trusted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeAddress {
    /// `host:port`, tried in order.
    pub addrs: Vec<String>,
    #[serde(default)]
    pub cas: Cas,
    #[serde(default)]
    pub proxy: Option<ProxyPlan>,
    /// The network interface to leave by.
    #[serde(default)]
    pub interface: Option<String>,
    #[serde(default)]
    pub dns: Dns,
    /// Where the list of revoked certificates is; nothing: none is asked for.
    #[serde(default)]
    pub crl: Option<String>,
}

/// How the edge's name is resolved.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Instead of the system's.
    pub servers: Vec<SocketAddr>,
    /// Whether others are asked for public names where these do not answer.
    pub fallback: bool,
    /// Where the edge's operator publishes addresses, as JSON.
    pub published: Option<String>,
    /// The file that addresses are kept in.
    pub kept: Option<PathBuf>,
}

/// A proxy, from the configuration or a variable.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyPlan {
    pub kind: ProxyKind,
    pub host: String,
    pub port: u16,
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub password: Secret,
    /// The setting or variable that names it.
    pub source: String,
    /// Hosts that are reached without it, as `no_proxy` lists them.
    #[serde(default)]
    pub except: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    Http,
    Https,
    Socks5,
}

/// Whose certificates an edge may show.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    tag = "kind",
    content = "value",
    rename_all = "lowercase"
)]
pub enum Cas {
    /// The public roots that come with the agent.
    #[default]
    Trusted,
    /// The operating system's.
    Host,
    /// A PEM file, read again at each connect.
    File(String),
    /// SHA-256 of the CA's certificate, hex.
    Pin(String),
    /// PEM text.
    Pem(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `stdout`, `stderr`, `false`, `system` (the log of the operating system) or a path.
    pub target: String,
    pub level: String,
    pub format: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    pub show: bool,
    pub color: bool,
    /// `black` or `transparent`.
    pub background: String,
}

/// Where the local HTTP interface listens, and who may ask it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// `host:port`.
    pub addr: String,
    /// Nobody asked for this port: the next free one will do.
    #[serde(default)]
    pub search: bool,
    #[serde(default)]
    pub allow_hosts: Vec<String>,
}

/// A log record that is to be written first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    pub lvl: String,
    pub msg: String,
    #[serde(default)]
    pub fields: Map<String, Value>,
}

/// What the plain one of two schemes has behind the name that the other goes by.
const PLAIN: &str = " (http)";

/// One endpoint that is wanted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointPlan {
    pub name: String,
    /// `http`, `https`, `tcp` or `tls`.
    pub proto: String,
    /// As asked for; may be empty.
    #[serde(default)]
    pub url: String,
    /// Name of the endpoint whose host this one asks for, as soon as the edge has given it one.
    #[serde(default)]
    pub host_of: Option<String>,
    /// The edge decides by these where visitors come from; there is no URL to ask for then.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Normalised: `http://localhost:8080`, `localhost:22`, `tls://…`, `unix:…`, `file://…`.
    pub upstream: String,
    /// The upstream as logs and screens show it.
    #[serde(default)]
    pub addr: String,
    #[serde(default)]
    pub metadata: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub bindings: Vec<String>,
    #[serde(default)]
    pub pooling_enabled: bool,
    #[serde(default = "yes")]
    pub inspect: bool,
    /// The text of a document; empty for none.
    #[serde(default)]
    pub traffic_policy: String,
    #[serde(default)]
    pub upstream_protocol: String,
    /// 0, 1 or 2.
    #[serde(default)]
    pub proxy_protocol: u8,
    #[serde(default)]
    pub tls_verify: bool,
    /// PEM text.
    #[serde(default)]
    pub tls_verify_cas: Option<String>,
    #[serde(default)]
    pub agent_tls: Option<AgentTls>,
    /// Whether a folder without an index page shows what is in it.
    #[serde(default)]
    pub listing: bool,
    /// Older options, as the wire spells them.
    #[serde(default)]
    pub opts: Map<String, Value>,
}

/// The agent ends TLS itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentTls {
    pub cert: Pem,
    pub key: Pem,
    /// Visitors must show a certificate of one of these; none: nobody is asked for one.
    #[serde(default)]
    pub client_cas: Vec<Pem>,
    /// `1.2` or `1.3`; empty: whatever there is.
    #[serde(default)]
    pub min_version: String,
    #[serde(default)]
    pub max_version: String,
}

/// PEM text, and the file it is from, which is read again when that changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pem {
    pub text: Secret,
    #[serde(default)]
    pub file: Option<PathBuf>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            fallback: true,
            published: None,
            kept: None,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            target: "false".into(),
            level: "info".into(),
            format: "term".into(),
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self {
            show: false,
            color: true,
            background: "black".into(),
        }
    }
}

// === impl ProxyKind ===

impl ProxyKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }
}

// === impl AgentTls ===

impl AgentTls {
    pub(crate) fn pems(&self) -> impl Iterator<Item = &Pem> {
        [&self.cert, &self.key].into_iter().chain(&self.client_cas)
    }

    pub(crate) fn pems_mut(&mut self) -> impl Iterator<Item = &mut Pem> {
        [&mut self.cert, &mut self.key]
            .into_iter()
            .chain(&mut self.client_cas)
    }
}

// === impl EndpointPlan ===

impl EndpointPlan {
    /// The name of the plain one beside an endpoint of TLS.
    pub(crate) fn plain_name(secure: &str) -> String {
        format!("{secure}{PLAIN}")
    }

    /// The name of the endpoint beside which this is the plain one.
    pub(crate) fn plain_of(&self) -> Option<&str> {
        let secure = self.name.strip_suffix(PLAIN);
        secure.filter(|_| self.proto == "http")
    }

    /// The upstream as it is shown.
    pub fn shown_upstream(&self) -> &str {
        if self.addr.is_empty() {
            &self.upstream
        } else {
            &self.addr
        }
    }

    /// The labels as they are shown.
    pub fn shown_labels(&self) -> String {
        let pairs: Vec<_> = self
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(",")
    }

    /// The options of the first bind. Later ones repeat what the edge answered.
    pub fn bind_opts(&self) -> Opts {
        let mut opts = self.opts.clone();
        let mut set = |key: &str, value: Value| {
            opts.entry(key).or_insert(value);
        };
        set("URL", self.url.as_str().into());
        set("ProxyProto", self.proxy_protocol.into());
        set("TrafficPolicy", self.traffic_policy.as_str().into());
        Opts::new(opts)
    }
}

fn default_name() -> String {
    "portway".into()
}

fn yes() -> bool {
    true
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

fn millis<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    u64::deserialize(input).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_and_unknown_keys_are_refused() {
        let plan: Plan = serde_json::from_str(
            r#"{"version": 1, "command": "http", "edge": {"addrs": ["h:1"], "cas": {"kind": "pin", "value": "aa"}},
                "connect_timeout_ms": 2500,
                "endpoints": [{"name": "a", "proto": "https", "url": "", "upstream": "http://localhost:1", "opts": {"Compression": {}}}]}"#,
        )
        .unwrap();
        assert_eq!(plan.connect_timeout, Duration::from_millis(2500));
        let opts = plan.endpoints[0].bind_opts();
        assert!(opts.http().unwrap().compression);
        let trusted: Plan = serde_json::from_str(
            r#"{"version":1,"command":"start","edge":{"addrs":[],"cas":{"kind":"trusted"}}}"#,
        )
        .unwrap();
        assert!(matches!(trusted.edge.unwrap().cas, Cas::Trusted));
        assert!(
            serde_json::from_str::<Plan>(r#"{"version": 1, "command": "http", "edgy": null}"#)
                .is_err()
        );
    }
}
