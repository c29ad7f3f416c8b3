//! Receive credit: how many bytes the peer may still send on one stream.
//!
//! Consumed bytes are given back in steps of an eighth of the window. Towards a peer that adds
//! credit up, a window grows when it is what holds the sender back: when more than half of it was
//! used although the reader had taken nearly everything. Over a long link that doubles it once a
//! round trip, and it needs no clock. A peer that clamps credit gets back what was consumed and
//! nothing else (wire-protocol §2.5).

use crate::INITIAL_WINDOW;

/// One stream's receive side.
#[derive(Debug)]
pub struct RecvWindow {
    /// Bytes the peer may still send.
    credit: u32,
    /// Bytes of credit a stream whose reader keeps up has.
    size: u32,
    /// Consumed, not yet given back.
    owed: u32,
}

/// Room in which the windows of one session may grow.
#[derive(Debug)]
pub struct Growth {
    /// Bytes left of the session's budget.
    pub budget: u64,
    /// Largest window of one stream, in bytes.
    pub max_stream: u32,
    /// Whether the peer uses credit beyond the initial window.
    pub enabled: bool,
}

impl Default for RecvWindow {
    fn default() -> Self {
        Self {
            credit: INITIAL_WINDOW,
            size: INITIAL_WINDOW,
            owed: 0,
        }
    }
}

// === impl RecvWindow ===

impl RecvWindow {
    /// Counts a frame that has begun to arrive. `false`: the peer had no credit for it.
    pub fn receive(&mut self, length: u32) -> bool {
        match self.credit.checked_sub(length) {
            Some(credit) => {
                self.credit = credit;
                true
            }
            None => false,
        }
    }

    /// Takes `length` bytes out of the reader's hands and returns the increment to send now, if
    /// one is due. `unread` bytes are still buffered.
    pub fn consume(&mut self, length: u32, unread: usize, growth: &mut Growth) -> Option<u32> {
        self.owed += length;
        self.grow(unread, growth);
        if self.owed < self.size / 8 {
            return None;
        }
        let increment = std::mem::take(&mut self.owed);
        self.credit += increment;
        Some(increment)
    }

    fn grow(&mut self, unread: usize, growth: &mut Growth) {
        let hungry = self.credit < self.size / 2 && unread < (self.size / 8) as usize;
        if !growth.enabled || !hungry {
            return;
        }
        let target = self.size.saturating_mul(2).min(growth.max_stream);
        let extra = target
            .saturating_sub(self.size)
            .min(growth.budget.min(u64::from(u32::MAX)) as u32);
        growth.budget -= u64::from(extra);
        self.size += extra;
        self.owed += extra;
    }

    /// Gives what this window took of the budget back; the stream is over.
    pub fn release(&self, growth: &mut Growth) {
        growth.budget += u64::from(self.size - INITIAL_WINDOW);
    }

    /// Bytes the reader may be sent while it keeps up.
    pub fn size(&self) -> u32 {
        self.size
    }
}
