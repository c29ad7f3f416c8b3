//! Which stream may write next: deficit round robin with a quantum of one frame, small first.
//!
//! A stream that has sent little since its queue was last empty stands in the quick ring, one
//! that keeps sending in the bulk ring. Quick streams go first, yet after every few of their
//! frames a bulk stream has its turn, so that neither starves the other.

use std::collections::VecDeque;

/// Bytes a stream may send in one go before it counts as bulk.
pub const QUICK_BYTES: usize = 64 * 1024;
/// Quick frames after which one bulk frame is due.
const QUICK_IN_A_ROW: u32 = 4;

/// The streams that have something to send and the credit to send it.
#[derive(Debug, Default)]
pub struct Scheduler {
    quick: VecDeque<u32>,
    bulk: VecDeque<u32>,
    quick_in_a_row: u32,
}

// === impl Scheduler ===

impl Scheduler {
    /// Puts a stream at the end of its ring. `burst`: bytes sent since its queue was empty.
    pub fn push(&mut self, stream: u32, burst: usize) {
        if burst < QUICK_BYTES {
            self.quick.push_back(stream);
        } else {
            self.bulk.push_back(stream);
        }
    }

    /// The stream whose turn it is.
    pub fn pop(&mut self) -> Option<u32> {
        let bulk_due = self.quick_in_a_row >= QUICK_IN_A_ROW && !self.bulk.is_empty();
        if !bulk_due && let Some(stream) = self.quick.pop_front() {
            self.quick_in_a_row += 1;
            return Some(stream);
        }
        self.quick_in_a_row = 0;
        self.bulk.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.quick.is_empty() && self.bulk.is_empty()
    }

    pub fn len(&self) -> usize {
        self.quick.len() + self.bulk.len()
    }

    /// Takes out the streams that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.quick.retain(|stream| keep(*stream));
        self.bulk.retain(|stream| keep(*stream));
    }

    /// Gives idle memory back.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.quick = VecDeque::new();
            self.bulk = VecDeque::new();
        }
    }
}
