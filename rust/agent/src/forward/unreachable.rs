//! What visitors of an http endpoint get when its upstream cannot be reached (agent-behaviour §5):
//! 502, with which upstream and why.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use portway_mux::any::AnyIo;
use portway_wire::Code;
use tokio::time::timeout;

use super::answer::{self, Body, Manner, whole};

/// How long the head of the request may take.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a body that is read for nothing, and how long that may take.
const SMALL_BODY: u64 = 64 * 1024;
const BODY: Duration = Duration::from_secs(1);
/// An edge of ours shows its own page instead; the token proves that no upstream wrote this.
const AGENT_ERROR: &str = "portway-agent-error";

/// The page of one failure.
pub(crate) struct Page {
    pub(crate) upstream: String,
    pub(crate) cause: String,
    /// The bind's token, where the edge is ours.
    pub(crate) token: Option<String>,
}

/// Answers the request that is in `stream`, and closes it.
pub(crate) async fn serve(stream: AnyIo, page: Page, http2: bool) {
    let manner = if http2 {
        Manner::Http2
    } else {
        Manner::Once(HEAD)
    };
    let told = move |request: Request<Incoming>| -> answer::Answer {
        let response = page.response(request.headers());
        Box::pin(async move {
            drop_body(request).await;
            Ok(response)
        })
    };
    // Whoever went away meanwhile needs no page.
    let _ = answer::serve(stream, manner, told).await;
}

/// Takes in a body that is small and on its way, so that the visitor's connection stays usable.
async fn drop_body(request: Request<Incoming>) {
    let waits = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if !waits
        && body
            .size_hint()
            .upper()
            .is_some_and(|length| length <= SMALL_BODY)
    {
        let _ = timeout(BODY, async {
            while let Some(Ok(_)) = body.frame().await {}
        })
        .await;
    }
}

// === impl Page ===

impl Page {
    /// As programs get it.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}\r\n\r\n{}\r\n",
            self.message(),
            Code::UPSTREAM_UNREACHABLE
        )
    }

    fn message(&self) -> String {
        format!(
            "The agent cannot reach the upstream {}: {}.",
            self.upstream, self.cause
        )
    }

    fn response(&self, request: &HeaderMap) -> Response<Body> {
        let has = |name, part: &str| {
            let value: Option<&HeaderValue> = request.get(name);
            value
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.contains(part))
        };
        let browser = has(header::ACCEPT, "text/html") && has(header::USER_AGENT, "Mozilla/");
        let (message, code) = (self.message(), Code::UPSTREAM_UNREACHABLE);
        let (kind, body) = if browser {
            let shown = message
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            let page = format!(
                "<!doctype html><meta charset=\"utf-8\"><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1><p>{shown}<p>{code}\n"
            );
            ("text/html; charset=utf-8", page)
        } else {
            ("text/plain; charset=utf-8", self.text())
        };
        let mut response = Response::new(whole(body));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(token) = &self.token
            && let Ok(value) = HeaderValue::from_str(&format!("{code} {token} {}", plain(&message)))
        {
            headers.insert(AGENT_ERROR, value);
        }
        response
    }
}

/// What a header can hold.
fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_ascii() && !letter.is_ascii_control() {
                letter
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_which_upstream_and_why() {
        let page = Page {
            upstream: "http://localhost:1".into(),
            cause: "connection refused".into(),
            token: Some("t0k".into()),
        };
        let response = page.response(&HeaderMap::new());
        assert_eq!(response.status(), 502);
        assert_eq!(
            response.headers()["portway-agent-error"],
            "ERR_NGROK_8012 t0k The agent cannot reach the upstream http://localhost:1: connection refused."
        );
        let hosted = Page {
            token: None,
            ..page
        };
        assert!(
            !hosted
                .response(&HeaderMap::new())
                .headers()
                .contains_key("portway-agent-error")
        );
    }
}
