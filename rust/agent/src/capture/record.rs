//! One request and its answer, as far as they have gone by and are kept.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::id::Id;

/// Bytes of a body that are kept, each way; the rest is only counted.
const KEPT: usize = 1 << 20;
/// What a record takes besides its bytes.
pub(super) const OVERHEAD: usize = 512;
/// Marks of pieces, each way.
const PIECES: usize = 16 * 1024;

/// An entry of the store: what stays the same, and what grows.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    /// The name of its endpoint.
    pub(crate) endpoint: Arc<str>,
    pub(crate) visitor: Option<IpAddr>,
    pub(crate) start: jiff::Timestamp,
    pub(crate) replay_of: Option<Id>,
    /// Number of its last change.
    pub(super) changed: AtomicU64,
    /// Nothing: it had to go.
    pub(super) exchange: Mutex<Option<Exchange>>,
}

/// What has gone by. Nothing of it is more than bytes until somebody looks.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Message,
    pub(crate) response: Option<Message>,
    pub(crate) state: State,
    /// Until the head of the answer.
    pub(crate) first: Option<Duration>,
    /// Until the end.
    pub(crate) took: Option<Duration>,
    /// Why there is no more of it.
    pub(crate) note: Option<&'static str>,
    /// Behind the heads both sides speak something else: what they say is kept in pieces.
    pub(crate) switched: bool,
    /// The answer is a stream of events, each of which has its time.
    events: bool,
    pub(super) since: Instant,
    /// Bytes that each side may take, but for the request's head.
    half: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is no answer yet.
    Pending,
    /// Its head is there, its body is on the way.
    Answered,
    Ended,
    /// It did not come to its end.
    Broken,
}

/// One side of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// Up to the empty line, as HTTP/1 writes it.
    pub(crate) head: Vec<u8>,
    /// Without the marks of chunks; after a switch of protocols, all that was said.
    pub(crate) body: Vec<u8>,
    /// The lines behind a chunked body.
    pub(crate) trailers: Vec<u8>,
    /// After a switch: since the start, and where in `body` the piece ends.
    pub(crate) pieces: Vec<(Duration, usize)>,
    /// Bytes the body really has.
    pub(crate) length: u64,
    /// There was more than is kept.
    pub(crate) truncated: bool,
    /// All of it has come.
    pub(crate) complete: bool,
}

// === impl Entry ===

impl Entry {
    /// A copy of what there is; nothing once it had to go.
    pub(crate) fn look(&self) -> Option<Exchange> {
        self.exchange.lock().clone()
    }

    /// Reads something of it; the data path waits meanwhile.
    pub(crate) fn glance<R>(&self, read: impl FnOnce(&Exchange) -> R) -> Option<R> {
        self.exchange.lock().as_ref().map(read)
    }

    pub(crate) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }
}

// === impl Exchange ===

impl Exchange {
    /// `limit`: bytes all of it may take. `since`: when the request began.
    pub(super) fn new(head: &[u8], limit: usize, since: Instant) -> Self {
        Self {
            request: Message {
                head: head.to_vec(),
                ..Message::default()
            },
            response: None,
            state: State::Pending,
            first: None,
            took: None,
            note: None,
            switched: false,
            events: false,
            since,
            half: limit.saturating_sub(OVERHEAD + head.len()) / 2,
        }
    }

    /// How long it took, or has taken so far.
    pub(crate) fn duration(&self) -> Duration {
        self.took.unwrap_or_else(|| self.since.elapsed())
    }

    /// Bytes of memory.
    pub(super) fn cost(&self) -> usize {
        let response = self.response.as_ref().map_or(0, Message::cost);
        OVERHEAD + self.request.cost() + response
    }

    /// `expected`: what the body is said to have.
    pub(super) fn sent(&mut self, bytes: &[u8], expected: u64) {
        self.request.take(bytes, expected, self.half.min(KEPT));
    }

    pub(super) fn sent_piece(&mut self, bytes: &[u8], at: Duration) {
        self.request.take(bytes, 0, self.half.min(KEPT));
        self.request.mark(at);
    }

    pub(super) fn sent_trailers(&mut self, lines: &[u8]) {
        self.request.trail(lines, self.half);
    }

    pub(super) fn received_trailers(&mut self, lines: &[u8]) {
        let half = self.half;
        if let Some(response) = &mut self.response {
            response.trail(lines, half - response.head.len());
        }
    }

    pub(super) fn answered(&mut self, head: &[u8]) {
        self.state = State::Answered;
        // A head that has no room is not kept at all; half a head would be read as another.
        let mut response = Message::default();
        if head.len() <= self.half {
            response.head = head.to_vec();
        } else {
            response.truncated = true;
        }
        self.first = Some(self.since.elapsed());
        self.events = response.headers().any(|(name, value)| {
            name.eq_ignore_ascii_case(b"content-type") && value.starts_with(b"text/event-stream")
        });
        self.response = Some(response);
    }

    pub(super) fn received(&mut self, bytes: &[u8], expected: u64) {
        let half = self.half;
        if let Some(response) = &mut self.response {
            let room = half - response.head.len();
            response.take(bytes, expected, room.min(KEPT));
            if self.events {
                response.mark(self.since.elapsed());
            }
        }
    }

    pub(super) fn received_piece(&mut self, bytes: &[u8], at: Duration) {
        self.received(bytes, 0);
        if let Some(response) = &mut self.response {
            response.mark(at);
        }
    }

    pub(super) fn ended(&mut self, took: Duration) {
        self.state = State::Ended;
        self.took = Some(took);
        if let Some(response) = &mut self.response {
            response.complete = true;
        }
    }

    pub(super) fn broke(&mut self, note: &'static str, took: Duration) {
        if !matches!(self.state, State::Ended | State::Broken) {
            self.state = State::Broken;
            self.took = Some(took);
            self.note = Some(note);
        }
    }
}

// === impl Message ===

impl Message {
    fn cost(&self) -> usize {
        self.head.capacity()
            + self.body.capacity()
            + self.trailers.capacity()
            + self.pieces.capacity() * size_of::<(Duration, usize)>()
    }

    fn take(&mut self, bytes: &[u8], expected: u64, most: usize) {
        self.length += bytes.len() as u64;
        if self.truncated {
            return;
        }
        let room = most.saturating_sub(self.body.len());
        let kept = &bytes[..bytes.len().min(room)];
        self.truncated = kept.len() < bytes.len();
        if self.body.capacity() - self.body.len() < kept.len() {
            // Twice as much, unless it is known to be less: what is not used counts as well.
            let wanted = self.body.len() + kept.len();
            let known = usize::try_from(expected).unwrap_or(usize::MAX);
            let ahead =
                (self.body.len() * 2).min(if expected == 0 { most } else { known.min(most) });
            let more = wanted.max(ahead) - self.body.len();
            if self.body.try_reserve_exact(more).is_err() {
                self.truncated = true;
                return;
            }
        }
        self.body.extend_from_slice(kept);
    }

    fn trail(&mut self, lines: &[u8], most: usize) {
        if self.body.len() + lines.len() <= most {
            self.trailers = lines.to_vec();
        } else {
            self.truncated = true;
        }
    }

    fn mark(&mut self, at: Duration) {
        let end = self.body.len();
        let full = self.pieces.len() == PIECES;
        match self.pieces.last_mut() {
            Some((_, known)) if *known == end => {}
            Some((_, known)) if full => *known = end,
            None if end == 0 => {}
            _ => self.pieces.push((at, end)),
        }
    }

    /// The pieces that were kept, with the time of each since the start.
    pub(crate) fn stream(&self) -> impl Iterator<Item = (Duration, &[u8])> {
        let begins = std::iter::once(0).chain(self.pieces.iter().map(|(_, end)| *end));
        let pieces = self.pieces.iter().zip(begins);
        pieces.filter_map(|((at, end), begin)| Some((*at, self.body.get(begin..*end)?)))
    }
}

// === what is in a head

impl Message {
    /// Method and target of a request.
    pub(crate) fn asked(&self) -> (&str, &str) {
        let mut words = self.words();
        (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        )
    }

    /// As the first line of a request names it, which has it last.
    pub(crate) fn protocol(&self) -> &str {
        let mut words = self.words();
        let first = words.next().unwrap_or_default();
        if first.starts_with("HTTP/") {
            first
        } else {
            words.nth(1).unwrap_or_default()
        }
    }

    /// Code and reason of an answer.
    pub(crate) fn status(&self) -> (u16, &str) {
        let mut words = self.words();
        words.next();
        let code = words.next().and_then(|code| code.parse().ok());
        (code.unwrap_or_default(), words.next().unwrap_or_default())
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        let line = lines(&self.head).next().unwrap_or_default();
        std::str::from_utf8(line).unwrap_or_default().splitn(3, ' ')
    }

    /// Names and values of the head, as they came.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        fields(&self.head).skip(1)
    }

    pub(crate) fn trailer_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        fields(&self.trailers)
    }
}

fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = block.split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(block).filter(|line| !line.is_empty()).map(|line| {
        let end = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(end.unwrap_or(line.len()));
        (name, value.get(1..).unwrap_or_default().trim_ascii())
    })
}
