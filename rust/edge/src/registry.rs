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
pub(crate) struct Pool(RwLock<Vec<Arc<Endpoint>>>);

/// What a pool has to offer now.
#[derive(Debug)]
pub(crate) enum Pick {
    Ready(Arc<Endpoint>),
    /// Bound, but its agent has not heard of it yet; it will in a moment.
    Soon(Arc<Endpoint>),
    Nothing,
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
    /// A random member.
    pub(crate) fn pick(&self) -> Pick {
        let members = self.0.read();
        if let [only] = members.as_slice() {
            return if only.is_live() {
                Pick::Ready(only.clone())
            } else {
                Pick::Soon(only.clone())
            };
        }
        let live = members.iter().filter(|member| member.is_live());
        let chosen = random_below(live.clone().count()).and_then(|index| live.clone().nth(index));
        match (chosen, members.first()) {
            (Some(member), _) => Pick::Ready(member.clone()),
            (None, Some(member)) => Pick::Soon(member.clone()),
            (None, None) => Pick::Nothing,
        }
    }

    /// Whether it has more than one member.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.read().len() > 1
    }

    /// Whether this endpoint is a member.
    pub(crate) fn holds(&self, endpoint: &Arc<Endpoint>) -> bool {
        let members = self.0.read();
        members.iter().any(|member| Arc::ptr_eq(member, endpoint))
    }

    /// A random live member that is not `other`.
    pub(crate) fn pick_another(&self, other: &Endpoint) -> Option<Arc<Endpoint>> {
        let members = self.0.read();
        let others = members
            .iter()
            .filter(|member| member.is_live() && !std::ptr::eq(Arc::as_ptr(member), other));
        let index = random_below(others.clone().count())?;
        others.clone().nth(index).cloned()
    }

    fn join(&self, endpoint: Arc<Endpoint>) -> Result<(), Refusal> {
        let mut members = self.0.write();
        // A bind that is repeated on another leg of the same agent is one endpoint.
        let same = |member: &Endpoint| member.owner == endpoint.owner && member.id == endpoint.id;
        // Only one's own endpoints share a URL; labels are given to URLs by the operator, who says
        // with rules who may carry them.
        let allied = |member: &Endpoint| {
            member.account == endpoint.account
                || (member.edge_type != "0" && endpoint.edge_type != "0")
        };
        let pooled = |member: &Endpoint| member.pools() && endpoint.pools() && allied(member);
        let apart = |member: &&Arc<Endpoint>| !(pooled(member) || same(member));
        if let Some(other) = members.iter().find(apart) {
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
        members.push(endpoint);
        Ok(())
    }

    /// Whether nobody is left.
    fn leave(&self, endpoint: &Endpoint) -> bool {
        let mut members = self.0.write();
        members.retain(|member| !std::ptr::eq(Arc::as_ptr(member), endpoint));
        members.is_empty()
    }
}

fn random_below(limit: usize) -> Option<usize> {
    (limit > 0).then(|| RandomState::new().build_hasher().finish() as usize % limit)
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
        match (self.names(endpoint.url.scheme), endpoint.url.port) {
            (Some(names), _) => names.claim(endpoint)?,
            (None, Some(port)) => join(self.ports.write().entry(port), endpoint)?,
            (None, None) => return Err(Refusal::of(Code(9034))),
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the URL up. `true`: nobody serves it any more.
    pub(crate) fn release(&self, endpoint: &Endpoint) -> bool {
        endpoint.end();
        let (found, last) = match (self.names(endpoint.url.scheme), endpoint.url.port) {
            (Some(names), _) => names.release(endpoint),
            (None, Some(port)) => leave(self.ports.write().entry(port), endpoint),
            (None, None) => (false, false),
        };
        self.count.fetch_sub(usize::from(found), Ordering::Relaxed);
        last
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

    fn claim(&self, endpoint: &Arc<Endpoint>) -> Result<(), Refusal> {
        if let Some(parent) = endpoint.url.host.strip_prefix("*.") {
            let mut wildcards = self.wildcards.write();
            join(wildcards.entry(parent.into()), endpoint)?;
            self.wildcard_count
                .store(wildcards.len(), Ordering::Relaxed);
            Ok(())
        } else {
            let host = endpoint.url.host.as_str();
            join(self.shard(host).write().entry(host.into()), endpoint)
        }
    }

    fn release(&self, endpoint: &Endpoint) -> (bool, bool) {
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

fn join<K>(entry: Entry<'_, K, Arc<Pool>>, endpoint: &Arc<Endpoint>) -> Result<(), Refusal> {
    match entry {
        Entry::Occupied(pool) => pool.get().join(endpoint.clone()),
        Entry::Vacant(place) => {
            // Most pools keep the one member they begin with.
            let pool = Pool(RwLock::new(Vec::with_capacity(1)));
            pool.join(endpoint.clone())?;
            place.insert(Arc::new(pool));
            Ok(())
        }
    }
}

/// Whether the endpoint was there, and whether it was the last.
fn leave<K>(entry: Entry<'_, K, Arc<Pool>>, endpoint: &Endpoint) -> (bool, bool) {
    let Entry::Occupied(pool) = entry else {
        return (false, false);
    };
    let before = pool.get().0.read().len();
    let last = pool.get().leave(endpoint);
    let found = last || pool.get().0.read().len() < before;
    if last {
        pool.remove();
    }
    (found, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::endpoint;

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
