//! Requests of the official SDKs, as `tests/compat/test_golden.py` has recorded them just before,
//! one JSON file each. Without its folder there is nothing to read here.
//!
//! The lists are those of wire-protocol §4.3–§4.6: a key that an SDK sends and nobody has thought
//! about is an error, be it set or not.

#![allow(clippy::unwrap_used)] // helpers of tests unwrap as tests do

use std::fs;
use std::path::Path;

use portway_wire::auth::{AuthRequest, PeerKind};
use portway_wire::bind::{BindRequest, LabeledRequest, decode_unbind};
use portway_wire::{EndpointUrl, Opts, Scheme, stream_type};
use serde_json::{Map, Value};

/// Names the folder.
const FOLDER: &str = "PORTWAY_CAPTURES";

/// Never filled by anybody; its meaning is not known (wire-protocol §10).
const PASSED_OVER: [&str; 1] = ["Fingerprint"];
/// Where the assigned name stands in an answer.
const NAMES: [&str; 5] = ["URL", "Domain", "Hostname", "Subdomain", "Addr"];

/// The options that are objects, and all their members.
const MIDDLEWARE: [(&str, &[&str]); 14] = [
    ("Compression", &[]),
    ("CircuitBreaker", &["error_threshold"]),
    ("IPRestriction", &["allow_cidrs", "deny_cidrs"]),
    ("BasicAuth", &["credentials"]),
    (
        "OAuth",
        &[
            "provider",
            "client_id",
            "client_secret",
            "sealed_client_secret",
            "allow_emails",
            "allow_domains",
            "scopes",
        ],
    ),
    (
        "OIDC",
        &[
            "issuer_url",
            "client_id",
            "client_secret",
            "sealed_client_secret",
            "allow_emails",
            "allow_domains",
            "scopes",
        ],
    ),
    (
        "WebhookVerification",
        &["provider", "secret", "sealed_secret"],
    ),
    ("MutualTLSCA", &["mutual_tls_ca"]),
    ("MutualTLSAtEdge", &["mutual_tls_ca"]),
    ("RequestHeaders", &["add", "remove", "addParsed"]),
    ("ResponseHeaders", &["add", "remove", "addParsed"]),
    ("WebsocketTCPConverter", &[]),
    ("UserAgentFilter", &["allow", "deny"]),
    ("TLSTermination", &["cert", "key", "sealed_key"]),
];
const CREDENTIAL: [&str; 3] = ["username", "cleartext_password", "hashed_password"];
const PLAIN: [&str; 12] = [
    "URL",
    "Domain",
    "Hostname",
    "Subdomain",
    "Addr",
    "Auth",
    "HostHeaderRewrite",
    "LocalURLScheme",
    "ProxyProto",
    "MutualTLSAtAgent",
    "Policy",
    "TrafficPolicy",
];

#[test]
fn everything_the_sdks_send_is_understood() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let capture: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let message = &capture["message"];
        let kind = u32::try_from(capture["type"].as_u64().unwrap()).unwrap();
        match kind {
            stream_type::AUTH => auth(&path, message),
            stream_type::BIND => bind(&path, message),
            stream_type::BIND_LABELED => labeled(&path, message),
            stream_type::UNBIND => {
                known(&path, "", message, &["Id", "Extra"]);
                assert_eq!(
                    decode_unbind(message).unwrap(),
                    message["Id"].as_str().unwrap()
                );
            }
            other => panic!("{}: a message of type {other}", path.display()),
        }
        count += 1;
    }
    assert!(count > 0, "nothing was recorded");
}

fn auth(path: &Path, message: &Value) {
    let request = AuthRequest::decode(message).unwrap();
    same(path, message, &request.encode());
    assert!(!request.extra.authtoken.is_empty(), "{}", path.display());
    let rust = request.extra.user_agent.contains("ngrok-rust/");
    let kind = if rust {
        PeerKind::RustSdk
    } else {
        PeerKind::GoSdk
    };
    assert_eq!(request.extra.peer_kind(), kind, "{}", path.display());
}

fn bind(path: &Path, message: &Value) {
    let request = BindRequest::decode(message).unwrap();
    same(path, message, &request.encode());
    let scheme = Scheme::parse(&request.proto).unwrap();
    let given = request.opts.as_map();
    options(path, given);
    assert_eq!(request.opts.unread(scheme), None, "{}", path.display());
    for (key, read) in read(&request.opts, scheme) {
        let asked = value(given, key).is_some_and(asks);
        assert_eq!(asked, read, "{}: {key}", path.display());
    }
    echo(path, &request.opts, scheme);
}

fn labeled(path: &Path, message: &Value) {
    let keys = ["Labels", "ForwardsTo", "ForwardsProto", "Metadata"];
    known(path, "", message, &keys);
    let request = LabeledRequest::decode(message).unwrap();
    let labels = message["Labels"].as_object().unwrap();
    assert!(!labels.is_empty());
    for (label, value) in labels {
        assert_eq!(request.labels[label], value.as_str().unwrap());
    }
    assert_eq!(request.forwards_to, message["ForwardsTo"].as_str().unwrap());
    assert_eq!(request.metadata, message["Metadata"].as_str().unwrap());
}

/// Whether each option has come out of the decoder.
fn read(opts: &Opts, scheme: Scheme) -> Vec<(&'static str, bool)> {
    let common = |common: &portway_wire::opts::CommonOptions| {
        let restriction = common.ip_restriction.as_ref();
        vec![
            ("ProxyProto", common.proxy_proto != 0),
            ("TrafficPolicy", !common.traffic_policy.is_empty()),
            ("Policy", common.has_legacy_policy),
            (
                "IPRestriction",
                restriction.is_some_and(|them| !them.allow_cidrs.is_empty()),
            ),
        ]
    };
    match scheme {
        Scheme::Http | Scheme::Https => {
            let http = opts.http().unwrap();
            let filter = http.user_agent_filter.as_ref();
            let webhook = http.webhook.as_ref();
            let changed = |change: &portway_wire::opts::HeaderChange| {
                !change.add.is_empty() || !change.remove.is_empty()
            };
            let mut read = common(&http.common);
            read.extend([
                ("Compression", http.compression),
                ("CircuitBreaker", http.circuit_breaker.is_some()),
                ("BasicAuth", !http.basic_auth.is_empty()),
                ("OAuth", http.has_oauth),
                ("OIDC", http.has_oidc),
                (
                    "WebhookVerification",
                    webhook.is_some_and(|it| !it.secret.is_empty()),
                ),
                (
                    "MutualTLSCA",
                    http.mutual_tls_ca.is_some_and(|pem| !pem.is_empty()),
                ),
                ("RequestHeaders", changed(&http.request_headers)),
                ("ResponseHeaders", changed(&http.response_headers)),
                ("HostHeaderRewrite", http.host_header_rewrite),
                ("WebsocketTCPConverter", http.websocket_tcp),
                (
                    "UserAgentFilter",
                    filter.is_some_and(|it| !it.allow.is_empty()),
                ),
            ]);
            read
        }
        Scheme::Tcp => common(&opts.tcp().unwrap()),
        Scheme::Tls => {
            let tls = opts.tls().unwrap();
            let mut read = common(&tls.common);
            read.extend([
                ("TLSTermination", tls.termination.is_some()),
                (
                    "MutualTLSAtEdge",
                    tls.mutual_tls_ca.is_some_and(|pem| !pem.is_empty()),
                ),
                ("MutualTLSAtAgent", tls.mutual_tls_at_agent),
            ]);
            read
        }
    }
}

/// The answer repeats every option as it came, but for the name, which can be asked for again.
fn echo(path: &Path, opts: &Opts, scheme: Scheme) {
    let url = match scheme {
        Scheme::Tcp => "tcp://given.example:4711".to_owned(),
        other => format!("{other}://given.example"),
    };
    let url = EndpointUrl::parse(&url).unwrap();
    let echo = opts.echo(&url);
    for (key, given) in opts.as_map() {
        let repeated = echo.as_map().get(key);
        if NAMES.contains(&key.as_str()) {
            assert!(
                repeated.is_some_and(Value::is_string),
                "{}: {key}",
                path.display()
            );
        } else {
            assert_eq!(repeated, Some(given), "{}: {key}", path.display());
        }
    }
    let (name, _) = echo.wanted_name().unwrap();
    assert!(name.contains("given.example"), "{}: {name}", path.display());
}

/// What was decoded says the same as what came, and nothing in it is unknown.
fn same(path: &Path, came: &Value, decoded: &Value) {
    let (came, decoded) = (came.as_object().unwrap(), decoded.as_object().unwrap());
    for (key, given) in came {
        if PASSED_OVER.contains(&key.as_str()) {
            assert!(given.is_null(), "{}: somebody fills {key}", path.display());
            continue;
        }
        let Some(read) = value(decoded, key) else {
            panic!("{}: nobody knows {key} = {given}", path.display());
        };
        match (given, read) {
            (Value::Object(_), Value::Object(_)) if key != "Opts" => same(path, given, read),
            // Absent and null are one.
            (Value::Null, read) => assert!(!asks(read), "{}: {key}", path.display()),
            (given, read) => assert_eq!(given, read, "{}: {key}", path.display()),
        }
    }
}

fn options(path: &Path, opts: &Map<String, Value>) {
    for (key, given) in opts {
        let is = |known: &str| known.eq_ignore_ascii_case(key);
        if PLAIN.iter().any(|plain| is(plain)) {
            continue;
        }
        let Some((_, members)) = MIDDLEWARE.iter().find(|(name, _)| is(name)) else {
            panic!(
                "{}: nobody knows the option {key} = {given}",
                path.display()
            );
        };
        if given.is_null() {
            continue;
        }
        known(path, key, given, members);
        if is("BasicAuth") {
            for credential in given["credentials"].as_array().unwrap() {
                known(path, key, credential, &CREDENTIAL);
            }
        }
    }
}

fn known(path: &Path, of: &str, object: &Value, keys: &[&str]) {
    for (key, given) in object.as_object().unwrap() {
        assert!(
            keys.contains(&key.as_str()),
            "{}: nobody knows {of}.{key} = {given}",
            path.display()
        );
    }
}

fn value<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let mut members = object.iter();
    members
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value)
}

/// Whether a value is more than the absence of one.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}
