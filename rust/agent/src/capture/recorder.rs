//! What is done with the requests of one connection: they are counted, shown on the screen, kept.
//! Each of these only where somebody wants it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::http1::Observer;
use super::http2::Streams;
use super::{Entry, Origin, Store};
use crate::board::Board;
use crate::metrics::Metrics;

/// Who wants to know of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) metrics: Option<Arc<Metrics>>,
    pub(crate) board: Option<Arc<Board>>,
    pub(crate) store: Option<(Arc<Store>, Origin)>,
    /// The record of the request that will come; its side of it is complete.
    pub(crate) given: Option<Arc<Entry>>,
    /// When the bytes that are looked at went out.
    pub(crate) at: Option<Instant>,
}

/// Of one connection of HTTP/1.
#[derive(Debug)]
pub(crate) struct Recorder {
    interest: Interest,
    /// Requests without a complete answer, in the order they were made.
    open: VecDeque<Open>,
    /// The record of the request whose body is on its way.
    sending: Option<Arc<Entry>>,
    /// Bytes that the bodies on their way are said to have.
    expected: (u64, u64),
    switched: bool,
}

/// A request that has no complete answer.
#[derive(Debug)]
pub(super) struct Open {
    since: Instant,
    entry: Option<Arc<Entry>>,
    /// The request is in the record as a whole.
    written: bool,
    /// As it is on the screen, while it waits there.
    shown: Option<(String, String)>,
}

// === impl Interest ===

impl Interest {
    pub(crate) fn is_none(&self) -> bool {
        self.metrics.is_none() && self.board.is_none() && self.store.is_none()
    }

    fn begin(&mut self, head: &[u8], method: &str, target: &str) -> Open {
        let since = self.at.unwrap_or_else(Instant::now);
        if let Some(metrics) = &self.metrics {
            metrics.requests.begun(since);
        }
        let shown = self.board.as_ref().map(|board| {
            board.request(method, target);
            (method.to_owned(), target.to_owned())
        });
        let keep = || {
            let (store, origin) = self.store.as_ref()?;
            store.begin(head, origin, since)
        };
        let given = self.given.take();
        Open {
            since,
            written: given.is_some(),
            entry: given.or_else(keep),
            shown,
        }
    }

    pub(super) fn change(
        &self,
        entry: Option<&Arc<Entry>>,
        change: impl FnOnce(&mut super::Exchange),
    ) {
        if let (Some((store, _)), Some(entry)) = (&self.store, entry) {
            store.change(entry, change);
        }
    }

    pub(super) fn answered(&self, open: &mut Open, head: &[u8], code: u16, reason: &str) {
        self.change(open.entry.as_ref(), |exchange| exchange.answered(head));
        if let (Some(board), Some((method, path))) = (&self.board, open.shown.take()) {
            board.answered(&method, &path, format!("{code} {reason}").trim_end());
        }
    }

    pub(super) fn took(&self, length: Duration) {
        if let Some(metrics) = &self.metrics {
            metrics.requests.took(length);
        }
    }
}

// === impl Open ===

impl Open {
    pub(super) fn entry(&self) -> Option<&Arc<Entry>> {
        self.entry.as_ref()
    }

    pub(super) fn took(&self) -> Duration {
        self.since.elapsed()
    }
}

// === impl Recorder ===

impl Recorder {
    pub(crate) fn new(interest: Interest) -> Self {
        Self {
            interest,
            open: VecDeque::new(),
            sending: None,
            expected: (0, 0),
            switched: false,
        }
    }

    /// What is looked at next was sent then.
    pub(crate) fn at(&mut self, at: Instant) {
        self.interest.at = Some(at);
    }

    /// Whether a request of this connection waits for the end of its answer.
    pub(crate) fn waits(&self) -> bool {
        !self.open.is_empty() && !self.switched
    }

    fn first(&self) -> Option<&Arc<Entry>> {
        self.open.front().and_then(Open::entry)
    }

    fn give_up(&mut self, why: &'static str) {
        for open in self.open.drain(..) {
            let took = open.took();
            if self.switched {
                // It ends as it lived: no answer of HTTP is missing.
                self.interest
                    .change(open.entry(), |exchange| exchange.ended(took));
            } else {
                self.interest.took(took);
                self.interest
                    .change(open.entry(), |exchange| exchange.broke(why, took));
            }
        }
        self.sending = None;
    }
}

impl Observer for Recorder {
    fn request(&mut self, head: &[u8], method: &str, target: &str, length: u64) {
        let open = self.interest.begin(head, method, target);
        self.sending = open.entry.clone().filter(|_| !open.written);
        self.expected.0 = length;
        self.open.push_back(open);
    }

    fn sent(&mut self, body: &[u8]) {
        if self.switched {
            let at = self.open.front().map_or_else(Duration::default, Open::took);
            self.interest
                .change(self.first(), |exchange| exchange.sent_piece(body, at));
            return;
        }
        let length = self.expected.0;
        self.interest.change(self.sending.as_ref(), |exchange| {
            exchange.sent(body, length);
        });
    }

    fn sent_trailers(&mut self, lines: &[u8]) {
        self.interest.change(self.sending.as_ref(), |exchange| {
            exchange.sent_trailers(lines);
        });
    }

    fn sent_all(&mut self) {
        if let Some(entry) = self.sending.take() {
            self.interest
                .change(Some(&entry), |exchange| exchange.request.complete = true);
        }
    }

    fn response(&mut self, head: &[u8], code: u16, reason: &str, length: u64) {
        self.expected.1 = length;
        if let Some(open) = self.open.front_mut() {
            self.interest.answered(open, head, code, reason);
        }
    }

    fn received(&mut self, body: &[u8]) {
        if self.switched {
            let at = self.open.front().map_or_else(Duration::default, Open::took);
            self.interest
                .change(self.first(), |exchange| exchange.received_piece(body, at));
            return;
        }
        let length = self.expected.1;
        self.interest
            .change(self.first(), |exchange| exchange.received(body, length));
    }

    fn received_trailers(&mut self, lines: &[u8]) {
        self.interest
            .change(self.first(), |exchange| exchange.received_trailers(lines));
    }

    fn received_all(&mut self) {
        if let Some(open) = self.open.pop_front() {
            let took = open.took();
            if !self.switched {
                self.interest.took(took);
            }
            self.interest
                .change(open.entry(), |exchange| exchange.ended(took));
        }
    }

    fn switched(&mut self) {
        self.switched = true;
        self.sending = None;
        if let Some(open) = self.open.front() {
            // How long they talk afterwards says nothing of how fast requests are answered.
            self.interest.took(open.took());
            self.interest
                .change(open.entry(), |exchange| exchange.switched = true);
        }
    }

    fn lost(&mut self, why: &'static str) {
        self.give_up(why);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.give_up("the connection ended before the answer did");
    }
}

/// Of one connection of HTTP/2.
#[derive(Debug)]
pub(crate) struct StreamRecorder {
    interest: Interest,
    open: HashMap<u32, Open>,
}

// === impl StreamRecorder ===

impl StreamRecorder {
    pub(crate) fn new(interest: Interest) -> Self {
        Self {
            interest,
            open: HashMap::new(),
        }
    }

    /// What is looked at next was sent then.
    pub(crate) fn at(&mut self, at: Instant) {
        self.interest.at = Some(at);
    }

    /// Whether a request of this connection waits for the end of its answer.
    pub(crate) fn waits(&self) -> bool {
        !self.open.is_empty()
    }

    fn change(&self, stream: u32, change: impl FnOnce(&mut super::Exchange)) {
        if let Some(open) = self.open.get(&stream) {
            self.interest.change(open.entry(), change);
        }
    }

    /// The same to a request, where that is not in the record already.
    fn add(&self, stream: u32, change: impl FnOnce(&mut super::Exchange)) {
        if self.open.get(&stream).is_some_and(|open| !open.written) {
            self.change(stream, change);
        }
    }

    fn broke(&self, open: &Open, why: &'static str) {
        let took = open.took();
        self.interest.took(took);
        self.interest
            .change(open.entry(), |exchange| exchange.broke(why, took));
    }
}

impl Streams for StreamRecorder {
    fn request(&mut self, stream: u32, head: &[u8], method: &str, target: &str) {
        let open = self.interest.begin(head, method, target);
        self.open.insert(stream, open);
    }

    fn sent(&mut self, stream: u32, body: &[u8]) {
        self.add(stream, |exchange| exchange.sent(body, 0));
    }

    fn sent_trailers(&mut self, stream: u32, lines: &[u8]) {
        self.add(stream, |exchange| exchange.sent_trailers(lines));
    }

    fn sent_all(&mut self, stream: u32) {
        self.add(stream, |exchange| exchange.request.complete = true);
    }

    fn response(&mut self, stream: u32, head: &[u8], code: u16, reason: &str) {
        if let Some(open) = self.open.get_mut(&stream) {
            self.interest.answered(open, head, code, reason);
        }
    }

    fn received(&mut self, stream: u32, body: &[u8]) {
        self.change(stream, |exchange| exchange.received(body, 0));
    }

    fn received_trailers(&mut self, stream: u32, lines: &[u8]) {
        self.change(stream, |exchange| exchange.received_trailers(lines));
    }

    fn received_all(&mut self, stream: u32) {
        if let Some(open) = self.open.remove(&stream) {
            let took = open.took();
            self.interest.took(took);
            self.interest
                .change(open.entry(), |exchange| exchange.ended(took));
        }
    }

    fn reset(&mut self, stream: u32) {
        if let Some(open) = self.open.remove(&stream) {
            self.broke(&open, "the stream was reset");
        }
    }

    fn lost(&mut self, why: &'static str) {
        for (_, open) in std::mem::take(&mut self.open) {
            self.broke(&open, why);
        }
    }
}

impl Drop for StreamRecorder {
    fn drop(&mut self) {
        self.lost("the connection ended before the answer did");
    }
}
