//! `file://` upstreams: a folder served over HTTP/1.1, or HTTP/2 where the edge was told so (agent-behaviour §4.4).
//!
//! GET and HEAD only; index pages, single ranges, validators. What a request path may name is
//! decided in [`path`]; what is sent about a file in [`entity`]; a folder's page in [`listing`].

mod entity;
mod listing;
mod path;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use portway_mux::any::AnyIo;

use self::path::Refused;
use super::answer::{self, Body, Manner, whole};

/// A folder that may be served, and how.
#[derive(Debug)]
pub(crate) struct FileRoot {
    /// Absolute, symbolic links resolved: what a request may reach begins with this.
    folder: PathBuf,
    /// Whether a folder without `index.html` shows its entries.
    listing: bool,
}

// === impl FileRoot ===

impl FileRoot {
    /// Takes the folder of a `file://` upstream.
    ///
    /// # Errors
    /// Where `folder` does not exist, cannot be read or is no folder.
    pub(crate) fn open(folder: &Path, listing: bool) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        if !folder.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder"));
        }
        Ok(Self { folder, listing })
    }
}

/// Answers every request that comes over `stream` until the edge closes it. `http2`: the edge begins with its preface.
///
/// # Errors
/// As [`answer::serve`]; nothing that concerns one file.
pub(crate) async fn serve(
    stream: AnyIo,
    root: Arc<FileRoot>,
    http2: bool,
) -> Result<(), hyper::Error> {
    let manner = if http2 { Manner::Http2 } else { Manner::Kept };
    let found = move |request| -> answer::Answer {
        let root = Arc::clone(&root);
        Box::pin(async move { Ok(answer(&root, request).await) })
    };
    answer::serve(stream, manner, found).await
}

async fn answer(root: &Arc<FileRoot>, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are served here",
        );
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    // The file system may be slow (network mounts); nothing of it runs on the session's thread.
    let (head, _body) = request.into_parts();
    let root = Arc::clone(root);
    let found = tokio::task::spawn_blocking(move || find(&root, &head)).await;
    found.unwrap_or_else(|_| {
        text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the file could not be read",
        )
    })
}

/// Decides what a request gets. Blocks on the file system.
fn find(root: &FileRoot, head: &http::request::Parts) -> Response<Body> {
    let wanted = match path::resolve(&root.folder, head.uri.path()) {
        Ok(path) => path,
        Err(refused) => return refusal(refused),
    };
    if !wanted.is_dir() {
        if head.uri.path().ends_with('/') {
            return refusal(Refused::Io(io::ErrorKind::NotADirectory.into()));
        }
        return entity::file(&wanted, head).unwrap_or_else(|error| refusal(Refused::Io(error)));
    }
    if !head.uri.path().ends_with('/') {
        return slash(head);
    }
    match path::inside(&root.folder, &wanted.join("index.html")) {
        Ok(index) if index.is_file() => {
            entity::file(&index, head).unwrap_or_else(|error| refusal(Refused::Io(error)))
        }
        Err(outside @ Refused::Outside) => refusal(outside),
        _ if root.listing => match listing::page(&wanted, head.uri.path()) {
            Ok(page) => html(page),
            Err(error) => refusal(Refused::Io(error)),
        },
        _ => text(
            StatusCode::FORBIDDEN,
            "this folder has no index.html, and listings are off",
        ),
    }
}

/// Sends the visitor to the form with a slash, so that relative links in the page work.
fn slash(head: &http::request::Parts) -> Response<Body> {
    let query = head
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    // One leading slash only: `//host/` would be another host's address.
    let place = format!("/{}/{query}", head.uri.path().trim_start_matches('/'));
    let mut moved = text(StatusCode::MOVED_PERMANENTLY, "moved");
    if let Ok(place) = HeaderValue::try_from(place) {
        moved.headers_mut().insert(LOCATION, place);
    }
    moved
}

fn refusal(refused: Refused) -> Response<Body> {
    match refused {
        Refused::Malformed => text(StatusCode::BAD_REQUEST, "this path is not allowed"),
        Refused::Outside => text(StatusCode::FORBIDDEN, "this path leads out of the folder"),
        Refused::Io(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                text(StatusCode::NOT_FOUND, "not found")
            }
            io::ErrorKind::PermissionDenied => {
                text(StatusCode::FORBIDDEN, "the agent may not read this file")
            }
            _ => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the file could not be read",
            ),
        },
    }
}

fn text(status: StatusCode, message: &'static str) -> Response<Body> {
    plain(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(message.as_bytes()),
    )
}

fn html(page: String) -> Response<Body> {
    plain(
        StatusCode::OK,
        "text/html; charset=utf-8",
        Bytes::from(page),
    )
}

fn plain(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
