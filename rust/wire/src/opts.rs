//! The options of a bind (wire-protocol §4.4): kept as they came, read as what they mean.
//!
//! An agent binds again with the options of the answer, so the answer carries all of them, in
//! the agent's own spelling, with the assigned name filled in (§4.8).

use serde_json::{Map, Value};

use crate::Secret;
use crate::fields::{Fields, Malformed};
use crate::url::{EndpointUrl, Scheme};

/// The `Opts` object as it came, order and spelling included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opts(Map<String, Value>);

/// Name and PASSWORD of basic authentication.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    pub username: String,
    pub password: Secret,
    /// Instead of the password; empty where there is none.
    pub hashed_password: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpRestriction {
    pub allow_cidrs: Vec<String>,
    pub deny_cidrs: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChange {
    /// `name:value`.
    pub add: Vec<String>,
    pub remove: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgentFilter {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookVerification {
    pub provider: String,
    pub secret: Secret,
    pub sealed: bool,
}

/// `{}` means: with the edge's own certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsTermination {
    /// PEM.
    pub cert: Vec<u8>,
    pub key: Secret,
    pub sealed: bool,
}

/// What all protocols have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommonOptions {
    /// 0, 1 or 2.
    pub proxy_proto: i64,
    pub ip_restriction: Option<IpRestriction>,
    /// A document as text; empty where there is none.
    pub traffic_policy: String,
    /// The older form of the same is there.
    pub has_legacy_policy: bool,
}

/// Options of `http` and `https`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpOptions {
    pub common: CommonOptions,
    pub compression: bool,
    /// Share of failed answers at which requests are refused.
    pub circuit_breaker: Option<f64>,
    pub basic_auth: Vec<Credential>,
    /// Basic authentication is asked for, be it with credentials or without.
    pub has_basic_auth: bool,
    pub has_oauth: bool,
    pub has_oidc: bool,
    pub webhook: Option<WebhookVerification>,
    /// PEM of the CAs whose client certificates are required.
    pub mutual_tls_ca: Option<Vec<u8>>,
    pub request_headers: HeaderChange,
    pub response_headers: HeaderChange,
    pub host_header_rewrite: bool,
    pub websocket_tcp: bool,
    pub user_agent_filter: Option<UserAgentFilter>,
}

/// Options of `tcp`.
pub type TcpOptions = CommonOptions;

/// Options of `tls`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsOptions {
    pub common: CommonOptions,
    /// The edge ends TLS.
    pub termination: Option<TlsTermination>,
    /// PEM of the CAs whose client certificates the edge requires.
    pub mutual_tls_ca: Option<Vec<u8>>,
    pub mutual_tls_at_agent: bool,
}

// === impl Opts ===

impl Opts {
    pub fn new(map: Map<String, Value>) -> Self {
        Self(map)
    }

    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    fn fields(&self) -> Fields<'_> {
        Fields::of_map(&self.0)
    }

    /// What name is asked for: URL, else domain, else hostname, else subdomain (§4.4), else, for
    /// tcp, the address. The last member tells whether it is a label below the base domain.
    ///
    /// # Errors
    /// [`Malformed`] where one of them is no string.
    pub fn wanted_name(&self) -> Result<(String, bool), Malformed> {
        let fields = self.fields();
        for key in ["URL", "Domain", "Hostname", "Subdomain", "Addr"] {
            let name = fields.text(key)?;
            if !name.is_empty() {
                return Ok((name, key == "Subdomain"));
            }
        }
        Ok((String::new(), false))
    }

    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn http(&self) -> Result<HttpOptions, Malformed> {
        let fields = self.fields();
        let mut basic_auth = Vec::new();
        let mut has_basic_auth = false;
        if let Some(auth) = fields.object("BasicAuth")? {
            has_basic_auth = true;
            for credential in auth.objects("credentials")? {
                basic_auth.push(Credential {
                    username: credential.text("username")?,
                    password: credential.text("cleartext_password")?.into(),
                    hashed_password: credential.bytes("hashed_password")?,
                });
            }
        }
        // The oldest form: one `user:password`.
        let auth = fields.text("Auth")?;
        if !auth.is_empty() {
            let (username, password) = auth.split_once(':').unwrap_or((&auth, ""));
            basic_auth.push(Credential {
                username: username.to_owned(),
                password: Secret::new(password),
                hashed_password: Vec::new(),
            });
        }
        let webhook = fields.object("WebhookVerification")?.map(|webhook| {
            Ok::<_, Malformed>(WebhookVerification {
                provider: webhook.text("provider")?,
                secret: webhook.text("secret")?.into(),
                sealed: !webhook.bytes("sealed_secret")?.is_empty(),
            })
        });
        let filter = fields.object("UserAgentFilter")?.map(|filter| {
            Ok::<_, Malformed>(UserAgentFilter {
                allow: filter.texts("allow")?,
                deny: filter.texts("deny")?,
            })
        });
        Ok(HttpOptions {
            common: self.common()?,
            compression: fields.object("Compression")?.is_some(),
            circuit_breaker: fields
                .object("CircuitBreaker")?
                .map(|breaker| breaker.float("error_threshold"))
                .transpose()?,
            has_basic_auth: has_basic_auth || !basic_auth.is_empty(),
            basic_auth,
            has_oauth: fields.object("OAuth")?.is_some(),
            has_oidc: fields.object("OIDC")?.is_some(),
            webhook: webhook.transpose()?,
            mutual_tls_ca: ca(fields, "MutualTLSCA")?,
            request_headers: headers(fields, "RequestHeaders")?,
            response_headers: headers(fields, "ResponseHeaders")?,
            host_header_rewrite: fields.flag("HostHeaderRewrite")?,
            websocket_tcp: fields.object("WebsocketTCPConverter")?.is_some(),
            user_agent_filter: filter.transpose()?,
        })
    }

    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn tcp(&self) -> Result<TcpOptions, Malformed> {
        self.common()
    }

    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn tls(&self) -> Result<TlsOptions, Malformed> {
        let fields = self.fields();
        let termination = fields.object("TLSTermination")?.map(|termination| {
            Ok::<_, Malformed>(TlsTermination {
                cert: termination.bytes("cert")?,
                key: String::from_utf8_lossy(&termination.bytes("key")?)
                    .into_owned()
                    .into(),
                sealed: !termination.bytes("sealed_key")?.is_empty(),
            })
        });
        Ok(TlsOptions {
            common: self.common()?,
            termination: termination.transpose()?,
            mutual_tls_ca: ca(fields, "MutualTLSAtEdge")?,
            mutual_tls_at_agent: fields.flag("MutualTLSAtAgent")?,
        })
    }

    /// The first option that asks for something and that endpoints of this scheme do not have, as
    /// `Key` or `Key.member`. Who passes it over may open what it was to close.
    pub fn unread(&self, scheme: Scheme) -> Option<String> {
        let own: &[Key] = match scheme {
            Scheme::Http | Scheme::Https => &HTTP_KEYS,
            Scheme::Tcp => &TCP_KEYS,
            Scheme::Tls => &TLS_KEYS,
        };
        let known = |name: &str| {
            let mut keys = COMMON_KEYS.iter().chain(own);
            keys.find(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        self.0.iter().find_map(|(name, value)| {
            let Some((_, members)) = known(name) else {
                return asks(value).then(|| name.clone());
            };
            let object = value.as_object().filter(|_| !members.is_empty())?;
            let strange = |(member, value): &(&String, &Value)| {
                let read = members.iter().any(|it| it.eq_ignore_ascii_case(member));
                let empty = value.as_object().is_some_and(Map::is_empty);
                !read && !empty && asks(value)
            };
            let (member, _) = object.iter().find(strange)?;
            Some(format!("{name}.{member}"))
        })
    }

    fn common(&self) -> Result<CommonOptions, Malformed> {
        let fields = self.fields();
        let restriction = fields.object("IPRestriction")?.map(|restriction| {
            Ok::<_, Malformed>(IpRestriction {
                allow_cidrs: restriction.texts("allow_cidrs")?,
                deny_cidrs: restriction.texts("deny_cidrs")?,
            })
        });
        Ok(CommonOptions {
            proxy_proto: fields.int("ProxyProto")?,
            ip_restriction: restriction.transpose()?,
            traffic_policy: fields.text("TrafficPolicy")?,
            has_legacy_policy: fields.object("Policy")?.is_some(),
        })
    }

    /// The options of the answer: all that came, the name that was assigned, and what strict
    /// agents require even if they did not send it.
    #[must_use]
    pub fn echo(&self, url: &EndpointUrl) -> Self {
        let mut opts = self.0.clone();
        let required: &[(&str, Value)] = match url.scheme {
            Scheme::Http | Scheme::Https => &[
                ("Hostname", Value::String(String::new())),
                ("Auth", Value::String(String::new())),
                ("Subdomain", Value::String(String::new())),
                ("HostHeaderRewrite", Value::Bool(false)),
                ("ProxyProto", Value::from(0)),
            ],
            Scheme::Tcp => &[
                ("Addr", Value::String(String::new())),
                ("ProxyProto", Value::from(0)),
            ],
            Scheme::Tls => &[
                ("Hostname", Value::String(String::new())),
                ("Subdomain", Value::String(String::new())),
                ("ProxyProto", Value::from(0)),
                ("MutualTLSAtAgent", Value::Bool(false)),
            ],
        };
        for (key, default) in required {
            if opts.get(*key).is_none_or(Value::is_null) {
                opts.insert((*key).to_owned(), default.clone());
            }
        }
        let spellings = |key: &'static str| {
            let names = self.0.keys();
            names.filter(move |name| name.eq_ignore_ascii_case(key))
        };
        for name in spellings("URL") {
            opts.insert(name.clone(), Value::String(url.to_string()));
        }
        for name in spellings("Domain").filter(|_| url.scheme != Scheme::Tcp) {
            opts.insert(name.clone(), Value::String(url.host.clone()));
        }
        // In the spelling of the agent, and in that of strict ones.
        let mut assign = |key: &'static str, value: String| {
            for name in spellings(key) {
                opts.insert(name.clone(), Value::String(value.clone()));
            }
            opts.insert(key.to_owned(), Value::String(value));
        };
        if url.scheme == Scheme::Tcp {
            assign("Addr", url.authority());
        } else {
            assign("Hostname", url.host.clone());
            // The hostname says it all now, and names are given once only.
            assign("Subdomain", String::new());
        }
        Self(opts)
    }
}

/// An option and its members. No members: it is read, or refused, as a whole.
type Key = (&'static str, &'static [&'static str]);

const COMMON_KEYS: [Key; 5] = [
    ("URL", &[]),
    ("ProxyProto", &[]),
    ("IPRestriction", &["allow_cidrs", "deny_cidrs"]),
    ("Policy", &[]),
    ("TrafficPolicy", &[]),
];
const HTTP_KEYS: [Key; 17] = [
    ("Domain", &[]),
    ("Hostname", &[]),
    ("Subdomain", &[]),
    ("Auth", &[]),
    ("HostHeaderRewrite", &[]),
    ("LocalURLScheme", &[]),
    ("Compression", &[]),
    ("CircuitBreaker", &["error_threshold"]),
    ("BasicAuth", &["credentials"]),
    ("OAuth", &[]),
    ("OIDC", &[]),
    (
        "WebhookVerification",
        &["provider", "secret", "sealed_secret"],
    ),
    ("MutualTLSCA", &["mutual_tls_ca"]),
    ("RequestHeaders", &["add", "remove"]),
    ("ResponseHeaders", &["add", "remove"]),
    ("WebsocketTCPConverter", &[]),
    ("UserAgentFilter", &["allow", "deny"]),
];
const TCP_KEYS: [Key; 1] = [("Addr", &[])];
const TLS_KEYS: [Key; 6] = [
    ("Domain", &[]),
    ("Hostname", &[]),
    ("Subdomain", &[]),
    ("MutualTLSAtAgent", &[]),
    ("MutualTLSAtEdge", &["mutual_tls_ca"]),
    ("TLSTermination", &["cert", "key", "sealed_key"]),
];

/// Whether a value is more than the absence of one.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        // `{}` switches a thing on.
        Value::Object(_) => true,
    }
}

fn ca(fields: Fields<'_>, key: &str) -> Result<Option<Vec<u8>>, Malformed> {
    fields
        .object(key)?
        .map(|ca| ca.bytes("mutual_tls_ca"))
        .transpose()
}

fn headers(fields: Fields<'_>, key: &str) -> Result<HeaderChange, Malformed> {
    let Some(change) = fields.object(key)? else {
        return Ok(HeaderChange::default());
    };
    Ok(HeaderChange {
        add: change.texts("add")?,
        remove: change.texts("remove")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn opts(value: &Value) -> Opts {
        Opts::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn r71_the_name_is_taken_from_the_first_that_has_one() {
        for (given, wanted) in [
            (
                json!({"URL": "https://a", "Domain": "b", "Hostname": "c"}),
                ("https://a", false),
            ),
            (
                json!({"URL": "", "Domain": "b", "Hostname": "c", "Subdomain": "d"}),
                ("b", false),
            ),
            (json!({"Hostname": "c", "Subdomain": "d"}), ("c", false)),
            (json!({"Subdomain": "d"}), ("d", true)),
            (json!({"Addr": "h:1"}), ("h:1", false)),
            (json!({"URL": null}), ("", false)),
        ] {
            let (name, label) = opts(&given).wanted_name().unwrap();
            assert_eq!((name.as_str(), label), wanted, "{given}");
        }
    }

    #[test]
    fn r70_the_answer_repeats_every_key_in_its_spelling() {
        let url = EndpointUrl::parse("https://x.example.com").unwrap();
        let given = json!({"Hostname": "", "Domain": "", "LocalURLScheme": "", "TrafficPolicy": "", "OAuth": null, "ProxyProto": 2});
        let echo = opts(&given).echo(&url);
        assert_eq!(echo.0["Hostname"], "x.example.com");
        assert_eq!(echo.0["Domain"], "x.example.com");
        assert_eq!(
            (&echo.0["LocalURLScheme"], &echo.0["TrafficPolicy"]),
            (&json!(""), &json!(""))
        );
        assert_eq!(
            (&echo.0["ProxyProto"], &echo.0["OAuth"]),
            (&json!(2), &Value::Null)
        );
        assert!(echo.0.get("URL").is_none());
    }

    #[test]
    fn r69_strict_agents_find_what_they_require() {
        for (url, keys) in [
            (
                "http://a.b",
                &[
                    "Hostname",
                    "Auth",
                    "Subdomain",
                    "HostHeaderRewrite",
                    "ProxyProto",
                ][..],
            ),
            ("tcp://a.b:1", &["Addr", "ProxyProto"]),
            (
                "tls://a.b",
                &["Hostname", "Subdomain", "ProxyProto", "MutualTLSAtAgent"],
            ),
        ] {
            let echo = Opts::default().echo(&EndpointUrl::parse(url).unwrap());
            for key in keys {
                assert!(!echo.0[*key].is_null(), "{url}: {key}");
            }
        }
        let echo = Opts::default().echo(&EndpointUrl::parse("tcp://a.b:1").unwrap());
        assert_eq!(echo.0["Addr"], "a.b:1");
    }

    #[test]
    fn r75_every_middleware_object_is_read() {
        let http = opts(&json!({
            "BasicAuth": {"credentials": [{"username": "u", "cleartext_password": "p"}]},
            "Auth": "old:pass:word",
            "IPRestriction": {"allow_cidrs": ["10.0.0.0/8"]},
            "Compression": {},
            "CircuitBreaker": {"error_threshold": 0.5},
            "OAuth": {"provider": "github"},
            "WebhookVerification": {"provider": "slack", "secret": "s"},
            "MutualTLSCA": {"mutual_tls_ca": "UEVN"},
            "RequestHeaders": {"add": ["a:b"], "remove": ["c"]},
            "WebsocketTCPConverter": {},
            "UserAgentFilter": {"allow": ["x"], "deny": ["y"]},
            "TrafficPolicy": null,
        }))
        .http()
        .unwrap();
        assert_eq!(http.basic_auth.len(), 2);
        assert_eq!(http.basic_auth[1].password.expose(), "pass:word");
        assert_eq!(
            http.common.ip_restriction.unwrap().allow_cidrs,
            ["10.0.0.0/8"]
        );
        assert!(http.compression && http.has_oauth && http.websocket_tcp && !http.has_oidc);
        assert_eq!(
            (http.circuit_breaker, http.mutual_tls_ca.as_deref()),
            (Some(0.5), Some(&b"PEM"[..]))
        );
        assert_eq!(http.webhook.unwrap().provider, "slack");
        assert_eq!(http.request_headers.remove, ["c"]);
        let tls = opts(&json!({"TLSTermination": {}, "MutualTLSAtEdge": null}))
            .tls()
            .unwrap();
        assert_eq!(
            (tls.termination, tls.mutual_tls_ca),
            (Some(TlsTermination::default()), None)
        );
    }

    #[test]
    fn what_no_endpoint_of_the_kind_has_is_noticed() {
        for (scheme, given, key) in [
            (
                Scheme::Https,
                json!({"JWTValidation": {}}),
                Some("JWTValidation"),
            ),
            (
                Scheme::Https,
                json!({"JWTValidation": null, "x": false, "y": 0, "z": []}),
                None,
            ),
            (
                Scheme::Https,
                json!({"basicauth": {"credentials": []}}),
                None,
            ),
            (
                Scheme::Https,
                json!({"Compression": {}, "OAuth": {"provider": "x"}}),
                None,
            ),
            (
                Scheme::Https,
                json!({"TLSTermination": {}}),
                Some("TLSTermination"),
            ),
            (Scheme::Tcp, json!({"BasicAuth": {}}), Some("BasicAuth")),
            (Scheme::Tcp, json!({"BasicAuth": null, "Auth": ""}), None),
            (Scheme::Tls, json!({"MutualTLSCA": {}}), Some("MutualTLSCA")),
            (
                Scheme::Http,
                json!({"IPRestriction": {"allow_cidrs": [], "policies": ["p"]}}),
                Some("IPRestriction.policies"),
            ),
            (
                Scheme::Http,
                json!({"RequestHeaders": {"add": [], "addParsed": {}}}),
                None,
            ),
        ] {
            assert_eq!(opts(&given).unread(scheme).as_deref(), key, "{given}");
        }
    }

    #[test]
    fn null_in_one_spelling_does_not_hide_another() {
        let given = json!({"BasicAuth": null, "basicAuth": {"credentials": [{"username": "u"}]}});
        assert_eq!(opts(&given).http().unwrap().basic_auth.len(), 1);
    }

    #[test]
    fn r74_a_policy_is_noticed_in_either_form() {
        let common = opts(&json!({"Policy": {"inbound": []}, "TrafficPolicy": "{}"}))
            .tcp()
            .unwrap();
        assert!(common.has_legacy_policy && common.traffic_policy == "{}");
        assert!(opts(&json!({"TrafficPolicy": {}})).tcp().is_err());
    }
}
