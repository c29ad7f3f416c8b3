//! What all parts of a running edge share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::ca::SharedAuthority;
use crate::certs::Certificates;
use crate::config::EdgeConfig;
use crate::control::Control;
use crate::gate::Gate;
use crate::logins::Logins;
use crate::metrics::Metrics;
use crate::naming::PublicPorts;
use crate::registry::Registry;
use crate::session::Sessions;
use crate::tcp::TcpPorts;

/// How far a stop has come. Later is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    /// Nothing new; what runs may end.
    Draining,
    /// Everything ends now.
    Stopped,
}

/// One running edge.
pub(crate) struct Core {
    pub config: ArcSwap<EdgeConfig>,
    pub ports: PublicPorts,
    /// Where agents may connect that want several connections.
    pub legs: Vec<String>,
    pub registry: Arc<Registry>,
    pub certificates: Arc<Certificates>,
    pub authority: SharedAuthority,
    /// TLS of visitors whose endpoint asks for nothing more.
    pub https_config: Arc<ServerConfig>,
    pub control: Arc<dyn Control>,
    pub metrics: Metrics,
    pub sessions: Sessions,
    pub tcp: TcpPorts,
    pub logins: Logins,
    /// One for each listener, by [`crate::metrics::Door`].
    pub gates: [Arc<Gate>; 4],
    /// Tasks of visitors; a graceful stop waits for them.
    pub visitors: TaskTracker,
    pub agents: TaskTracker,
    pub stage: watch::Sender<Stage>,
}

// === impl Core ===

impl Core {
    pub(crate) fn https(&self) -> Arc<ServerConfig> {
        self.https_config.clone()
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Resolves once a stop has come this far.
    pub(crate) async fn reached(&self, stage: Stage) {
        let mut watched = self.stage.subscribe();
        // The sender lives in `self`: waiting cannot fail.
        let _ = watched.wait_for(|now| *now >= stage).await;
    }
}
