//! What there is to ask for (agent-api §4).

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::reply::{Problem, Reply, ok, with_type};
use super::{Web, names, objects};
use crate::endpoint::{Bound, Endpoint};

const READ: &str = "GET, HEAD";

/// Whether a request gets records of its own in the log: those of programs do.
pub(super) fn is_told(path: &str) -> bool {
    path == "/api" || (path.starts_with("/api/") && !path.starts_with("/api/ui/"))
}

impl Web {
    pub(super) async fn route(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Reply, Problem> {
        let (parts, _body) = request.into_parts();
        self.guard.check(&parts, || self.mirrored())?;
        let path = parts.uri.path();
        if let Some(name) = path
            .strip_prefix("/api/tunnels/")
            .filter(|name| !name.is_empty())
        {
            let (endpoint, bound) = self.find(name).ok_or_else(|| Problem::not_found(path))?;
            return match parts.method {
                Method::GET | Method::HEAD => Ok(ok(&objects::tunnel(&endpoint, &bound))),
                _ => Err(Problem::wrong_method(READ)),
            };
        }
        if let Some(name) = path
            .strip_prefix("/api/endpoints/")
            .filter(|name| !name.is_empty())
        {
            let (endpoint, bound) = self.find(name).ok_or_else(|| Problem::not_found(path))?;
            return match parts.method {
                Method::GET | Method::HEAD => Ok(ok(&objects::endpoint(&endpoint, &bound))),
                _ => Err(Problem::wrong_method(READ)),
            };
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
            "/api/tunnels" if reads => {
                let tunnels = self.running().into_iter();
                let tunnels: Vec<_> = tunnels
                    .map(|(endpoint, bound)| objects::tunnel(&endpoint, &bound))
                    .collect();
                Ok(ok(&json!({"tunnels": tunnels, "uri": "/api/tunnels"})))
            }
            "/api/endpoints" if reads => {
                let endpoints = self.running().into_iter();
                let endpoints: Vec<_> = endpoints
                    .map(|(endpoint, bound)| objects::endpoint(&endpoint, &bound))
                    .collect();
                Ok(ok(
                    &json!({"endpoints": endpoints, "uri": "/api/endpoints"}),
                ))
            }
            "/api" | "/api/status" | "/api/tunnels" | "/api/endpoints" => {
                Err(Problem::wrong_method(READ))
            }
            "" | "/inspect/http" | "/status" if reads => Ok(self.page()),
            "" | "/inspect/http" | "/status" => Err(Problem::wrong_method(READ)),
            _ => Err(Problem::not_found(path)),
        }
    }

    /// Endpoints that have a URL, in the order they were asked for.
    pub(super) fn running(&self) -> Vec<(Arc<Endpoint>, Bound)> {
        let endpoints = self.agent.roster.all().into_iter();
        endpoints
            .filter_map(|endpoint| endpoint.bound().map(|bound| (endpoint, bound)))
            .collect()
    }

    /// The running endpoint of a name in a path.
    fn find(&self, name: &str) -> Option<(Arc<Endpoint>, Bound)> {
        let find = |name: &str| self.agent.roster.get(&names::decode(name));
        let endpoint = find(name).or_else(|| find(name.strip_suffix('/')?))?;
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

    /// What people see who open the address in a browser.
    fn page(&self) -> Reply {
        let mut page = String::from(
            "<!doctype html><meta charset=\"utf-8\"><title>portway</title><h1>portway</h1><ul>\n",
        );
        for (endpoint, bound) in self.running() {
            let upstream = endpoint.plan.shown_upstream();
            for part in [
                "<li>",
                &escaped(&bound.url),
                " &rarr; ",
                &escaped(upstream),
                "\n",
            ] {
                page.push_str(part);
            }
        }
        page.push_str("</ul><p><a href=\"/api\">/api</a>\n");
        with_type(StatusCode::OK, "text/html; charset=utf-8", page)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
