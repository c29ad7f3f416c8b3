//! What there is to ask for (agent-api §4).

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::definition::Family;
use super::endpoints::object;
use super::reply::{Problem, Reply, ok};
use super::{Web, names, objects, requests, ui};
use crate::endpoint::{Bound, Endpoint};

pub(super) const READ: &str = "GET, HEAD";
/// Bytes of a request's body.
const LARGEST: usize = 1 << 20;
const BODY: Duration = Duration::from_secs(10);

/// Whether a request gets records of its own in the log: those of programs do.
pub(super) fn is_told(path: &str) -> bool {
    path == "/api" || (path.starts_with("/api/") && !path.starts_with("/api/ui/"))
}

impl Web {
    pub(super) async fn route(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Reply, Problem> {
        let (parts, body) = request.into_parts();
        self.guard.check(&parts, || self.mirrored())?;
        let path = parts.uri.path();
        for (base, family) in [
            ("/api/tunnels", Family::Tunnel),
            ("/api/endpoints", Family::Endpoint),
        ] {
            match below(path, base) {
                Some("") => return self.all(family, &parts, body).await,
                Some(name) => return self.one(family, name, &parts, body).await,
                None => {}
            }
        }
        match below(path, requests::BASE) {
            Some("") => return self.requests(&parts, body).await,
            Some(id) => return self.request(id.strip_suffix('/').unwrap_or(id), &parts),
            None => {}
        }
        if ui::is_of(path) {
            return self.ui(&parts, body).await;
        }
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        match path.strip_suffix('/').unwrap_or(path) {
            "/api" if reads => Ok(ok(&json!({
                "uri": "/api",
                "status_uri": "/api/status",
                "tunnels_uri": "/api/tunnels",
                "endpoints_uri": "/api/endpoints",
                "requests_uri": "/api/requests/http",
            }))),
            "/api/status" if reads => Ok(ok(&objects::status(&self.agent.board))),
            "/api" | "/api/status" | "/api/tunnels" | "/api/endpoints" => {
                Err(Problem::wrong_method(READ))
            }
            _ => Err(Problem::no_route(path)),
        }
    }

    /// `/api/tunnels` and `/api/endpoints`.
    async fn all(
        self: &Arc<Self>,
        family: Family,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Reply, Problem> {
        match parts.method {
            Method::GET | Method::HEAD => {
                let running = self.running().into_iter();
                let objects: Vec<_> = running
                    .map(|(endpoint, bound)| object(family, &endpoint, &bound))
                    .collect();
                Ok(ok(&match family {
                    Family::Tunnel => json!({"tunnels": objects, "uri": "/api/tunnels"}),
                    Family::Endpoint => json!({"endpoints": objects, "uri": "/api/endpoints"}),
                }))
            }
            Method::POST => {
                let body = json_object(&parts.headers, body).await?;
                self.clone().create(body, family).await
            }
            _ => Err(Problem::wrong_method("GET, HEAD, POST")),
        }
    }

    /// One of them, by its name.
    async fn one(
        self: &Arc<Self>,
        family: Family,
        name: &str,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Reply, Problem> {
        let path = parts.uri.path();
        let name = self.named(name);
        let found = || {
            self.find(&name)
                .ok_or_else(|| Problem::no_endpoint(path, &name))
        };
        match parts.method {
            Method::GET | Method::HEAD => {
                let (endpoint, bound) = found()?;
                Ok(ok(&object(family, &endpoint, &bound)))
            }
            // Some clients send a body here; it says nothing.
            Method::DELETE => self.clone().stop(found()?.0, path.to_owned()).await,
            Method::PUT if family == Family::Endpoint => {
                let body = json_object(&parts.headers, body).await?;
                self.clone().update(name, body).await
            }
            _ if family == Family::Tunnel => Err(Problem::wrong_method("GET, HEAD, DELETE")),
            _ => Err(Problem::wrong_method("GET, HEAD, PUT, DELETE")),
        }
    }

    /// Endpoints that have a URL, in the order they were asked for.
    pub(super) fn running(&self) -> Vec<(Arc<Endpoint>, Bound)> {
        let endpoints = self.agent.roster.all().into_iter();
        endpoints
            .filter_map(|endpoint| endpoint.bound().map(|bound| (endpoint, bound)))
            .collect()
    }

    /// The name in a path. A slash behind it belongs to it only where something is called that.
    fn named(&self, text: &str) -> String {
        let whole = names::decode(text);
        match text.strip_suffix('/') {
            Some(name) if self.agent.roster.get(&whole).is_none() => names::decode(name),
            _ => whole,
        }
    }

    /// The running endpoint of a name.
    fn find(&self, name: &str) -> Option<(Arc<Endpoint>, Bound)> {
        let endpoint = self.agent.roster.get(name)?;
        let bound = endpoint.bound()?;
        Some((endpoint, bound))
    }

    /// Public URLs whose upstream is this listener.
    fn mirrored(&self) -> Vec<String> {
        let running = self.running().into_iter();
        running
            .filter(|(endpoint, _)| {
                let place = endpoint.upstream.host();
                place.is_some_and(|(host, port)| self.guard.is_here(host, port))
            })
            .map(|(_, bound)| bound.url)
            .collect()
    }
}

/// What stands behind `base` in a path: nothing, where it is of all of them, or a name.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(base)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

/// The object in a request's body.
pub(super) async fn json_object(
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Map<String, Value>, Problem> {
    json_object_within(headers, body, LARGEST).await
}

/// The same, of so many bytes at most.
pub(super) async fn json_object_within(
    headers: &HeaderMap,
    body: Incoming,
    most: usize,
) -> Result<Map<String, Value>, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    // Forms are what pages of other sites can send unasked.
    if !body.is_end_stream()
        && !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
    {
        return Err(Problem::not_json());
    }
    let collected = timeout(BODY, Limited::new(body, most).collect()).await;
    let bytes = collected
        .map_err(|_| Problem::body("the body did not come in time"))?
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::too_large(most)
            } else {
                Problem::body("the request ended before its body did")
            }
        })?
        .to_bytes();
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::body("expected a JSON object")),
        Err(error) => Err(Problem::body(format!("this is not JSON: {error}"))),
    }
}
