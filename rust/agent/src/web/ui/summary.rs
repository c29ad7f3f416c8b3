//! A captured request as a line of the page's list.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde_json::{Value, json};

use super::super::requests::nanos;
use super::filter::{Filter, Subject};
use crate::capture::{Entry, Exchange, Message, State, Store};

/// Characters of a path; the whole of it stands in the detail.
const PATH: usize = 500;
/// Bytes of a compressed body's text that are looked through.
const UNPACKED: u64 = 1 << 20;

/// Its line, where a filter wants it and it is still there.
pub(super) fn wanted(store: &Store, entry: &Entry, filter: &Filter) -> Option<Value> {
    if filter.reads_bodies() {
        // Of a copy: it takes its time.
        return line(store, entry, &entry.look()?, filter);
    }
    entry.glance(|exchange| line(store, entry, exchange, filter))?
}

fn line(store: &Store, entry: &Entry, exchange: &Exchange, filter: &Filter) -> Option<Value> {
    let (method, path) = exchange.request.asked();
    let response = exchange.response.as_ref();
    let status = response.map(|response| response.status().0);
    let size = response.map_or(0, |response| response.length);
    let pending = matches!(exchange.state, State::Pending | State::Answered);
    let duration = exchange.duration();
    let inside = filter.reads_bodies();
    let sent = body(&exchange.request, inside);
    let received = response.map_or(Cow::Borrowed(&[][..]), |response| body(response, inside));
    let subject = Subject {
        endpoint: &entry.endpoint,
        method,
        path,
        status,
        pending,
        response_size: size,
        duration,
        heads: [
            &exchange.request.head,
            response.map_or(&[], |response| &response.head),
        ],
        bodies: [&sent, &received],
    };
    if !filter.wants(&subject) {
        return None;
    }
    let mut line = json!({
        "id": store.text(entry.id),
        "endpoint": *entry.endpoint,
        "method": method,
        "path": cut(path),
        "status_code": status,
        "pending": pending,
        "duration": nanos(duration),
        "response_size": size,
        "start": entry.start.to_string(),
    });
    if let Some(id) = entry.replay_of {
        line["replay_of"] = store.text(id).into();
    }
    Some(line)
}

/// As far as it is kept; where somebody looks into it, without a coding that can be taken off.
fn body(message: &Message, inside: bool) -> Cow<'_, [u8]> {
    let bytes = message.body.as_slice();
    let mut codings = message.headers();
    let coding = codings.find(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding"));
    let Some((_, coding)) = coding.filter(|_| inside) else {
        return bytes.into();
    };
    let unpacked = |reader: &mut dyn Read| {
        let mut found = Vec::new();
        // Of a body that was cut, what there is will do.
        let _ = reader.take(UNPACKED).read_to_end(&mut found);
        found
    };
    match coding.to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => unpacked(&mut MultiGzDecoder::new(bytes)).into(),
        b"deflate" => {
            let found = unpacked(&mut ZlibDecoder::new(bytes));
            if found.is_empty() {
                unpacked(&mut DeflateDecoder::new(bytes)).into()
            } else {
                found.into()
            }
        }
        _ => bytes.into(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(PATH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
