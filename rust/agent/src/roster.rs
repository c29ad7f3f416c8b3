//! The endpoints that are wanted, in the order they were asked for. Others are added and taken away
//! while the agent runs; each name stands for one.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::endpoint::Endpoint;

#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<Vec<Place>>);

/// A name, and who has it.
#[derive(Debug)]
struct Place {
    name: String,
    /// Nobody yet: it is being started.
    endpoint: Option<Arc<Endpoint>>,
}

/// A name that is kept for an endpoint which is being started, and free again when this goes.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    roster: &'a Roster,
    name: Option<String>,
}

// === impl Roster ===

impl Roster {
    pub(crate) fn new(endpoints: Vec<Arc<Endpoint>>) -> Self {
        let place = |endpoint: Arc<Endpoint>| Place {
            name: endpoint.plan.name.clone(),
            endpoint: Some(endpoint),
        };
        Self(Mutex::new(endpoints.into_iter().map(place).collect()))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Endpoint>> {
        let places = self.0.lock();
        places
            .iter()
            .filter_map(|place| place.endpoint.clone())
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Endpoint>> {
        let places = self.0.lock();
        let place = places.iter().find(|place| place.name == name)?;
        place.endpoint.clone()
    }

    /// Whether this very endpoint is still wanted.
    pub(crate) fn has(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.0.lock().iter().any(|place| place.is_of(endpoint))
    }

    /// Keeps a name; nothing where somebody has it.
    pub(crate) fn reserve(&self, name: &str) -> Option<Reserved<'_>> {
        let mut places = self.0.lock();
        if places.iter().any(|place| place.name == name) {
            return None;
        }
        places.push(Place {
            name: name.to_owned(),
            endpoint: None,
        });
        Some(Reserved {
            roster: self,
            name: Some(name.to_owned()),
        })
    }

    /// Takes an endpoint away; `false`: it has gone already.
    pub(crate) fn remove(&self, endpoint: &Arc<Endpoint>) -> bool {
        let mut places = self.0.lock();
        let before = places.len();
        places.retain(|place| !place.is_of(endpoint));
        places.len() < before
    }

    /// Puts `new` in the place of `old`; `false`: that has gone already.
    pub(crate) fn replace(&self, old: &Arc<Endpoint>, new: Arc<Endpoint>) -> bool {
        let mut places = self.0.lock();
        let place = places.iter_mut().find(|place| place.is_of(old));
        place.is_some_and(|place| place.endpoint.replace(new).is_some())
    }
}

// === impl Place ===

impl Place {
    fn is_of(&self, endpoint: &Arc<Endpoint>) -> bool {
        let there = self.endpoint.as_ref();
        there.is_some_and(|one| Arc::ptr_eq(one, endpoint))
    }
}

// === impl Reserved ===

impl Reserved<'_> {
    /// The endpoint runs and has the name from now on.
    pub(crate) fn fill(mut self, endpoint: Arc<Endpoint>) {
        let Some(name) = self.name.take() else { return };
        let mut places = self.roster.0.lock();
        if let Some(place) = places.iter_mut().find(|place| place.name == name) {
            place.endpoint = Some(endpoint);
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.roster.0.lock().retain(|place| place.name != *name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_again_when_nobody_came_for_it() {
        let roster = Roster::default();
        let kept = roster.reserve("a").unwrap();
        assert!(roster.reserve("a").is_none());
        assert!(roster.all().is_empty() && roster.get("a").is_none());
        drop(kept);
        assert!(roster.reserve("a").is_some() && roster.is_empty());
    }
}
