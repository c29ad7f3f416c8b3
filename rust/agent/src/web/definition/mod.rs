//! What a posted definition of a tunnel or endpoint means (config.md §4.3, §5.2), checked as the
//! same words in a file are. The running process has no reader of YAML, so this is its own.
//!
//! - [`schema`]: which keys there are. [`given`]: what they say. [`rules`]: what goes together.
//! - [`address`]: upstreams and URLs. [`files`]: what is in files. [`wire`]: older options.

mod address;
mod files;
mod given;
mod rules;
mod schema;
mod wire;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::files::{file, pem};
use self::given::Given;
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
                let mut plain = self.plan(&EndpointPlan::plain_name(name), "http")?;
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
            listing: self.flag("file_listing", true),
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
