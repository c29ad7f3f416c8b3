//! A queue of byte chunks that holds its first one in place: a stream that carries one small
//! message at a time allocates nothing for it.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Chunks in their order, none of them empty.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// Empty when there is none.
    first: Bytes,
    more: VecDeque<Bytes>,
}

// === impl Chunks ===

impl Chunks {
    pub(crate) fn push_back(&mut self, chunk: Bytes) {
        debug_assert!(!chunk.is_empty(), "an empty chunk would hide those behind");
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.more.push_back(chunk);
        }
    }

    pub(crate) fn front(&self) -> &[u8] {
        &self.first
    }

    pub(crate) fn pop_front(&mut self) -> Option<Bytes> {
        if self.first.is_empty() {
            return None;
        }
        let next = self.more.pop_front().unwrap_or_default();
        if next.is_empty() {
            // An idle stream holds no memory.
            self.more = VecDeque::new();
        }
        Some(std::mem::replace(&mut self.first, next))
    }

    /// Takes the first `length` bytes of the first chunk, uncopied.
    pub(crate) fn split_to(&mut self, length: usize) -> Bytes {
        if length == self.first.len() {
            self.pop_front().unwrap_or_default()
        } else {
            self.first.split_to(length)
        }
    }

    /// Drops the first `length` bytes of the first chunk.
    pub(crate) fn advance(&mut self, length: usize) {
        if length == self.first.len() {
            self.pop_front();
        } else {
            self.first.advance(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_out_as_they_went_in() {
        let mut chunks = Chunks::default();
        for text in ["one", "two", "three"] {
            chunks.push_back(Bytes::from_static(text.as_bytes()));
        }
        chunks.advance(1);
        assert_eq!(chunks.front(), b"ne");
        assert_eq!(chunks.split_to(1), "n");
        assert_eq!(chunks.split_to(1), "e");
        assert_eq!(chunks.pop_front().unwrap(), "two");
        chunks.push_back(Bytes::from_static(b"four"));
        assert_eq!(chunks.pop_front().unwrap(), "three");
        assert_eq!(chunks.pop_front().unwrap(), "four");
        assert_eq!((chunks.pop_front(), chunks.front()), (None, &b""[..]));
        assert_eq!(chunks.more.capacity(), 0);
    }
}
