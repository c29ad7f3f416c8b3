//! What the local interface tells of endpoints and the session (agent-api §5.1–5.3, §5.5). Keys
//! are interface: clients read them by name.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::guard::host_of;
use super::{mask, names};
use crate::board::Board;
use crate::console::Status;
use crate::endpoint::{Bound, Endpoint};
use crate::metrics::{Figures, Metrics};

/// The release of the agent whose interface this is like; programs compare it.
const COMPATIBLE: &str = "3.39.0";

pub(super) fn tunnel(endpoint: &Endpoint, bound: &Bound) -> Value {
    let url = public_url(endpoint, bound);
    let mut object = json!({
        "name": endpoint.plan.name,
        "ID": bound.id,
        "uri": names::uri("/api/tunnels/", &endpoint.plan.name),
        "public_url": url,
        "proto": scheme(url),
        "config": config(endpoint),
        "metrics": metrics(endpoint),
    });
    if !endpoint.plan.labels.is_empty() {
        object["labels"] = labels(endpoint);
    }
    object
}

/// Who is found by labels has no URL of its own.
fn public_url<'a>(endpoint: &Endpoint, bound: &'a Bound) -> &'a str {
    if endpoint.plan.labels.is_empty() {
        &bound.url
    } else {
        ""
    }
}

fn labels(endpoint: &Endpoint) -> Value {
    let pairs = endpoint.plan.labels.iter();
    pairs.map(|(key, value)| format!("{key}={value}")).collect()
}

fn config(endpoint: &Endpoint) -> Value {
    json!({
        "addr": endpoint.plan.shown_upstream(),
        "inspect": endpoint.inspects(),
    })
}

pub(super) fn endpoint(endpoint: &Endpoint, bound: &Bound) -> Value {
    let plan = &endpoint.plan;
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| {
        object.insert(key.into(), value);
    };
    set("id", bound.id.as_str().into());
    set("name", plan.name.as_str().into());
    set("uri", names::uri("/api/endpoints/", &plan.name).into());
    let url = public_url(endpoint, bound);
    set("url", url.into());
    set("public_url", url.into());
    set("proto", scheme(url).into());
    if !plan.labels.is_empty() {
        set("labels", labels(endpoint));
    }
    set("upstream", upstream(endpoint));
    // Of tunnels, but libraries look for it here too.
    set("config", config(endpoint));
    set("inspect", endpoint.inspects().into());
    set("bindings", json!(bindings(endpoint, bound)));
    set("pooling_enabled", plan.pooling_enabled.into());
    for (key, text) in [
        ("description", &plan.description),
        ("metadata", &plan.metadata),
    ] {
        if !text.is_empty() {
            set(key, text.as_str().into());
        }
    }
    if !plan.traffic_policy.is_empty() {
        set(
            "traffic_policy",
            mask::policy_text(&plan.traffic_policy).into(),
        );
    }
    set("metrics", metrics(endpoint));
    Value::Object(object)
}

fn upstream(endpoint: &Endpoint) -> Value {
    let plan = &endpoint.plan;
    let mut object = Map::new();
    object.insert("url".into(), plan.shown_upstream().into());
    if endpoint.is_http() {
        let protocol = if endpoint.is_http2() {
            "http2"
        } else {
            "http1"
        };
        object.insert("protocol".into(), protocol.into());
    }
    if plan.proxy_protocol != 0 {
        object.insert(
            "proxy_protocol".into(),
            plan.proxy_protocol.to_string().into(),
        );
    }
    Value::Object(object)
}

fn bindings(endpoint: &Endpoint, bound: &Bound) -> Vec<String> {
    if !endpoint.plan.bindings.is_empty() {
        return endpoint.plan.bindings.clone();
    }
    let host = host_of(&bound.url);
    let binding = if host.ends_with(".internal") {
        "internal"
    } else {
        "public"
    };
    vec![binding.to_owned()]
}

fn metrics(endpoint: &Endpoint) -> Value {
    let Metrics {
        connections,
        requests,
    } = &*endpoint.metrics;
    let connections = connections.figures();
    let mut conns = block(&connections);
    conns.insert("gauge".into(), connections.open.into());
    json!({"conns": conns, "http": block(&requests.figures())})
}

fn block(figures: &Figures) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("count".into(), figures.count.into());
    for (key, rate) in ["rate1", "rate5", "rate15"].into_iter().zip(figures.rates) {
        object.insert(key.into(), rate.into());
    }
    let percentiles = ["p50", "p90", "p95", "p99"].into_iter();
    for (key, nanos) in percentiles.zip(figures.percentiles) {
        object.insert(key.into(), nanos.into());
    }
    object
}

pub(super) fn status(board: &Board) -> Value {
    let told = board.session();
    let status = match told.status {
        Status::Connecting | Status::Failing(_) => "connecting",
        Status::Online => "online",
        Status::Reconnecting(_) => "reconnecting",
    };
    let legs: Vec<_> = told
        .legs
        .iter()
        .map(|leg| {
            let latency = leg.latency.map(latency).unwrap_or_default();
            json!({"region": leg.region, "latency": latency})
        })
        .collect();
    json!({
        "status": status,
        "agent_version": COMPATIBLE,
        "portway_version": env!("CARGO_PKG_VERSION"),
        "session": {"legs": legs},
        "uri": "/api/status",
    })
}

fn latency(latency: Duration) -> String {
    match latency.as_millis() {
        0 => format!("{}µs", latency.as_micros()),
        millis => format!("{millis}ms"),
    }
}

fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}
