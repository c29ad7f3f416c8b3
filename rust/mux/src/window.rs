//! Receive credit: how many bytes the peer may still send on one stream.
//!
//! Consumed bytes are given back in lots of an eighth of the window. Towards a peer that adds
//! credit up, a window grows while it is what holds the sender back: when all of it was consumed
//! within two round trips, it is doubled. A window twice what the path can hold is never used up
//! so fast. Where other streams have something to say as well, they wait behind all that is in a
//! window; then it is no larger than the link needs, and one that was is halved. A peer that clamps credit gets back what was consumed and nothing else
//! (wire-protocol §2.5).
//!
//! No clock in here: who consumes says how to ask for the time, which is done once a lot.

use std::time::Duration;

use tokio::time::Instant;

use crate::INITIAL_WINDOW;

/// On links shorter than this the wake-ups of tasks take longer than the way: a stream that has the
/// session for itself is faster with a window as if the link were this long.
const SHORTEST_ROUND_TRIP: Duration = Duration::from_millis(1);

/// So long after data for another stream a session counts as shared.
const SHARED: Duration = Duration::from_millis(200);

/// One stream's receive side.
#[derive(Debug)]
pub struct RecvWindow {
    /// Bytes the peer may still send.
    credit: u32,
    /// Bytes of credit a stream whose reader keeps up has.
    size: u32,
    /// Consumed, not yet given back.
    owed: u32,
    /// The first that is consumed is given back at once.
    eager: bool,
    /// Of what is consumed next, so much is not given back: the window becomes smaller by that.
    surplus: u32,
    /// Given back since `since`.
    lots: u32,
    since: Option<Instant>,
}

/// Room in which the windows of one session may grow.
#[derive(Debug)]
pub struct Growth {
    /// Bytes left of the session's budget.
    pub budget: u64,
    /// Largest window of one stream, in bytes.
    pub max_stream: u32,
    /// Whether the peer uses credit beyond the initial window.
    pub enabled: bool,
    /// The shortest that was measured; without one nothing grows.
    pub round_trip: Option<Duration>,
    /// When a stream was sent data after another: several have something to say.
    pub changed: Option<Instant>,
}

impl Default for RecvWindow {
    fn default() -> Self {
        Self {
            credit: INITIAL_WINDOW,
            size: INITIAL_WINDOW,
            owed: 0,
            eager: false,
            surplus: 0,
            lots: 0,
            since: None,
        }
    }
}

// === impl RecvWindow ===

impl RecvWindow {
    /// The window of a stream that the peer opened: credit for its type is the sign that it was
    /// accepted (§2.10), so that comes without delay.
    pub fn of_peer() -> Self {
        Self {
            eager: true,
            ..Self::default()
        }
    }

    /// Counts a frame that has begun to arrive. `false`: the peer had no credit for it.
    pub fn receive(&mut self, length: u32) -> bool {
        match self.credit.checked_sub(length) {
            Some(credit) => {
                self.credit = credit;
                true
            }
            None => false,
        }
    }

    /// Takes `length` bytes out of the reader's hands and returns the increment to send now, if
    /// one is due.
    pub fn consume(
        &mut self,
        length: u32,
        growth: &mut Growth,
        now: impl FnOnce() -> Instant,
    ) -> Option<u32> {
        self.owed += length;
        if self.owed < self.size / 8 && !std::mem::take(&mut self.eager) {
            return None;
        }
        self.adapt(growth, now);
        let withheld = self.surplus.min(self.owed);
        self.surplus -= withheld;
        self.owed -= withheld;
        self.size -= withheld;
        growth.budget += u64::from(withheld);
        if self.owed == 0 {
            return None;
        }
        let increment = std::mem::take(&mut self.owed);
        self.credit += increment;
        Some(increment)
    }

    fn adapt(&mut self, growth: &mut Growth, now: impl FnOnce() -> Instant) {
        let Some(round_trip) = growth.round_trip.filter(|_| growth.enabled) else {
            return;
        };
        self.lots = self.lots.saturating_add(self.owed);
        let Some(since) = self.since else {
            (self.since, self.lots) = (Some(now()), 0);
            return;
        };
        if self.lots < self.size {
            return;
        }
        let now = now();
        let took = now.duration_since(since);
        let shared = growth
            .changed
            .is_some_and(|at| now.saturating_duration_since(at) < SHARED);
        let round_trip = if shared {
            round_trip
        } else {
            round_trip.max(SHORTEST_ROUND_TRIP)
        };
        if took < 2 * round_trip {
            self.surplus = 0;
            let room = growth.max_stream.saturating_sub(self.size);
            let budget = u32::try_from(growth.budget).unwrap_or(u32::MAX);
            let extra = self.size.min(room).min(budget);
            growth.budget -= u64::from(extra);
            self.size += extra;
            self.owed += extra;
        } else if shared && took > 4 * round_trip {
            self.surplus = (self.size / 2).min(self.size - INITIAL_WINDOW);
        }
        (self.since, self.lots) = (Some(now), 0);
    }

    /// Gives what this window took of the budget back; the stream is over.
    pub fn release(&self, growth: &mut Growth) {
        growth.budget += u64::from(self.size - INITIAL_WINDOW);
    }

    /// Bytes the reader may be sent while it keeps up.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Bytes the peer may still send.
    pub fn credit(&self) -> u32 {
        self.credit
    }
}

// === impl Growth ===

impl Growth {
    /// A round trip was measured.
    pub fn measured(&mut self, round_trip: Duration) {
        let shortest = self
            .round_trip
            .map_or(round_trip, |old| old.min(round_trip));
        self.round_trip = Some(shortest);
    }
}
