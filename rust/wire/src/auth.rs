//! Login of an agent (wire-protocol §4.3).

use serde_json::{Map, Value, json};

use crate::fields::{Fields, Malformed};
use crate::{Refusal, Secret};

/// The protocol version both sides speak.
pub const VERSION: &str = "3";
/// Offered besides by the SDKs, which do nothing differently with it.
pub const OLDER_VERSION: &str = "2";

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthRequest {
    /// Offered protocol versions, best first.
    pub version: Vec<String>,
    /// Empty first; then what the edge gave.
    pub client_id: String,
    pub extra: AuthExtra,
}

/// The rest of the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthExtra {
    pub os: String,
    pub arch: String,
    pub authtoken: Secret,
    pub version: String,
    pub hostname: String,
    pub user_agent: String,
    pub metadata: String,
    pub cookie: String,
    /// Nanoseconds; 0 where the agent did not say.
    pub heartbeat_interval: i64,
    pub heartbeat_tolerance: i64,
    /// `Some("")`: supported; a text: not, and why; `None`: the agent knows nothing of it.
    pub update_unsupported: Option<String>,
    pub stop_unsupported: Option<String>,
    pub restart_unsupported: Option<String>,
    pub proxy_type: String,
    pub mutual_tls: bool,
    pub service_run: bool,
    pub config_version: String,
    pub custom_interface: bool,
    pub custom_cas: bool,
    pub client_type: String,
    pub leg_number: u32,
    /// What a portway agent can do beyond the protocol (design, decision 11).
    pub portway: Option<Abilities>,
}

/// Abilities of one portway side that the other may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// A stream may carry requests of several visitors, one after the other.
    pub shared_streams: bool,
}

/// Whose implementation an agent is; it decides how credit is handled (wire-protocol §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    RustSdk,
    GoSdk,
    Portway,
    Other,
}

// === impl AuthRequest ===

impl AuthRequest {
    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn decode(message: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(message)?;
        let extra = fields.object("Extra")?.map(AuthExtra::decode).transpose()?;
        Ok(Self {
            version: fields.texts("Version")?,
            client_id: fields.text("ClientId")?,
            extra: extra.unwrap_or_default(),
        })
    }

    /// The message; the token is in it in the clear.
    pub fn encode(&self) -> Value {
        json!({"Version": self.version, "ClientId": self.client_id, "Extra": self.extra.encode()})
    }
}

impl AuthExtra {
    fn decode(fields: Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            os: fields.text("OS")?,
            arch: fields.text("Arch")?,
            authtoken: fields.text("AuthToken")?.into(),
            version: fields.text("Version")?,
            hostname: fields.text("Hostname")?,
            user_agent: fields.text("UserAgent")?,
            metadata: fields.text("Metadata")?,
            cookie: fields.text("Cookie")?,
            heartbeat_interval: fields.int("HeartbeatInterval")?,
            heartbeat_tolerance: fields.int("HeartbeatTolerance")?,
            update_unsupported: fields.maybe_text("UpdateUnsupportedError")?,
            stop_unsupported: fields.maybe_text("StopUnsupportedError")?,
            restart_unsupported: fields.maybe_text("RestartUnsupportedError")?,
            proxy_type: fields.text("ProxyType")?,
            mutual_tls: fields.flag("MutualTLS")?,
            service_run: fields.flag("ServiceRun")?,
            config_version: fields.text("ConfigVersion")?,
            custom_interface: fields.flag("CustomInterface")?,
            custom_cas: fields.flag("CustomCAs")?,
            client_type: fields.text("ClientType")?,
            leg_number: u32::try_from(fields.int("LegNumber")?).unwrap_or(0),
            portway: fields
                .object("Portway")?
                .map(Abilities::decode)
                .transpose()?,
        })
    }

    fn encode(&self) -> Value {
        let mut extra = json!({
            "OS": self.os,
            "Arch": self.arch,
            "AuthToken": self.authtoken.expose(),
            "Version": self.version,
            "Hostname": self.hostname,
            "UserAgent": self.user_agent,
            "Metadata": self.metadata,
            "Cookie": self.cookie,
            "HeartbeatInterval": self.heartbeat_interval,
            "HeartbeatTolerance": self.heartbeat_tolerance,
            "UpdateUnsupportedError": self.update_unsupported,
            "StopUnsupportedError": self.stop_unsupported,
            "RestartUnsupportedError": self.restart_unsupported,
            "ProxyType": self.proxy_type,
            "MutualTLS": self.mutual_tls,
            "ServiceRun": self.service_run,
            "ConfigVersion": self.config_version,
            "CustomInterface": self.custom_interface,
            "CustomCAs": self.custom_cas,
            "ClientType": self.client_type,
            "LegNumber": self.leg_number,
        });
        if let (Some(abilities), Some(extra)) = (self.portway, extra.as_object_mut()) {
            extra.insert("Portway".to_owned(), abilities.encode());
        }
        extra
    }

    pub fn peer_kind(&self) -> PeerKind {
        let named = |name| self.user_agent.contains(name);
        if self.portway.is_some() && named("portway/") {
            PeerKind::Portway
        } else if named("ngrok-rust/") {
            PeerKind::RustSdk
        } else if named("ngrok-go/") {
            PeerKind::GoSdk
        } else {
            PeerKind::Other
        }
    }
}

impl Abilities {
    fn decode(fields: Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            shared_streams: fields.flag("SharedStreams")?,
        })
    }

    fn encode(self) -> Value {
        json!({"SharedStreams": self.shared_streams})
    }
}

/// The edge's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthResponse {
    pub client_id: String,
    /// Empty on success.
    pub error: String,
    /// The protocol version that was chosen; empty: [`VERSION`].
    pub protocol: String,
    /// Version of the edge, for display.
    pub version: String,
    pub region: String,
    pub cookie: String,
    pub account_name: String,
    pub plan_name: String,
    pub banner: String,
    pub session_id: String,
    /// Where an agent may connect that wants more than one connection; nothing: only where it has.
    pub connect_addresses: Vec<ConnectAddress>,
    /// This agent will not be served for ever.
    pub deprecation: Option<Deprecation>,
    pub portway: Option<Abilities>,
}

/// An address for one leg of a session (§4.9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectAddress {
    pub region: String,
    /// `host:port`.
    pub address: String,
}

/// What an edge tells an agent that is too old for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deprecation {
    /// The oldest version that will be served.
    pub next_min: String,
    /// From this day on, RFC 3339.
    pub next_date: String,
    pub message: String,
}

// === impl ConnectAddress ===

impl ConnectAddress {
    fn decode(fields: Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            region: fields.text("Region")?,
            address: fields.text("ServerAddr")?,
        })
    }

    fn encode(&self) -> Value {
        json!({"Region": self.region, "ServerAddr": self.address})
    }
}

// === impl Deprecation ===

impl Deprecation {
    fn decode(fields: Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            next_min: fields.text("NextMin")?,
            next_date: fields.text("NextDate")?,
            message: fields.text("Msg")?,
        })
    }

    fn encode(&self) -> Value {
        json!({"NextMin": self.next_min, "NextDate": self.next_date, "Msg": self.message})
    }
}

// === impl AuthResponse ===

impl AuthResponse {
    pub fn refused(refusal: &Refusal) -> Self {
        Self {
            error: refusal.to_string(),
            ..Self::default()
        }
    }

    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn decode(message: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(message)?;
        let empty = Map::new();
        let extra = fields.object("Extra")?.unwrap_or(Fields::of_map(&empty));
        Ok(Self {
            client_id: fields.text("ClientId")?,
            error: fields.text("Error")?,
            protocol: fields.text("Version")?,
            version: extra.text("Version")?,
            region: extra.text("Region")?,
            cookie: extra.text("Cookie")?,
            account_name: extra.text("AccountName")?,
            plan_name: extra.text("PlanName")?,
            banner: extra.text("Banner")?,
            session_id: extra.text("AgentSessionID")?,
            connect_addresses: extra
                .objects("ConnectAddresses")?
                .into_iter()
                .map(ConnectAddress::decode)
                .collect::<Result<_, _>>()?,
            deprecation: extra
                .object("DeprecationWarning")?
                .map(Deprecation::decode)
                .transpose()?,
            portway: extra
                .object("Portway")?
                .map(Abilities::decode)
                .transpose()?,
        })
    }

    /// The message. `Extra` is always an object: some agents refuse null.
    pub fn encode(&self) -> Value {
        let mut extra = json!({
            "Version": self.version,
            "Region": self.region,
            "Cookie": self.cookie,
            "AccountName": self.account_name,
            "PlanName": self.plan_name,
            "Banner": self.banner,
            "SessionDuration": 0,
            "DeprecationWarning": self.deprecation.as_ref().map(Deprecation::encode),
            "AgentSessionID": self.session_id,
        });
        if let (false, Some(extra)) = (self.connect_addresses.is_empty(), extra.as_object_mut()) {
            let addresses = self.connect_addresses.iter().map(ConnectAddress::encode);
            extra.insert("ConnectAddresses".to_owned(), addresses.collect());
        }
        if let (Some(abilities), Some(extra)) = (self.portway, extra.as_object_mut()) {
            extra.insert("Portway".to_owned(), abilities.encode());
        }
        let protocol = match self.protocol.as_str() {
            "" => VERSION,
            protocol => protocol,
        };
        json!({"Version": protocol, "ClientId": self.client_id, "Error": self.error, "Extra": extra})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn r64_both_spellings_of_the_token_and_unknown_keys_are_read() {
        for key in ["AuthToken", "Authtoken", "authtoken"] {
            let message = json!({"Version": ["3", "2"], "ClientId": "", "New": [1], "Extra": {key: "tok", "Fingerprint": null}});
            let request = AuthRequest::decode(&message).unwrap();
            assert_eq!(request.extra.authtoken.expose(), "tok", "{key}");
        }
        assert_eq!(
            AuthRequest::decode(&json!({})).unwrap(),
            AuthRequest::default()
        );
    }

    #[test]
    fn r65_the_answer_has_what_strict_agents_require() {
        let answer = AuthResponse {
            client_id: "c".into(),
            ..AuthResponse::default()
        }
        .encode();
        assert!(answer["Version"].is_string() && answer["ClientId"].is_string());
        assert!(answer["Extra"].is_object());
        for absent in ["AgentMetrics", "ConnectAddresses", "Portway"] {
            assert!(answer["Extra"].get(absent).is_none(), "{absent}");
        }
        let refused = AuthResponse::refused(&Refusal::new(Code(107), "no such token")).encode();
        assert!(refused["Version"].is_string() && refused["Extra"].is_object());
    }

    #[test]
    fn r68_capabilities_are_told_apart() {
        let message = json!({"Extra": {"StopUnsupportedError": "", "RestartUnsupportedError": "why", "UpdateUnsupportedError": null,
            "HeartbeatInterval": 10_000_000_000i64}});
        let extra = AuthRequest::decode(&message).unwrap().extra;
        assert_eq!(extra.stop_unsupported.as_deref(), Some(""));
        assert_eq!(extra.restart_unsupported.as_deref(), Some("why"));
        assert_eq!(
            (extra.update_unsupported, extra.heartbeat_interval),
            (None, 10_000_000_000)
        );
    }

    #[test]
    fn wrong_types_name_the_key() {
        let error = AuthRequest::decode(&json!({"Extra": {"OS": 1}})).unwrap_err();
        assert_eq!(error.to_string(), "OS: expected a string");
    }

    #[test]
    fn messages_come_back_as_they_were_sent() {
        let extra = AuthExtra {
            authtoken: Secret::new("t"),
            user_agent: "portway/0.1.0".into(),
            leg_number: 1,
            portway: Some(Abilities {
                shared_streams: true,
            }),
            ..AuthExtra::default()
        };
        let request = AuthRequest {
            version: vec!["3".into()],
            client_id: "c".into(),
            extra,
        };
        assert_eq!(AuthRequest::decode(&request.encode()).unwrap(), request);
        let response = AuthResponse {
            protocol: VERSION.into(),
            cookie: "k".into(),
            banner: "b".into(),
            connect_addresses: vec![ConnectAddress {
                region: "r".into(),
                address: "h:1".into(),
            }],
            deprecation: Some(Deprecation {
                next_min: "2.0.0".into(),
                next_date: "2030-01-01T00:00:00Z".into(),
                message: "m".into(),
            }),
            ..AuthResponse::default()
        };
        assert_eq!(AuthResponse::decode(&response.encode()).unwrap(), response);
        assert_eq!(request.extra.peer_kind(), PeerKind::Portway);
    }

    #[test]
    fn implementations_are_known_by_their_user_agent() {
        let kind = |agent: &str| {
            AuthExtra {
                user_agent: agent.into(),
                ..AuthExtra::default()
            }
            .peer_kind()
        };
        assert_eq!(
            kind("ngrok-python/1.7.0 ngrok-rust/0.18.0"),
            PeerKind::RustSdk
        );
        assert_eq!(kind("ngrok-go/2.1.1"), PeerKind::GoSdk);
        assert_eq!(kind("portway/9"), PeerKind::Other);
    }
}
