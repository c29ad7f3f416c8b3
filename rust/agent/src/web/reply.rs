//! Answers of the local interface (agent-api §3): JSON objects, also where something is wrong.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};

use super::definition::Family;
use crate::capture::replay::ReplayError;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Reply = Response<Body>;

/// What keeps a request from being done; becomes an error object.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: u32,
    /// Short, and always the same for its code.
    message: &'static str,
    details: Map<String, Value>,
    headers: Box<HeaderMap>,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            details: Map::new(),
            headers: Box::default(),
        }
    }

    pub(super) fn because(mut self, cause: impl Into<String>) -> Self {
        self.details.insert("err".into(), cause.into().into());
        self
    }

    /// The cause, as it is told.
    pub(super) fn cause(&self) -> &str {
        let cause = self.details.get("err").and_then(Value::as_str);
        cause.unwrap_or_default()
    }

    pub(super) fn internal(cause: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 100, "internal error").because(cause)
    }

    /// A definition that cannot stand.
    pub(super) fn definition(family: Family, cause: impl Into<String>) -> Self {
        let message = match family {
            Family::Tunnel => "invalid tunnel configuration",
            Family::Endpoint => "invalid endpoint configuration",
        };
        Self::new(StatusCode::BAD_REQUEST, 102, message).because(cause)
    }

    /// No such route, name or id; which of them is told beside it.
    pub(super) fn not_found(path: &str) -> Self {
        let mut problem = Self::new(StatusCode::NOT_FOUND, 100, "not found");
        problem.details.insert("path".into(), path.into());
        problem
    }

    pub(super) fn no_route(path: &str) -> Self {
        Self::not_found(path).because("there is nothing at this path; /api names what there is")
    }

    pub(super) fn no_endpoint(path: &str, name: &str) -> Self {
        Self::not_found(path).because(format!("no endpoint is called {name:?}"))
    }

    pub(super) fn no_request(path: &str) -> Self {
        Self::not_found(path).because(ReplayError::NoRequest.to_string())
    }

    pub(super) fn wrong_method(allowed: &'static str) -> Self {
        let mut problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, 100, "method not allowed")
            .because(format!("allowed here: {allowed}"));
        problem
            .headers
            .insert(header::ALLOW, HeaderValue::from_static(allowed));
        problem
    }

    /// A query or a header that cannot stand.
    pub(super) fn request(cause: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 100, "invalid request").because(cause)
    }

    pub(super) fn body(cause: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 101, "invalid request body").because(cause)
    }

    pub(super) fn too_large(most: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, 100, "request body too large")
            .because(format!("a body has at most {most} bytes"))
    }

    pub(super) fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            100,
            "unsupported content type",
        )
        .because("send the body as application/json")
    }

    /// As much is being done as can be.
    pub(super) fn busy(cause: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 100, "busy").because(cause)
    }

    pub(super) fn forbidden(cause: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, 100, "forbidden").because(cause)
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let object = json!({
            "error_code": problem.code,
            "status_code": problem.status.as_u16(),
            "msg": problem.message,
            "details": problem.details,
        });
        let mut reply = json_reply(problem.status, &object);
        reply.headers_mut().extend(*problem.headers);
        reply
    }
}

pub(super) fn json_reply(status: StatusCode, object: &Value) -> Reply {
    let mut text = object.to_string();
    text.push('\n');
    with_type(status, "application/json", text)
}

pub(super) fn ok(object: &Value) -> Reply {
    json_reply(StatusCode::OK, object)
}

pub(super) fn no_content() -> Reply {
    let mut reply = Response::new(Full::default().boxed_unsync());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).boxed_unsync());
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
