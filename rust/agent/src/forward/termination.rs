//! Visitors' TLS that ends in the agent (agent-behaviour §4.3). Certificates, keys and CAs that are in files are read
//! again when these change; what cannot be used then leaves the old ones in their place.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::plan::{AgentTls, Pem};
use crate::trust::{self, TrustError};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// Files are looked at when a visitor comes, at most once in so long.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a PEM file.
const LARGEST: u64 = 1 << 20;

/// Of one endpoint.
#[derive(Debug)]
pub(crate) struct Termination {
    /// The endpoint's name.
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What `config` is made of.
    plan: AgentTls,
    config: Arc<ServerConfig>,
    looked: Option<Instant>,
    /// As the files were when they were read last.
    stamps: Vec<Stamp>,
}

/// What tells one state of a file from another; nothing: it is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

// === impl Termination ===

impl Termination {
    /// # Errors
    /// [`TrustError`] for a pair that does not match, and for PEM that cannot be used.
    pub(crate) fn new(name: &str, plan: &AgentTls) -> Result<Arc<Self>, TrustError> {
        let state = State {
            config: trust::visitors(plan)?,
            plan: plan.clone(),
            looked: None,
            stamps: Vec::new(),
        };
        Ok(Arc::new(Self {
            name: name.to_owned(),
            state: Mutex::new(state),
        }))
    }

    /// Lets a visitor in.
    ///
    /// # Errors
    /// Why the handshake failed; noted in the log already.
    pub(crate) async fn accept<S>(self: &Arc<Self>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.current().await;
        let accepted = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
        let accepted = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = &accepted {
            tracing::debug!(obj = "join", name = self.name, err = %error, "TLS handshake with a visitor failed");
        }
        accepted
    }

    async fn current(self: &Arc<Self>) -> Arc<ServerConfig> {
        if self.is_due() {
            let own = self.clone();
            // A file system that does not answer holds up this visitor only.
            let _ = tokio::task::spawn_blocking(move || own.look()).await;
        }
        self.state.lock().config.clone()
    }

    fn is_due(&self) -> bool {
        let mut state = self.state.lock();
        let due = state.looked.is_none_or(|looked| looked.elapsed() >= LOOK)
            && state.plan.pems().any(|pem| pem.file.is_some());
        if due {
            state.looked = Some(Instant::now());
        }
        due
    }

    /// Takes up what has changed. Blocks on the file system.
    fn look(&self) {
        let (plan, before) = {
            let state = self.state.lock();
            (state.plan.clone(), state.stamps.clone())
        };
        let stamps: Vec<_> = plan.pems().map(stamp).collect();
        if stamps == before {
            return;
        }
        let made = reread(&plan).and_then(|read| match read {
            Some(plan) => trust::visitors(&plan).map(|config| Some((plan, config))),
            None => Ok(None),
        });
        let mut state = self.state.lock();
        state.stamps = stamps;
        match made {
            Ok(Some((plan, config))) => {
                (state.plan, state.config) = (plan, config);
                drop(state);
                tracing::info!(obj = "tunnels", name = self.name, "certificate reloaded");
            }
            Ok(None) => {}
            Err(error) => {
                drop(state);
                tracing::error!(
                    obj = "tunnels",
                    name = self.name,
                    err = error.0,
                    "failed to reload the certificate, the old one stays"
                );
            }
        }
    }
}

/// The plan with what the files hold now; nothing where that is the same.
fn reread(plan: &AgentTls) -> Result<Option<AgentTls>, TrustError> {
    let mut read = plan.clone();
    let mut changed = false;
    for pem in read.pems_mut() {
        let Some(path) = &pem.file else { continue };
        let text = text_of(path)
            .map_err(|error| TrustError(format!("cannot read {}: {error}", path.display())))?;
        changed |= text != pem.text.expose();
        pem.text = text.into();
    }
    Ok(changed.then_some(read))
}

fn text_of(path: &PathBuf) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(io::Error::other("this is no file of a usual size"));
    }
    std::fs::read_to_string(path)
}

fn stamp(pem: &Pem) -> Stamp {
    let metadata = std::fs::metadata(pem.file.as_ref()?).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), inode(&metadata)))
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}
