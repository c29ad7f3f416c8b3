//! Requests of HTTP/1.1 whose length is told twice (RFC 9112 §6.3), found before hyper reads them.
//!
//! hyper settles such a request itself: the coding wins, and of two equal lengths one is dropped.
//! What it drops cannot be seen afterwards, and who sends such a thing is to be refused. So this
//! follows where messages begin and end, and spoils the head of one that says so twice; hyper then
//! refuses it as it refuses any garbage. Nothing is decided here about who may pass: what this
//! does not understand, hyper does not either.

/// Follows the requests of one connection.
#[derive(Debug)]
pub(super) struct Sieve {
    state: State,
    /// What has come of a head.
    head: Vec<u8>,
    limit_bytes: usize,
    spoilt: bool,
}

/// hyper looks at a head once it is whole.
const END: &[u8] = b"\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Body(u64),
    /// In the line that tells the size of a chunk; `told`: it is over, an extension follows.
    Size {
        size: u64,
        told: bool,
    },
    /// In a chunk or in the line end behind it.
    Chunk(u64),
    /// Behind the last chunk; `empty`: so is the line so far.
    Trailers {
        empty: bool,
    },
    /// Not HTTP/1.1, or not any more.
    Off,
}

// === impl Sieve ===

impl Sieve {
    /// A head longer than this is refused by others.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            state: State::Head,
            head: Vec::new(),
            limit_bytes,
            spoilt: false,
        }
    }

    /// Nothing that comes is a request any more.
    pub(super) fn off(&mut self) {
        self.state = State::Off;
        self.head = Vec::new();
    }

    /// What is read next, where a head was spoilt.
    pub(super) fn end(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.spoilt).then_some(END)
    }

    /// Looks at what was read, and spoils it from a head on that tells its length twice.
    /// [`end`](Self::end) is to be read behind it.
    pub(super) fn look(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Off {
            let begin = at;
            let Some(twice) = self.step(bytes, &mut at) else {
                continue;
            };
            self.head = Vec::new();
            if twice {
                // No byte of a request may be a zero.
                bytes[begin..].fill(0);
                self.off();
                self.spoilt = true;
            }
        }
    }

    /// Goes on by some bytes. At the end of a head: whether it tells a length twice.
    fn step(&mut self, bytes: &[u8], at: &mut usize) -> Option<bool> {
        let rest = &bytes[*at..];
        match &mut self.state {
            State::Head => return self.head(rest, at),
            State::Body(left) | State::Chunk(left) => {
                let length = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *at += length;
                *left -= length as u64;
                if *left == 0 {
                    self.state = match self.state {
                        State::Chunk(_) => State::SIZE,
                        _ => State::Head,
                    };
                }
            }
            State::Size { size, told } => {
                *at += 1;
                match (rest[0], char::from(rest[0]).to_digit(16)) {
                    (b'\n', _) if *size == 0 => self.state = State::Trailers { empty: true },
                    (b'\n', _) => self.state = State::Chunk(size.saturating_add(2)),
                    (_, Some(digit)) if !*told => {
                        *size = size.saturating_mul(16).saturating_add(digit.into());
                    }
                    (b'\r', _) => {}
                    _ => *told = true,
                }
            }
            State::Trailers { empty } => {
                *at += 1;
                match rest[0] {
                    b'\n' if *empty => self.state = State::Head,
                    b'\n' => *empty = true,
                    b'\r' => {}
                    _ => *empty = false,
                }
            }
            State::Off => *at = bytes.len(),
        }
        None
    }

    fn head(&mut self, rest: &[u8], at: &mut usize) -> Option<bool> {
        if self.head.is_empty() && matches!(rest[0], b'\r' | b'\n') {
            *at += 1; // empty lines in front
            return None;
        }
        // The end is found even where it was cut in two.
        let seen = self.head.len().saturating_sub(2);
        let had = self.head.len();
        self.head.extend_from_slice(rest);
        let Some(end) = end_of_head(&self.head[seen..]).map(|end| seen + end) else {
            *at += rest.len();
            if self.head.len() > self.limit_bytes {
                self.off();
            }
            return None;
        };
        *at += end - had;
        let told = Told::by(&self.head[..end]);
        self.state = match told {
            Told { preface: true, .. } => State::Off,
            Told { codings: 1.., .. } => State::SIZE,
            Told { length: 1.., .. } => State::Body(told.length),
            Told { .. } => State::Head,
        };
        Some(told.lengths + usize::from(told.codings > 0) > 1)
    }
}

impl State {
    const SIZE: Self = Self::Size {
        size: 0,
        told: false,
    };
}

/// Behind the empty line that ends a head.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends.find_map(|(at, _)| match bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// What a head says about the body.
#[derive(Debug, Default)]
struct Told {
    lengths: usize,
    codings: usize,
    length: u64,
    /// HTTP/2 begins like a request.
    preface: bool,
}

// === impl Told ===

impl Told {
    fn by(head: &[u8]) -> Self {
        let mut told = Self {
            preface: head.starts_with(b"PRI * HTTP/2.0"),
            ..Self::default()
        };
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                told.lengths += 1;
                let text = std::str::from_utf8(value).unwrap_or_default();
                told.length = text.parse().unwrap_or_default();
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                told.codings += 1;
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &[u8] = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 58\r\n\r\n\
        X\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-L\
        POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n\
        00A;x=0\r\n0123456789\r\n3\r\n\n\r\n\r\n0\r\nContent-Length: 1\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    const TWICE: [&[u8]; 4] = [
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: x\r\nx:y\ncontent-length :4\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\nContent-Length:4\nTransfer-Encoding: chunked\n\n",
    ];

    /// What comes out when these bytes are read in pieces of this size.
    fn sieved(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut sieve = Sieve::new(1 << 16);
        let mut out = bytes.to_vec();
        for piece in out.chunks_mut(size) {
            sieve.look(piece);
        }
        out
    }

    #[test]
    fn sound_requests_pass_however_they_are_cut() {
        let all = SOUND.repeat(3);
        for size in [1, 2, 3, 7, 50, all.len()] {
            assert_eq!(sieved(&all, size), all, "in pieces of {size}");
        }
    }

    #[test]
    fn what_tells_its_length_twice_is_spoilt_wherever_it_stands() {
        for twice in TWICE {
            let all = [SOUND, twice, SOUND].concat();
            for size in [1, 2, 5, 64, all.len()] {
                let out = sieved(&all, size);
                assert_eq!(out[..SOUND.len()], *SOUND);
                let head = end_of_head(twice).unwrap();
                assert!(
                    out[SOUND.len()..SOUND.len() + head].contains(&0),
                    "{twice:?} in pieces of {size}"
                );
            }
        }
    }

    #[test]
    fn http_2_and_what_follows_an_upgrade_are_nobodys_requests() {
        let all = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", TWICE[0]].concat();
        assert_eq!(sieved(&all, 11), all);
        let mut sieve = Sieve::new(1 << 16);
        sieve.off();
        let mut bytes = TWICE[0].to_vec();
        sieve.look(&mut bytes);
        assert_eq!(bytes, TWICE[0]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_taken(
            bytes in proptest::collection::vec(proptest::sample::select(b"a0F:\r\n ;".to_vec()), 0..300),
            size in 1usize..40,
        ) {
            let all = [b"P / HTTP/1.1\nTransfer-Encoding: chunked\n\n", &bytes[..]].concat();
            proptest::prop_assert_eq!(sieved(&all, size), all);
        }
    }
}
