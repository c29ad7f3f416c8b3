//! Older options of an endpoint as the wire spells them (wire-protocol §4.4). What they hold is
//! checked here, when the endpoint is started.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Given;

type Opts = Map<String, Value>;

/// The `opts` of the plan. `upstream`: its URL.
pub(super) fn opts(given: &Given, proto: &str, upstream: &str) -> Result<Opts, String> {
    let mut opts = Opts::new();
    basic_auth(given, &mut opts)?;
    addresses(given, &mut opts)?;
    simple(given, &mut opts)?;
    identity(given, &mut opts)?;
    headers(given, upstream, &mut opts)?;
    tls(given, proto, &mut opts)?;
    Ok(opts)
}

fn basic_auth(given: &Given, opts: &mut Opts) -> Result<(), String> {
    let mut credentials = Vec::new();
    for pair in given.texts("basic_auth") {
        let (user, password) = pair
            .split_once(':')
            .filter(|(user, _)| !user.is_empty())
            .ok_or("basic_auth: write user:password")?;
        if !(8..=128).contains(&password.chars().count()) {
            return Err(format!(
                "basic_auth: the password of {user:?} must have 8 to 128 characters"
            ));
        }
        if user.chars().count() > 128 {
            return Err("basic_auth: a user name has up to 128 characters".into());
        }
        credentials.push(json!({"username": user, "cleartext_password": password}));
    }
    if !credentials.is_empty() {
        opts.insert("BasicAuth".into(), json!({"credentials": credentials}));
    }
    Ok(())
}

fn addresses(given: &Given, opts: &mut Opts) -> Result<(), String> {
    let restriction = given.map("ip_restriction");
    let mut lists = Opts::new();
    for key in ["allow_cidrs", "deny_cidrs"] {
        let cidrs = restriction.texts(key);
        if let Some(wrong) = cidrs.iter().find(|cidr| !is_network(cidr)) {
            return Err(format!(
                "{wrong:?} is neither an address nor a range such as 192.0.2.0/24"
            ));
        }
        if !cidrs.is_empty() {
            lists.insert(key.into(), json!(cidrs));
        }
    }
    if !lists.is_empty() {
        opts.insert("IPRestriction".into(), lists.into());
    }
    Ok(())
}

fn is_network(text: &str) -> bool {
    let (ip, length) = text.split_once('/').unwrap_or((text, "0"));
    match (ip.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(ip), Ok(length)) => length <= if ip.is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

fn simple(given: &Given, opts: &mut Opts) -> Result<(), String> {
    for (key, name) in [
        ("compression", "Compression"),
        ("websocket_tcp_converter", "WebsocketTCPConverter"),
    ] {
        if given.flag(key, false) {
            opts.insert(name.into(), json!({}));
        }
    }
    if let Some(text) = given.text("circuit_breaker") {
        let threshold: f64 = text
            .parse()
            .map_err(|_| format!("circuit_breaker: {text:?} is no number from 0 to 1"))?;
        if !(0.0..=1.0).contains(&threshold) {
            return Err(format!("circuit_breaker: {text} is not between 0 and 1"));
        }
        opts.insert(
            "CircuitBreaker".into(),
            json!({"error_threshold": threshold}),
        );
    }
    let agents = given.map("user_agent_filter");
    let mut lists = Opts::new();
    for key in ["allow", "deny"] {
        let patterns = agents.texts(key);
        if !patterns.is_empty() {
            lists.insert(key.into(), json!(patterns));
        }
    }
    if !lists.is_empty() {
        opts.insert("UserAgentFilter".into(), lists.into());
    }
    Ok(())
}

/// Passed on as they are: an edge that cannot do it says so.
fn identity(given: &Given, opts: &mut Opts) -> Result<(), String> {
    for (key, name) in [("oauth", "OAuth"), ("oidc", "OIDC")] {
        let options = given.map(key).0;
        if !options.is_empty() {
            opts.insert(name.into(), options.into());
        }
    }
    let webhook = given.map("verify_webhook");
    if !webhook.0.is_empty() {
        let provider = webhook.text("provider").filter(|name| !name.is_empty());
        let provider = provider.ok_or("verify_webhook names no provider")?;
        let secret = webhook.text("secret").unwrap_or_default();
        opts.insert(
            "WebhookVerification".into(),
            json!({"provider": provider, "secret": secret}),
        );
    }
    Ok(())
}

fn headers(given: &Given, upstream: &str, opts: &mut Opts) -> Result<(), String> {
    let mut changes = Vec::new();
    for (key, name) in [
        ("request_header", "RequestHeaders"),
        ("response_header", "ResponseHeaders"),
    ] {
        let change = given.map(key);
        let (add, remove) = (change.texts("add"), change.texts("remove"));
        if let Some(wrong) = add.iter().find(|header| !is_header(header)) {
            // What stands behind a blank may be a secret.
            let shown = wrong.split(' ').next().unwrap_or_default();
            return Err(format!(
                "{key}.add: {shown:?} is no header: write it as name:value"
            ));
        }
        changes.push((name, add, remove));
    }
    let host = given.text("host_header").filter(|host| host != "preserve");
    if let Some(host) = host {
        let host = if host == "rewrite" {
            // A socket and a folder have no name of their own.
            let network = upstream
                .split_once("://")
                .filter(|(scheme, _)| *scheme != "file");
            network.map_or("localhost", |(_, rest)| rest).to_owned()
        } else {
            host
        };
        changes[0].1.push(format!("host:{host}"));
        opts.insert("HostHeaderRewrite".into(), true.into());
    }
    for (name, add, remove) in changes {
        if !add.is_empty() || !remove.is_empty() {
            opts.insert(name.into(), json!({"add": add, "remove": remove}));
        }
    }
    Ok(())
}

fn is_header(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
    let name = text.split_once(':').map(|(name, _)| name.trim_end());
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(token))
}

fn tls(given: &Given, proto: &str, opts: &mut Opts) -> Result<(), String> {
    let encoded = |key: &str| -> Result<Option<String>, String> {
        let read = given.said(key).map(|path| super::file(&path)).transpose()?;
        Ok(read.map(|text| STANDARD.encode(text)))
    };
    if matches!(proto, "http" | "https") {
        if let Some(cas) = encoded("mutual_tls_cas")? {
            opts.insert("MutualTLSCA".into(), json!({"mutual_tls_ca": cas}));
        }
        return Ok(());
    }
    if given.text("terminate_at").as_deref() != Some("edge") {
        return Ok(());
    }
    let pair = match (encoded("crt")?, encoded("key")?) {
        (Some(cert), Some(key)) => json!({"cert": cert, "key": key}),
        _ => json!({}),
    };
    opts.insert("TLSTermination".into(), pair);
    if let Some(cas) = encoded("mutual_tls_cas")? {
        opts.insert("MutualTLSAtEdge".into(), json!({"mutual_tls_ca": cas}));
    }
    Ok(())
}
