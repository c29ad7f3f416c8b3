//! Requests of visitors, kept for who wants to see them (agent-api §5.4, §6.4; agent-behaviour §7).
//!
//! - [`record`]: one of them. [`id`]: its name. The [`Store`] here: all of them, within a limit.
//! - [`http1`], [`http2`]: where requests and answers begin and end in the bytes that go by.
//! - [`recorder`]: what is done with each. [`replay`]: one of them, sent once more.
//!
//! Whoever forwards never waits for this: bytes are looked at when they have gone, and copied only
//! as far as they are kept.

mod hpack;
pub(crate) mod http1;
pub(crate) mod http2;
mod id;
mod record;
pub(crate) mod recorder;
pub(crate) mod replay;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

pub(crate) use self::id::Id;
use self::id::Ids;
pub(crate) use self::record::{Entry, Exchange, Message, State};
use crate::room::Room;

/// Bytes for all records where nobody said how many.
const USUAL: usize = 50 << 20;
/// Of the memory there is, so many hundredths at most then.
const SHARE: u64 = 15;
/// One record takes so much of the limit at most.
const ONE: usize = 8;
/// Requests that are sent once more at a time.
const REPLAYS: usize = 32;
/// Between two looks at the time of day.
const CLOCK: Duration = Duration::from_secs(1);
/// How much is left is asked whenever records have taken so much of the limit.
const LOOK: usize = 16;

/// The records of all endpoints, the oldest first.
#[derive(Debug)]
pub(crate) struct Store {
    limit: usize,
    /// Bytes that records take now.
    taken: AtomicUsize,
    ids: Ids,
    entries: Mutex<VecDeque<Arc<Entry>>>,
    /// What time it was when, looked up once in a while.
    clock: Mutex<Option<(Instant, i128)>>,
    /// Counts changes.
    sequence: Mutex<u64>,
    told: watch::Sender<()>,
    /// Places for requests that are sent once more.
    replays: Arc<Semaphore>,
    shortage: Option<Shortage>,
}

/// Notices when memory gets short: records go before anything else suffers.
#[derive(Debug)]
struct Shortage {
    room: Room,
    /// It is asked after so many bytes of records.
    each: usize,
    /// Bytes that records have taken since it was asked.
    fresh: AtomicUsize,
}

/// What an exchange is known by from its first moment on.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) endpoint: Arc<str>,
    pub(crate) visitor: Option<IpAddr>,
    pub(crate) replay_of: Option<Id>,
}

/// Follows what changes. While there is none of these, changes cost their number only.
#[derive(Debug)]
pub(crate) struct Changes {
    store: Arc<Store>,
    told: watch::Receiver<()>,
    seen: u64,
}

/// What is different from the time before.
#[derive(Debug)]
pub(crate) struct Delta {
    /// New, or with more in them than before; the oldest first.
    pub(crate) changed: Vec<Arc<Entry>>,
    /// Whatever is older than this one has gone; none: all have.
    pub(crate) oldest: Option<Id>,
}

// === impl Store ===

impl Store {
    /// `wanted`: as in the configuration, 0 for as much as is usual, less for none at all.
    pub(crate) fn new(wanted: i64, room: &Room) -> Option<Self> {
        let limit = match wanted {
            0 => {
                let share = room.memory.map_or(u64::MAX, |memory| memory / 100 * SHARE);
                USUAL.min(usize::try_from(share).unwrap_or(usize::MAX))
            }
            wanted => usize::try_from(wanted).ok()?,
        };
        Some(Self {
            limit,
            taken: AtomicUsize::new(0),
            ids: Ids::default(),
            entries: Mutex::default(),
            clock: Mutex::default(),
            sequence: Mutex::default(),
            told: watch::Sender::new(()),
            replays: Arc::new(Semaphore::new(REPLAYS)),
            shortage: room.memory.map(|_| Shortage {
                room: *room,
                each: limit / LOOK,
                fresh: AtomicUsize::new(0),
            }),
        })
    }

    /// Keeps a request from its head on; nothing where not even that fits.
    pub(crate) fn begin(&self, head: &[u8], origin: &Origin, now: Instant) -> Option<Arc<Entry>> {
        let most = self.limit / ONE;
        if record::OVERHEAD + head.len() > most {
            return None;
        }
        let exchange = Exchange::new(head, most, now);
        let nanos = self.nanos(now);
        let start = jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default();
        let nanos = u64::try_from(nanos).unwrap_or_default();
        let cost = exchange.cost();
        self.taken.fetch_add(cost, Ordering::Relaxed);
        let mut entries = self.entries.lock();
        let entry = Arc::new(Entry {
            // Under the lock, so that they stand in the order of their ids.
            id: self.ids.next(nanos),
            endpoint: origin.endpoint.clone(),
            visitor: origin.visitor,
            start,
            replay_of: origin.replay_of,
            changed: AtomicU64::new(0),
            exchange: Mutex::new(Some(exchange)),
        });
        self.number(&entry);
        entries.push_back(entry.clone());
        drop(entries);
        self.settle(cost);
        Some(entry)
    }

    /// Since 1970.
    fn nanos(&self, now: Instant) -> i128 {
        let mut clock = self.clock.lock();
        if let Some((then, nanos)) = *clock {
            let since = now.saturating_duration_since(then);
            if since < CLOCK {
                return nanos + i128::from(since.subsec_nanos());
            }
        }
        let nanos = jiff::Timestamp::now().as_nanosecond();
        *clock = Some((now, nanos));
        nanos
    }

    /// Adds to an exchange; in vain once it had to go.
    pub(crate) fn change(&self, entry: &Entry, change: impl FnOnce(&mut Exchange)) {
        let mut place = entry.exchange.lock();
        let Some(exchange) = &mut *place else { return };
        let before = exchange.cost();
        change(exchange);
        let after = exchange.cost();
        // It may have become less: the sum wraps, and is right all the same.
        let grown = after.wrapping_sub(before);
        self.taken.fetch_add(grown, Ordering::Relaxed);
        self.number(entry);
        drop(place);
        self.settle(after.saturating_sub(before));
    }

    /// Lets the oldest go until the rest fits, and tells who listens.
    fn settle(&self, fresh: usize) {
        if self.shortage.as_ref().is_some_and(|one| one.noticed(fresh)) {
            self.make_room();
        }
        self.keep(self.limit);
        if self.told.receiver_count() > 0 {
            self.told.send_replace(());
        }
    }

    /// Lets the older half go, for others need the memory more.
    pub(crate) fn make_room(&self) {
        self.keep(self.taken.load(Ordering::Relaxed) / 2);
    }

    fn keep(&self, most: usize) {
        while self.taken.load(Ordering::Relaxed) > most {
            let Some(oldest) = self.entries.lock().pop_front() else {
                break;
            };
            self.forget(&oldest);
        }
    }

    fn forget(&self, entry: &Entry) {
        let mut place = entry.exchange.lock();
        if let Some(exchange) = place.take() {
            self.taken.fetch_sub(exchange.cost(), Ordering::Relaxed);
        }
    }

    /// Whoever has read the number finds every change up to it.
    fn number(&self, entry: &Entry) {
        let mut sequence = self.sequence.lock();
        *sequence += 1;
        entry.changed.store(*sequence, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.entries.lock());
        for entry in &all {
            self.forget(entry);
        }
        self.settle(0);
    }

    pub(crate) fn get(&self, id: Id) -> Option<Arc<Entry>> {
        let entries = self.entries.lock();
        let place = entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        entries.get(place).cloned()
    }

    /// The one of this text.
    pub(crate) fn find(&self, text: &str) -> Option<Arc<Entry>> {
        self.get(self.ids.read(text)?)
    }

    /// As an id is written.
    pub(crate) fn text(&self, id: Id) -> String {
        self.ids.text(id).to_string()
    }

    /// The newest first; of one endpoint, and so many at most, where that is asked for.
    pub(crate) fn list(&self, endpoint: Option<&str>, most: usize) -> Vec<Arc<Entry>> {
        let entries = self.entries.lock();
        let wanted = entries
            .iter()
            .rev()
            .filter(|entry| endpoint.is_none_or(|name| *entry.endpoint == *name));
        wanted.take(most).cloned().collect()
    }

    /// Follows changes from now on.
    pub(crate) fn changes(self: &Arc<Self>) -> Changes {
        let told = self.told.subscribe();
        Changes {
            seen: *self.sequence.lock(),
            store: self.clone(),
            told,
        }
    }
}

// === impl Shortage ===

impl Shortage {
    /// Asks now and then, for asking costs something.
    fn noticed(&self, fresh: usize) -> bool {
        if self.fresh.fetch_add(fresh, Ordering::Relaxed) + fresh < self.each {
            return false;
        }
        self.fresh.store(0, Ordering::Relaxed);
        let short = self.room.is_short();
        if short {
            tracing::debug!(
                obj = "web",
                "memory is short: older captured requests are let go"
            );
        }
        short
    }
}

// === impl Changes ===

impl Changes {
    /// Resolves when something is different.
    ///
    /// # Cancel safety
    /// Nothing is missed.
    pub(crate) async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What is different since the last call, or since this was made.
    pub(crate) fn take(&mut self) -> Delta {
        self.told.mark_unchanged();
        let from = self.seen;
        self.seen = *self.store.sequence.lock();
        let entries = self.store.entries.lock();
        Delta {
            oldest: entries.front().map(|entry| entry.id),
            changed: entries
                .iter()
                .filter(|entry| entry.changed() > from)
                .cloned()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
