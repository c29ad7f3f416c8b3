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
    address: IpAddr,
}

// === impl Gate ===

impl Gate {
    /// A place, unless a limit is reached. Addresses of this machine count for the whole only.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        all: usize,
        per_address: usize,
    ) -> Option<Place> {
        let address = address.to_canonical();
        let mut counts = self.0.lock();
        if counts.all >= all {
            return None;
        }
        if !address.is_loopback() {
            let count = counts.by_address.entry(address).or_default();
            if *count >= per_address {
                return None;
            }
            *count += 1;
        }
        counts.all += 1;
        Some(Place {
            gate: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.0.lock();
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
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
        let first = gate.admit(home, 3, 1).unwrap();
        assert!(gate.admit(home, 3, 1).is_none());
        let _other = gate.admit(away, 3, 1).unwrap();
        let local = IpAddr::from([127, 0, 0, 1]);
        let _local = gate.admit(local, 3, 0).unwrap();
        assert!(gate.admit(local, 3, 0).is_none(), "the whole is full");
        drop(first);
        assert!(gate.admit(home, 3, 1).is_some());
        assert_eq!(gate.0.lock().by_address.len(), 1, "addresses are forgotten");
    }
}
