//! Binding endpoints and letting go of them (wire-protocol §4.4–§4.7).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Refusal;
use crate::fields::{Fields, Malformed};
use crate::opts::Opts;

/// An endpoint an agent wants to have served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindRequest {
    /// Empty, or the id to restore.
    pub id: String,
    /// `http`, `https`, `tcp` or `tls`.
    pub proto: String,
    pub opts: Opts,
    pub extra: BindExtra,
    /// The upstream, for display.
    pub forwards_to: String,
    /// Empty, `http1` or `http2`.
    pub forwards_proto: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindExtra {
    pub name: String,
    /// Empty, or the token of the answer to the bind that is restored.
    pub token: String,
    pub ip_policy_ref: String,
    pub metadata: String,
    pub description: String,
    pub bindings: Vec<String>,
    pub pooling_enabled: bool,
}

// === impl BindRequest ===

impl BindRequest {
    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn decode(message: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(message)?;
        let extra = fields.object("Extra")?.map(BindExtra::decode).transpose()?;
        Ok(Self {
            id: fields.text("Id")?,
            proto: fields.text("Proto")?,
            opts: fields
                .object("Opts")?
                .map(|opts| Opts::new(opts.map().clone()))
                .unwrap_or_default(),
            extra: extra.unwrap_or_default(),
            forwards_to: fields.text("ForwardsTo")?,
            forwards_proto: fields.text("ForwardsProto")?,
        })
    }

    pub fn encode(&self) -> Value {
        json!({
            "Id": self.id,
            "Proto": self.proto,
            "ForwardsTo": self.forwards_to,
            "ForwardsProto": self.forwards_proto,
            "Opts": self.opts.as_map(),
            "Extra": self.extra.encode(),
        })
    }
}

impl BindExtra {
    fn decode(fields: Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            name: fields.text("Name")?,
            token: fields.text("Token")?,
            ip_policy_ref: fields.text("IPPolicyRef")?,
            metadata: fields.text("Metadata")?,
            description: fields.text("Description")?,
            bindings: fields.texts("Bindings")?,
            pooling_enabled: fields.flag("PoolingEnabled")?,
        })
    }

    fn encode(&self) -> Value {
        json!({
            "Name": self.name,
            "Token": self.token,
            "IPPolicyRef": self.ip_policy_ref,
            "Metadata": self.metadata,
            "Description": self.description,
            "Bindings": self.bindings,
            "PoolingEnabled": self.pooling_enabled,
        })
    }
}

/// What was bound, or why not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindResponse {
    pub id: String,
    pub url: String,
    pub proto: String,
    /// Complete: an agent binds again with these (§4.8).
    pub opts: Opts,
    pub token: String,
    /// Resource id, the key of [`PatchRequest`].
    pub tunnel_id: String,
    /// Empty on success.
    pub error: String,
}

// === impl BindResponse ===

impl BindResponse {
    pub fn refused(request: &BindRequest, refusal: &Refusal) -> Self {
        Self {
            id: request.id.clone(),
            proto: request.proto.clone(),
            error: refusal.to_string(),
            ..Self::default()
        }
    }

    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn decode(message: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(message)?;
        let extra = fields.object("Extra")?;
        let text = |key| {
            extra
                .map(|extra| extra.text(key))
                .transpose()
                .map(Option::unwrap_or_default)
        };
        Ok(Self {
            id: fields.text("Id")?,
            url: fields.text("URL")?,
            proto: fields.text("Proto")?,
            opts: fields
                .object("Opts")?
                .map(|opts| Opts::new(opts.map().clone()))
                .unwrap_or_default(),
            token: text("Token")?,
            tunnel_id: text("TunnelID")?,
            error: fields.text("Error")?,
        })
    }

    pub fn encode(&self) -> Value {
        json!({
            "Id": self.id,
            "URL": self.url,
            "Proto": self.proto,
            "Opts": self.opts.as_map(),
            "Extra": {"Token": self.token, "TunnelID": self.tunnel_id},
            "Error": self.error,
        })
    }
}

/// Reads the id of an Unbind.
///
/// # Errors
/// [`Malformed`] where it is no string.
pub fn decode_unbind(message: &Value) -> Result<String, Malformed> {
    Fields::of(message)?.text("Id")
}

pub fn encode_unbind(id: &str) -> Value {
    json!({"Id": id, "Extra": null})
}

/// The answer to Unbind, and the form of every answer that has nothing but an error.
pub fn plain_answer(error: &str) -> Value {
    json!({"Error": error, "Extra": null})
}

/// The `Error` of any answer; empty on success.
///
/// # Errors
/// [`Malformed`] where it is no string.
pub fn error_of(message: &Value) -> Result<String, Malformed> {
    Fields::of(message)?.text("Error")
}

/// A bind by labels (§4.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabeledRequest {
    pub labels: BTreeMap<String, String>,
    pub forwards_to: String,
    pub forwards_proto: String,
    pub metadata: String,
}

// === impl LabeledRequest ===

impl LabeledRequest {
    pub fn encode(&self) -> Value {
        json!({
            "Labels": self.labels,
            "ForwardsTo": self.forwards_to,
            "ForwardsProto": self.forwards_proto,
            "Metadata": self.metadata,
        })
    }

    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn decode(message: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(message)?;
        let mut labels = BTreeMap::new();
        if let Some(given) = fields.object("Labels")? {
            for key in given.map().keys() {
                labels.insert(key.clone(), given.text(key)?);
            }
        }
        Ok(Self {
            labels,
            forwards_to: fields.text("ForwardsTo")?,
            forwards_proto: fields.text("ForwardsProto")?,
            metadata: fields.text("Metadata")?,
        })
    }
}

/// The `Id` of the answer to a bind by labels; no other key has a meaning there.
///
/// # Errors
/// [`Malformed`] where it is no string.
pub fn labeled_id(message: &Value) -> Result<String, Malformed> {
    Fields::of(message)?.text("Id")
}

pub fn labeled_answer(id: &str, error: &str) -> Value {
    json!({"Id": id, "Error": error})
}

pub fn srv_info_answer(region: &str) -> Value {
    json!({"Region": region})
}

/// A change to one endpoint; what is absent stays (§4.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchRequest {
    pub tunnel_id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<String>,
    pub pooling_enabled: Option<bool>,
    pub traffic_policy: Option<String>,
}

// === impl PatchRequest ===

impl PatchRequest {
    /// # Errors
    /// [`Malformed`] where a key has the wrong type.
    pub fn decode(message: &Value) -> Result<Self, Malformed> {
        let fields = Fields::of(message)?;
        Ok(Self {
            tunnel_id: fields.text("TunnelId")?,
            name: fields.maybe_text("Name")?,
            description: fields.maybe_text("Description")?,
            metadata: fields.maybe_text("Metadata")?,
            pooling_enabled: fields.maybe_flag("PoolingEnabled")?,
            traffic_policy: fields.maybe_text("TrafficPolicy")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn r73_bindings_and_pooling_may_be_absent() {
        for extra in [
            json!({}),
            json!({"Bindings": null}),
            json!({"Bindings": []}),
        ] {
            let request = BindRequest::decode(&json!({"Proto": "http", "Extra": extra})).unwrap();
            assert!(request.extra.bindings.is_empty() && !request.extra.pooling_enabled);
        }
        let request = BindRequest::decode(&json!({"Extra": {"Bindings": ["internal"]}})).unwrap();
        assert_eq!(request.extra.bindings, ["internal"]);
    }

    #[test]
    fn r78_labels_come_by_name() {
        let request =
            LabeledRequest::decode(&json!({"Labels": {"app": "x"}, "Metadata": "m"})).unwrap();
        assert_eq!(request.labels["app"], "x");
        assert_eq!(LabeledRequest::decode(&request.encode()), Ok(request));
        assert_eq!(labeled_answer("i", ""), json!({"Id": "i", "Error": ""}));
    }

    #[test]
    fn r80_absent_and_empty_are_two_things() {
        let patch = PatchRequest::decode(&json!({"TunnelId": "t", "Metadata": ""})).unwrap();
        assert_eq!((patch.metadata.as_deref(), patch.name), (Some(""), None));
    }

    #[test]
    fn messages_come_back_as_they_were_sent() {
        let request = BindRequest {
            id: "i".into(),
            proto: "https".into(),
            extra: BindExtra {
                token: "t".into(),
                pooling_enabled: true,
                ..BindExtra::default()
            },
            ..BindRequest::default()
        };
        assert_eq!(BindRequest::decode(&request.encode()).unwrap(), request);
        let response = BindResponse {
            url: "https://a".into(),
            token: "t".into(),
            ..BindResponse::default()
        };
        assert_eq!(BindResponse::decode(&response.encode()).unwrap(), response);
        let refused = BindResponse::refused(&request, &Refusal::new(Code(334), "taken"));
        assert!(
            refused.encode()["Error"]
                .as_str()
                .unwrap()
                .ends_with("\r\n\r\nERR_NGROK_334\r\n")
        );
    }
}
