//! What a posted definition of a tunnel or endpoint means (config.md §4.3, §5.2), checked as the
//! same words in a file are. The running process has no reader of YAML, so this is its own.
//!
//! - [`schema`]: which keys there are. [`address`]: upstreams and URLs. [`wire`]: older options.

mod address;
mod schema;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::plan::{AgentTls, EndpointPlan};

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
        Family::Tunnel => &[schema::TUNNEL],
        Family::Endpoint => &[schema::TUNNEL, schema::ENDPOINT],
    };
    let mut given = Given(schema::read(body, keys, "").map_err(|wrong| wrong.join("; "))?);
    given.rename();
    if family == Family::Endpoint {
        given.flatten()?;
    }
    let name = given.text("name").filter(|name| !name.is_empty());
    if let Some(name) = &name
        && name.chars().any(char::is_control)
    {
        return Err("a name must not hold control characters".into());
    }
    let plans = given.plans(name.as_deref().unwrap_or_default())?;
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
        let mut texts = keys.iter().filter_map(|key| self.text(key));
        texts.find(|text| !text.is_empty())
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
                let value = if value == "https" {
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
        match self.text("traffic_policy_url") {
            Some(url) if url.starts_with("https://") || url.starts_with("http://") => Ok(Some(url)),
            Some(url) => Err(format!(
                "traffic_policy_url: {url:?} is no http or https URL"
            )),
            None => Ok(None),
        }
    }

    fn plans(&self, name: &str) -> Result<Vec<EndpointPlan>, String> {
        if self.0.contains_key("labels") && !self.0.contains_key("proto") {
            return Err(
                "endpoints by labels are no longer supported: give it a url instead".into(),
            );
        }
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
            (true, true) => Ok(vec![
                self.plan(name, "https")?,
                self.plan(&format!("{name} (http)"), "http")?,
            ]),
            (false, true) => Ok(vec![self.plan(name, "http")?]),
            _ => Ok(vec![self.plan(name, "https")?]),
        }
    }

    /// Options that need or exclude each other.
    fn combinations(&self, proto: &str) -> Result<(), String> {
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
            ("traffic_policy", "traffic_policy_file"),
            ("traffic_policy", "traffic_policy_url"),
            ("traffic_policy_file", "traffic_policy_url"),
        ] {
            if has(first) && has(second) {
                return Err(format!("{first} and {second} exclude each other"));
            }
        }
        if has("agent_tls_termination") && proto != "tls" {
            return Err("agent_tls_termination is for tls:// URLs only".into());
        }
        if self.texts("url").len() > 1 {
            return Err("url: one URL, not several".into());
        }
        if self.texts("bindings").len() > 1 {
            return Err("bindings: one binding, not several".into());
        }
        let family = if proto == "https" { "http" } else { proto };
        for (options, on) in [
            (HTTP_ONLY, &["http"][..]),
            (&["remote_addr"], &["tcp"]),
            (&["crt", "key", "terminate_at"], &["tls"]),
            (
                &["domain", "hostname", "subdomain", "mutual_tls_cas"],
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
        let bindings: Vec<_> = self.texts("bindings");
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
        let cas = self.text("upstream_tls_verify_cas");
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
        if let Some(url) = self.text("url").filter(|url| !url.is_empty()) {
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
        if let Some(remote) = self.text("remote_addr") {
            if !remote.contains(':') {
                return Err(format!("remote_addr: {remote:?} is no host:port"));
            }
            let url = address::public_url(&format!("tcp://{remote}"), proto)?;
            return Ok((proto.to_owned(), url.text, Map::new()));
        }
        if let Some(label) = self.text("subdomain") {
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
        let (cert, key, cas);
        if own.0.is_empty() {
            if self
                .text("terminate_at")
                .is_some_and(|place| place != "agent")
            {
                return Ok(None);
            }
            (cert, key) = (self.text("crt"), self.text("key"));
            cas = self.text("mutual_tls_cas").into_iter().collect();
            if cert.is_none() && key.is_none() && !self.0.contains_key("terminate_at") {
                return if self.0.contains_key("mutual_tls_cas") {
                    Err("mutual_tls_cas needs crt and key here".into())
                } else {
                    Ok(None)
                };
            }
        } else {
            if own
                .text("min_version")
                .is_some_and(|version| version != "1.2")
                || own
                    .text("max_version")
                    .is_some_and(|version| version != "1.3")
            {
                return Err("agent_tls_termination: TLS 1.2 and 1.3 are both on; choosing between them cannot be done yet".into());
            }
            (cert, key) = (
                own.text("server_certificate"),
                own.text("server_private_key"),
            );
            cas = own.texts("mutual_tls_certificate_authorities");
        }
        let (Some(cert), Some(key)) = (cert, key) else {
            return Err("TLS can end in the agent with both a certificate and its key only".into());
        };
        let cas: Result<Vec<String>, String> = cas.iter().map(|ca| pem(ca)).collect();
        let cas = cas?.join("\n");
        Ok(Some(AgentTls {
            cert: pem(&cert)?,
            key: pem(&key)?.into(),
            client_cas: (!cas.is_empty()).then_some(cas),
        }))
    }
}

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

fn pem(text: &str) -> Result<String, String> {
    if text.contains("-----BEGIN") {
        Ok(text.to_owned())
    } else {
        file(text)
    }
}

/// A file that an option names, by the directory the agent was started in.
fn file(path: &str) -> Result<String, String> {
    let place = match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    };
    std::fs::read_to_string(place).map_err(|error| {
        let reason = crate::board::without_number(&error.to_string());
        format!("cannot read {path}: {reason}")
    })
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
            (json!({"labels": ["a=b"], "addr": 1}), "labels"),
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
        assert!(
            read_json(json!({"name": "x"}), Family::Endpoint)
                .unwrap_err()
                .contains("upstream.url")
        );
    }
}
