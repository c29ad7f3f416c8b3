//! Which endpoint serves a name or a port (edge.md §2.2, §2.3): the exact name first, else the
//! longest wildcard. Endpoints with one URL form a pool when all of them agree to.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use portway_wire::{Code, Refusal, Scheme};

use crate::endpoint::Endpoint;

/// Locks of a table, so that binds of many agents do not wait for each other.
const SHARDS: usize = 16;

/// Endpoints that serve one URL. Most have one member.
#[derive(Debug, Default)]
pub(crate) struct Pool(RwLock<Members>);

#[derive(Debug, Default)]
struct Members {
    all: Vec<Arc<Endpoint>>,
    /// Some are legs of one bind: the same endpoint over several connections of its agent.
    legs: bool,
}

/// What a pool has to offer now.
#[derive(Debug)]
pub(crate) enum Pick {
    Ready(Arc<Endpoint>),
    /// Bound, but its agent has not heard of it yet; it will in a moment.
    Soon(Arc<Endpoint>),
    Nothing,
}

/// Who there is in a pool beside one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    Nobody,
    /// Other connections of the same agent, for the same endpoint.
    Legs,
    /// Other endpoints, and legs perhaps.
    Members,
}

/// All endpoints of this edge that visitors can reach.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    http: Names,
    https: Names,
    tls: Names,
    ports: RwLock<HashMap<u16, Arc<Pool>>>,
    count: AtomicUsize,
}

#[derive(Debug)]
struct Names {
    hasher: RandomState,
    exact: [RwLock<HashMap<Box<str>, Arc<Pool>>>; SHARDS],
    /// By what follows the `*.`.
    wildcards: RwLock<HashMap<Box<str>, Arc<Pool>>>,
    /// Spares most lookups the walk over their labels.
    wildcard_count: AtomicUsize,
}

// === impl Pool ===

impl Pool {
    /// A random member, by the leg of it that is the best.
    pub(crate) fn pick(&self) -> Pick {
        self.pick_again(None)
    }

    /// The same for who has a stream to `last` already: another leg of that would be no better.
    pub(crate) fn pick_again(&self, last: Option<&Arc<Endpoint>>) -> Pick {
        let members = self.0.read();
        if let [only] = members.all.as_slice() {
            return if only.is_live() {
                Pick::Ready(only.clone())
            } else {
                Pick::Soon(only.clone())
            };
        }
        if let (true, Some(last)) = (members.legs, last)
            && last.is_live()
            && members.holds(last)
        {
            return Pick::Ready(last.clone());
        }
        let chosen = if members.legs {
            members.of_the_best_leg()
        } else {
            random_of(members.live())
        };
        match (chosen, members.all.first()) {
            (Some(member), _) => Pick::Ready(member.clone()),
            (None, Some(member)) => Pick::Soon(member.clone()),
            (None, None) => Pick::Nothing,
        }
    }

    /// Whether it has more than one member; legs of one endpoint are one.
    pub(crate) fn is_shared(&self) -> bool {
        self.others() == Others::Members
    }

    /// Who could serve in the place of a member.
    pub(crate) fn others(&self) -> Others {
        let members = self.0.read();
        match members.all.as_slice() {
            [] | [_] => Others::Nobody,
            [first, rest @ ..] if members.legs && rest.iter().all(|one| one.is_leg_of(first)) => {
                Others::Legs
            }
            _ => Others::Members,
        }
    }

    /// Whether this endpoint is a member.
    pub(crate) fn holds(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.0.read().holds(endpoint)
    }

    /// A random live member that is not `other`.
    pub(crate) fn pick_another(&self, other: &Endpoint) -> Option<Arc<Endpoint>> {
        let members = self.0.read();
        random_of(members.live().filter(|member| !is(member, other))).cloned()
    }

    /// Another leg of an endpoint whose session has ended.
    pub(crate) fn leg_instead(&self, of: &Endpoint) -> Option<Arc<Endpoint>> {
        of.session.is_closed().then(|| self.another_leg(of))?
    }

    /// Another leg of this endpoint that visitors can be led over.
    pub(crate) fn another_leg(&self, of: &Endpoint) -> Option<Arc<Endpoint>> {
        let members = self.0.read();
        if !members.legs {
            return None;
        }
        let others = members
            .live()
            .filter(|member| member.is_leg_of(of) && !is(member, of));
        best(others).cloned()
    }

    /// Whether the endpoint is a new one, and not one more leg of one that is there.
    fn join(&self, endpoint: Arc<Endpoint>) -> Result<bool, Refusal> {
        let mut members = self.0.write();
        // Only one's own endpoints share a URL; labels are given to URLs by the operator, who says
        // with rules who may carry them.
        let allied = |member: &Endpoint| {
            member.account == endpoint.account
                || (member.edge_type != "0" && endpoint.edge_type != "0")
        };
        let pooled = |member: &Endpoint| member.pools() && endpoint.pools() && allied(member);
        let apart = |member: &&Arc<Endpoint>| !(pooled(member) || member.is_leg_of(&endpoint));
        if let Some(other) = members.all.iter().find(apart) {
            let hint = if !allied(other) {
                "It belongs to someone else."
            } else if other.pools() || endpoint.pools() {
                "Both have to set pooling_enabled to share it."
            } else {
                "Stop the other one, choose another URL, or set pooling_enabled on both."
            };
            return Err(Refusal::new(
                Code::NAME_TAKEN,
                format!("{} is already online. {hint}", endpoint.url),
            ));
        }
        let leg = members.all.iter().any(|member| member.is_leg_of(&endpoint));
        members.legs |= leg;
        members.all.push(endpoint);
        Ok(!leg)
    }

    fn leave(&self, endpoint: &Endpoint) -> Left {
        let mut members = self.0.write();
        let before = members.all.len();
        members.all.retain(|member| !is(member, endpoint));
        let found = members.all.len() < before;
        Left {
            gone: found && !members.all.iter().any(|member| member.is_leg_of(endpoint)),
            last: members.all.is_empty(),
        }
    }
}

/// What the end of a membership has left.
#[derive(Clone, Copy, Default)]
struct Left {
    /// The endpoint was there and has no other leg.
    gone: bool,
    /// Nobody serves the URL any more.
    last: bool,
}

// === impl Members ===

impl Members {
    fn live(&self) -> impl Iterator<Item = &Arc<Endpoint>> + Clone {
        self.all.iter().filter(|member| member.is_live())
    }

    fn holds(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.all.iter().any(|member| Arc::ptr_eq(member, endpoint))
    }

    /// A random endpoint, however many legs it has, and the best leg of it.
    fn of_the_best_leg(&self) -> Option<&Arc<Endpoint>> {
        let first = |member: &&Arc<Endpoint>| {
            let leg = self.live().find(|earlier| earlier.is_leg_of(member));
            leg.is_some_and(|leg| Arc::ptr_eq(leg, member))
        };
        let endpoint = random_of(self.live().filter(first))?;
        let legs = self.live().filter(|member| member.is_leg_of(endpoint));
        best(legs).or(Some(endpoint))
    }
}

/// The one that is near and has little to do; one whose session has ended is none.
fn best<'a>(legs: impl Iterator<Item = &'a Arc<Endpoint>>) -> Option<&'a Arc<Endpoint>> {
    let open = legs.filter_map(|leg| Some((leg.session.load()?, leg)));
    // Of those that are as good, the one that was asked less often: else it were always the first.
    let best = open.min_by_key(|(streams, leg)| {
        let visits = leg.visits.load(Ordering::Relaxed);
        (leg.latency.cost(*streams), visits)
    });
    best.map(|(_, leg)| leg)
}

fn is(member: &Arc<Endpoint>, endpoint: &Endpoint) -> bool {
    std::ptr::eq(Arc::as_ptr(member), endpoint)
}

fn random_of<T>(those: impl Iterator<Item = T> + Clone) -> Option<T> {
    let count = those.clone().count();
    let index = (count > 0).then(|| RandomState::new().build_hasher().finish() as usize % count)?;
    those.into_iter().nth(index)
}

// === impl Registry ===

impl Registry {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Endpoints bound now.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The pool for a host, lower case and without a port.
    pub(crate) fn find(&self, scheme: Scheme, host: &str) -> Option<Arc<Pool>> {
        self.names(scheme)?.find(host)
    }

    pub(crate) fn find_port(&self, port: u16) -> Option<Arc<Pool>> {
        self.ports.read().get(&port).cloned()
    }

    /// Whether a name is served over TLS.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.https.find(host).is_some() || self.tls.find(host).is_some()
    }

    /// Takes the endpoint's URL for it. Visitors find it once it is live.
    ///
    /// # Errors
    /// [`Code::NAME_TAKEN`] where it is online already and not both are to be pooled.
    pub(crate) fn claim(&self, endpoint: &Arc<Endpoint>) -> Result<(), Refusal> {
        let new = match (self.names(endpoint.url.scheme), endpoint.url.port) {
            (Some(names), _) => names.claim(endpoint)?,
            (None, Some(port)) => join(self.ports.write().entry(port), endpoint)?,
            (None, None) => return Err(Refusal::of(Code(9034))),
        };
        self.count.fetch_add(usize::from(new), Ordering::Relaxed);
        Ok(())
    }

    /// Gives the URL up. `true`: nobody serves it any more.
    pub(crate) fn release(&self, endpoint: &Endpoint) -> bool {
        endpoint.end();
        let left = match (self.names(endpoint.url.scheme), endpoint.url.port) {
            (Some(names), _) => names.release(endpoint),
            (None, Some(port)) => leave(self.ports.write().entry(port), endpoint),
            (None, None) => Left::default(),
        };
        self.count
            .fetch_sub(usize::from(left.gone), Ordering::Relaxed);
        left.last
    }

    fn names(&self, scheme: Scheme) -> Option<&Names> {
        match scheme {
            Scheme::Http => Some(&self.http),
            Scheme::Https => Some(&self.https),
            Scheme::Tls => Some(&self.tls),
            Scheme::Tcp => None,
        }
    }
}

// === impl Names ===

impl Default for Names {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            exact: std::array::from_fn(|_| RwLock::default()),
            wildcards: RwLock::default(),
            wildcard_count: AtomicUsize::new(0),
        }
    }
}

impl Names {
    fn shard(&self, host: &str) -> &RwLock<HashMap<Box<str>, Arc<Pool>>> {
        &self.exact[self.hasher.hash_one(host) as usize % SHARDS]
    }

    fn find(&self, host: &str) -> Option<Arc<Pool>> {
        if let Some(pool) = self.shard(host).read().get(host) {
            return Some(pool.clone());
        }
        if self.wildcard_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let wildcards = self.wildcards.read();
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(pool) = wildcards.get(parent) {
                return Some(pool.clone());
            }
            rest = parent;
        }
        None
    }

    fn claim(&self, endpoint: &Arc<Endpoint>) -> Result<bool, Refusal> {
        if let Some(parent) = endpoint.url.host.strip_prefix("*.") {
            let mut wildcards = self.wildcards.write();
            let new = join(wildcards.entry(parent.into()), endpoint)?;
            self.wildcard_count
                .store(wildcards.len(), Ordering::Relaxed);
            Ok(new)
        } else {
            let host = endpoint.url.host.as_str();
            join(self.shard(host).write().entry(host.into()), endpoint)
        }
    }

    fn release(&self, endpoint: &Endpoint) -> Left {
        if let Some(parent) = endpoint.url.host.strip_prefix("*.") {
            let mut wildcards = self.wildcards.write();
            let left = leave(wildcards.entry(parent.into()), endpoint);
            self.wildcard_count
                .store(wildcards.len(), Ordering::Relaxed);
            left
        } else {
            let host = endpoint.url.host.as_str();
            leave(self.shard(host).write().entry(host.into()), endpoint)
        }
    }
}

fn join<K>(entry: Entry<'_, K, Arc<Pool>>, endpoint: &Arc<Endpoint>) -> Result<bool, Refusal> {
    match entry {
        Entry::Occupied(pool) => pool.get().join(endpoint.clone()),
        Entry::Vacant(place) => {
            // Most pools keep the one member they begin with.
            let pool = Pool(RwLock::new(Members {
                all: Vec::with_capacity(1),
                legs: false,
            }));
            let new = pool.join(endpoint.clone())?;
            place.insert(Arc::new(pool));
            Ok(new)
        }
    }
}

fn leave<K>(entry: Entry<'_, K, Arc<Pool>>, endpoint: &Endpoint) -> Left {
    let Entry::Occupied(pool) = entry else {
        return Left::default();
    };
    let left = pool.get().leave(endpoint);
    if left.last {
        pool.remove();
    }
    left
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::endpoint::tests::{endpoint, open_endpoint};

    fn ready(registry: &Registry, scheme: Scheme, host: &str) -> Option<String> {
        match registry.find(scheme, host)?.pick() {
            Pick::Ready(endpoint) => Some(endpoint.url.to_string()),
            _ => None,
        }
    }

    fn bind(registry: &Registry, url: &str, pooling: bool) -> Result<Arc<Endpoint>, Code> {
        let mut endpoint = endpoint(url, pooling);
        let id = registry.count().to_string();
        Arc::get_mut(&mut endpoint).unwrap().id = id.into();
        registry.claim(&endpoint).map_err(|refusal| refusal.code)?;
        endpoint.go_live();
        Ok(endpoint)
    }

    #[test]
    fn the_exact_name_wins_and_then_the_longest_wildcard() {
        let registry = Registry::new();
        let exact = bind(&registry, "https://a.b.test", false).unwrap();
        bind(&registry, "https://*.test", false).unwrap();
        bind(&registry, "https://*.b.test", false).unwrap();
        for (host, served) in [
            ("a.b.test", Some("https://a.b.test")),
            ("x.b.test", Some("https://*.b.test")),
            ("x.y.b.test", Some("https://*.b.test")),
            ("b.test", Some("https://*.test")),
            ("test", None),
            ("else", None),
        ] {
            assert_eq!(
                ready(&registry, Scheme::Https, host).as_deref(),
                served,
                "{host}"
            );
        }
        assert_eq!(ready(&registry, Scheme::Http, "a.b.test"), None);
        assert!(registry.release(&exact));
        assert_eq!(
            ready(&registry, Scheme::Https, "a.b.test").as_deref(),
            Some("https://*.b.test")
        );
        assert_eq!(registry.count(), 2);
    }

    #[test]
    fn one_url_has_one_owner_unless_both_pool() {
        let registry = Registry::new();
        let first = bind(&registry, "https://a.test", true).unwrap();
        assert_eq!(
            bind(&registry, "https://a.test", false).unwrap_err(),
            Code::NAME_TAKEN
        );
        let second = bind(&registry, "https://a.test", true).unwrap();
        let pool = registry.find(Scheme::Https, "a.test").unwrap();
        assert!(Arc::ptr_eq(&pool.pick_another(&first).unwrap(), &second));
        assert!(pool.holds(&first) && pool.holds(&second));
        assert!(!pool.holds(&endpoint("https://a.test", true)));
        let seen =
            (0..100).filter(|_| matches!(pool.pick(), Pick::Ready(it) if Arc::ptr_eq(&it, &first)));
        assert!((1..100).contains(&seen.count()), "both get visitors");
        assert!(!registry.release(&first) && registry.release(&second));
        assert!(bind(&registry, "https://a.test", false).is_ok());
        assert_eq!(registry.count(), 1);
    }

    #[test]
    fn legs_of_one_endpoint_are_one_member_and_take_turns() {
        let registry = Registry::new();
        let legs = [(); 3].map(|()| {
            let leg = open_endpoint("https://a.test");
            registry.claim(&leg).unwrap();
            leg.go_live();
            leg
        });
        let pool = registry.find(Scheme::Https, "a.test").unwrap();
        assert_eq!((registry.count(), pool.is_shared()), (1, false));
        let mut streams = Vec::new();
        let mut counts = [0; 3];
        for _ in 0..9 {
            let Pick::Ready(leg) = pool.pick() else {
                panic!("a leg is live")
            };
            counts[legs.iter().position(|it| Arc::ptr_eq(it, &leg)).unwrap()] += 1;
            streams.push(leg.session.try_open(Bytes::from_static(b"type")).unwrap());
            let again = pool.pick_again(Some(&leg));
            assert!(matches!(again, Pick::Ready(it) if Arc::ptr_eq(&it, &leg)));
        }
        assert_eq!(counts, [3, 3, 3]);
        legs[1].session.close(portway_mux::ErrorCode::NO_ERROR, "");
        for _ in 0..9 {
            let picked = pool.pick();
            assert!(!matches!(picked, Pick::Ready(it) if Arc::ptr_eq(&it, &legs[1])));
        }
        registry.release(&legs[1]);
        let other = pool.another_leg(&legs[0]).unwrap();
        assert!(Arc::ptr_eq(&other, &legs[2]) && registry.count() == 1);
        registry.release(&legs[2]);
        assert!(pool.another_leg(&legs[0]).is_none() && registry.count() == 1);
        assert!(registry.release(&legs[0]) && registry.count() == 0);
    }

    #[test]
    fn a_pool_is_shared_evenly_however_many_legs_its_members_have() {
        let registry = Registry::new();
        let mut members = Vec::new();
        for id in ["two legs", "two legs", "one"] {
            let mut member = open_endpoint("https://a.test");
            let changed = Arc::get_mut(&mut member).unwrap();
            (changed.id, changed.pooling) = (id.into(), true.into());
            registry.claim(&member).unwrap();
            member.go_live();
            members.push(member);
        }
        let pool = registry.find(Scheme::Https, "a.test").unwrap();
        assert!(pool.is_shared() && registry.count() == 2);
        let alone = (0..400).filter(|_| matches!(pool.pick(), Pick::Ready(it) if &*it.id == "one"));
        assert!((120..280).contains(&alone.count()), "half of all");
    }

    #[test]
    fn a_url_is_not_shared_with_strangers() {
        let registry = Registry::new();
        bind(&registry, "https://a.test", true).unwrap();
        let mut other = endpoint("https://a.test", true);
        let stranger = Arc::get_mut(&mut other).unwrap();
        (stranger.id, stranger.account) = ("other".into(), "bo".into());
        let refused = registry.claim(&other).unwrap_err();
        assert_eq!(refused.code, Code::NAME_TAKEN);
        assert!(refused.message.contains("someone else"));
    }

    #[test]
    fn an_endpoint_is_found_when_its_agent_knows_of_it() {
        let registry = Registry::new();
        let endpoint = endpoint("tcp://h:7", false);
        registry.claim(&endpoint).unwrap();
        let pool = registry.find_port(7).unwrap();
        assert!(matches!(pool.pick(), Pick::Soon(_)));
        endpoint.go_live();
        assert!(matches!(pool.pick(), Pick::Ready(_)));
        registry.release(&endpoint);
        assert!(registry.find_port(7).is_none());
        assert!(matches!(pool.pick(), Pick::Nothing));
    }
}
