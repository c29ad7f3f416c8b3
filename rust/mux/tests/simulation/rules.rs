//! What every side must keep to, seen on the wire (wire-protocol §2): a reader of frames of its
//! own, between the two ends.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

const WINDOW: u64 = 262_144;

/// Frames of both directions, as far as they were written and as far as they arrived.
#[derive(Clone)]
pub(crate) struct Rules(Arc<Mutex<State>>);

struct State {
    written: [Cutter; 2],
    arrived: [Cutter; 2],
    streams: HashMap<u32, [Direction; 2]>,
    /// What one side may have granted beyond the first windows, on one stream and on all.
    stream_cap: u64,
    session_cap: u64,
    /// Windows end and give their room back: seen from outside, only the open ones count.
    growth: [HashMap<u32, u64>; 2],
}

/// What one side has sent on a stream, and is allowed to.
#[derive(Default)]
struct Direction {
    sent: u64,
    /// Credit whose frames have arrived here, beyond the first window.
    credit: u64,
    /// Credit the receiver has written for it.
    granted: u64,
    fin: bool,
    rst: bool,
}

#[derive(Default)]
struct Cutter {
    bytes: Vec<u8>,
    skip: usize,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: u64,
    word: u32,
}

// === impl Cutter ===

impl Cutter {
    fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip -= skipped;
            let Some((byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            self.bytes.push(*byte);
            if self.bytes.len() < 8 {
                continue;
            }
            let head = &self.bytes;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let kind = head[3] >> 4;
            let words = if kind == 1 { 0 } else { length.min(4) };
            if head.len() < 8 + words {
                continue;
            }
            let word = head.get(8..12).map_or(0, |word| {
                u32::from_be_bytes([word[0], word[1], word[2], word[3]])
            });
            self.skip = length - words;
            each(Frame {
                kind,
                flags: head[3] & 15,
                stream: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
                length: length as u64,
                word,
            });
            self.bytes.clear();
        }
    }
}

// === impl Rules ===

impl Rules {
    pub(crate) fn new(stream_cap: u64, session_cap: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            written: Default::default(),
            arrived: Default::default(),
            streams: HashMap::new(),
            stream_cap,
            session_cap,
            growth: Default::default(),
        })))
    }

    pub(crate) fn written(&self, side: usize, bytes: &[u8]) {
        let mut state = self.0.lock();
        let mut cutter = std::mem::take(&mut state.written[side]);
        cutter.push(bytes, |frame| state.sent(side, &frame));
        state.written[side] = cutter;
    }

    pub(crate) fn arrived(&self, side: usize, bytes: &[u8]) {
        let mut state = self.0.lock();
        let mut cutter = std::mem::take(&mut state.arrived[side]);
        cutter.push(bytes, |frame| {
            if frame.kind == 2 {
                let stream = state.streams.entry(frame.stream).or_default();
                stream[side].credit += u64::from(frame.word);
            }
        });
        state.arrived[side] = cutter;
    }
}

// === impl State ===

impl State {
    /// A stream that ends may have given its room back. If it has not, its next grant counts again.
    fn forget_growth(&mut self, id: u32) {
        for growth in &mut self.growth {
            growth.remove(&id);
        }
    }

    fn sent(&mut self, side: usize, frame: &Frame) {
        let id = frame.stream;
        assert_eq!(id >> 31, 0, "the top bit of an id");
        assert_eq!(frame.flags & !3, 0, "reserved flags");
        if frame.kind == 3 {
            assert_eq!(id, 0);
            return;
        }
        assert_ne!(id, 0);
        let known = self.streams.contains_key(&id);
        let stream = self.streams.entry(id).or_default();
        match frame.kind {
            0 => {
                assert_eq!((frame.length, frame.flags), (4, 0));
                assert_ne!(frame.word, 0, "peers ignore an RST without a reason");
                stream[side].rst = true;
                self.forget_growth(id);
            }
            1 => {
                if known {
                    assert_eq!(frame.flags & 2, 0, "stream {id} was opened already");
                } else {
                    assert_eq!(frame.flags, 2, "stream {id} begins with SYN, and no FIN");
                    assert!(frame.length >= 4, "the first frame holds the type");
                    // Agents, side 0, open odd streams.
                    assert_eq!(id % 2, 1 - side as u32, "parity of stream {id}");
                }
                let direction = &mut stream[side];
                assert!(!direction.fin, "data behind FIN on stream {id}");
                assert!(!direction.rst, "data behind RST on stream {id}");
                direction.sent += frame.length;
                if frame.flags & 1 != 0 {
                    direction.fin = true;
                    self.forget_growth(id);
                }
                let direction = &self.streams[&id][side];
                assert!(
                    direction.sent <= WINDOW + direction.credit,
                    "stream {id} is overrun: {} sent, {} allowed",
                    direction.sent,
                    WINDOW + direction.credit
                );
            }
            // Wakes a writer that does not hear an RST, and is no credit.
            2 if stream[side].rst => assert_eq!(frame.word, 1),
            2 => {
                assert_eq!((frame.length, frame.flags), (4, 0));
                assert!(frame.word > 0 && frame.word >> 31 == 0);
                let direction = &mut stream[1 - side];
                direction.granted += u64::from(frame.word);
                // The other end's bytes that are under way were not consumed yet.
                let open = (WINDOW + direction.granted).saturating_sub(direction.sent);
                assert!(open <= WINDOW + self.stream_cap, "stream {id}: {open} open");
                let growth = &mut self.growth[side];
                if direction.fin || direction.rst {
                    growth.remove(&id);
                } else {
                    growth.insert(id, open.saturating_sub(WINDOW));
                }
                let total: u64 = growth.values().sum();
                assert!(total <= self.session_cap, "windows grew by {total}");
            }
            other => panic!("a frame of kind {other} was sent"),
        }
    }
}
