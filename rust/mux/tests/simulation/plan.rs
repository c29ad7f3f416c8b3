//! What each side does with a stream, decided by seed and key alone, so that both sides know what
//! to expect of the other.

use std::time::Duration;

use bytes::Bytes;

use crate::rng::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Finish,
    /// The writing half is dropped without a word.
    Drop,
    Reset,
}

/// One side of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) bytes: usize,
    pub(crate) chunk: usize,
    pub(crate) ending: Ending,
    /// The reading half is dropped behind so many bytes.
    pub(crate) reads: Option<usize>,
    pub(crate) write_pause: Duration,
    pub(crate) read_pause: Duration,
}

/// Both sides, the opener's first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) key: u32,
    pub(crate) opener: Half,
    pub(crate) acceptor: Half,
}

// === impl Plan ===

impl Plan {
    pub(crate) fn of(seed: u64, key: u32) -> Self {
        let mut rng = Rng::new(seed).fork(u64::from(key) + 1);
        Self {
            key,
            opener: Half::draw(&mut rng),
            acceptor: Half::draw(&mut rng),
        }
    }

    /// What stands in a stream's first frame.
    pub(crate) fn first(&self) -> Bytes {
        let mut first = vec![0, 0, 0, 3];
        first.extend_from_slice(&self.key.to_be_bytes());
        Bytes::from(first)
    }

    /// The content of one direction, from `at` on.
    pub(crate) fn content(&self, by_opener: bool, at: usize, length: usize) -> Bytes {
        let table = table();
        let from = self.key as usize * 7919 + usize::from(by_opener) * 31 + at;
        let bytes = (from..from + length).map(|place| table[place % table.len()]);
        bytes.collect()
    }

    pub(crate) fn check(&self, by_opener: bool, at: usize, bytes: &[u8]) {
        assert!(
            self.content(by_opener, at, bytes.len()) == bytes,
            "stream {} differs behind byte {at}",
            self.key
        );
    }
}

fn table() -> &'static [u8] {
    static TABLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| {
        let mut rng = Rng::new(1);
        // A prime: no block that is swapped with another can look right.
        (0..65_521).map(|_| rng.next() as u8).collect()
    })
}

// === impl Half ===

impl Half {
    fn draw(rng: &mut Rng) -> Self {
        let limit = rng.pick(&[1, 300, 300, 3000, 3000, 40_000, 400_000]);
        let bytes = rng.below(limit);
        let pause = |rng: &mut Rng| Duration::from_millis(rng.pick(&[0, 0, 0, 1, 20]));
        Self {
            bytes,
            chunk: 1 + rng.below(bytes.max(20) / 4 + 1),
            ending: rng.pick(&[
                Ending::Finish,
                Ending::Finish,
                Ending::Finish,
                Ending::Drop,
                Ending::Drop,
                Ending::Reset,
            ]),
            reads: rng.one_in(6).then(|| rng.below(5000)),
            write_pause: pause(rng),
            read_pause: pause(rng),
        }
    }
}
