//! Names of captured requests (agent-api §5.4): `airt_` and 27 letters and digits that sort by time
//! as text. Libraries sort by them, and expect an original before its replay.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "airt_";
/// In the order of their codes, so that text sorts as numbers do.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 160 bits: 64 of time, and what tells one agent's from another's.
const LENGTH: usize = 27;

/// Nanoseconds since 1970, each given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(u64);

/// Gives them out.
#[derive(Debug)]
pub(crate) struct Ids {
    last: AtomicU64,
    tail: [u32; 3],
}

// === impl Ids ===

impl Default for Ids {
    fn default() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        let (some, more) = (random(), random());
        Self {
            last: AtomicU64::new(0),
            tail: [(some >> 32) as u32, some as u32, more as u32],
        }
    }
}

impl Ids {
    /// The next one; later than all before it also where the clock is set back.
    pub(crate) fn next(&self, nanos: u64) -> Id {
        let step = |last: u64| Some(nanos.max(last.saturating_add(1)));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        let last = last.unwrap_or_default();
        Id(nanos.max(last.saturating_add(1)))
    }

    /// As it is written.
    pub(crate) fn text(&self, id: Id) -> impl fmt::Display {
        let mut limbs = [
            (id.0 >> 32) as u32,
            id.0 as u32,
            self.tail[0],
            self.tail[1],
            self.tail[2],
        ];
        let mut text = [b'0'; LENGTH];
        for place in text.iter_mut().rev() {
            let mut rest = 0;
            for limb in &mut limbs {
                let value = (rest << 32) | u64::from(*limb);
                *limb = (value / 62) as u32;
                rest = value % 62;
            }
            *place = DIGITS[rest as usize];
        }
        Text(text)
    }

    /// What a text names; nothing where it is none of ours.
    pub(crate) fn read(&self, text: &str) -> Option<Id> {
        let digits = text.strip_prefix(PREFIX)?.as_bytes();
        if digits.len() != LENGTH {
            return None;
        }
        let mut limbs = [0_u32; 5];
        for digit in digits {
            let mut carry = DIGITS.iter().position(|one| one == digit)? as u64;
            for limb in limbs.iter_mut().rev() {
                let value = u64::from(*limb) * 62 + carry;
                *limb = value as u32;
                carry = value >> 32;
            }
            if carry != 0 {
                return None;
            }
        }
        let id = (u64::from(limbs[0]) << 32) | u64::from(limbs[1]);
        (limbs[2..] == self.tail).then_some(Id(id))
    }
}

struct Text([u8; LENGTH]);

impl fmt::Display for Text {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(PREFIX)?;
        to.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_sort_by_time_as_text_and_are_read_back(mut times in prop::collection::vec(any::<u64>(), 2..20)) {
            let ids = Ids::default();
            times.sort_unstable();
            times.dedup();
            let texts: Vec<_> = times.iter().map(|time| ids.text(Id(*time)).to_string()).collect();
            prop_assert!(texts.is_sorted());
            for (time, text) in times.iter().zip(&texts) {
                prop_assert_eq!(text.len(), 32);
                prop_assert_eq!(ids.read(text), Some(Id(*time)));
            }
        }

        #[test]
        fn any_text_is_read_without_trouble(text in "(airt_)?[0-9A-Za-z]{20,30}") {
            prop_assert_eq!(Ids::default().read(&text), None);
        }
    }

    #[test]
    fn each_is_given_once_also_when_the_clock_goes_back() {
        let ids = Ids::default();
        let given: Vec<_> = [5, 5, 4, 9, 1].map(|nanos| ids.next(nanos)).into();
        assert!(given.is_sorted_by(|one, other| one < other), "{given:?}");
        assert_eq!(given[3], Id(9));
    }
}
