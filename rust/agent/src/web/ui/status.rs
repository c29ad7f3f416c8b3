//! What the status page shows: the agent, its endpoints with their figures, and what it was told to
//! do, in the words of the configuration file and without secrets.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::{Web, objects};
use crate::plan::{Cas, EdgeAddress, EndpointPlan, Plan, ProxyPlan};
use crate::web::mask::{self, MASK, masked};

impl Web {
    pub(super) fn status_page(&self) -> Value {
        let mut told = objects::status(&self.agent.board);
        let running = self.running();
        let endpoints: Vec<_> = running
            .iter()
            .map(|(endpoint, bound)| {
                let mut object = objects::endpoint(endpoint, bound);
                if let Some(object) = object.as_object_mut() {
                    // Its place is in the configuration below, without credentials.
                    object.remove("traffic_policy");
                }
                object
            })
            .collect();
        let wanted = self.agent.roster.all();
        let plans = wanted.iter().map(|endpoint| of_endpoint(&endpoint.plan));
        told["endpoints"] = endpoints.into();
        told["config"] = json!({
            "agent": of_agent(&self.agent.plan, &self.agent.edge),
            "endpoints": plans.collect::<Vec<_>>(),
        });
        told
    }
}

/// Keys with values that say something.
#[derive(Default)]
struct Shown(Map<String, Value>);

impl Shown {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let says_nothing = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(object) => object.is_empty(),
            _ => false,
        };
        if !says_nothing {
            self.0.insert(key.into(), value);
        }
    }
}

fn of_agent(plan: &Plan, edge: &EdgeAddress) -> Value {
    let mut shown = Shown::default();
    if !plan.authtoken.is_empty() {
        shown.set("authtoken", MASK);
    }
    if plan.edge.is_some() {
        shown.set("connect_url", edge.addrs.join(", "));
        shown.set("connect_cas", cas(&edge.cas));
        shown.set("proxy_url", edge.proxy.as_ref().map(proxy));
        shown.set("connect_interface", edge.interface.clone());
        let servers = edge.dns.servers.iter().map(ToString::to_string);
        shown.set("dns_resolver_ips", servers.collect::<Vec<_>>());
        shown.set("crl_url", edge.crl.as_deref().map(mask::masked_url));
    } else {
        shown.set("connect_url", "the edge inside this process");
    }
    shown.set("connect_timeout", time(plan.connect_timeout));
    shown.set("heartbeat_interval", time(plan.heartbeat_interval));
    shown.set("heartbeat_tolerance", time(plan.heartbeat_tolerance));
    shown.set("log", plan.log.target.as_str());
    shown.set("log_level", plan.log.level.as_str());
    shown.set("log_format", plan.log.format.as_str());
    shown.set("console_ui", plan.console.show);
    if let Some(web) = &plan.web {
        shown.set("web_addr", web.addr.as_str());
        shown.set("web_allow_hosts", web.allow_hosts.clone());
    }
    shown.set("inspect_db_size", plan.inspect_db_size);
    shown.set("remote_management", plan.remote_management);
    shown.set("metadata", plan.metadata.as_str());
    Value::Object(shown.0)
}

fn of_endpoint(plan: &EndpointPlan) -> Value {
    let mut upstream = Shown::default();
    upstream.set("url", mask::masked_url(plan.shown_upstream()));
    upstream.set("protocol", plan.upstream_protocol.as_str());
    if plan.proxy_protocol != 0 {
        upstream.set("proxy_protocol", plan.proxy_protocol);
    }
    if plan.tls_verify {
        upstream.set("tls_verify", true);
    }
    if plan.tls_verify_cas.is_some() {
        upstream.set("tls_verify_cas", "a file of certificates");
    }
    if !plan.listing {
        upstream.set("file_listing", false);
    }
    let mut shown = Shown::default();
    shown.set("name", plan.name.as_str());
    shown.set("description", plan.description.as_str());
    shown.set("metadata", plan.metadata.as_str());
    shown.set("url", plan.url.as_str());
    shown.set("labels", plan.shown_labels());
    shown.set("bindings", plan.bindings.clone());
    if plan.pooling_enabled {
        shown.set("pooling_enabled", true);
    }
    shown.set("inspect", plan.inspect);
    shown.set("upstream", upstream.0);
    if let Some(tls) = &plan.agent_tls {
        let clients = !tls.client_cas.is_empty();
        shown.set(
            "agent_tls_termination",
            json!({"mutual_tls": clients, "server_private_key": MASK}),
        );
    }
    if !plan.traffic_policy.is_empty() {
        shown.set("traffic_policy", mask::policy(&plan.traffic_policy));
    }
    shown.set("options", masked(&Value::Object(plan.opts.clone())));
    Value::Object(shown.0)
}

fn cas(cas: &Cas) -> String {
    match cas {
        Cas::Trusted => "trusted".into(),
        Cas::Host => "host".into(),
        Cas::File(path) => path.clone(),
        Cas::Pin(pin) => format!("pin:{pin}"),
        Cas::Pem(_) => "certificates in the configuration".into(),
    }
}

fn proxy(proxy: &ProxyPlan) -> String {
    let who = if proxy.user.is_empty() {
        String::new()
    } else {
        format!("{MASK}@")
    };
    let (kind, host) = (proxy.kind.name(), &proxy.host);
    format!(
        "{kind}://{who}{host}:{} (from {})",
        proxy.port, proxy.source
    )
}

fn time(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}
