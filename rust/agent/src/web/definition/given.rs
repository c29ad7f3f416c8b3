//! Options of a definition as they were given, in the words of a tunnel definition.

use serde_json::{Map, Value};

/// Options in the words of a tunnel definition, their types checked.
#[derive(Debug, Default)]
pub(super) struct Given(pub(super) Map<String, Value>);

// === impl Given ===

impl Given {
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let value = match self.0.get(key)? {
            // A list of one.
            Value::Array(items) => items.first()?,
            value => value,
        };
        value.as_str().map(str::to_owned)
    }

    /// The text of an option that says nothing when it is empty.
    pub(super) fn said(&self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let items = self.0.get(key).and_then(Value::as_array);
        let texts = items.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    pub(super) fn map(&self, key: &str) -> Self {
        let object = self.0.get(key).and_then(Value::as_object);
        Self(object.cloned().unwrap_or_default())
    }

    /// The first of these that says something.
    pub(super) fn either(&self, keys: [&str; 2]) -> Option<String> {
        keys.iter().find_map(|key| self.said(key))
    }

    /// Gives options their newer names.
    pub(super) fn rename(&mut self) {
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
    pub(super) fn flatten(&mut self) -> Result<(), String> {
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
}
