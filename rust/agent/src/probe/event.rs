//! What one step met.

use std::time::Duration;

use serde::Serialize;
use x509_parser::prelude::{FromDer, X509Certificate};

/// One step, as a line of JSON has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Event {
    /// `proxy`, `internet`, `edge ADDRESS` or `ipv6 ADDRESS`.
    pub section: String,
    /// `resolve`, `tcp`, `tls`, `protocol`, `auth` or `clock`.
    pub name: &'static str,
    pub host: String,
    pub addr: String,
    pub resolver: &'static str,
    pub ok: bool,
    pub ms: f64,
    pub err: String,
    /// Of the error; 0 for none.
    pub code: u16,
    /// What a resolver answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addrs: Vec<String>,
    /// The chain that the other side showed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cert: Vec<Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Seconds that the clock of this machine is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead_s: Option<i64>,
}

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    pub not_before: String,
    pub not_after: String,
    /// SHA-256, hex.
    pub fingerprint: String,
}

// === impl Event ===

impl Event {
    pub(crate) fn new(section: &str, name: &'static str, host: &str) -> Self {
        Self {
            section: section.to_owned(),
            name,
            host: host.to_owned(),
            ..Self::default()
        }
    }

    /// How it ended: `code` for the case that it failed.
    pub(crate) fn ended<T, E: std::fmt::Display>(
        mut self,
        took: Duration,
        result: &Result<T, E>,
        code: u16,
    ) -> Self {
        self.ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        match result {
            Ok(_) => self.ok = true,
            Err(error) => {
                self.err = crate::without_number(&error.to_string());
                self.code = code;
            }
        }
        self
    }
}

// === impl Certificate ===

impl Certificate {
    pub(crate) fn read(der: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        let fingerprint = digest
            .as_ref()
            .iter()
            .fold(String::new(), |mut text, byte| {
                use std::fmt::Write;
                let _ = write!(text, "{byte:02x}");
                text
            });
        let Ok((_, found)) = X509Certificate::from_der(der) else {
            return Self {
                fingerprint,
                ..Self::default()
            };
        };
        let time = |time: x509_parser::time::ASN1Time| {
            jiff::Timestamp::from_second(time.timestamp())
                .map(|stamp| stamp.to_string())
                .unwrap_or_default()
        };
        Self {
            subject: found.subject().to_string(),
            issuer: found.issuer().to_string(),
            not_before: time(found.validity().not_before),
            not_after: time(found.validity().not_after),
            fingerprint,
        }
    }
}
