//! One wanted endpoint: what it is, and under which id the edge knows it now.

use std::sync::Arc;

use parking_lot::Mutex;
use portway_wire::Opts;
use portway_wire::bind::{BindExtra, BindRequest, BindResponse};
use rustls::ServerConfig;

use crate::forward::upstream::Upstream;
use crate::metrics::Metrics;
use crate::plan::EndpointPlan;
use crate::trust::{self, TrustError};

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) plan: EndpointPlan,
    pub(crate) upstream: Upstream,
    /// The agent ends visitors' TLS with it.
    pub(crate) visitors_tls: Option<Arc<ServerConfig>>,
    pub(crate) metrics: Arc<Metrics>,
    bound: Mutex<Option<Bound>>,
}

/// What the edge answered to the last bind; the next one repeats it, so the URL stays.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) id: String,
    pub(crate) url: String,
    token: String,
    opts: Opts,
}

// === impl Endpoint ===

impl Endpoint {
    /// Prepares everything that does not need the edge.
    ///
    /// # Errors
    /// [`TrustError`] with the upstream, folder or PEM that cannot be used.
    pub(crate) fn new(plan: EndpointPlan) -> Result<Self, TrustError> {
        Ok(Self {
            upstream: Upstream::of(&plan)?,
            visitors_tls: plan.agent_tls.as_ref().map(trust::visitors).transpose()?,
            plan,
            metrics: Arc::default(),
            bound: Mutex::default(),
        })
    }

    pub(crate) fn is_http(&self) -> bool {
        matches!(self.plan.proto.as_str(), "http" | "https")
    }

    /// Whether its requests are to be kept for who inspects them.
    pub(crate) fn inspects(&self) -> bool {
        self.is_http() && self.plan.inspect
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.plan.upstream_protocol == "http2"
    }

    /// The secret of the bind that edge and agent share.
    pub(crate) fn token(&self) -> Option<String> {
        self.bound.lock().as_ref().map(|bound| bound.token.clone())
    }

    pub(crate) fn bound(&self) -> Option<Bound> {
        self.bound.lock().clone()
    }

    /// The edge has the endpoint no more, or another one is asked.
    pub(crate) fn forget(&self) {
        *self.bound.lock() = None;
    }

    /// The request of the next bind.
    pub(crate) fn request(&self) -> BindRequest {
        let bound = self.bound.lock();
        let bound = bound.as_ref();
        BindRequest {
            id: bound.map(|bound| bound.id.clone()).unwrap_or_default(),
            proto: self.plan.proto.clone(),
            opts: bound.map_or_else(|| self.plan.bind_opts(), |bound| bound.opts.clone()),
            extra: BindExtra {
                name: self.plan.name.clone(),
                token: bound.map(|bound| bound.token.clone()).unwrap_or_default(),
                ip_policy_ref: String::new(),
                metadata: self.plan.metadata.clone(),
                description: self.plan.description.clone(),
                bindings: self.plan.bindings.clone(),
                pooling_enabled: self.plan.pooling_enabled,
            },
            forwards_to: self.plan.shown_upstream().to_owned(),
            forwards_proto: self.plan.upstream_protocol.clone(),
        }
    }

    /// Takes in the answer. An id that was restored keeps its URL, whatever the answer says.
    pub(crate) fn answered(&self, response: BindResponse) -> Bound {
        let mut place = self.bound.lock();
        let bound = Bound {
            id: response.id,
            url: response.url,
            token: response.token,
            opts: response.opts,
        };
        *place = Some(bound.clone());
        bound
    }
}
