//! Errors as visitors see them (edge.md §5): a page for browsers, JSON for those who ask for it,
//! text for everybody else. The code is in the `ngrok-error-code` header and, once, in the body.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use portway_policy::Answer;
use portway_wire::Code;
use serde_json::json;

use super::body::Body;
use super::fields::{ERROR_CODE, put, put_field};

/// An error in the words of the table, or with words of its own.
pub(super) fn error(code: Code, message: impl Into<String>) -> Answer {
    Answer {
        status: code.status().unwrap_or(502),
        code: Some(code),
        header: None,
        message: message.into(),
    }
}

/// A fault of the request itself.
pub(super) fn bad_request(message: &str) -> Answer {
    plain(400, message)
}

/// An answer that is no error of the table.
pub(super) fn plain(status: u16, message: &str) -> Answer {
    Answer {
        status,
        code: None,
        header: None,
        message: message.to_owned(),
    }
}

/// The response for an answer, in the form this visitor reads.
pub(super) fn response(answer: &Answer, request: &HeaderMap) -> Response<Body> {
    let (kind, body) = content(answer, request);
    headers(answer, kind).map(|()| Body::whole(Bytes::from(body)))
}

/// The type of a body, and the body.
fn content(answer: &Answer, request: &HeaderMap) -> (&'static str, String) {
    match form(request) {
        Form::Html => ("text/html; charset=utf-8", html(answer)),
        Form::Json => ("application/json", json_text(answer)),
        Form::Text => ("text/plain; charset=utf-8", text(answer)),
    }
}

fn headers(answer: &Answer, kind: &'static str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(code) = answer.code
        && let Ok(value) = HeaderValue::from_str(&code.to_string())
    {
        headers.insert(ERROR_CODE, value);
    }
    if let Some((name, value)) = &answer.header {
        headers.insert(name, value.clone());
    }
    response
}

/// The same response as it is sent in HTTP/1.1. `to_head`: without its body. `last`: nothing
/// follows it.
pub(super) fn http1(answer: &Answer, request: &HeaderMap, to_head: bool, last: bool) -> Bytes {
    let (kind, body) = content(answer, request);
    let (head, ()) = headers(answer, kind).into_parts();
    let mut out = BytesMut::with_capacity(512 + body.len());
    let reason = head.status.canonical_reason().unwrap_or_default();
    let now = httpdate::fmt_http_date(SystemTime::now());
    put(
        &mut out,
        &["HTTP/1.1 ", head.status.as_str(), " ", reason, "\r\n"],
    );
    for (name, value) in &head.headers {
        put_field(&mut out, name.as_str(), value.as_bytes());
    }
    let length = body.len().to_string();
    put_field(&mut out, header::CONTENT_LENGTH.as_str(), length.as_bytes());
    put_field(&mut out, header::DATE.as_str(), now.as_bytes());
    if last {
        put_field(&mut out, header::CONNECTION.as_str(), b"close");
    }
    out.extend_from_slice(b"\r\n");
    if !to_head {
        out.extend_from_slice(body.as_bytes());
    }
    out.freeze()
}

#[derive(Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

fn form(request: &HeaderMap) -> Form {
    let has = |name, part: &str| {
        request
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .is_some_and(|value| value.contains(part))
    };
    if has(header::ACCEPT, "text/html") && has(header::USER_AGENT, "Mozilla/") {
        Form::Html
    } else if has(header::ACCEPT, "application/json") {
        Form::Json
    } else {
        Form::Text
    }
}

fn text(answer: &Answer) -> String {
    match answer.code {
        Some(code) => format!("{}\r\n\r\n{code}\r\n", answer.message),
        None => format!("{}\r\n", answer.message),
    }
}

fn json_text(answer: &Answer) -> String {
    let code = answer.code.map(|code| code.to_string());
    json!({"error_code": code, "status_code": answer.status, "msg": answer.message, "details": {}})
        .to_string()
}

fn html(answer: &Answer) -> String {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let code = answer
        .code
        .map(|code| format!("<p class=code>{code}</p>"))
        .unwrap_or_default();
    include_str!("page.html")
        .replace("{{status}}", status.as_str())
        .replace("{{title}}", status.canonical_reason().unwrap_or("Error"))
        .replace("{{code}}", &code)
        .replace("{{message}}", &escape(&answer.message))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &'static str, agent: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        headers
    }

    #[test]
    fn everybody_gets_what_they_read() {
        let browser = headers("text/html,*/*", "Mozilla/5.0");
        assert_eq!(form(&browser), Form::Html);
        assert_eq!(form(&headers("text/html", "curl/8")), Form::Text);
        assert_eq!(form(&headers("application/json", "curl/8")), Form::Json);
        let answer = error(Code::OFFLINE, "<b> is offline.");
        assert_eq!(text(&answer), "<b> is offline.\r\n\r\nERR_NGROK_3200\r\n");
        let page = html(&answer);
        assert!(page.contains("&lt;b&gt; is offline.") && !page.contains("{{"));
        assert_eq!(page.matches("ERR_NGROK_3200").count(), 1);
        let response = response(&answer, &browser);
        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["ngrok-error-code"]
            ),
            (404, &HeaderValue::from_static("ERR_NGROK_3200"))
        );
    }
}
