//! Endpoints that are started, changed and stopped while the agent runs (agent-api §6.2, §6.3).
//!
//! Once begun, a change is brought to its end, also where the client hangs up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use portway_mux::Session;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::definition::{self, Definition, Family};
use super::reply::{Problem, Reply, json_reply, no_content};
use super::{Web, mask, names, objects};
use crate::board::without_number;
use crate::endpoint::{Bound, Endpoint};
use crate::plan::EndpointPlan;
use crate::session::{Phase, SessionError};

/// How long a request waits for a session. Libraries give up after four seconds.
const SESSION: Duration = Duration::from_secs(3);
/// For a policy that is named by its URL.
const POLICY: Duration = Duration::from_secs(10);
const LARGEST_POLICY: usize = 1 << 20;
/// What the objects hold that is ours to say.
const READ_ONLY: [&str; 6] = ["uri", "id", "metrics", "public_url", "proto", "config"];

type Object = Map<String, Value>;

impl Web {
    pub(super) async fn create(
        self: Arc<Self>,
        body: Object,
        family: Family,
    ) -> Result<Reply, Problem> {
        to_its_end(async move {
            let mut wanted = self.read(body, family).await?;
            let name = wanted.name.take().unwrap_or_else(|| random_name(family));
            wanted.rename(&name);
            self.start(wanted, family).await
        })
        .await
    }

    pub(super) async fn update(
        self: Arc<Self>,
        name: String,
        mut body: Object,
    ) -> Result<Reply, Problem> {
        for key in READ_ONLY {
            body.remove(key);
        }
        if let Some(Value::String(text)) = body.get_mut("traffic_policy") {
            let known = self.agent.roster.get(&name);
            let known = known.map(|endpoint| endpoint.plan.traffic_policy.clone());
            // What was read has its credentials hidden; put back, it means what there is.
            match known.filter(|known| *text == mask::policy_text(known)) {
                Some(known) => *text = known,
                None if mask::has_mask(text) => {
                    return Err(Problem::definition(
                        Family::Endpoint,
                        format!(
                            "traffic_policy: {:?} stands for what is hidden; write that anew",
                            mask::MASK
                        ),
                    ));
                }
                None => {}
            }
        }
        to_its_end(async move {
            let mut wanted = self.read(body, Family::Endpoint).await?;
            if let Some(other) = wanted.name.replace(name.clone())
                && other != name
            {
                return Err(Problem::definition(
                    Family::Endpoint,
                    format!(
                        "the name {other:?} is not the one in the path; a name cannot be changed"
                    ),
                ));
            }
            wanted.rename(&name);
            // One change after the other: each finds what the last one has left.
            let _turn = self.changing.turn(&name).await;
            match self.agent.roster.get(&name) {
                Some(endpoint) => self.change(&endpoint, wanted).await,
                None => self.start(wanted, Family::Endpoint).await,
            }
        })
        .await
    }

    pub(super) async fn stop(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        path: String,
    ) -> Result<Reply, Problem> {
        to_its_end(async move {
            let agent = &self.agent;
            let bound = endpoint.bound();
            if !agent.roster.remove(&endpoint) {
                return Err(Problem::no_endpoint(&path, &endpoint.plan.name));
            }
            agent.board.unwanted(&endpoint.plan.name);
            if let Some(bound) = bound {
                agent.unbind(&bound.id).await;
                tracing::info!(
                    obj = "tunnels",
                    name = endpoint.plan.name,
                    url = bound.url,
                    "stopped tunnel"
                );
            }
            endpoint.end_soon();
            Ok(no_content())
        })
        .await
    }

    async fn start(&self, wanted: Definition, family: Family) -> Result<Reply, Problem> {
        let mut names = Vec::new();
        for plan in &wanted.plans {
            let taken = || {
                let text = format!("{} \"{}\" already exists", family.noun(), plan.name);
                Problem::definition(family, text)
            };
            names.push(self.agent.roster.reserve(&plan.name).ok_or_else(taken)?);
        }
        let prepare = |plan: &EndpointPlan| {
            Endpoint::new(plan.clone()).map_err(|error| Problem::definition(family, error.0))
        };
        // What is wrong with it is told before the session is waited for.
        let endpoints = wanted
            .plans
            .iter()
            .map(prepare)
            .collect::<Result<Vec<_>, _>>()?;
        let mux = self.session().await?;
        let mut started: Vec<(Arc<Endpoint>, Bound)> = Vec::new();
        for endpoint in endpoints {
            if let (Some((first, _)), true) = (started.first(), endpoint.plan.host_of.is_some()) {
                endpoint.follow(first);
            }
            let endpoint = Arc::new(endpoint);
            match self.agent.bind(&mux, &endpoint).await {
                Ok(bound) => started.push((endpoint, bound)),
                Err(error) => {
                    for (_, bound) in &started {
                        self.agent.unbind(&bound.id).await;
                    }
                    let error = refused(&error);
                    tracing::error!(
                        obj = "tunnels",
                        name = endpoint.plan.name,
                        err = error.cause(),
                        "failed to start tunnel"
                    );
                    return Err(error);
                }
            }
        }
        for (name, (endpoint, _)) in names.into_iter().zip(&started) {
            self.agent.board.wanted(
                &endpoint.plan.name,
                endpoint.plan.shown_upstream(),
                endpoint.is_http(),
            );
            name.fill(endpoint.clone());
        }
        // The plain one first, as others tell it.
        for (endpoint, bound) in started.iter().rev() {
            self.agent.started(endpoint, bound, true);
        }
        let (endpoint, bound) = &started[0];
        Ok(json_reply(
            StatusCode::CREATED,
            &object(family, endpoint, bound),
        ))
    }

    /// Gives a running endpoint other options. Its URL stays unless another is asked for.
    async fn change(&self, old: &Arc<Endpoint>, mut wanted: Definition) -> Result<Reply, Problem> {
        let refuse = |text: String| Problem::definition(Family::Endpoint, text);
        let (Some(mut plan), true) = (wanted.plans.pop(), wanted.plans.is_empty()) else {
            return Err(refuse(
                "schemes: a running endpoint has one; start another for the other".into(),
            ));
        };
        let Some(bound) = old.bound() else {
            return Err(not_ready());
        };
        let same_url = keeps_url(old, &bound, &mut plan, wanted.names_url);
        let new = if same_url {
            old.successor(plan, &bound)
                .map_err(|error| refuse(error.0))?
        } else {
            Endpoint::new(plan).map_err(|error| refuse(error.0))?
        };
        let new = Arc::new(new);
        let mut now = bound.clone();
        if !same_url || needs_bind(&old.plan, &new.plan) || !self.agent.routes(&bound.id) {
            let mux = self.session().await?;
            now = self
                .agent
                .bind(&mux, &new)
                .await
                .map_err(|error| refused(&error))?;
        }
        if !self.agent.roster.replace(old, new.clone()) {
            // Somebody has stopped it meanwhile.
            self.agent.unbind(&now.id).await;
            let path = names::uri("/api/endpoints/", &old.plan.name);
            return Err(Problem::no_endpoint(&path, &old.plan.name));
        }
        self.agent.reroute(&now.id, &new);
        let shown = new.plan.shown_upstream();
        self.agent.board.changed(&new.plan.name, &now.url, shown);
        if !same_url {
            self.agent.unbind(&bound.id).await;
            old.end_soon();
            self.agent.started(&new, &now, true);
        }
        Ok(json_reply(StatusCode::OK, &objects::endpoint(&new, &now)))
    }

    async fn read(&self, body: Object, family: Family) -> Result<Definition, Problem> {
        let refuse = |text| Problem::definition(family, text);
        // Options name files, and a file system may be slow.
        let read = tokio::task::spawn_blocking(move || definition::read(body, family)).await;
        let read = read.map_err(|error| Problem::internal(error.to_string()))?;
        let mut wanted = read.map_err(refuse)?;
        if let Some(url) = &wanted.policy_url {
            let text = self.policy(url).await.map_err(|cause| {
                refuse(format!("traffic_policy_url: cannot fetch {url}: {cause}"))
            })?;
            for plan in &mut wanted.plans {
                plan.traffic_policy.clone_from(&text);
            }
        }
        Ok(wanted)
    }

    /// The text of a policy that is named by its URL.
    async fn policy(&self, url: &str) -> Result<String, String> {
        let fetched = timeout(POLICY, self.agent.dialer.fetch(url, LARGEST_POLICY)).await;
        let body = fetched.map_err(|_| "no answer in time".to_owned())?;
        let body = body.map_err(|cause| without_number(&cause))?;
        String::from_utf8(body.to_vec()).map_err(|_| "this is no text".to_owned())
    }

    async fn session(&self) -> Result<Session, Problem> {
        let mut phase = self.agent.phase.subscribe();
        let online = phase.wait_for(|phase| matches!(phase, Phase::Online(_)));
        match timeout(SESSION, online).await {
            Ok(Ok(phase)) => match &*phase {
                Phase::Online(mux) => Ok(mux.clone()),
                Phase::Offline => Err(not_ready()),
            },
            _ => Err(not_ready()),
        }
    }
}

// === impl Definition ===

impl Definition {
    fn rename(&mut self, name: &str) {
        for plan in &mut self.plans {
            plan.name = match plan.plain_of() {
                Some(_) => EndpointPlan::plain_name(name),
                None => name.to_owned(),
            };
            if let Some(leader) = &mut plan.host_of {
                name.clone_into(leader);
            }
        }
    }
}

pub(super) fn object(family: Family, endpoint: &Endpoint, bound: &Bound) -> Value {
    match family {
        Family::Tunnel => objects::tunnel(endpoint, bound),
        Family::Endpoint => objects::endpoint(endpoint, bound),
    }
}

/// Whether a change leaves the URL as it is; then `plan` is made to ask for just that.
fn keeps_url(old: &Endpoint, bound: &Bound, plan: &mut EndpointPlan, named: bool) -> bool {
    let http = |proto: &str| matches!(proto, "http" | "https");
    if !named && (plan.proto == old.plan.proto || (http(&plan.proto) && http(&old.plan.proto))) {
        plan.proto.clone_from(&old.plan.proto);
        plan.url.clone_from(&old.plan.url);
        return true;
    }
    let label = |plan: &EndpointPlan| plan.opts.get("Subdomain").cloned();
    let same =
        plan.url == bound.url || (plan.url == old.plan.url && label(plan) == label(&old.plan));
    plan.proto == old.plan.proto && same
}

/// Whether the edge has to know of a change.
fn needs_bind(old: &EndpointPlan, new: &EndpointPlan) -> bool {
    let bindings = |plan: &EndpointPlan| {
        let usual = plan.bindings.is_empty();
        if usual {
            vec!["public".to_owned()]
        } else {
            plan.bindings.clone()
        }
    };
    bindings(old) != bindings(new)
        || old.pooling_enabled != new.pooling_enabled
        || old.traffic_policy != new.traffic_policy
        || old.proxy_protocol != new.proxy_protocol
        || old.upstream_protocol != new.upstream_protocol
        || old.opts != new.opts
}

fn not_ready() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        104,
        "ngrok is not yet ready to start tunnels",
    )
    .because("a successful ngrok tunnel session has not yet been established")
}

fn refused(error: &SessionError) -> Problem {
    let cause = match error {
        SessionError::Bind { refusal, .. } => refusal.to_string(),
        SessionError::Lost(_) => "session closed".to_owned(),
        other => other.to_string(),
    };
    Problem::new(StatusCode::BAD_GATEWAY, 103, "failed to start tunnel").because(cause)
}

/// Runs on, whoever waits for it.
async fn to_its_end(
    work: impl Future<Output = Result<Reply, Problem>> + Send + 'static,
) -> Result<Reply, Problem> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Problem::internal(error.to_string())))
}

fn random_name(family: Family) -> String {
    let id = super::random_id();
    format!("{}-{}", family.noun(), &id[..8])
}
