//! Addresses that led to an edge, kept for the day on which no name server answers
//! (agent-behaviour §2.2): a small file in the state directory, and in memory.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;

/// Older ones are not used.
const AGE: Duration = Duration::from_hours(30 * 24);
/// Hosts in the file; the oldest go first.
const HOSTS: usize = 32;
/// Addresses of a host.
const ADDRESSES: usize = 16;
/// A larger file is none of ours.
const LARGEST: u64 = 64 * 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    addresses: Vec<IpAddr>,
    /// Seconds since 1970.
    at: u64,
}

type Rows = BTreeMap<String, Row>;

/// The file, where there may be one.
#[derive(Debug)]
pub(crate) struct Kept {
    path: Option<PathBuf>,
}

// === impl Kept ===

impl Kept {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// The addresses of a host, the best first; none when nothing of use is kept.
    pub(crate) async fn of(&self, host: &str) -> Vec<IpAddr> {
        let Some(path) = self.path.clone() else {
            return Vec::new();
        };
        let rows = tokio::task::spawn_blocking(move || read(&path)).await;
        let mut rows = rows.unwrap_or_default();
        let row = rows
            .remove(host)
            .filter(|row| is_fresh(row, clock::seconds()));
        row.map(|row| row.addresses).unwrap_or_default()
    }

    /// Keeps what has led to an edge. Where that cannot be written, it is not kept.
    pub(crate) async fn keep(&self, host: String, mut addresses: Vec<IpAddr>) {
        let Some(path) = self.path.clone() else {
            return;
        };
        addresses.truncate(ADDRESSES);
        let written = tokio::task::spawn_blocking(move || {
            let mut rows = read(&path);
            let now = clock::seconds();
            rows.retain(|_, row| is_fresh(row, now));
            rows.insert(host, Row { addresses, at: now });
            while rows.len() > HOSTS {
                let oldest = rows.iter().min_by_key(|(_, row)| row.at);
                let Some(oldest) = oldest.map(|(host, _)| host.clone()) else {
                    break;
                };
                rows.remove(&oldest);
            }
            write(&path, &rows).map_err(|error| format!("{}: {error}", path.display()))
        });
        if let Ok(Err(error)) = written.await {
            tracing::debug!(
                obj = "tunnels.session",
                err = error,
                "cannot keep addresses"
            );
        }
    }
}

/// A clock that was wrong must not make an address last for ever.
fn is_fresh(row: &Row, now: u64) -> bool {
    row.at.abs_diff(now) <= AGE.as_secs()
}

/// What can be read of it: a broken file keeps nobody from connecting.
fn read(path: &Path) -> Rows {
    let small = std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() <= LARGEST);
    let text = if small {
        std::fs::read(path).ok()
    } else {
        None
    };
    text.and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// Whole or not at all: a temporary file beside it, renamed.
fn write(path: &Path, rows: &Rows) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&temporary)?;
    let written = serde_json::to_writer(&file, rows).map_err(io::Error::from);
    let renamed = written.and_then(|()| std::fs::rename(&temporary, path));
    renamed.inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("portway-kept-{}", std::process::id()));
        dir.join(name).join("addresses.json")
    }

    #[tokio::test]
    async fn addresses_are_kept_for_thirty_days_and_for_nobody_else_to_read() {
        let path = path("kept");
        let kept = Kept::new(Some(path.clone()));
        assert!(kept.of("edge.test").await.is_empty());
        let addresses: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()];
        kept.keep("edge.test".into(), addresses.clone()).await;
        kept.keep("other.test".into(), Vec::new()).await;
        assert_eq!(kept.of("edge.test").await, addresses);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let mut rows = read(&path);
        for row in rows.values_mut() {
            row.at -= AGE.as_secs() + 60;
        }
        write(&path, &rows).unwrap();
        assert!(kept.of("edge.test").await.is_empty());
        kept.keep("third.test".into(), addresses).await;
        assert_eq!(read(&path).into_keys().collect::<Vec<_>>(), ["third.test"]);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_broken_file_is_made_anew() {
        let path = path("broken");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "no JSON").unwrap();
        let kept = Kept::new(Some(path.clone()));
        assert!(kept.of("edge.test").await.is_empty());
        kept.keep("edge.test".into(), vec!["192.0.2.1".parse().unwrap()])
            .await;
        assert_eq!(kept.of("edge.test").await.len(), 1);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
