//! The keys of a definition and what each may hold (config.md §4.3, §5.2); a JSON object is read
//! into the words of a tunnel definition.

use serde_json::{Map, Value};

/// What a key holds.
pub(super) enum Kind {
    /// Text or a number, up to so many bytes.
    Text(usize),
    Flag,
    /// A list of texts, or one alone.
    Texts,
    /// What stands before the base domain of an edge.
    Label,
    /// Any object, or a text.
    Tree,
    OneOf(&'static [&'static str]),
    Map(&'static Keys),
}

pub(super) type Keys = [(&'static str, Kind)];

use Kind::{Flag, Label, OneOf, Text, Texts, Tree};

const ANY: usize = 1 << 20;
const VERSIONS: &[&str] = &["1", "2"];
const HTTP: &[&str] = &["http1", "http2"];

/// All options of a tunnel, as files have them.
pub(super) const TUNNEL: &Keys = &[
    ("addr", Text(ANY)),
    ("proto", Text(ANY)),
    ("url", Text(ANY)),
    ("name", Text(255)),
    ("metadata", Text(4096)),
    ("description", Text(255)),
    ("inspect", Flag),
    ("pooling_enabled", Flag),
    ("bindings", Texts),
    ("traffic_policy", Tree),
    ("traffic_policy_file", Text(ANY)),
    ("traffic_policy_url", Text(ANY)),
    ("policy", Tree),
    ("policy_file", Text(ANY)),
    ("proxy_proto", OneOf(VERSIONS)),
    ("upstream_proxy_protocol", OneOf(VERSIONS)),
    ("app_protocol", OneOf(HTTP)),
    ("upstream_protocol", OneOf(HTTP)),
    ("upstream_tls_verify", Flag),
    ("upstream_tls_verify_cas", Text(ANY)),
    ("file_listing", Flag),
    ("schemes", Texts),
    ("domain", Text(ANY)),
    ("hostname", Text(ANY)),
    ("subdomain", Label),
    ("remote_addr", Text(ANY)),
    ("terminate_at", OneOf(&["edge", "agent", "upstream"])),
    ("crt", Text(ANY)),
    ("key", Text(ANY)),
    ("mutual_tls_cas", Text(ANY)),
    ("basic_auth", Texts),
    ("circuit_breaker", Text(ANY)),
    ("compression", Flag),
    ("host_header", Text(ANY)),
    (
        "ip_restriction",
        Kind::Map(&[("allow_cidrs", Texts), ("deny_cidrs", Texts)]),
    ),
    (
        "oauth",
        Kind::Map(&[
            ("provider", Text(ANY)),
            ("allow_domains", Texts),
            ("allow_emails", Texts),
            ("scopes", Texts),
            ("client_id", Text(ANY)),
            ("client_secret", Text(ANY)),
        ]),
    ),
    (
        "oidc",
        Kind::Map(&[
            ("issuer_url", Text(ANY)),
            ("client_id", Text(ANY)),
            ("client_secret", Text(ANY)),
            ("scopes", Texts),
            ("allow_domains", Texts),
            ("allow_emails", Texts),
        ]),
    ),
    ("request_header", Kind::Map(HEADERS)),
    ("response_header", Kind::Map(HEADERS)),
    (
        "user_agent_filter",
        Kind::Map(&[("allow", Texts), ("deny", Texts)]),
    ),
    (
        "verify_webhook",
        Kind::Map(&[("provider", Text(ANY)), ("secret", Text(ANY))]),
    ),
    ("websocket_tcp_converter", Flag),
    ("labels", Texts),
];

/// Names of version 1 and 2 that libraries still use.
pub(super) const OLD: &Keys = &[
    ("bind_tls", OneOf(&["true", "false", "both"])),
    ("auth", Text(ANY)),
    ("verify_upstream_tls", Flag),
    ("upstream_ca_path", Text(ANY)),
];

const HEADERS: &Keys = &[("add", Texts), ("remove", Texts)];

/// What an endpoint has besides the options of a tunnel, or otherwise. Libraries pass those of a tunnel on here too.
pub(super) const ENDPOINT: &Keys = &[
    ("url", Texts),
    (
        "upstream",
        Kind::Map(&[
            ("url", Text(ANY)),
            ("protocol", OneOf(&["http1", "http2", "https"])),
            ("proxy_protocol", OneOf(VERSIONS)),
            ("tls_verify", Flag),
            ("tls_verify_cas", Text(ANY)),
            ("file_listing", Flag),
        ]),
    ),
    (
        "agent_tls_termination",
        Kind::Map(&[
            ("server_certificate", Text(ANY)),
            ("server_private_key", Text(ANY)),
            ("mutual_tls_certificate_authorities", Texts),
            ("min_version", OneOf(&["1.2", "1.3"])),
            ("max_version", OneOf(&["1.2", "1.3"])),
        ]),
    ),
];

/// Reads an object by `keys`: text for what is text, lists for lists. Null is nothing.
///
/// # Errors
/// All that is wrong with it, a sentence each.
pub(super) fn read(
    object: Map<String, Value>,
    keys: &[&Keys],
    path: &str,
) -> Result<Map<String, Value>, Vec<String>> {
    let mut found = Map::new();
    let mut problems = Vec::new();
    for (key, value) in object {
        if value.is_null() {
            continue;
        }
        let known = keys.iter().flat_map(|keys| keys.iter());
        let Some((_, kind)) = known.clone().find(|(name, _)| *name == key) else {
            problems.push(unknown(path, &key, known.map(|(name, _)| *name)));
            continue;
        };
        let full = format!("{path}{key}");
        match convert(value, kind, &full) {
            Ok(value) => {
                found.insert(key, value);
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(problems)
    }
}

fn convert(value: Value, kind: &Kind, path: &str) -> Result<Value, Vec<String>> {
    let wrong = |expected: &str, value: &Value| {
        vec![format!(
            "{path}: expected {expected}, found {}",
            named(value)
        )]
    };
    match kind {
        Kind::Text(most) => match scalar(&value) {
            Some(text) if text.len() > *most => {
                Err(vec![format!("{path}: longer than {most} bytes")])
            }
            Some(text) => Ok(text.into()),
            None => Err(wrong("a text", &value)),
        },
        Kind::OneOf(words) => {
            let text = scalar(&value).ok_or_else(|| wrong("a text", &value))?;
            if words.contains(&text.as_str()) {
                Ok(text.into())
            } else {
                Err(vec![format!(
                    "{path}: {text:?} is not one of {}",
                    words.join(", ")
                )])
            }
        }
        Kind::Flag => match scalar(&value).map(|text| text.to_lowercase()).as_deref() {
            Some("true" | "yes" | "on") => Ok(true.into()),
            Some("false" | "no" | "off") => Ok(false.into()),
            _ => Err(wrong("true or false", &value)),
        },
        Kind::Texts => {
            let items = match value {
                Value::Array(items) => items,
                one => vec![one],
            };
            let said = items.iter().filter(|item| !item.is_null());
            let texts: Option<Vec<String>> = said.map(scalar).collect();
            texts
                .map(Value::from)
                .ok_or_else(|| vec![format!("{path}: expected a list of texts")])
        }
        Kind::Label => {
            let text = scalar(&value).ok_or_else(|| wrong("a text", &value))?;
            let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
            if !text.is_empty() && text.bytes().all(named) {
                Ok(text.into())
            } else {
                Err(vec![format!(
                    "{path}: {text:?}: a subdomain has letters, digits, - and . only"
                )])
            }
        }
        Kind::Tree => match value {
            Value::Object(_) | Value::String(_) => Ok(value),
            other => Err(wrong("an object or its text", &other)),
        },
        Kind::Map(keys) => match value {
            Value::Object(object) => read(object, &[keys], &format!("{path}.")).map(Value::Object),
            other => Err(wrong("an object", &other)),
        },
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn unknown<'a>(path: &str, key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let plain = key.replace('-', "_").to_lowercase();
    let near = known
        .map(|name| (distance(&plain, name), name))
        .filter(|(far, _)| *far <= (plain.len() / 3).max(2))
        .min();
    match near {
        Some((_, name)) => format!("unknown option {path}{key} (did you mean {name}?)"),
        None => format!("unknown option {path}{key}"),
    }
}

/// Letters to change, add or leave out.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, wanted) in other.chars().enumerate() {
            let change = diagonal + usize::from(letter != wanted);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
