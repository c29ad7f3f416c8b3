//! Files that options of a definition name.

use std::io;
use std::path::PathBuf;

use crate::plan::Pem;

/// Bytes of a file that an option names.
const LARGEST: u64 = 1 << 20;

pub(super) fn pem(text: &str) -> Result<Pem, String> {
    if text.contains("-----BEGIN") {
        return Ok(Pem {
            text: text.to_owned().into(),
            file: None,
        });
    }
    Ok(Pem {
        text: file(text)?.into(),
        file: std::path::absolute(place(text)).ok(),
    })
}

/// Where a file is that an option names, by the directory the agent was started in.
fn place(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// The text of a file. Blocks on the file system.
pub(super) fn file(path: &str) -> Result<String, String> {
    let read = || {
        let place = place(path);
        let metadata = std::fs::metadata(&place)?;
        // A pipe would be waited for, and a device may never end.
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if metadata.len() > LARGEST {
            return Err(io::Error::other("it is too large"));
        }
        std::fs::read_to_string(place)
    };
    read().map_err(|error| {
        let reason = crate::board::without_number(&error.to_string());
        format!("cannot read {path}: {reason}")
    })
}
