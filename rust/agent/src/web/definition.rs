//! What a posted definition of a tunnel or endpoint means (config.md §4.3, §5.2), checked as the
//! same words in a file are. The running process has no reader of YAML, so this is its own.
//!
//! - [`schema`]: which keys there are. [`address`]: upstreams and URLs. [`wire`]: older options.

mod address;
mod schema;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::plan::{AgentTls, EndpointPlan, Pem};

/// Which kind of object a definition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Tunnel,
    Endpoint,
}

/// A definition that can stand: one endpoint, or one for each of two schemes.
#[derive(Debug)]
pub(super) struct Definition {
    /// Nothing: any will do.
    pub(super) name: Option<String>,
    /// The https one first.
    pub(super) plans: Vec<EndpointPlan>,
    /// Where the text of the policy is still to be fetched.
    pub(super) policy_url: Option<String>,
    /// A public URL was named.
    pub(super) names_url: bool,
}

/// Options in the words of a tunnel definition, their types checked.
#[derive(Debug, Default)]
struct Given(Map<String, Value>);

impl Family {
    /// Of one of them, in errors.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Reads a definition.
///
/// # Errors
/// A text with all that is wrong.
pub(super) fn read(body: Map<String, Value>, family: Family) -> Result<Definition, String> {
    let keys: &[&schema::Keys] = match family {
        Family::Tunnel => &[schema::TUNNEL, schema::OLD],
        Family::Endpoint => &[schema::ENDPOINT, schema::TUNNEL, schema::OLD],
    };
    let mut given = Given(schema::read(body, keys, "").map_err(|wrong| wrong.join("; "))?);
    given.rename();
    if family == Family::Endpoint {
        given.flatten()?;
    }
    let name = given.text("name").filter(|name| !name.is_empty());
    if let Some(name) = &name
        && !name.chars().all(is_printable)
    {
        return Err("a name must not hold control characters".into());
    }
    let shown = name.as_deref().unwrap_or_default();
    let plans = if given.0.contains_key("labels") && !given.0.contains_key("proto") {
        vec![given.labelled(shown)?]
    } else {
        given.plans(shown)?
    };
    let named = ["url", "domain", "hostname", "subdomain", "remote_addr"];
    Ok(Definition {
        names_url: named.iter().any(|key| given.text(key).is_some()),
        policy_url: given.policy_url()?,
        name,
        plans,
    })
}

// === impl Given ===

impl Given {
    fn text(&self, key: &str) -> Option<String> {
        let value = match self.0.get(key)? {
            // A list of one.
            Value::Array(items) => items.first()?,
            value => value,
        };
        value.as_str().map(str::to_owned)
    }

    /// The text of an option that says nothing when it is empty.
    fn said(&self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        let items = self.0.get(key).and_then(Value::as_array);
        let texts = items.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    fn map(&self, key: &str) -> Self {
        let object = self.0.get(key).and_then(Value::as_object);
        Self(object.cloned().unwrap_or_default())
    }

    /// The first of these that says something.
    fn either(&self, keys: [&str; 2]) -> Option<String> {
        keys.iter().find_map(|key| self.said(key))
    }

    /// Gives options their newer names.
    fn rename(&mut self) {
        let schemes = match self.text("bind_tls").as_deref() {
            Some("true") => Some(vec!["https"]),
            Some("false") => Some(vec!["http"]),
            Some(_) => Some(vec!["https", "http"]),
            None => None,
        };
        if let Some(schemes) = schemes {
            self.0.entry("schemes").or_insert(schemes.into());
        }
        if let Some(pair) = self.text("auth") {
            self.0.entry("basic_auth").or_insert(vec![pair].into());
        }
        for (old, new) in [
            ("verify_upstream_tls", "upstream_tls_verify"),
            ("upstream_ca_path", "upstream_tls_verify_cas"),
        ] {
            if let Some(value) = self.0.remove(old) {
                self.0.entry(new).or_insert(value);
            }
        }
    }

    /// Puts what an endpoint holds in other places where a tunnel has it.
    fn flatten(&mut self) -> Result<(), String> {
        let upstream = self.map("upstream");
        for (inner, outer) in [
            ("url", "addr"),
            ("protocol", "upstream_protocol"),
            ("proxy_protocol", "upstream_proxy_protocol"),
            ("tls_verify", "upstream_tls_verify"),
            ("tls_verify_cas", "upstream_tls_verify_cas"),
            ("file_listing", "file_listing"),
        ] {
            if let Some(value) = upstream.0.get(inner) {
                // Some examples of the interface have this protocol there.
                let value = if inner == "protocol" && value == "https" {
                    "http1".into()
                } else {
                    value.clone()
                };
                self.0.insert(outer.into(), value);
            }
        }
        if self.text("addr").is_none_or(|addr| addr.is_empty()) {
            return Err("missing upstream.url".into());
        }
        if self.0.contains_key("labels") {
            return Err("endpoints by labels are not supported here: give it a url, or start it as a tunnel (ERR_NGROK_358)".into());
        }
        if !self.0.contains_key("proto") {
            let url = self.text("url").unwrap_or_default();
            let asked = url
                .split_once("://")
                .map(|(scheme, _)| scheme.to_ascii_lowercase());
            // Libraries give only the upstream of a tcp endpoint.
            let addr = self.text("addr").unwrap_or_default();
            let led = addr.split_once("://").map(|(scheme, _)| scheme);
            let proto = match (asked.as_deref(), led) {
                (Some(scheme), _) => scheme.to_owned(),
                (None, Some(scheme @ ("tcp" | "tls"))) if url.is_empty() => scheme.to_owned(),
                // A name without a scheme may still be for one of two.
                _ => "http".to_owned(),
            };
            self.0.insert("proto".into(), proto.into());
        }
        Ok(())
    }

    fn policy_url(&self) -> Result<Option<String>, String> {
        match self.said("traffic_policy_url") {
            Some(url) if url.starts_with("https://") || url.starts_with("http://") => Ok(Some(url)),
            Some(url) => Err(format!(
                "traffic_policy_url: {url:?} is no http or https URL"
            )),
            None => Ok(None),
        }
    }

    /// An endpoint by labels: the edge knows which visitors are meant.
    fn labelled(&self, name: &str) -> Result<EndpointPlan, String> {
        let mut labels = BTreeMap::new();
        for label in self.texts("labels") {
            let pair = label.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair
                .ok_or_else(|| format!("labels: {label:?} is no label: write it as key=value"))?;
            labels.insert(key.to_owned(), value.to_owned());
        }
        if labels.is_empty() {
            return Err("labels: there is none: write them as key=value".into());
        }
        let addr = self.text("addr").unwrap_or_default();
        if addr.is_empty() {
            return Err("missing addr: the port or address of the upstream".into());
        }
        self.pairs()?;
        let ends = ["crt", "key", "mutual_tls_cas"]
            .iter()
            .any(|key| self.0.contains_key(*key));
        let proto = match addr.split_once("://") {
            _ if ends => "tls",
            Some((scheme @ ("tcp" | "tls"), _)) => scheme,
            _ => "https",
        };
        Ok(EndpointPlan {
            url: String::new(),
            labels,
            ..self.plan(name, proto)?
        })
    }

    fn plans(&self, name: &str) -> Result<Vec<EndpointPlan>, String> {
        let proto = self
            .text("proto")
            .ok_or("missing proto: the protocol name, http, tcp or tls")?;
        if !matches!(proto.as_str(), "http" | "https" | "tcp" | "tls") {
            return Err(format!(
                "unknown protocol name {proto:?}: use http, tcp or tls"
            ));
        }
        if self.text("addr").is_none_or(|addr| addr.is_empty()) {
            return Err("missing addr: the port or address of the upstream".into());
        }
        let schemes = self.texts("schemes");
        if let Some(other) = schemes
            .iter()
            .find(|scheme| !matches!(scheme.as_str(), "http" | "https"))
        {
            return Err(format!("the scheme {other:?} is not http or https"));
        }
        self.combinations(&proto)?;
        if proto != "http" {
            return Ok(vec![self.plan(name, &proto)?]);
        }
        let wants = |scheme: &str| schemes.iter().any(|one| one == scheme);
        match (wants("https"), wants("http")) {
            (true, true) => {
                let secure = self.plan(name, "https")?;
                let mut plain = self.plan(&format!("{name} (http)"), "http")?;
                if plain.url == "http://" {
                    // One host, whichever the edge chooses.
                    plain.host_of = Some(name.to_owned());
                }
                Ok(vec![secure, plain])
            }
            (false, true) => Ok(vec![self.plan(name, "http")?]),
            _ => Ok(vec![self.plan(name, "https")?]),
        }
    }

    /// Options that need or exclude each other.
    fn pairs(&self) -> Result<(), String> {
        let has = |key: &str| self.0.contains_key(key);
        for (first, second) in [("crt", "key"), ("key", "crt")] {
            if has(first) && !has(second) {
                return Err(format!("{first} needs {second}"));
            }
        }
        for (first, second) in [
            ("domain", "subdomain"),
            ("domain", "hostname"),
            ("hostname", "subdomain"),
            ("url", "domain"),
        ] {
            if has(first) && has(second) {
                return Err(format!("{first} and {second} exclude each other"));
            }
        }
        let policies: Vec<_> = POLICIES.iter().filter(|key| has(key)).copied().collect();
        if policies.len() > 1 {
            return Err(format!("{} exclude each other", policies.join(" and ")));
        }
        Ok(())
    }

    /// Options that make no sense together, or with the protocol.
    fn combinations(&self, proto: &str) -> Result<(), String> {
        self.pairs()?;
        let has = |key: &str| self.0.contains_key(key);
        if has("agent_tls_termination") && proto != "tls" {
            return Err("agent_tls_termination is for tls:// URLs only".into());
        }
        for (key, noun) in [("url", "URL"), ("bindings", "binding")] {
            if self.texts(key).len() > 1 {
                return Err(format!("{key}: one {noun}, not several"));
            }
        }
        let family = if proto == "https" { "http" } else { proto };
        for (options, on) in [
            (HTTP_ONLY, &["http"][..]),
            (&["remote_addr"], &["tcp"]),
            (&["crt", "key", "terminate_at"], &["tls"]),
            (
                &[
                    "domain",
                    "hostname",
                    "subdomain",
                    "mutual_tls_cas",
                    "upstream_tls_verify",
                    "upstream_tls_verify_cas",
                ],
                &["http", "tls"],
            ),
        ] {
            if let Some(option) = options.iter().find(|option| has(option))
                && !on.contains(&family)
            {
                return Err(format!(
                    "{option} makes no sense on an endpoint of protocol {family}"
                ));
            }
        }
        Ok(())
    }

    fn plan(&self, name: &str, proto: &str) -> Result<EndpointPlan, String> {
        let (proto, url, named) = self.url(proto)?;
        let upstream = address::upstream(&self.text("addr").unwrap_or_default(), &proto)?;
        let mut bindings: Vec<_> = self.texts("bindings");
        bindings.retain(|binding| !binding.is_empty());
        if let Some(other) = bindings
            .iter()
            .find(|one| !matches!(one.as_str(), "public" | "internal" | "kubernetes"))
        {
            return Err(format!(
                "the binding {other:?} is not public, internal or kubernetes"
            ));
        }
        let mut opts = named;
        opts.extend(wire::opts(self, &proto, &upstream.url)?);
        let version = self.either(["upstream_proxy_protocol", "proxy_proto"]);
        let cas = self.said("upstream_tls_verify_cas");
        Ok(EndpointPlan {
            name: name.to_owned(),
            url,
            upstream: upstream.url,
            addr: upstream.shown,
            metadata: self.text("metadata").unwrap_or_default(),
            description: self.text("description").unwrap_or_default(),
            bindings,
            pooling_enabled: self.flag("pooling_enabled", false),
            inspect: self.flag("inspect", true),
            traffic_policy: self.policy()?,
            upstream_protocol: self
                .either(["upstream_protocol", "app_protocol"])
                .unwrap_or_default(),
            proxy_protocol: version
                .and_then(|version| version.parse().ok())
                .unwrap_or(0),
            tls_verify: self.flag("upstream_tls_verify", false),
            tls_verify_cas: cas.map(|path| file(&path)).transpose()?,
            agent_tls: if proto == "tls" {
                self.agent_tls()?
            } else {
                None
            },
            listing: self.flag("file_listing", false),
            host_of: None,
            labels: BTreeMap::new(),
            opts,
            proto,
        })
    }

    /// Protocol, URL that is asked for, and options of however the name was given.
    fn url(&self, proto: &str) -> Result<(String, String, Map<String, Value>), String> {
        let family = |proto: &str| {
            if proto == "https" {
                "http".to_owned()
            } else {
                proto.to_owned()
            }
        };
        if let Some(url) = self.said("url") {
            let read = address::public_url(&url, proto)?;
            if family(&read.proto) != family(proto) {
                return Err(format!(
                    "an endpoint of protocol {} cannot have the URL {url:?}",
                    family(proto)
                ));
            }
            return Ok((read.proto, read.text, Map::new()));
        }
        if let Some(host) = self.either(["domain", "hostname"]) {
            let url = address::public_url(&format!("{proto}://{host}"), proto)?;
            return Ok((proto.to_owned(), url.text, Map::new()));
        }
        if let Some(remote) = self.said("remote_addr") {
            if !remote.contains(':') {
                return Err(format!("remote_addr: {remote:?} is no host:port"));
            }
            let url = address::public_url(&format!("tcp://{remote}"), proto)?;
            return Ok((proto.to_owned(), url.text, Map::new()));
        }
        if let Some(label) = self.said("subdomain") {
            let mut opts = Map::new();
            opts.insert("Subdomain".into(), label.into());
            return Ok((proto.to_owned(), String::new(), opts));
        }
        Ok((proto.to_owned(), format!("{proto}://"), Map::new()))
    }

    fn policy(&self) -> Result<String, String> {
        let inline = self
            .0
            .get("traffic_policy")
            .or_else(|| self.0.get("policy"));
        match inline {
            Some(Value::String(text)) => return Ok(text.clone()),
            Some(tree) => return Ok(tree.to_string()),
            None => {}
        }
        let path = self.either(["traffic_policy_file", "policy_file"]);
        path.map_or_else(|| Ok(String::new()), |path| file(&path))
    }

    /// TLS ends in the agent: asked for by name, or by giving the key, which is to stay here then.
    fn agent_tls(&self) -> Result<Option<AgentTls>, String> {
        let own = self.map("agent_tls_termination");
        let version = |key| own.text(key).unwrap_or_default();
        let (min_version, max_version) = (version("min_version"), version("max_version"));
        let (cert, key, cas);
        if own.0.is_empty() {
            if self
                .text("terminate_at")
                .is_some_and(|place| place != "agent")
            {
                return Ok(None);
            }
            (cert, key) = (self.said("crt"), self.said("key"));
            cas = Vec::from_iter(self.said("mutual_tls_cas"));
            if cert.is_none() && key.is_none() && !self.0.contains_key("terminate_at") {
                return if cas.is_empty() {
                    Ok(None)
                } else {
                    Err("mutual_tls_cas needs crt and key here".into())
                };
            }
        } else {
            (cert, key) = (
                own.said("server_certificate"),
                own.said("server_private_key"),
            );
            cas = own.texts("mutual_tls_certificate_authorities");
        }
        let (Some(cert), Some(key)) = (cert, key) else {
            return Err("TLS can end in the agent with both a certificate and its key only".into());
        };
        Ok(Some(AgentTls {
            cert: pem(&cert)?,
            key: pem(&key)?,
            client_cas: cas.iter().map(|ca| pem(ca)).collect::<Result<_, _>>()?,
            min_version,
            max_version,
        }))
    }
}

/// An endpoint has one policy, however it is given.
const POLICIES: [&str; 5] = [
    "traffic_policy",
    "traffic_policy_file",
    "traffic_policy_url",
    "policy",
    "policy_file",
];
/// Bytes of a file that an option names.
const LARGEST: u64 = 1 << 20;
const HTTP_ONLY: &[&str] = &[
    "schemes",
    "app_protocol",
    "upstream_protocol",
    "basic_auth",
    "circuit_breaker",
    "compression",
    "host_header",
    "oauth",
    "oidc",
    "request_header",
    "response_header",
    "user_agent_filter",
    "verify_webhook",
    "websocket_tcp_converter",
    "file_listing",
];

fn pem(text: &str) -> Result<Pem, String> {
    if text.contains("-----BEGIN") {
        return Ok(Pem {
            text: text.to_owned().into(),
            file: None,
        });
    }
    Ok(Pem {
        text: file(text)?.into(),
        file: std::path::absolute(place(text)).ok(),
    })
}

/// Where a file is that an option names, by the directory the agent was started in.
fn place(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// The text of a file. Blocks on the file system.
fn file(path: &str) -> Result<String, String> {
    let read = || {
        let place = place(path);
        let metadata = std::fs::metadata(&place)?;
        // A pipe would be waited for, and a device may never end.
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if metadata.len() > LARGEST {
            return Err(io::Error::other("it is too large"));
        }
        std::fs::read_to_string(place)
    };
    read().map_err(|error| {
        let reason = crate::board::without_number(&error.to_string());
        format!("cannot read {path}: {reason}")
    })
}

/// As files have it for names: letters, digits, signs and blanks of any language, and nothing that a terminal obeys or
/// that cannot be seen.
fn is_printable(letter: char) -> bool {
    let unseen = matches!(
        letter,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
            | '\u{e0000}'..='\u{e007f}' | '\u{f0000}'..
    );
    letter == ' ' || !(unseen || letter.is_control() || letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_json(value: Value, family: Family) -> Result<Definition, String> {
        let Value::Object(object) = value else {
            panic!("no object")
        };
        read(object, family)
    }

    fn tunnel(value: Value) -> Result<Vec<EndpointPlan>, String> {
        read_json(value, Family::Tunnel).map(|definition| definition.plans)
    }

    fn endpoint(value: Value) -> EndpointPlan {
        read_json(value, Family::Endpoint).unwrap().plans.remove(0)
    }

    #[test]
    fn a_tunnel_with_both_schemes_is_two_endpoints() {
        for both in [
            json!({"schemes": ["http", "https"]}),
            json!({"bind_tls": "both"}),
        ] {
            let mut body = json!({"name": "n", "proto": "http", "addr": 5000, "domain": "n.test"});
            body.as_object_mut()
                .unwrap()
                .extend(both.as_object().unwrap().clone());
            let plans = tunnel(body).unwrap();
            let told: Vec<_> = plans
                .iter()
                .map(|plan| (plan.name.as_str(), plan.proto.as_str(), plan.url.as_str()))
                .collect();
            assert_eq!(
                told,
                [
                    ("n", "https", "https://n.test"),
                    ("n (http)", "http", "http://n.test")
                ]
            );
        }
    }

    #[test]
    fn options_are_those_of_files() {
        let plans = tunnel(json!({
            "name": "x", "proto": "http", "addr": "8001", "inspect": "false", "auth": "ann:longenough",
            "proxy_proto": 2, "host_header": "rewrite", "bind_tls": false, "metadata": 7, "oauth": null,
            "request_header": {"add": ["x-a: b"]}, "traffic_policy": {"on_http_request": []},
        }))
        .unwrap();
        let plan = &plans[0];
        assert_eq!(
            (
                plan.url.as_str(),
                plan.metadata.as_str(),
                plan.proxy_protocol
            ),
            ("http://", "7", 2)
        );
        assert!(!plan.inspect);
        assert_eq!(plan.traffic_policy, r#"{"on_http_request":[]}"#);
        assert_eq!(
            Value::Object(plan.opts.clone()),
            json!({
                "BasicAuth": {"credentials": [{"username": "ann", "cleartext_password": "longenough"}]},
                "HostHeaderRewrite": true,
                "RequestHeaders": {"add": ["x-a: b", "host:localhost:8001"], "remove": []},
            })
        );
    }

    #[test]
    fn an_endpoint_takes_its_protocol_from_what_there_is() {
        for (body, proto, url) in [
            (json!({"upstream": {"url": 8001}}), "https", "https://"),
            (
                json!({"upstream": {"url": "tcp://localhost:22"}}),
                "tcp",
                "tcp://",
            ),
            (
                json!({"url": "tcp://", "upstream": {"url": "22"}}),
                "tcp",
                "tcp://",
            ),
            (
                json!({"url": ["http://a.test"], "upstream": {"url": 1}}),
                "http",
                "http://a.test",
            ),
            (
                json!({"url": "a.test", "upstream": {"url": 1}}),
                "https",
                "https://a.test",
            ),
            (
                json!({"domain": "a.test", "upstream": {"url": 1, "protocol": "https"}}),
                "https",
                "https://a.test",
            ),
            (
                json!({"schemes": ["http"], "upstream": {"url": 1}}),
                "http",
                "http://",
            ),
        ] {
            let plan = endpoint(body.clone());
            assert_eq!(
                (plan.proto.as_str(), plan.url.as_str()),
                (proto, url),
                "{body}"
            );
        }
    }

    #[test]
    fn what_cannot_stand_is_told() {
        for (body, part) in [
            (json!({"addr": 1}), "protocol name"),
            (json!({"addr": 1, "proto": "invalid"}), "protocol name"),
            (json!({"proto": "http"}), "missing addr"),
            (
                json!({"proto": "http", "addr": 1, "basic_outh": []}),
                "did you mean basic_auth?",
            ),
            (
                json!({"proto": "http", "addr": 1, "qqqqqqqq": 1}),
                "unknown option qqqqqqqq",
            ),
            (
                json!({"proto": "http", "addr": [1]}),
                "addr: expected a text, found a list",
            ),
            (
                json!({"proto": "http", "addr": 1, "inspect": 3}),
                "inspect: expected true or false",
            ),
            (
                json!({"proto": "http", "addr": 1, "oauth": {"provicer": "x"}}),
                "oauth.provicer",
            ),
            (
                json!({"proto": "http", "addr": 1, "basic_auth": ["a:short"]}),
                "8 to 128 characters",
            ),
            (
                json!({"proto": "http", "addr": 1, "circuit_breaker": 20}),
                "between 0 and 1",
            ),
            (
                json!({"proto": "http", "addr": 1, "ip_restriction": {"allow_cidrs": ["x"]}}),
                "neither an address",
            ),
            (
                json!({"proto": "http", "addr": 1, "request_header": {"add": ["nocolon"]}}),
                "is no header",
            ),
            (
                json!({"proto": "tcp", "addr": 1, "basic_auth": ["a:longenough"]}),
                "makes no sense",
            ),
            (
                json!({"proto": "tls", "addr": 1, "crt": "x"}),
                "crt needs key",
            ),
            (
                json!({"proto": "http", "addr": 1, "domain": "a", "subdomain": "b"}),
                "exclude each other",
            ),
            (
                json!({"labels": ["ab"], "addr": 1}),
                "write it as key=value",
            ),
            (json!({"labels": ["a=b"]}), "missing addr"),
            (
                json!({"proto": "http", "addr": 1, "subdomain": "a_b"}),
                "a subdomain has letters",
            ),
            (
                json!({"proto": "tcp", "addr": 1, "upstream_tls_verify": true}),
                "makes no sense",
            ),
            (
                json!({"proto": "http", "addr": 1, "name": "a\u{202e}b"}),
                "control characters",
            ),
            (
                json!({"proto": "http", "addr": 1, "policy_file": "/dev/zero"}),
                "it is no file",
            ),
            (
                json!({"proto": "http", "addr": 1, "traffic_policy": 3}),
                "an object or its text",
            ),
            (
                json!({"proto": "http", "addr": 1, "proxy_proto": 3}),
                "not one of 1, 2",
            ),
            (
                json!({"proto": "http", "addr": 1, "policy_file": "/nowhere/x"}),
                "cannot read /nowhere/x",
            ),
        ] {
            let told = tunnel(body.clone()).unwrap_err();
            assert!(told.contains(part), "{body}: {told}");
        }
        for (body, part) in [
            (json!({"name": "x"}), "upstream.url"),
            (json!({"labels": ["a=b"], "upstream": {"url": 1}}), "labels"),
        ] {
            let told = read_json(body, Family::Endpoint).unwrap_err();
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn labels_stand_in_the_place_of_a_url() {
        for (addr, proto) in [
            (json!(80), "https"),
            (json!("tcp://h:22"), "tcp"),
            (json!("tls://h:443"), "tls"),
        ] {
            let plans = tunnel(json!({"name": "l", "addr": addr, "labels": ["a=b", "c=d=e"]}));
            let plan = plans.unwrap().remove(0);
            assert_eq!((plan.proto.as_str(), plan.url.as_str()), (proto, ""));
            assert_eq!(plan.shown_labels(), "a=b,c=d=e");
        }
    }
}
