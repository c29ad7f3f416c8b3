//! A captured request as a line of the page's list.

use serde_json::{Value, json};

use super::filter::{Filter, Subject};
use crate::capture::{Entry, State, Store};

/// Characters of a path; the whole of it stands in the detail.
const PATH: usize = 500;

/// Its line, where a filter wants it and it is still there.
pub(super) fn wanted(store: &Store, entry: &Entry, filter: &Filter) -> Option<Value> {
    entry.glance(|exchange| {
        let (method, path) = exchange.request.asked();
        let response = exchange.response.as_ref();
        let status = response.map(|response| response.status().0);
        let size = response.map_or(0, |response| response.length);
        let pending = matches!(exchange.state, State::Pending | State::Answered);
        let duration = entry.duration(exchange);
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
            bodies: [
                &exchange.request.body,
                response.map_or(&[], |response| &response.body),
            ],
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
            "duration": u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
            "response_size": size,
            "start": entry.start.to_string(),
        });
        if let Some(id) = entry.replay_of {
            line["replay_of"] = store.text(id).into();
        }
        Some(line)
    })?
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(PATH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
