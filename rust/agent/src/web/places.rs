//! So many connections at once. Who comes when all places are taken gets that of the one that has asked for nothing for
//! the longest time: clients that only hold connections open shut nobody out.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Vec<Arc<Place>>>,
    /// A place is free, or quiet.
    changed: Arc<Notify>,
}

/// One connection's.
#[derive(Debug)]
pub(super) struct Place {
    state: Mutex<State>,
    changed: Arc<Notify>,
    /// Somebody else has it now.
    pub(super) lost: CancellationToken,
}

#[derive(Debug)]
struct State {
    /// Requests that are being answered.
    answering: usize,
    quiet_since: Instant,
}

/// A place until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    places: Arc<Places>,
    pub(super) place: Arc<Place>,
}

/// A request is being answered until this is dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Place>);

// === impl Places ===

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
            changed: Arc::default(),
        })
    }

    /// Resolves when there is a place: while all of them are busy, nobody else is served.
    pub(super) async fn take(self: &Arc<Self>) -> Taken {
        loop {
            let changed = self.changed.notified();
            if let Some(place) = self.place() {
                return Taken {
                    places: self.clone(),
                    place,
                };
            }
            changed.await;
        }
    }

    fn place(&self) -> Option<Arc<Place>> {
        let mut taken = self.taken.lock();
        if taken.len() >= self.most {
            let quiet = taken.iter().enumerate().filter_map(|(at, place)| {
                let state = place.state.lock();
                (state.answering == 0).then_some((state.quiet_since, at))
            });
            let (_, at) = quiet.min()?;
            taken.swap_remove(at).lost.cancel();
        }
        let place = Arc::new(Place {
            state: Mutex::new(State {
                answering: 0,
                quiet_since: Instant::now(),
            }),
            changed: self.changed.clone(),
            lost: CancellationToken::new(),
        });
        taken.push(place.clone());
        Some(place)
    }
}

// === impl Place ===

impl Place {
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.state.lock().answering += 1;
        Answering(self.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.answering -= 1;
        state.quiet_since = Instant::now();
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.retain(|place| !Arc::ptr_eq(place, &self.place));
        drop(taken);
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_quietest_goes_and_who_is_answered_stays() {
        let places = Places::new(2);
        let first = places.take().await;
        let second = places.take().await;
        let busy = first.place.answering();
        let third = places.take().await;
        assert!(second.place.lost.is_cancelled() && !first.place.lost.is_cancelled());
        let busy_too = third.place.answering();
        let fourth = places.take();
        tokio::pin!(fourth);
        assert!(futures_util::poll!(&mut fourth).is_pending());
        drop(second);
        drop((busy_too, third));
        let fourth = fourth.await;
        assert!(!fourth.place.lost.is_cancelled());
        drop(busy);
        assert_eq!(places.taken.lock().len(), 2);
    }
}
