//! The join string: where an edge is, how to trust it, and a token, in one text to copy (design,
//! decision 6).

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
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

/// The join string of an edge that listens for agents there.
pub(crate) fn text(config: &EdgeConfig, bound: Option<SocketAddr>, fingerprint: &str) -> String {
    let address = config.public_agent_addr.clone().or_else(|| {
        bound.map(|address| {
            if address.ip().is_unspecified() {
                format!("{}:{}", config.base_domain(), address.port())
            } else {
                address.to_string()
            }
        })
    });
    let token = config
        .tokens
        .first()
        .map(|token| token.token.expose())
        .unwrap_or_default();
    let content = json!({"a": address, "f": fingerprint, "t": token}).to_string();
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(content))
}
