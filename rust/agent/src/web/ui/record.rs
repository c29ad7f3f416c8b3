//! A captured request in full, for the page: with what the interface for programs has no place for.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::super::reply::{Reply, with_type};
use super::super::requests::{local_time, nanos, pieces};
use crate::capture::{Entry, Exchange, Message, Store};

/// Nothing once it had to go.
pub(super) fn object(store: &Store, entry: &Entry) -> Option<Value> {
    let exchange = entry.look()?;
    let (method, uri) = exchange.request.asked();
    let mut request = message(&exchange, &exchange.request);
    request.insert("method".into(), method.into());
    request.insert("uri".into(), uri.into());
    let response = exchange.response.as_ref().map(|response| {
        let (code, reason) = response.status();
        let mut object = message(&exchange, response);
        object.insert(
            "status".into(),
            format!("{code} {reason}").trim_end().into(),
        );
        object.insert("status_code".into(), code.into());
        object
    });
    let mut object = json!({
        "id": store.text(entry.id),
        "tunnel_name": *entry.endpoint,
        "remote_addr": entry.visitor.map(|ip| ip.to_string()),
        "start": local_time(entry.start),
        "duration": nanos(exchange.duration()),
        "request": request,
        "response": response,
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[key] = value;
        }
    };
    set(
        "first_byte",
        exchange.first.map(|first| nanos(first).into()),
    );
    set("note", exchange.note.map(Value::from));
    set("replay_of", entry.replay_of.map(|id| store.text(id).into()));
    Some(object)
}

fn message(exchange: &Exchange, message: &Message) -> Map<String, Value> {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| {
        object.insert(key.into(), value);
    };
    set("proto", message.protocol().into());
    set("size", message.length.into());
    set("truncated", message.truncated.into());
    let trailers: Vec<_> = message
        .trailer_fields()
        .map(|(name, value)| json!([latin1(name), latin1(value)]))
        .collect();
    set("trailers", trailers.into());
    // Behind a switch of protocols there is no body, but what was said.
    let body: &[u8] = if exchange.switched {
        &[]
    } else {
        &message.body
    };
    set(
        "raw",
        BASE64_STANDARD
            .encode([&message.head, body].concat())
            .into(),
    );
    set("stream", pieces(message));
    object
}

/// The body of one side as it was sent, with its coding: browsers take off what pages cannot.
pub(super) fn body(entry: &Entry, side: &str) -> Option<Reply> {
    let exchange = entry.look()?;
    let message = match side {
        "request" => exchange.request,
        "response" => exchange.response?,
        _ => return None,
    };
    let codings = message
        .headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding"));
    let codings: Vec<_> = codings.map(|(_, value)| value.to_vec()).collect();
    let mut reply = with_type(
        StatusCode::OK,
        "application/octet-stream",
        Bytes::from(message.body),
    );
    let headers = reply.headers_mut();
    for (name, value) in [
        // It may be anything: never shown, and nothing that could run in it may.
        (header::CONTENT_DISPOSITION, "attachment"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for coding in codings {
        if let Ok(coding) = HeaderValue::from_bytes(&coding) {
            headers.append(header::CONTENT_ENCODING, coding);
        }
    }
    Some(reply)
}

/// Fields of heads are bytes; each becomes a character.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
