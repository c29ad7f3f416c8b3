//! Header blocks of HTTP/2, decompressed (RFC 7541). By hand, as the decoders there are either belong
//! to a whole connection, or build a table for each string they read.
//!
//! Blocks come from peers that may be hostile: what they make of memory and time is bounded.

use std::collections::VecDeque;

/// Bytes of a dynamic table in the beginning, and at most.
const TABLE: usize = 4096;
const LARGEST_TABLE: usize = 64 * 1024;
/// What an entry of the table counts besides its text (§4.1).
const ENTRY: usize = 32;
/// Bytes of text that one block may come to.
const BLOCK: usize = 128 * 1024;

type Text = Vec<u8>;
pub(super) type Field = (Text, Text);

/// The block cannot be read, nor any behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Of one direction of a connection: every block in it has to come through here.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest first.
    table: VecDeque<Field>,
    size: usize,
    most: usize,
}

// === impl Decoder ===

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            most: TABLE,
        }
    }
}

impl Decoder {
    pub(super) fn decode(&mut self, mut block: &[u8]) -> Result<Vec<Field>, Malformed> {
        let mut fields = Vec::new();
        let mut text = 0;
        while let Some(&first) = block.first() {
            let field = if first & 0x80 != 0 {
                self.at(integer(&mut block, 7)?)?
            } else if first & 0x40 != 0 {
                let field = self.literal(&mut block, 6)?;
                self.add(field.clone());
                field
            } else if first & 0x20 != 0 {
                let most = integer(&mut block, 5)?;
                if most > LARGEST_TABLE {
                    return Err(Malformed);
                }
                self.most = most;
                self.shrink();
                continue;
            } else {
                self.literal(&mut block, 4)?
            };
            text += field.0.len() + field.1.len() + ENTRY;
            if text > BLOCK {
                return Err(Malformed);
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn at(&self, index: usize) -> Result<Field, Malformed> {
        let place = index.checked_sub(1).ok_or(Malformed)?;
        if let Some((name, value)) = STATIC.get(place) {
            return Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        }
        let field = self.table.get(place - STATIC.len());
        field.cloned().ok_or(Malformed)
    }

    fn literal(&self, block: &mut &[u8], prefix: u8) -> Result<Field, Malformed> {
        let name = match integer(block, prefix)? {
            0 => string(block)?,
            index => self.at(index)?.0,
        };
        Ok((name, string(block)?))
    }

    fn add(&mut self, field: Field) {
        self.size += cost(&field);
        self.table.push_front(field);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.size > self.most {
            let Some(oldest) = self.table.pop_back() else {
                self.size = 0;
                break;
            };
            self.size -= cost(&oldest);
        }
    }
}

fn cost((name, value): &Field) -> usize {
    name.len() + value.len() + ENTRY
}

/// An integer with so many bits in its first byte (§5.1).
fn integer(block: &mut &[u8], bits: u8) -> Result<usize, Malformed> {
    let (&first, mut rest) = block.split_first().ok_or(Malformed)?;
    let mask = (1_u16 << bits) - 1;
    let mut value = u32::from(u16::from(first) & mask);
    if value == u32::from(mask) {
        let mut shift = 0;
        loop {
            let (&byte, behind) = rest.split_first().ok_or(Malformed)?;
            rest = behind;
            // Four more bytes are more than any block needs.
            if shift > 21 {
                return Err(Malformed);
            }
            value += u32::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value as usize)
}

fn string(block: &mut &[u8]) -> Result<Text, Malformed> {
    let packed = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    if packed {
        unpack(text)
    } else {
        Ok(text.to_vec())
    }
}

/// Text in the code of Huffman's that the standard gives (§5.2, appendix B).
fn unpack(packed: &[u8]) -> Result<Text, Malformed> {
    let mut text = Vec::with_capacity(packed.len() * 2);
    let (mut code, mut length) = (0_u32, 0_usize);
    for byte in packed {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let Some(row) = CODES.get(length) else {
                return Err(Malformed);
            };
            let Some(place) = code
                .checked_sub(row.first)
                .filter(|place| *place < row.count)
            else {
                continue;
            };
            let symbol = SYMBOLS[row.place + place as usize];
            // The last symbol is the end, which is never written.
            text.push(u8::try_from(symbol).map_err(|_| Malformed)?);
            (code, length) = (0, 0);
        }
    }
    // What is left is the beginning of that end.
    let padding = (1_u32 << length) - 1;
    if length < 8 && code == padding {
        Ok(text)
    } else {
        Err(Malformed)
    }
}

/// The codes of one length: they follow each other, in the order of their symbols.
#[derive(Clone, Copy)]
struct Row {
    first: u32,
    count: u32,
    /// Where their symbols begin in `SYMBOLS`.
    place: usize,
}

const LONGEST: usize = 30;

/// By the length of their codes, then by value.
static SYMBOLS: [u16; 257] = {
    let mut symbols = [0; 257];
    let (mut place, mut length) = (0, 1);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                symbols[place] = symbol as u16;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
};

static CODES: [Row; LONGEST + 1] = {
    let mut rows = [Row {
        first: 0,
        count: 0,
        place: 0,
    }; LONGEST + 1];
    let (mut place, mut code, mut length) = (0, 0, 1);
    while length <= LONGEST {
        code <<= 1;
        let (mut symbol, mut count) = (0, 0);
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                count += 1;
            }
            symbol += 1;
        }
        rows[length] = Row {
            first: code,
            count,
            place,
        };
        code += count;
        place += count as usize;
        length += 1;
    }
    rows
};

/// Bits of each symbol's code (appendix B); the codes follow from them.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(fields: &[Field]) -> Vec<String> {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        fields
            .iter()
            .map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect()
    }

    /// RFC 7541, C.4: requests with Huffman's code, on one connection.
    #[test]
    fn the_examples_of_the_standard_are_read() {
        let mut decoder = Decoder::default();
        for (block, wanted) in [
            (
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                &[
                    ":method: GET",
                    ":scheme: http",
                    ":path: /",
                    ":authority: www.example.com",
                ][..],
            ),
            (
                "828684be5886a8eb10649cbf",
                &[
                    ":method: GET",
                    ":scheme: http",
                    ":path: /",
                    ":authority: www.example.com",
                    "cache-control: no-cache",
                ][..],
            ),
            (
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
                &[
                    ":method: GET",
                    ":scheme: https",
                    ":path: /index.html",
                    ":authority: www.example.com",
                    "custom-key: custom-value",
                ][..],
            ),
        ] {
            let fields = decoder.decode(&hex::decode(block).unwrap()).unwrap();
            assert_eq!(shown(&fields), wanted);
        }
        assert_eq!(decoder.size, 164);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for (why, block) in [
            ("no index", "80"),
            ("beyond the table", "ff00"),
            ("cut short", "4103"),
            ("an endless integer", "ffffffffffffff00"),
            ("a table too large", "3fe1ffff03"),
            ("padding of a byte", "400161821fff"),
            ("padding that is none", "4001618118"),
        ] {
            let block = hex::decode(block).unwrap();
            assert_eq!(Decoder::default().decode(&block), Err(Malformed), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_trouble(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5)) {
            let mut decoder = Decoder::default();
            for block in blocks {
                let _ = decoder.decode(&block);
                prop_assert!(decoder.size <= decoder.most);
                prop_assert_eq!(decoder.size, decoder.table.iter().map(cost).sum::<usize>());
            }
        }
    }
}
