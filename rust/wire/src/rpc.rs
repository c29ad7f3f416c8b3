//! One JSON object each way on a stream of its own (wire-protocol §4.1).
//!
//! The reader stops at the end of the first value and waits for no FIN: agents keep their side
//! open until they have the answer.

use serde_json::Value;

use crate::fields::Malformed;

/// Bytes of one message, at most.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Collects one JSON value from the bytes of a stream, cut anywhere.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Where the scan for the end goes on.
    scanned: usize,
    depth: u32,
    in_text: bool,
    escaped: bool,
}

// === impl Reader ===

impl Reader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes; the value once it is whole. What follows it is passed over.
    ///
    /// # Errors
    /// [`Malformed`] for what is no JSON object, or longer than [`MAX_MESSAGE`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Value>, Malformed> {
        if self.bytes.len() + bytes.len() > MAX_MESSAGE {
            return Err(Malformed::TooLarge { limit: MAX_MESSAGE });
        }
        self.bytes.extend_from_slice(bytes);
        while let Some(&byte) = self.bytes.get(self.scanned) {
            self.scanned += 1;
            if self.ends(byte)? {
                let message = &self.bytes[..self.scanned];
                return match serde_json::from_slice(message) {
                    Ok(value) => Ok(Some(value)),
                    Err(error) => Err(Malformed::Json(error.to_string())),
                };
            }
        }
        Ok(None)
    }

    /// Whether this byte closes the object that the message is.
    fn ends(&mut self, byte: u8) -> Result<bool, Malformed> {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.in_text = self.depth > 0,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                return Ok(self.depth == 0);
            }
            _ => {}
        }
        let begun = self.depth > 0 || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if begun {
            Ok(false)
        } else {
            Err(Malformed::NotAnObject)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn r59_a_request_is_read_however_it_is_cut() {
        let message = b" {\"a\":\"}\\\"{\",\"b\":[{}]}\n";
        for cut in 0..message.len() {
            let mut reader = Reader::new();
            let first = reader.push(&message[..cut]).unwrap();
            let value = match first {
                Some(value) => value,
                None => reader.push(&message[cut..]).unwrap().unwrap(),
            };
            assert_eq!(value, json!({"a": "}\"{", "b": [{}]}), "cut at {cut}");
        }
    }

    #[test]
    fn r61_what_is_no_object_is_refused() {
        for bad in ["x", "\"text\"", "1", "{\"a\":}", "}", "{]"] {
            assert!(Reader::new().push(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut reader = Reader::new();
        assert_eq!(reader.push(b"{\"a\":\"").unwrap(), None);
        let flood = vec![b'x'; MAX_MESSAGE];
        assert_eq!(
            reader.push(&flood),
            Err(Malformed::TooLarge { limit: MAX_MESSAGE })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_cuts_do_no_harm(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut reader = Reader::new();
            for piece in pieces {
                if !matches!(reader.push(&piece), Ok(None)) {
                    break;
                }
            }
        }
    }
}
