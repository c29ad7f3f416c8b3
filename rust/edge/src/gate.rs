//! How many connections a listener holds, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts of one listener.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Room for one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    /// Where it is counted.
    address: Option<IpAddr>,
}

// === impl Gate ===

impl Gate {
    /// A place, unless all are taken.
    pub(crate) fn admit(self: &Arc<Self>, all: usize) -> Option<Place> {
        let mut counts = self.0.lock();
        if counts.all >= all {
            return None;
        }
        counts.all += 1;
        Some(Place {
            gate: self.clone(),
            address: None,
        })
    }
}

// === impl Place ===

impl Place {
    /// Whose it is; `false`: this address has as many as it may. Addresses of this machine count
    /// for the whole only.
    pub(crate) fn is_for(&mut self, address: IpAddr, per_address: usize) -> bool {
        let address = address.to_canonical();
        if address.is_loopback() {
            return true;
        }
        let mut counts = self.gate.0.lock();
        let count = counts.by_address.entry(address).or_default();
        if *count >= per_address {
            // At a limit of none there is nobody to forget it.
            if *count == 0 {
                counts.by_address.remove(&address);
            }
            return false;
        }
        *count += 1;
        self.address = Some(address);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.0.lock();
        counts.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = counts.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let gate = Arc::new(Gate::default());
        let [home, away] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let admit = |address, per_address| {
            let mut place = gate.admit(3)?;
            place.is_for(address, per_address).then_some(place)
        };
        let first = admit(home, 1).unwrap();
        assert!(admit(home, 1).is_none());
        let _other = admit(away, 1).unwrap();
        let local = IpAddr::from([127, 0, 0, 1]);
        let _local = admit(local, 0).unwrap();
        assert!(admit(local, 0).is_none(), "the whole is full");
        drop(first);
        assert!(admit(home, 1).is_some());
        assert!(admit(home, 0).is_none());
        assert_eq!(gate.0.lock().by_address.len(), 1, "addresses are forgotten");
    }
}
