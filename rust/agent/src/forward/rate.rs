//! So many records a second, and the number of those that were left out.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Rate {
    /// Records a second.
    most: u64,
    second: Option<Instant>,
    passed: u64,
    suppressed: u64,
}

/// Whether a record may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Not,
    Yes,
    /// The first one after so many were left out.
    After(u64),
}

// === impl Rate ===

impl Rate {
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            second: None,
            passed: 0,
            suppressed: 0,
        }
    }

    pub(super) fn pass(&mut self, now: Instant) -> Passed {
        let begins = self
            .second
            .is_none_or(|second| now.saturating_duration_since(second) >= SECOND);
        if begins {
            let suppressed = self.suppressed;
            *self = Self {
                second: Some(now),
                passed: 1,
                ..Self::new(self.most)
            };
            return if suppressed == 0 {
                Passed::Yes
            } else {
                Passed::After(suppressed)
            };
        }
        if self.passed < self.most {
            self.passed += 1;
            return Passed::Yes;
        }
        self.suppressed += 1;
        Passed::Not
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_told_with_the_next_second() {
        use Passed::{After, Not, Yes};

        let mut rate = Rate::new(2);
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let told: Vec<_> = [0, 10, 20, 999, 1000, 1001, 1002, 5000]
            .map(|millis| rate.pass(at(millis)))
            .into();
        assert_eq!(told, [Yes, Yes, Not, Not, After(2), Yes, Not, After(1)]);
    }
}
