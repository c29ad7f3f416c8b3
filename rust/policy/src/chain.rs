//! The options of one endpoint, compiled: first who may come, then what is changed.

use std::net::IpAddr;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use portway_wire::opts::CommonOptions;
use portway_wire::{Code, HttpOptions, Refusal, TlsOptions};

use crate::breaker::Breaker;
use crate::credentials::Credentials;
use crate::headers::HeaderRules;
use crate::restriction::Restriction;
use crate::user_agent::UserAgents;
use crate::webhook::Webhook;

/// What the edge answers instead of asking the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Shown as `ngrok-error-code`; a demand for credentials has none.
    pub code: Option<Code>,
    pub header: Option<(HeaderName, HeaderValue)>,
    pub message: String,
}

/// Everything an endpoint's owner asked for. Shared by all its connections. Most ask for nothing,
/// and an edge has many: what is not asked for takes no room.
#[derive(Debug, Default)]
pub struct Chain {
    restriction: Option<Box<Restriction>>,
    user_agents: Option<Box<UserAgents>>,
    webhook: Option<Box<Webhook>>,
    credentials: Option<Box<Credentials>>,
    breaker: Option<Box<Breaker>>,
    request_headers: HeaderRules,
    response_headers: HeaderRules,
    compression: bool,
    websocket_tcp: bool,
}

// === impl Answer ===

impl Answer {
    /// A refusal in the words of the error table.
    pub fn refused(code: Code) -> Self {
        Self {
            status: code.status().unwrap_or(403),
            code: Some(code),
            header: None,
            message: code.text().to_owned(),
        }
    }
}

// === impl Chain ===

impl Chain {
    /// Compiles the options of an `http` or `https` endpoint.
    ///
    /// # Errors
    /// A [`Refusal`] that names the option that is wrong, or that this edge does not have.
    pub fn http(options: &HttpOptions) -> Result<Self, Refusal> {
        if options.has_oauth {
            return Err(missing(365, "OAuth"));
        }
        if options.has_oidc {
            return Err(missing(388, "OIDC"));
        }
        if options.has_basic_auth && options.basic_auth.is_empty() {
            return Err(Refusal::new(
                Code(359),
                "BasicAuth without credentials would let nobody in; name at least one user.",
            ));
        }
        let filter = options.user_agent_filter.as_ref();
        Ok(Self {
            user_agents: filter.map(UserAgents::compile).transpose()?.map(Box::new),
            webhook: options
                .webhook
                .as_ref()
                .map(Webhook::compile)
                .transpose()?
                .map(Box::new),
            credentials: Credentials::compile(&options.basic_auth)?.map(Box::new),
            breaker: options
                .circuit_breaker
                .map(Breaker::new)
                .transpose()?
                .map(Box::new),
            request_headers: HeaderRules::request(&options.request_headers)?,
            response_headers: HeaderRules::response(&options.response_headers)?,
            compression: options.compression,
            websocket_tcp: options.websocket_tcp,
            ..Self::common(&options.common)?
        })
    }

    /// Compiles the options of a `tcp` endpoint.
    ///
    /// # Errors
    /// As [`http`](Self::http).
    pub fn tcp(options: &CommonOptions) -> Result<Self, Refusal> {
        Self::common(options)
    }

    /// Compiles the options of a `tls` endpoint.
    ///
    /// # Errors
    /// As [`http`](Self::http).
    pub fn tls(options: &TlsOptions) -> Result<Self, Refusal> {
        if options
            .termination
            .as_ref()
            .is_some_and(|termination| termination.sealed)
        {
            return Err(missing(14001, "a sealed private key"));
        }
        Self::common(&options.common)
    }

    fn common(options: &CommonOptions) -> Result<Self, Refusal> {
        if options.has_legacy_policy && !options.traffic_policy.is_empty() {
            return Err(Refusal::of(Code(9025)));
        }
        if options.has_legacy_policy || !options.traffic_policy.trim().is_empty() {
            return Err(Refusal::new(
                Code(9026),
                "The traffic policy provided is invalid: this edge has no traffic policy documents yet.",
            ));
        }
        let restriction = options.ip_restriction.as_ref();
        Ok(Self {
            restriction: restriction
                .map(Restriction::compile)
                .transpose()?
                .map(Box::new),
            ..Self::default()
        })
    }

    /// Whether nothing at all was asked for, so that a request is let in and left as it is.
    pub fn is_plain(&self) -> bool {
        let gates = self.restriction.is_some()
            || self.user_agents.is_some()
            || self.webhook.is_some()
            || self.credentials.is_some()
            || self.breaker.is_some();
        let changes = !self.request_headers.is_empty()
            || !self.response_headers.is_empty()
            || self.compression
            || self.websocket_tcp;
        !gates && !changes
    }

    /// Whether this address may connect at all.
    pub fn admits(&self, visitor: IpAddr) -> bool {
        self.restriction
            .as_ref()
            .is_none_or(|restriction| restriction.admits(visitor))
    }

    /// Decides on a request by its head: address, user agent, credentials, kind.
    ///
    /// # Errors
    /// The [`Answer`] to give instead.
    pub fn on_request(&self, head: &Parts, visitor: IpAddr) -> Result<(), Answer> {
        if !self.admits(visitor) {
            return Err(Answer::refused(Code::IP_BLOCKED));
        }
        if let Some(agents) = &self.user_agents {
            let agent = head.headers.get(header::USER_AGENT);
            let agent = agent.map(|value| String::from_utf8_lossy(value.as_bytes()));
            if !agents.admit(agent.as_deref()) {
                return Err(Answer::refused(Code::USER_AGENT_BLOCKED));
            }
        }
        if let Some(credentials) = &self.credentials
            && !credentials.admit(head.headers.get(header::AUTHORIZATION))
        {
            return Err(Answer {
                status: 401,
                code: None,
                header: Some((header::WWW_AUTHENTICATE, Credentials::challenge())),
                message: "This endpoint asks for a user name and a password.".into(),
            });
        }
        if self.websocket_tcp && !is_websocket(head) {
            return Err(Answer::refused(Code::NO_WEBSOCKET));
        }
        Ok(())
    }

    /// Set where a request's body is part of the decision.
    pub fn webhook(&self) -> Option<&Webhook> {
        self.webhook.as_deref()
    }

    /// Whether the circuit breaker lets a request through now.
    ///
    /// # Errors
    /// The [`Answer`] to give instead.
    pub fn breaker_admits(&self) -> Result<(), Answer> {
        match &self.breaker {
            Some(breaker) if !breaker.admits(Instant::now()) => {
                Err(Answer::refused(Code::CIRCUIT_OPEN))
            }
            _ => Ok(()),
        }
    }

    /// Tells the circuit breaker how a request it let through ended.
    pub fn ended(&self, failed: bool) {
        if let Some(breaker) = &self.breaker {
            breaker.record(failed, Instant::now());
        }
    }

    pub fn request_headers(&self) -> &HeaderRules {
        &self.request_headers
    }

    pub fn response_headers(&self) -> &HeaderRules {
        &self.response_headers
    }

    /// Whether responses are to be compressed where the visitor takes it.
    pub fn compression(&self) -> bool {
        self.compression
    }

    /// Whether WebSocket messages are turned into plain bytes for the upstream.
    pub fn websocket_tcp(&self) -> bool {
        self.websocket_tcp
    }
}

fn missing(code: u16, what: &str) -> Refusal {
    Refusal::new(
        Code(code),
        format!(
            "This edge cannot do {what} yet, so it does not bind an endpoint that asks for it."
        ),
    )
}

/// Whether a request asks for WebSocket (RFC 6455 §4.2.1).
fn is_websocket(head: &Parts) -> bool {
    let upgrade = head.headers.get(header::UPGRADE);
    head.method == http::Method::GET
        && upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && head.headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(value: serde_json::Value) -> HttpOptions {
        let serde_json::Value::Object(map) = value else {
            panic!("options are an object")
        };
        portway_wire::Opts::new(map).http().unwrap()
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn what_this_edge_cannot_do_is_refused_by_name() {
        for (options_json, code, name) in [
            (json!({"OAuth": {"provider": "github"}}), 365, "OAuth"),
            (json!({"OIDC": {"issuer_url": "https://x"}}), 388, "OIDC"),
            (
                json!({"TrafficPolicy": "on_http_request: []"}),
                9026,
                "provided is invalid",
            ),
            (json!({"Policy": {"inbound": []}}), 9026, "traffic policy"),
            (json!({"BasicAuth": {"credentials": []}}), 359, "BasicAuth"),
        ] {
            let refusal = Chain::http(&options(options_json)).unwrap_err();
            assert_eq!(refusal.code, Code(code));
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
    }

    #[test]
    fn an_endpoint_is_plain_until_it_asks_for_something() {
        let plain = |value| Chain::http(&options(value)).unwrap().is_plain();
        assert!(plain(
            json!({"BasicAuth": null, "Compression": null, "ProxyProto": 1})
        ));
        for asked in [
            json!({"IPRestriction": {"allow_cidrs": ["0.0.0.0/0"]}}),
            json!({"UserAgentFilter": {}}),
            json!({"WebhookVerification": {"provider": "github", "secret": "s"}}),
            json!({"Auth": "user:longenough"}),
            json!({"CircuitBreaker": {"error_threshold": 0.5}}),
            json!({"RequestHeaders": {"add": ["a:b"]}}),
            json!({"ResponseHeaders": {"remove": ["a"]}}),
            json!({"Compression": {}}),
            json!({"WebsocketTCPConverter": {}}),
        ] {
            assert!(!plain(asked.clone()), "{asked}");
        }
    }

    #[test]
    fn gates_stand_in_their_order() {
        let chain = Chain::http(&options(json!({
            "IPRestriction": {"allow_cidrs": ["192.0.2.0/24"]},
            "UserAgentFilter": {"allow": ["foo.*"], "deny": [".*"]},
            "BasicAuth": {"credentials": [{"username": "ann", "cleartext_password": "longenough"}]},
        })))
        .unwrap();
        let agent = ("user-agent", "foobar");
        let login = ("authorization", "Basic YW5uOmxvbmdlbm91Z2g=");
        let elsewhere = IpAddr::from([203, 0, 113, 1]);
        let code = |head: &Parts, addr| {
            chain
                .on_request(head, addr)
                .map_err(|answer| (answer.status, answer.code))
        };
        assert_eq!(
            code(&head(&[]), elsewhere),
            Err((403, Some(Code::IP_BLOCKED)))
        );
        assert_eq!(
            code(&head(&[login]), HOME),
            Err((403, Some(Code::USER_AGENT_BLOCKED)))
        );
        assert_eq!(code(&head(&[agent]), HOME), Err((401, None)));
        assert_eq!(code(&head(&[agent, login]), HOME), Ok(()));
    }

    #[test]
    fn the_converter_wants_websocket() {
        let chain = Chain::http(&options(json!({"WebsocketTCPConverter": {}}))).unwrap();
        assert_eq!(
            chain.on_request(&head(&[]), HOME).unwrap_err().code,
            Some(Code::NO_WEBSOCKET)
        );
        let upgrade = head(&[("upgrade", "WebSocket"), ("sec-websocket-key", "x")]);
        assert_eq!(chain.on_request(&upgrade, HOME), Ok(()));
    }
}
