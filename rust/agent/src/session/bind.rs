//! Endpoints of a session: bound, told of, and let go (agent-behaviour §1; wire-protocol §4).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use portway_mux::{Session, Stream};
use portway_wire::bind::{self as messages, BindRequest, BindResponse, LabeledRequest};
use portway_wire::{Reaction, Refusal, stream_type};
use tokio::time::timeout;

use super::message::{begin, call, read};
use super::{Agent, SessionError};
use crate::endpoint::{Bound, Endpoint};

/// Binds that are asked for side by side.
pub(crate) const BINDS: usize = 16;
/// How long the edge may take to let go of one endpoint.
const UNBIND: Duration = Duration::from_secs(1);

// === impl Agent ===

impl Agent {
    /// Binds side by side. Who is refused and may be asked for again goes to `refused`. Those
    /// that are named in `late` are up, but have no record yet: they come back.
    pub(super) async fn bind_all(
        &self,
        mux: &Session,
        endpoints: Vec<Arc<Endpoint>>,
        late: &HashSet<&str>,
        first: bool,
        refused: &mut Vec<(Arc<Endpoint>, Refusal)>,
    ) -> Result<Vec<(Arc<Endpoint>, Bound)>, SessionError> {
        let mut untold = Vec::new();
        let binds = stream::iter(endpoints).map(|endpoint| async move {
            let bound = self.bind(mux, &endpoint).await;
            (endpoint, bound)
        });
        let mut binds = binds.buffered(BINDS);
        while let Some((endpoint, bound)) = binds.next().await {
            match bound {
                // It may have been stopped while the edge was asked.
                Ok(bound) if !self.roster.has(&endpoint) => self.unbind(&bound.id).await,
                Ok(bound) if late.contains(endpoint.plan.name.as_str()) => {
                    self.is_up(&endpoint, &bound);
                    untold.push((endpoint, bound));
                }
                Ok(bound) => self.started(&endpoint, &bound, first),
                Err(SessionError::Bind { name, refusal })
                    if first || refusal.code.reaction() == Reaction::Fatal =>
                {
                    return Err(SessionError::Bind { name, refusal });
                }
                Err(SessionError::Bind { refusal, .. }) => {
                    tracing::error!(obj = "tunnels", name = endpoint.plan.name, err = %refusal, "failed to start tunnel");
                    self.board.endpoint(&endpoint.plan.name, None);
                    refused.push((endpoint, refusal));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(untold)
    }

    /// Binds one endpoint; its visitors may come once this has been answered.
    pub(crate) async fn bind(
        &self,
        mux: &Session,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Bound, SessionError> {
        let (stream, bound) = if let Some(request) = endpoint.labeled_request() {
            let (stream, id) = self.ask_labeled(mux, endpoint, &request).await?;
            (stream, endpoint.labeled_as(id))
        } else {
            let (stream, response) = self.ask(mux, endpoint, &endpoint.request()).await?;
            (stream, endpoint.answered(response))
        };
        self.route(&bound.id, endpoint, stream);
        Ok(bound)
    }

    /// Repeats the bind of an endpoint on another leg, under the same id.
    pub(crate) async fn bind_again(
        &self,
        mux: &Session,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(), SessionError> {
        if let Some(request) = endpoint.labeled_request() {
            // It is given an id of its own there.
            let (stream, id) = self.ask_labeled(mux, endpoint, &request).await?;
            self.route(&id, endpoint, stream);
            return Ok(());
        }
        let request = endpoint.request();
        // Without an id it were another endpoint: this one has been stopped meanwhile.
        if !request.id.is_empty() {
            let (stream, _) = self.ask(mux, endpoint, &request).await?;
            self.route(&request.id, endpoint, stream);
        }
        Ok(())
    }

    async fn ask(
        &self,
        mux: &Session,
        endpoint: &Endpoint,
        request: &BindRequest,
    ) -> Result<(Stream, BindResponse), SessionError> {
        let mut stream = begin(mux, stream_type::BIND, &request.encode()).await?;
        let response = BindResponse::decode(&read(&mut stream).await?)?;
        accepted(endpoint, &response.error)?;
        Ok((stream, response))
    }

    async fn ask_labeled(
        &self,
        mux: &Session,
        endpoint: &Endpoint,
        request: &LabeledRequest,
    ) -> Result<(Stream, String), SessionError> {
        let mut stream = begin(mux, stream_type::BIND_LABELED, &request.encode()).await?;
        let answer = read(&mut stream).await?;
        accepted(endpoint, &messages::error_of(&answer)?)?;
        Ok((stream, messages::labeled_id(&answer)?))
    }

    fn route(&self, id: &str, endpoint: &Arc<Endpoint>, stream: Stream) {
        self.routes.lock().insert(id.to_owned(), endpoint.clone());
        // The end of our side tells the edge that visitors may come now.
        drop(stream);
    }

    /// Tells that an endpoint is up. Only the first time at a level that wrappers see.
    pub(crate) fn started(&self, endpoint: &Endpoint, bound: &Bound, first: bool) {
        self.is_up(endpoint, bound);
        tell(endpoint, bound, first);
    }

    fn is_up(&self, endpoint: &Endpoint, bound: &Bound) {
        self.bindings.send_replace(());
        self.board.endpoint(&endpoint.plan.name, Some(&bound.url));
    }

    /// Whether a bind gets visitors in this session.
    pub(crate) fn routes(&self, id: &str) -> bool {
        self.routes.lock().contains_key(id)
    }

    /// No visitor of this bind is led anywhere any more; whom they were led to.
    pub(crate) fn unroute(&self, id: &str) -> Option<Arc<Endpoint>> {
        self.routes.lock().remove(id)
    }

    /// The visitors of a bind are led by this endpoint from now on.
    pub(crate) fn reroute(&self, id: &str, endpoint: &Arc<Endpoint>) {
        if let Some(place) = self.routes.lock().get_mut(id) {
            place.clone_from(endpoint);
        }
        self.bindings.send_replace(());
    }

    /// Lets go of one bind: no visitor of it comes any more. That the edge did not hear of it is no
    /// failure; it asks before it gives us a visitor.
    pub(crate) async fn unbind(&self, id: &str) {
        self.unroute(id);
        self.unbind_on_legs(vec![id.to_owned()]).await;
    }

    /// Lets go of all endpoints.
    pub(crate) async fn unbind_all(&self) {
        let ids = self.routes.lock().drain().map(|(id, _)| id).collect();
        self.unbind_on_legs(ids).await;
    }

    /// One leg would do for one edge, but the legs may lead to several.
    async fn unbind_on_legs(&self, ids: Vec<String>) {
        let mut each = Vec::new();
        for mux in self.up.all() {
            let messages = ids.iter().map(|id| messages::encode_unbind(id));
            each.extend(messages.map(|message| (mux.clone(), message)));
        }
        let unbinds = stream::iter(each)
            .map(|(mux, message)| async move { call(&mux, stream_type::UNBIND, &message).await })
            .buffer_unordered(BINDS)
            // A failed one is ended with the session.
            .for_each(|_| std::future::ready(()));
        let _ = timeout(UNBIND, unbinds).await;
    }
}

/// # Errors
/// The refusal of a bind that the edge has answered with an error.
fn accepted(endpoint: &Endpoint, error: &str) -> Result<(), SessionError> {
    if error.is_empty() {
        return Ok(());
    }
    Err(SessionError::Bind {
        name: endpoint.plan.name.clone(),
        refusal: Refusal::parse(error),
    })
}

/// The record of an endpoint that is up.
pub(super) fn tell(endpoint: &Endpoint, bound: &Bound, first: bool) {
    let (name, addr, url) = (
        &endpoint.plan.name,
        endpoint.plan.shown_upstream(),
        &bound.url,
    );
    if first {
        tracing::info!(obj = "tunnels", name, addr, url, "started tunnel");
    } else {
        tracing::debug!(obj = "tunnels", name, addr, url, "started tunnel");
    }
}
