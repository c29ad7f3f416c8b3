//! Options that need or exclude each other, or make no sense with a protocol.

use super::given::Given;

/// An endpoint has one policy, however it is given.
const POLICIES: [&str; 5] = [
    "traffic_policy",
    "traffic_policy_file",
    "traffic_policy_url",
    "policy",
    "policy_file",
];
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

// === impl Given ===

impl Given {
    /// Options that need or exclude each other.
    pub(super) fn pairs(&self) -> Result<(), String> {
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
    pub(super) fn combinations(&self, proto: &str) -> Result<(), String> {
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
}
