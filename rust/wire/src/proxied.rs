//! The header of a proxied connection (wire-protocol §5.1): what the agent learns of a visitor
//! before the visitor's bytes.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::stream_type;

/// Bytes of the JSON, at most.
pub const MAX_HEADER: usize = 16 * 1024;

/// Who connects, and to which bind. Key names and order are those of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProxyHeader {
    /// The bind's id.
    pub id: String,
    /// `ip:port` of the visitor, IPv6 in brackets.
    #[serde(default)]
    pub client_addr: String,
    /// Protocol of the endpoint.
    #[serde(default)]
    pub proto: String,
    /// `"0"` for endpoints; 1–3 for labelled ones. A string, for agents drop a number.
    #[serde(default)]
    pub edge_type: String,
    /// The bytes are the visitor's TLS.
    #[serde(default, rename = "PassthroughTLS")]
    pub passthrough_tls: bool,
}

/// A header that cannot be taken; the stream is given up, the session lives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("connection header of {0} bytes")]
    Length(i64),
    #[error("connection header: {0}")]
    Json(String),
}

// === impl ProxyHeader ===

impl ProxyHeader {
    /// Stream type, length and JSON: what a stream begins with, to be sent in one frame together
    /// with `first`.
    pub fn encode(&self, first: &[u8]) -> Bytes {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut frame = BytesMut::with_capacity(12 + json.len() + first.len());
        frame.put_u32(stream_type::PROXY);
        frame.put_i64_le(json.len() as i64);
        frame.put_slice(&json);
        frame.put_slice(first);
        frame.freeze()
    }
}

/// Reads a header (behind the four type bytes) from bytes cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: BytesMut,
}

// === impl Decoder ===

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes. Once the header is whole: it, and the visitor's bytes that came with it.
    ///
    /// # Errors
    /// [`HeaderError`] for a length that is not positive or too large, and for bad JSON.
    pub fn push(&mut self, chunk: &Bytes) -> Result<Option<(ProxyHeader, Bytes)>, HeaderError> {
        self.bytes.extend_from_slice(chunk);
        let Some(length) = self.bytes.first_chunk::<8>() else {
            return Ok(None);
        };
        let length = i64::from_le_bytes(*length);
        let Some(size) = usize::try_from(length)
            .ok()
            .filter(|size| (1..=MAX_HEADER).contains(size))
        else {
            return Err(HeaderError::Length(length));
        };
        if self.bytes.len() < 8 + size {
            return Ok(None);
        }
        let rest = self.bytes.split_off(8 + size);
        let header = serde_json::from_slice(&self.bytes[8..])
            .map_err(|error| HeaderError::Json(error.to_string()))?;
        Ok(Some((header, rest.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> ProxyHeader {
        ProxyHeader {
            id: "t1".into(),
            client_addr: "203.0.113.7:4711".into(),
            proto: "https".into(),
            edge_type: "0".into(),
            passthrough_tls: false,
        }
    }

    #[test]
    fn p89_the_header_of_the_spec_byte_for_byte() {
        let mut wanted = b"\0\0\0\x03\x61\0\0\0\0\0\0\0".to_vec();
        wanted.extend_from_slice(
            br#"{"Id":"t1","ClientAddr":"203.0.113.7:4711","Proto":"https","EdgeType":"0","PassthroughTLS":false}"#,
        );
        wanted.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(example().encode(b"GET / HTTP/1.1\r\n\r\n"), wanted);
    }

    #[test]
    fn p92_p94_a_header_cut_anywhere_leaves_the_rest_in_order() {
        let frame = example().encode(b"hello").slice(4..);
        for cut in 0..frame.len() {
            let mut decoder = Decoder::new();
            let first = decoder.push(&frame.slice(..cut)).unwrap();
            let (header, mut rest) = if let Some((header, rest)) = first {
                (header, [rest, frame.slice(cut..)].concat())
            } else {
                let (header, rest) = decoder.push(&frame.slice(cut..)).unwrap().unwrap();
                (header, rest.to_vec())
            };
            rest.truncate(5);
            assert_eq!(
                (header, rest.as_slice()),
                (example(), &b"hello"[..]),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn p91_bad_lengths_and_bad_json_are_errors() {
        for length in [0i64, -1, i64::MIN, i64::MAX, 16 * 1024 + 1] {
            let bytes = Bytes::copy_from_slice(&length.to_le_bytes());
            assert_eq!(
                Decoder::new().push(&bytes),
                Err(HeaderError::Length(length))
            );
        }
        let mut bytes = 2i64.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"[]");
        assert!(matches!(
            Decoder::new().push(&bytes.into()),
            Err(HeaderError::Json(_))
        ));
    }

    #[test]
    fn p93_whitespace_within_the_length_is_no_data() {
        let json = br#"{"Id":"x","EdgeType":"0"}   "#;
        let mut bytes = (json.len() as i64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json);
        bytes.extend_from_slice(b"data");
        let (header, rest) = Decoder::new().push(&bytes.into()).unwrap().unwrap();
        assert_eq!((header.id.as_str(), &rest[..]), ("x", &b"data"[..]));
    }
}
