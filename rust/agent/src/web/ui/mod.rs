//! The inspection page (agent-api §8), and what it asks of the agent beyond the interface that
//! programs use: its own routes are under `/api/ui/`.
//!
//! - [`assets`]: its files. [`status`], [`mask`]: the agent and its configuration.

mod assets;
mod mask;
mod status;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use super::Web;
use super::reply::{Problem, Reply, ok, with_type};
use super::route::READ;

/// Whether a path is of the page: its files, or what only it asks for.
pub(super) fn is_of(path: &str) -> bool {
    matches!(
        path,
        "/" | "/inspect/http" | "/inspect/http/" | "/status" | "/status/"
    ) || path.starts_with("/static/")
        || path.starts_with("/api/ui/")
}

impl Web {
    pub(super) fn ui(&self, parts: &Parts) -> Result<Reply, Problem> {
        let path = parts.uri.path();
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Problem::wrong_method(READ));
        }
        if let Some(file) = path.strip_prefix("/static/") {
            return assets::file(file, &parts.headers);
        }
        match path {
            "/" => Ok(moved("/inspect/http")),
            "/api/ui/status" => Ok(ok(&self.status_page())),
            path if path.starts_with("/api/") => Err(Problem::not_found(path)),
            _ => assets::page(&parts.headers),
        }
    }
}

fn moved(to: &'static str) -> Reply {
    let mut reply = with_type(StatusCode::FOUND, "text/html; charset=utf-8", to);
    let headers = reply.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static(to));
    reply
}
