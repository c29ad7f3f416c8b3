//! One wanted endpoint: what it is, and under which id the edge knows it now.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portway_wire::Opts;
use portway_wire::bind::{BindExtra, BindRequest, BindResponse, LabeledRequest};
use tokio_util::sync::CancellationToken;

use crate::forward::termination::Termination;
use crate::forward::upstream::Upstream;
use crate::metrics::Metrics;
use crate::plan::EndpointPlan;
use crate::trust::TrustError;

/// After its stop, for visitors that are served still.
const VISITORS: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) plan: EndpointPlan,
    pub(crate) upstream: Upstream,
    /// The agent ends visitors' TLS with it.
    pub(crate) visitors_tls: Option<Arc<Termination>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Visitors are served no longer.
    pub(crate) ended: CancellationToken,
    bound: Mutex<Option<Bound>>,
    /// URL to ask for in the place of that of the plan.
    followed: Mutex<Option<String>>,
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
            visitors_tls: plan
                .agent_tls
                .as_ref()
                .map(|tls| Termination::new(&plan.name, tls))
                .transpose()?,
            plan,
            metrics: Arc::default(),
            ended: CancellationToken::new(),
            bound: Mutex::default(),
            followed: Mutex::default(),
        })
    }

    /// The same endpoint with other options: its next bind asks for the same id and URL.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn successor(&self, plan: EndpointPlan, bound: &Bound) -> Result<Self, TrustError> {
        let asked = EndpointPlan {
            url: bound.url.clone(),
            ..plan.clone()
        };
        let bound = Bound {
            opts: asked.bind_opts(),
            ..bound.clone()
        };
        Ok(Self {
            metrics: self.metrics.clone(),
            ended: self.ended.clone(),
            bound: Mutex::new(Some(bound)),
            ..Self::new(plan)?
        })
    }

    /// Gives visitors that are served some time, then none.
    pub(crate) fn end_soon(&self) {
        let ended = self.ended.clone();
        tokio::spawn(async move {
            tokio::time::sleep(VISITORS).await;
            ended.cancel();
        });
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

    fn first_opts(&self) -> Opts {
        match &*self.followed.lock() {
            Some(url) => EndpointPlan {
                url: url.clone(),
                ..self.plan.clone()
            }
            .bind_opts(),
            None => self.plan.bind_opts(),
        }
    }

    /// The request of the next bind.
    pub(crate) fn request(&self) -> BindRequest {
        let bound = self.bound.lock();
        let bound = bound.as_ref();
        BindRequest {
            id: bound.map(|bound| bound.id.clone()).unwrap_or_default(),
            proto: self.plan.proto.clone(),
            opts: bound.map_or_else(|| self.first_opts(), |bound| bound.opts.clone()),
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

    /// The request of a bind by labels, if it is to be bound so.
    pub(crate) fn labeled_request(&self) -> Option<LabeledRequest> {
        let plan = &self.plan;
        (!plan.labels.is_empty()).then(|| LabeledRequest {
            labels: plan.labels.clone(),
            forwards_to: plan.shown_upstream().to_owned(),
            forwards_proto: plan.upstream_protocol.clone(),
            metadata: plan.metadata.clone(),
        })
    }

    /// Takes in the id of a bind by labels. Without one the edge goes on calling it as before.
    pub(crate) fn labeled_as(&self, id: String) -> Bound {
        let kept = self.bound().map(|bound| bound.id).unwrap_or_default();
        self.answered(BindResponse {
            id: if id.is_empty() { kept } else { id },
            url: self.plan.shown_labels(),
            ..BindResponse::default()
        })
    }

    /// Asks for the host of another endpoint, once that has one.
    pub(crate) fn follow(&self, other: &Self) {
        let Some(url) = other.bound().map(|bound| bound.url) else {
            return;
        };
        if let Some(host) = host_of(&url) {
            *self.followed.lock() = Some(format!("{}://{host}", self.plan.proto));
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

/// The host of a URL, without its port.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let end = match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host.len(),
        _ => rest.len(),
    };
    rest.get(..end).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_has_no_scheme_and_no_port() {
        for (url, host) in [
            ("https://a.test", Some("a.test")),
            ("https://a.test:8443", Some("a.test")),
            ("http://[::1]:80", Some("[::1]")),
            ("https://", None),
            ("edge=x", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
