//! The live list: server-sent events with what has changed since the last ones. Each listener asks
//! the store anew when its socket has room, so a slow one misses steps in between and holds up
//! nobody; while there is none, nothing is done.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::reply::{Problem, Reply};
use super::super::{Web, objects};
use super::filter::Filter;
use super::summary;
use crate::capture::{Changes, Entry, Id, Store};

/// Between two updates.
const PAUSE: Duration = Duration::from_millis(100);
/// Without an update, a sign of life after so long: a listener that has gone is noticed by it.
const ALIVE: Duration = Duration::from_secs(15);
/// Entries that are looked at in one go; others get their turn in between.
pub(super) const BATCH: usize = 200;

struct Listener {
    web: Arc<Web>,
    filter: Filter,
    changes: Option<Changes>,
    board: watch::Receiver<()>,
    /// To be looked at.
    waiting: VecDeque<Arc<Entry>>,
    /// The oldest that was told of.
    oldest: Option<Id>,
    /// As it was told.
    state: String,
    /// The next update may be sent.
    next: Instant,
    _place: OwnedSemaphorePermit,
}

impl Web {
    pub(super) fn events(self: &Arc<Self>, query: Option<&str>) -> Result<Reply, Problem> {
        let filter = Filter::read(query).map_err(Problem::request)?;
        let place = self.listeners.clone().try_acquire_owned();
        let place = place.map_err(|_| Problem::busy("too many pages look at this agent"))?;
        let store = self.captured();
        // First the changes, then the list: what comes in between is in both.
        let changes = store.map(Store::changes);
        let all = store.map(|store| store.list(None, usize::MAX));
        let all = all.unwrap_or_default();
        let listener = Listener {
            web: self.clone(),
            filter,
            changes,
            board: self.agent.board.changes(),
            oldest: all.last().map(|entry| entry.id),
            waiting: all.into_iter().rev().collect(),
            state: String::new(),
            next: Instant::now(),
            _place: place,
        };
        let begin = Bytes::from_static(b"retry: 1000\nevent: reset\ndata: {}\n\n");
        let begin = stream::once(async move { begin });
        let rest = stream::unfold(listener, async |mut listener| {
            Some((listener.next().await, listener))
        });
        let body = futures_util::StreamExt::chain(begin, rest);
        let body =
            futures_util::StreamExt::map(body, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let mut reply = Response::new(StreamBody::new(body).boxed_unsync());
        let kind = HeaderValue::from_static("text/event-stream");
        reply.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(reply)
    }

    fn told_state(&self) -> String {
        let mut told = objects::status(&self.agent.board);
        let kept = self.captured().is_some();
        let endpoints = self.running();
        let endpoints = endpoints.iter().map(|(endpoint, bound)| {
            json!({
                "name": endpoint.plan.name,
                "url": bound.url,
                "inspect": kept && endpoint.inspects(),
            })
        });
        told["endpoints"] = endpoints.collect();
        if let Some(object) = told.as_object_mut() {
            // It changes with every heartbeat.
            object.remove("session");
        }
        told.to_string()
    }
}

// === impl Listener ===

impl Listener {
    /// The next events, as they are sent.
    async fn next(&mut self) -> Bytes {
        loop {
            let mut told = String::new();
            let state = self.web.told_state();
            if state != self.state {
                event(&mut told, "state", &state);
                self.state = state;
            }
            self.look(&mut told);
            if !told.is_empty() {
                return told.into();
            }
            if !self.waiting.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            sleep_until(self.next).await;
            let changed = async {
                match &mut self.changes {
                    Some(changes) => changes.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                // It goes with the agent.
                changed = self.board.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = sleep(ALIVE) => return Bytes::from_static(b":\n\n"),
            }
            self.next = Instant::now() + PAUSE;
            if let Some(changes) = &mut self.changes {
                let delta = changes.take();
                if delta.oldest != self.oldest {
                    let id = delta
                        .oldest
                        .and_then(|id| self.web.captured().map(|store| store.text(id)));
                    self.oldest = delta.oldest;
                    event(&mut told, "oldest", &json!(id).to_string());
                }
                self.waiting.extend(delta.changed);
                if !told.is_empty() {
                    return told.into();
                }
            }
        }
    }

    /// Looks at some that wait, and writes what is to be told of them.
    fn look(&mut self, told: &mut String) {
        let Some(store) = self.web.captured() else {
            return;
        };
        let (mut wanted, mut gone) = (Vec::new(), Vec::new());
        let most = if self.filter.reads_bodies() {
            BATCH / 10
        } else {
            BATCH
        };
        let some = self.waiting.len().min(most);
        for entry in self.waiting.drain(..some) {
            match summary::wanted(store, &entry, &self.filter) {
                Some(summary) => wanted.push(summary),
                // It may have been of interest before it changed.
                None => gone.push(Value::from(store.text(entry.id))),
            }
        }
        for (name, all) in [("requests", wanted), ("gone", gone)] {
            if !all.is_empty() {
                event(told, name, &Value::Array(all).to_string());
            }
        }
    }
}

fn event(told: &mut String, name: &str, data: &str) {
    let _ = write!(told, "event: {name}\ndata: {data}\n\n");
}
