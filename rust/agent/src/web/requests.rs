//! Captured requests (agent-api §5.4, §6.4): the list, one of them, one more time, none at all.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Map, Value, json};

use super::reply::{Problem, Reply, no_content, ok};
use super::route::json_object;
use super::{Web, names};
use crate::capture::replay::{Edits, ReplayError, replay};
use crate::capture::{Entry, Exchange, Message, State, Store};

pub(super) const BASE: &str = "/api/requests/http";

impl Web {
    /// `/api/requests/http`.
    pub(super) async fn requests(&self, parts: &Parts, body: Incoming) -> Result<Reply, Problem> {
        match parts.method {
            Method::GET | Method::HEAD => {
                let query = Query::read(parts.uri.query().unwrap_or_default())?;
                let store = self.captured();
                let found = store.map(|store| store.list(query.endpoint.as_deref(), query.most));
                Ok(list(store.cloned(), found.unwrap_or_default()))
            }
            Method::POST => {
                let object = json_object(&parts.headers, body).await?;
                self.send_again(&object).await
            }
            Method::DELETE => {
                if let Some(store) = self.captured() {
                    store.clear();
                }
                Ok(no_content())
            }
            _ => Err(Problem::wrong_method("GET, HEAD, POST, DELETE")),
        }
    }

    /// One of them.
    pub(super) fn request(&self, id: &str, parts: &Parts) -> Result<Reply, Problem> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Problem::wrong_method("GET, HEAD"));
        }
        let found = self.captured().and_then(|store| {
            let entry = store.find(&names::decode(id))?;
            object(store, &entry)
        });
        let missing = || Problem::no_request(parts.uri.path());
        found.map(|object| ok(&object)).ok_or_else(missing)
    }

    /// Where they are kept; nothing: nowhere.
    pub(super) fn captured(&self) -> Option<&Arc<Store>> {
        self.agent.forwarder.captured.as_ref()
    }

    async fn send_again(&self, wanted: &Map<String, Value>) -> Result<Reply, Problem> {
        let Some(id) = wanted.get("id").and_then(Value::as_str) else {
            return Err(Problem::request(
                "id: expected the id of a captured request",
            ));
        };
        let endpoint = match wanted.get("tunnel_name") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => {
                return Err(Problem::request(
                    "tunnel_name: expected the name of an endpoint",
                ));
            }
        };
        let edits = Edits {
            endpoint,
            ..Edits::default()
        };
        match replay(&self.agent, id, edits).await {
            Ok(_) => Ok(no_content()),
            Err(error) => Err(not_sent(&error, id)),
        }
    }
}

/// What is told of a replay that cannot be.
pub(super) fn not_sent(error: &ReplayError, id: &str) -> Problem {
    let text = error.to_string();
    match error {
        ReplayError::NoRequest => Problem::not_found(&format!("{BASE}/{id}")).because(text),
        ReplayError::NoEndpoint(name) => {
            Problem::not_found(&names::uri("/api/tunnels/", name)).because(text)
        }
        ReplayError::Refused(_) => Problem::request(text),
        ReplayError::TooMany => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, 100, "busy").because(text)
        }
    }
}

/// What a list is asked for.
struct Query {
    endpoint: Option<String>,
    most: usize,
}

// === impl Query ===

impl Query {
    fn read(text: &str) -> Result<Self, Problem> {
        let mut query = Self {
            endpoint: None,
            most: usize::MAX,
        };
        for (key, value) in names::pairs(text) {
            match key {
                "limit" => {
                    let most = value.parse().ok().filter(|most| *most >= 1);
                    let refused = || {
                        Problem::request(format!(
                            "limit: expected a number from 1 on, found {value:?}"
                        ))
                    };
                    query.most = most.ok_or_else(refused)?;
                }
                "tunnel_name" => query.endpoint = Some(value),
                _ => {}
            }
        }
        Ok(query)
    }
}

/// The answer, made as it is sent: all of it may be as large as the store.
fn list(store: Option<Arc<Store>>, entries: Vec<Arc<Entry>>) -> Reply {
    let mut first = true;
    let objects = entries.into_iter().filter_map(move |entry| {
        let object = object(store.as_ref()?, &entry)?.to_string();
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        Some(Bytes::from(format!("{comma}{object}")))
    });
    let begin = Bytes::from(format!("{{\"uri\":{BASE:?},\"requests\":["));
    let pieces = std::iter::once(begin)
        .chain(objects)
        .chain(std::iter::once(Bytes::from_static(b"]}\n")));
    let frames = stream::iter(pieces).then(|piece| async {
        // Visitors come first.
        tokio::task::yield_now().await;
        Ok(Frame::data(piece))
    });
    let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

/// One of them as it is told; nothing once it had to go.
pub(super) fn object(store: &Store, entry: &Entry) -> Option<Value> {
    let exchange = entry.look()?;
    let id = store.text(entry.id);
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| {
        object.insert(key.into(), value);
    };
    set("uri", format!("{BASE}/{id}").into());
    set("id", id.into());
    set("tunnel_name", (*entry.endpoint).into());
    let visitor = entry.visitor.map(|visitor| visitor.to_string());
    set("remote_addr", visitor.unwrap_or_default().into());
    set("start", local_time(entry.start).into());
    set("duration", nanos(exchange.duration()).into());
    set("request", request(&exchange));
    set("response", response(&exchange));
    set("state", state(exchange.state).into());
    if let Some(note) = exchange.note {
        set("note", note.into());
    }
    if let Some(original) = entry.replay_of {
        set("replay_of", store.text(original).into());
    }
    Some(Value::Object(object))
}

fn request(exchange: &Exchange) -> Value {
    let message = &exchange.request;
    let (method, target) = message.asked();
    let mut object = Map::new();
    object.insert("method".into(), method.into());
    object.insert("proto".into(), message.protocol().into());
    object.insert("uri".into(), target.into());
    content(&mut object, message, exchange.switched);
    Value::Object(object)
}

fn response(exchange: &Exchange) -> Value {
    let Some(message) = &exchange.response else {
        return Value::Null;
    };
    let (code, reason) = message.status();
    let known = StatusCode::from_u16(code).ok();
    let reason = match known.and_then(|code| code.canonical_reason()) {
        Some(usual) if reason.is_empty() => usual,
        _ => reason,
    };
    let mut object = Map::new();
    object.insert(
        "status".into(),
        format!("{code} {reason}").trim_end().into(),
    );
    object.insert("status_code".into(), code.into());
    object.insert("proto".into(), message.protocol().into());
    content(&mut object, message, exchange.switched);
    Value::Object(object)
}

/// What both have.
fn content(object: &mut Map<String, Value>, message: &Message, switched: bool) {
    let mut headers = Map::new();
    for (name, value) in message.headers() {
        let value = String::from_utf8_lossy(value).into_owned();
        let values = headers.entry(canonical(name)).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(value.into());
        }
    }
    object.insert("headers".into(), Value::Object(headers));
    let body: &[u8] = if switched { b"" } else { &message.body };
    let raw = [&message.head[..], body, &message.trailers].concat();
    object.insert("raw".into(), STANDARD.encode(raw).into());
    object.insert("size".into(), message.length.into());
    object.insert("truncated".into(), message.truncated.into());
    if switched {
        object.insert("stream".into(), pieces(message));
    }
}

/// What was said piece by piece, with the time of each.
pub(super) fn pieces(message: &Message) -> Value {
    let pieces = message.stream();
    pieces
        .map(|(at, piece)| json!({"at": nanos(at), "raw": STANDARD.encode(piece)}))
        .collect()
}

pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Answered => "answered",
        State::Ended => "ended",
        State::Broken => "broken",
    }
}

pub(super) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// With the offset of this place.
pub(super) fn local_time(time: jiff::Timestamp) -> String {
    let local = time.to_zoned_datetime(jiff::tz::TimeZone::system());
    local.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

/// A name as it is usually written: `content-type` is `Content-Type`.
fn canonical(name: &[u8]) -> String {
    let mut first = true;
    let letters = name.iter().map(|byte| {
        let letter = if first {
            byte.to_ascii_uppercase()
        } else {
            byte.to_ascii_lowercase()
        };
        first = letter == b'-';
        char::from(letter)
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_usual() {
        for (name, wanted) in [
            ("x-a--b", "X-A--B"),
            ("HOST", "Host"),
            ("www-Authenticate", "Www-Authenticate"),
        ] {
            assert_eq!(canonical(name.as_bytes()), wanted);
        }
    }

    #[test]
    fn a_list_can_be_asked_for_in_part() {
        let query = Query::read("limit=3&tunnel_name=a+b%2Bc&more").unwrap();
        assert_eq!((query.most, query.endpoint.as_deref()), (3, Some("a b+c")));
        for wrong in ["limit=0", "limit=-1", "limit=x", "limit="] {
            assert!(Query::read(wrong).is_err(), "{wrong}");
        }
    }
}
