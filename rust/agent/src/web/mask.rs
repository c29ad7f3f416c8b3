//! Secrets of a configuration, hidden where it is shown. What a key is called decides; where that is
//! in doubt, a value is hidden.

use serde_json::Value;

pub(super) const MASK: &str = "***";
/// Characters of a text that are shown: certificates are long and say nothing to people.
const SHOWN: usize = 2000;

/// Parts of the names of keys whose values are secret.
const WORDS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "authorization",
    "cookie",
    "apikey",
    "privatekey",
    "signingkey",
    "basicauth",
];
/// The same, as whole names.
const NAMES: [&str; 5] = ["key", "auth", "pass", "hmac", "xauthkey"];

fn is_secret(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|one| one.to_ascii_lowercase())
        .collect();
    NAMES.contains(&plain.as_str()) || WORDS.iter().any(|word| plain.contains(word))
}

/// A copy for people, without what is secret.
pub(super) fn masked(value: &Value) -> Value {
    without_secrets(value, |text| cut(masked_text(text)))
}

fn without_secrets(value: &Value, text: fn(&str) -> String) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| {
                let hidden = is_secret(key) && !is_empty(value);
                let shown = || without_secrets(value, text);
                (key.clone(), if hidden { MASK.into() } else { shown() })
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| without_secrets(item, text))
            .collect(),
        Value::String(found) => text(found).into(),
        value => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Number(_) => false,
    }
}

/// One value: a header that tells who somebody is, or a URL that does.
fn masked_text(text: &str) -> String {
    if let Some((name, value)) = text.split_once(':')
        && !value.starts_with("//")
        && is_secret(name)
    {
        return format!("{name}: {MASK}");
    }
    masked_url(text)
}

fn cut(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// A URL without the name and password in it.
pub(super) fn masked_url(text: &str) -> String {
    if let Some((scheme, rest)) = text.split_once("://") {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if let Some(at) = rest[..end].rfind('@') {
            return format!("{scheme}://{MASK}{}", &rest[at..]);
        }
    }
    text.to_owned()
}

/// A policy as it was given: JSON, or the YAML of a file, of which lines are hidden.
pub(super) fn policy(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(tree @ (Value::Object(_) | Value::Array(_))) => masked(&tree),
        _ => lines(text).into(),
    }
}

/// The same for programs, as text: one without credentials stays as it was written.
pub(super) fn policy_text(text: &str) -> String {
    let (found, same) =
        if let Ok(tree @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
            let found = without_secrets(&tree, masked_text);
            let same = found == tree;
            (found.to_string(), same)
        } else {
            let found = lines(text);
            let same = found == text.lines().collect::<Vec<_>>().join("\n");
            (found, same)
        };
    if same { text.to_owned() } else { found }
}

/// Whether a text has the mask where a secret was: it would become one itself.
pub(super) fn has_mask(policy: &str) -> bool {
    let json = format!("\"{MASK}\"");
    policy.contains(&json)
        || policy
            .lines()
            .any(|line| line.ends_with(&format!(": {MASK}")))
}

fn lines(text: &str) -> String {
    let mut shown = Vec::new();
    // Columns of the key whose value is hidden: what stands deeper belongs to it.
    let mut hidden = None;
    for line in text.lines() {
        let bare = line.trim_start();
        let mut column = line.len() - bare.len();
        if let Some(outer) = hidden
            && (bare.is_empty() || column > outer || (column == outer && bare.starts_with("- ")))
        {
            continue;
        }
        hidden = None;
        let mut rest = bare;
        while let Some(item) = rest.strip_prefix("- ") {
            let item = item.trim_start();
            column += rest.len() - item.len();
            rest = item;
        }
        let Some((key, value)) = rest.split_once(':') else {
            shown.push(masked_text(line));
            continue;
        };
        let head = &line[..line.len() - value.len()];
        if is_secret(key) {
            hidden = Some(column);
            shown.push(format!("{head} {MASK}"));
        } else if value.contains(['{', '[', ':']) && is_secret(value) {
            shown.push(format!("{head} {MASK}"));
        } else {
            shown.push(masked_url(line));
        }
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_not() {
        let found = masked(&json!({
            "BasicAuth": [{"username": "ann", "password": "hunter2"}],
            "webhook": {"provider": "github", "secret": "hunter2", "sealed": true},
            "RequestHeaders": {"add": ["Authorization: Bearer hunter2", "X-Env: dev", "http://a.test:80"]},
            "TLSTermination": {"key": "hunter2", "cert": "pem"},
            "upstream": "http://ann:hunter2@localhost:80/a@b",
            "client_secret": "",
            "count": 3,
        }));
        assert_eq!(
            found,
            json!({
                "BasicAuth": MASK,
                "webhook": {"provider": "github", "secret": MASK, "sealed": true},
                "RequestHeaders": {"add": ["Authorization: ***", "X-Env: dev", "http://a.test:80"]},
                "TLSTermination": {"key": MASK, "cert": "pem"},
                "upstream": "http://***@localhost:80/a@b",
                "client_secret": "",
                "count": 3,
            })
        );
        let long = masked(&json!("x".repeat(3000)));
        assert!(long.as_str().unwrap().ends_with("… (3000 bytes)"));
    }

    #[test]
    fn a_policy_is_shown_without_its_credentials() {
        let yaml = "\
on_http_request:
  - name: who may
    actions:
      - type: basic-auth
        config:
          credentials:
            - ann:hunter2
            - bob:hunter2
          realm: mine
      - type: openid-connect
        config:
          client_secret: hunter2
          scopes: [openid]
      - type: add-headers
        config: {headers: {authorization: Bearer hunter2}}
      - type: verify-webhook
        config:
          \"secret\": >
            hunter2

            hunter2
      - token: hunter2
        other: yes
      - credentials: [
          hunter2,
        ]
  - expressions: [\"req.url.contains('a')\"]
";
        let found = policy(yaml);
        let text = found.as_str().unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        for kept in [
            "who may",
            "basic-auth",
            "realm: mine",
            "scopes: [openid]",
            "other: yes",
            "req.url",
        ] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        let found = policy(
            r#"{"on_http_request": [{"config": {"credentials": ["a:hunter2"], "realm": "mine"}}]}"#,
        );
        assert_eq!(
            found,
            json!({"on_http_request": [{"config": {"credentials": MASK, "realm": "mine"}}]})
        );
    }

    #[test]
    fn programs_get_a_policy_as_it_was_written_but_for_its_credentials() {
        for plain in [
            "on_http_request:\n  - name: a\n\n",
            "{\"on_http_request\":  []}",
            "nonsense",
        ] {
            assert_eq!(policy_text(plain), plain);
            assert!(!has_mask(plain));
        }
        for secret in [
            "- config:\n    client_secret: hunter2\n    realm: mine\n",
            r#"{"config": {"client_secret": "hunter2", "realm": "mine"}}"#,
        ] {
            let text = policy_text(secret);
            assert!(!text.contains("hunter2") && text.contains("mine"), "{text}");
            assert!(has_mask(&text), "{text}");
        }
    }
}
