//! The inspection page (agent-api §8), and what it asks of the agent beyond the interface that
//! programs use: its own routes are under `/api/ui/`.
//!
//! - [`assets`]: its files. [`status`]: the agent and its configuration.
//! - [`events`]: the live list. [`filter`], [`summary`]: what is in it. [`record`]: one of them in
//!   full. [`again`]: one of them, sent again.

mod again;
mod assets;
mod events;
mod filter;
mod record;
mod status;
mod summary;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use self::filter::Filter;
use super::reply::{Problem, Reply, ok, with_type};
use super::route::{READ, json_object_within};
use super::{Web, names};

/// Pages that look at the same time; each keeps a connection.
pub(super) const LISTENERS: usize = 32;

/// Whether a path is of the page: its files, or what only it asks for.
pub(super) fn is_of(path: &str) -> bool {
    matches!(
        path,
        "/" | "/inspect/http" | "/inspect/http/" | "/status" | "/status/"
    ) || path.starts_with("/static/")
        || path.starts_with("/api/ui/")
}

impl Web {
    pub(super) async fn ui(
        self: &Arc<Self>,
        parts: &Parts,
        body: Incoming,
    ) -> Result<Reply, Problem> {
        let path = parts.uri.path();
        let query = parts.uri.query();
        if path == "/api/ui/replay" {
            if parts.method != Method::POST {
                return Err(Problem::wrong_method("POST"));
            }
            let wanted = json_object_within(&parts.headers, body, again::LARGEST).await?;
            return self.again(&wanted).await;
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Problem::wrong_method(READ));
        }
        if let Some(file) = path.strip_prefix("/static/") {
            return assets::file(file, &parts.headers);
        }
        if let Some(rest) = path.strip_prefix("/api/ui/requests/") {
            return self.kept(rest).ok_or_else(|| Problem::no_request(path));
        }
        match path {
            "/" => Ok(moved("/inspect/http")),
            "/api/ui/status" => Ok(ok(&self.status_page())),
            "/api/ui/events" => self.events(query),
            "/api/ui/requests" => self.summaries(query).await,
            path if path.starts_with("/api/") => Err(Problem::no_route(path)),
            _ => assets::page(&parts.headers),
        }
    }

    /// The lines that a filter wants, the newest first.
    async fn summaries(&self, query: Option<&str>) -> Result<Reply, Problem> {
        let filter = Filter::read(query).map_err(Problem::request)?;
        let mut lines = Vec::<Value>::new();
        if let Some(store) = self.captured() {
            for some in store.list(None, usize::MAX).chunks(events::BATCH / 10) {
                let wanted = some.iter();
                lines.extend(wanted.filter_map(|entry| summary::wanted(store, entry, &filter)));
                // Visitors come first.
                tokio::task::yield_now().await;
            }
        }
        Ok(ok(&json!({"requests": lines})))
    }

    /// `ID`, or one side's body: `ID/request`, `ID/response`.
    fn kept(&self, rest: &str) -> Option<Reply> {
        let store = self.captured()?;
        let (id, side) = rest.split_once('/').unwrap_or((rest, ""));
        let entry = store.find(&names::decode(id))?;
        if side.is_empty() {
            record::object(store, &entry).map(|object| ok(&object))
        } else {
            record::body(&entry, side)
        }
    }
}

fn moved(to: &'static str) -> Reply {
    let mut reply = with_type(StatusCode::FOUND, "text/html; charset=utf-8", to);
    let headers = reply.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static(to));
    reply
}
