//! Bodies in chunks (RFC 9112 §7.1), taken out of their frames.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of extensions and trailers that are passed over.
const PASSED_OVER: usize = 16 * 1024;

/// Where in a body the next byte is.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    passed_over: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size; how many there were.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind the digits.
    Extension {
        size: u64,
    },
    /// The line of the size has to end now; one of a trailer is like that of a last chunk.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    /// The line end behind a chunk: of two bytes, so many are left.
    DataEnd(u8),
    /// At the beginning of a line behind the last chunk.
    Trailer,
    InTrailer,
    /// The end of the empty line.
    LastEnd,
    Over,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// The body is not one in chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

// === impl Chunked ===

impl Chunked {
    /// All data in `bytes`, which is left with what follows the body. One piece is not copied; many
    /// small ones are joined, so that what carries them costs no more than they do.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(super) fn data(&mut self, bytes: &mut Bytes) -> Result<Bytes, Malformed> {
        let first = self.next(bytes)?.unwrap_or_default();
        let Some(second) = self.next(bytes)? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(more) = self.next(bytes)? {
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    /// The next piece of data in `bytes`, taken off their front; none where more has to come or the
    /// body [is over](Self::is_over).
    ///
    /// # Errors
    /// [`Malformed`], also where more than a little is to be passed over.
    fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        while self.state != State::Over && !bytes.is_empty() {
            if let State::Data(left) = self.state {
                let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.state = match left - length as u64 {
                    0 => State::DataEnd(2),
                    left => State::Data(left),
                };
                return Ok(Some(bytes.split_to(length)));
            }
            self.step(bytes.get_u8())?;
        }
        Ok(None)
    }

    /// Nothing that comes now belongs to it.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                State::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (State::Size { size, digits: 1.. } | State::Extension { size }, b'\r') => {
                State::SizeEnd { size }
            }
            (State::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => State::Extension { size },
            (State::InTrailer, b'\r') => State::SizeEnd { size: 0 },
            (State::Extension { .. } | State::InTrailer, _) if byte != b'\n' => {
                self.pass_over()?;
                self.state
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailer,
            (State::SizeEnd { size }, b'\n') => State::Data(size),
            (State::DataEnd(2), b'\r') => State::DataEnd(1),
            (State::DataEnd(1), b'\n') => State::default(),
            (State::Trailer, b'\r') => State::LastEnd,
            (State::LastEnd, b'\n') => State::Over,
            (State::Trailer, _) if byte != b'\n' => {
                self.pass_over()?;
                State::InTrailer
            }
            _ => return Err(Malformed),
        };
        Ok(())
    }

    fn pass_over(&mut self) -> Result<(), Malformed> {
        self.passed_over += 1;
        if self.passed_over > PASSED_OVER {
            return Err(Malformed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in a body that comes in pieces of this size, and what is left behind it.
    fn decoded(body: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let (mut data, mut rest) = (Vec::new(), Vec::new());
        let mut chunked = Chunked::default();
        for piece in body.chunks(size) {
            let mut bytes = Bytes::copy_from_slice(piece);
            data.extend_from_slice(&chunked.data(&mut bytes)?);
            rest.extend_from_slice(&bytes);
        }
        if chunked.is_over() {
            Ok((data, rest))
        } else {
            Err(Malformed)
        }
    }

    #[test]
    fn data_comes_out_however_it_is_cut() {
        let body = b"4;x=\"y\"\r\nWiki\r\n0A \r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\nHTTP";
        for size in 1..=body.len() {
            let (data, rest) = decoded(body, size).unwrap();
            assert_eq!(
                (&data[..], &rest[..]),
                (&b"Wiki0123456789"[..], &b"HTTP"[..])
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_malformed() {
        for body in [
            &b"\r\n"[..],
            b";x\r\n",
            b"-1\r\n",
            b"0x1\r\na\r\n",
            b"1\na\r\n0\r\n\r\n",
            b"1;x\na\r\n0\r\n\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"0\r\n\n",
            b"0\r\nx: y\n\r\n\rx",
            b"1000000000000000\r\n",
        ] {
            assert_eq!(decoded(body, body.len()), Err(Malformed), "{body:?}");
        }
        let long = [
            b"1;",
            &vec![b'x'; PASSED_OVER + 1][..],
            b"\r\na\r\n0\r\n\r\n",
        ]
        .concat();
        assert_eq!(decoded(&long, 999), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn any_chunks_come_out_as_they_went_in(
            chunks in proptest::collection::vec(proptest::collection::vec(0u8.., 1..40), 0..8),
            size in 1usize..50,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            proptest::prop_assert_eq!(decoded(&body, size), Ok((chunks.concat(), Vec::new())));
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(0u8.., 0..200), size in 1usize..50) {
            let _ = decoded(&bytes, size);
        }
    }
}
