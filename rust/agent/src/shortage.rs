//! Memory that runs out: what can go goes first, then visitors are turned away, and the process lives
//! (agent-behaviour §13).
//!
//! Where a group of processes has a limit, the kernel ends one of them beyond it. So it is looked how much
//! is left whenever a visitor comes, and not more often than it can change much.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::room::Room;

/// What was found holds for so long.
const HOLDS: Duration = Duration::from_millis(50);

/// Whether there is still room for another visitor.
#[derive(Debug)]
pub(crate) struct Shortage {
    room: Room,
    began: Instant,
    /// Milliseconds since then, when it is looked again.
    again: AtomicU64,
    short: AtomicBool,
}

// === impl Shortage ===

impl Shortage {
    pub(crate) fn new(room: Room) -> Self {
        let told = (room.left)().is_some();
        Self {
            room,
            began: Instant::now(),
            again: AtomicU64::new(if told { 0 } else { u64::MAX }),
            short: AtomicBool::new(false),
        }
    }

    /// Whether another visitor could be one too many. `relief`: what can go before that.
    pub(crate) fn short(&self, relief: impl FnOnce()) -> bool {
        if self.now() < self.again.load(Ordering::Relaxed) {
            return self.short.load(Ordering::Relaxed);
        }
        if !self.look() {
            return false;
        }
        relief();
        (self.room.give_back)();
        self.look()
    }

    fn look(&self) -> bool {
        let short = self.room.is_short();
        self.short.store(short, Ordering::Relaxed);
        let again = self.now() + HOLDS.as_millis() as u64;
        self.again.store(again, Ordering::Relaxed);
        short
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortage(left: fn() -> Option<u64>, memory: Option<u64>) -> Shortage {
        Shortage::new(Room {
            open_files: 1024,
            memory,
            left,
            give_back: || (),
        })
    }

    #[test]
    fn little_that_is_left_is_a_shortage() {
        let short = |left, memory| shortage(left, memory).short(|| ());
        assert!(short(|| Some(3 << 20), Some(64 << 20)));
        assert!(!short(|| Some(5 << 20), Some(64 << 20)));
        assert!(!short(|| None, Some(64 << 20)));
        assert!(!short(|| Some(0), None));
    }

    #[test]
    fn what_can_go_goes_before_a_visitor_does() {
        static LEFT: AtomicU64 = AtomicU64::new(1 << 20);
        let shortage = shortage(|| Some(LEFT.load(Ordering::Relaxed)), Some(64 << 20));
        assert!(!shortage.short(|| LEFT.store(9 << 20, Ordering::Relaxed)));
    }

    #[test]
    fn what_was_found_holds_for_a_while() {
        let shortage = shortage(|| Some(0), Some(64 << 20));
        assert!(shortage.short(|| ()));
        shortage.again.store(u64::MAX, Ordering::Relaxed);
        assert!(shortage.short(|| panic!("it is not time yet")));
    }
}
