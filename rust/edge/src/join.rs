//! The join string: where an edge is, how to trust it, and a token, in one text to copy (design,
//! decision 6).

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portway_wire::Secret;
use serde_json::json;

use crate::StartError;
use crate::config::{EdgeConfig, Token};
use crate::naming::random_hex;

/// Tells the version of the format, and what it is.
const PREFIX: &str = "pw1_";

/// An edge that was given no token makes one, and keeps it in its data directory.
///
/// # Errors
/// Where it cannot be kept.
pub(crate) fn ensure_token(config: &mut EdgeConfig) -> Result<(), StartError> {
    if !config.tokens.is_empty() {
        return Ok(());
    }
    let token = match &config.data_dir {
        None => random_hex(20),
        Some(dir) => {
            let path = dir.join("authtoken");
            kept(&path).map_err(|source| StartError::Token {
                path: path.display().to_string(),
                source,
            })?
        }
    };
    config.tokens.push(Token {
        token: Secret::new(token),
        name: "default".into(),
        acl: Vec::new(),
        metadata: String::new(),
    });
    Ok(())
}

fn kept(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = random_hex(20);
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    Ok(token)
}

/// What agents elsewhere dial to reach an edge that listens for them there.
pub(crate) fn address(config: &EdgeConfig, bound: Option<SocketAddr>) -> Option<String> {
    config.public_agent_addr.clone().or_else(|| {
        bound.map(|address| {
            if address.ip().is_unspecified() {
                format!("{}:{}", config.base_domain(), address.port())
            } else {
                address.to_string()
            }
        })
    })
}

/// The join string of an edge that agents dial there. `api`: for who wants the list of revoked
/// certificates.
pub(crate) fn text(
    config: &EdgeConfig,
    address: Option<&str>,
    api: Option<SocketAddr>,
    fingerprint: &str,
) -> String {
    let token = config
        .tokens
        .first()
        .map(|token| token.token.expose())
        .unwrap_or_default();
    let mut content = json!({"a": address, "f": fingerprint, "t": token});
    if let Some(url) = crl_url(config, address, api) {
        content["c"] = url.into();
    }
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(content.to_string()))
}

/// Where the agents of this address find the list; nothing where they cannot.
fn crl_url(config: &EdgeConfig, address: Option<&str>, api: Option<SocketAddr>) -> Option<String> {
    if let Some(url) = &config.crl_url {
        return (url != "off").then(|| url.clone());
    }
    let api = api?;
    let (host, _) = address?.rsplit_once(':')?;
    let here = host == "localhost"
        || host.ends_with(".localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    let place = if api.ip().is_unspecified() {
        format!("{host}:{}", api.port())
    } else if api.ip().is_loopback() && !here {
        // It would be their own loopback, and without a list they would not connect at all.
        return None;
    } else {
        api.to_string()
    };
    Some(format!("http://{place}{}", crate::api::CRL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_of_the_list_where_they_can_reach_it() {
        let told = |address: &str, api: &str, own: Option<&str>| {
            let config: EdgeConfig = serde_json::from_value(json!({"crl_url": own})).unwrap();
            crl_url(&config, Some(address), api.parse().ok())
        };
        for (address, api, own, wanted) in [
            (
                "127.0.0.1:4443",
                "127.0.0.1:4041",
                None,
                Some("http://127.0.0.1:4041/ca.crl"),
            ),
            (
                "[::1]:4443",
                "[::1]:4041",
                None,
                Some("http://[::1]:4041/ca.crl"),
            ),
            ("e.test:4443", "127.0.0.1:4041", None, None),
            (
                "e.test:4443",
                "0.0.0.0:4041",
                None,
                Some("http://e.test:4041/ca.crl"),
            ),
            (
                "e.test:4443",
                "192.0.2.1:4041",
                None,
                Some("http://192.0.2.1:4041/ca.crl"),
            ),
            ("e.test:4443", "", None, None),
            (
                "e.test:4443",
                "",
                Some("https://e.test/crl"),
                Some("https://e.test/crl"),
            ),
            ("127.0.0.1:4443", "127.0.0.1:4041", Some("off"), None),
        ] {
            assert_eq!(
                told(address, api, own).as_deref(),
                wanted,
                "{address} {api}"
            );
        }
    }
}
