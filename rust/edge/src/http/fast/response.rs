//! Heads of responses: read, and written again for the visitor.

use std::mem::MaybeUninit;
use std::time::SystemTime;

use bytes::{BufMut, BytesMut};
use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};

use super::request::HEADERS;
use crate::http::fields::{
    AGENT_ERROR, ERROR_CODE, HTTP2_SETTINGS, KEEP_ALIVE, KEPT, PROXY_CONNECTION, put, put_field,
};

/// What is between two neighbours only, and what only an edge says.
const TAKEN_OFF: [HeaderName; 11] = [
    CONNECTION,
    TRANSFER_ENCODING,
    TE,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    ERROR_CODE,
    AGENT_ERROR,
];

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// It ends with the stream.
    UntilEnd,
}

/// A head, and how to go on.
#[derive(Debug)]
pub(super) struct Head {
    /// Bytes it took.
    pub length: usize,
    pub status: u16,
    pub framing: Framing,
    /// The upstream takes another request behind this response.
    pub keeps: bool,
    /// What an agent says that made the response itself.
    pub agent_error: Option<String>,
    /// As the visitor gets it.
    pub visitor: BytesMut,
}

/// It is none of HTTP/1.1, or leaves open where its body ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the head at the beginning of `bytes`; none where it is not all there. `to_head`: the
/// request was HEAD. `last`: the visitor is told that the connection ends behind it.
///
/// # Errors
/// [`Malformed`].
pub(super) fn read(bytes: &[u8], to_head: bool, last: bool) -> Result<Option<Head>, Malformed> {
    let mut space = [const { MaybeUninit::uninit() }; HEADERS];
    let mut head = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut head, bytes, &mut space);
    match parsed {
        Ok(httparse::Status::Complete(length)) => rewrite(length, &head, to_head, last).map(Some),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Malformed),
    }
}

fn rewrite(
    length: usize,
    head: &httparse::Response<'_, '_>,
    to_head: bool,
    last: bool,
) -> Result<Head, Malformed> {
    let status = head.code.ok_or(Malformed)?;
    let known = StatusCode::from_u16(status).map_err(|_| Malformed)?;
    let mut keeps = head.version == Some(1);
    let mut chunked = false;
    let mut told = None;
    let mut agent_error = None;
    let mut named = Vec::new();
    for header in head.headers.iter() {
        let is = |name: &HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
        if is(&CONTENT_LENGTH) {
            let length = digits(header.value).ok_or(Malformed)?;
            if told.is_some_and(|told| told != length) {
                return Err(Malformed);
            }
            told = Some(length);
        } else if is(&TRANSFER_ENCODING) {
            if chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed);
            }
            chunked = true;
        } else if is(&CONNECTION) {
            for name in header.value.split(|byte| *byte == b',') {
                match name.trim_ascii() {
                    name if name.eq_ignore_ascii_case(b"close") => keeps = false,
                    name if name.eq_ignore_ascii_case(b"keep-alive") => {}
                    name => named.push(name),
                }
            }
        } else if is(&AGENT_ERROR) {
            agent_error = str::from_utf8(header.value).ok().map(str::to_owned);
        }
    }
    let no_body = to_head || matches!(status, 204 | 304);
    let framing = match told {
        _ if no_body => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilEnd,
    };
    keeps &= framing != Framing::UntilEnd;

    let mut out = BytesMut::with_capacity(length + 128);
    let reason = match head.reason {
        Some(reason) if !reason.is_empty() => reason,
        _ => known.canonical_reason().unwrap_or_default(),
    };
    put(
        &mut out,
        &["HTTP/1.1 ", known.as_str(), " ", reason, "\r\n"],
    );
    let mut dated = false;
    for header in head.headers.iter() {
        let is = |name: &HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
        let for_neighbour = named
            .iter()
            .any(|name| header.name.as_bytes().eq_ignore_ascii_case(name))
            && !KEPT.iter().any(is);
        let framed_twice = chunked && is(&CONTENT_LENGTH);
        if for_neighbour || framed_twice || TAKEN_OFF.iter().any(is) {
            continue;
        }
        dated |= is(&DATE);
        put_field(&mut out, header.name, header.value);
    }
    if !dated {
        let now = httpdate::fmt_http_date(SystemTime::now());
        put_field(&mut out, DATE.as_str(), now.as_bytes());
    }
    if matches!(framing, Framing::Chunked | Framing::UntilEnd) {
        put_field(&mut out, TRANSFER_ENCODING.as_str(), b"chunked");
    }
    if last {
        put_field(&mut out, CONNECTION.as_str(), b"close");
    }
    out.put_slice(b"\r\n");
    Ok(Head {
        length,
        status,
        framing,
        keeps,
        agent_error,
        visitor: out,
    })
}

fn digits(value: &[u8]) -> Option<u64> {
    let text = str::from_utf8(value).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        read(text.as_bytes(), false, false).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_written_again_without_what_was_between_neighbours() {
        let text = "HTTP/1.1 200 All fine\r\nDate: today\r\nConnection: keep-alive, X-Hop, date\r\nKeep-Alive: timeout=5\r\n\
                    x-hop: 1\r\nngrok-error-code: x\r\nServer: s\r\nContent-Length: 3\r\n\r\nabc";
        let head = head(text);
        assert_eq!(&text[head.length..], "abc");
        assert_eq!((head.framing, head.keeps), (Framing::Length(3), true));
        assert_eq!(
            head.visitor,
            "HTTP/1.1 200 All fine\r\nServer: s\r\nContent-Length: 3\r\ndate: ".to_owned()
                + &httpdate::fmt_http_date(SystemTime::now())
                + "\r\n\r\n"
        );
    }

    #[test]
    fn the_end_of_a_body_is_told_in_one_way() {
        let chunked = head(
            "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n",
        );
        assert_eq!((chunked.framing, chunked.keeps), (Framing::Chunked, true));
        assert_eq!(
            chunked.visitor,
            "HTTP/1.1 200 OK\r\nDate: d\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let ending = head("HTTP/1.1 200 \r\nDate: d\r\n\r\n");
        assert_eq!((ending.framing, ending.keeps), (Framing::UntilEnd, false));
        assert_eq!(
            ending.visitor,
            "HTTP/1.1 200 OK\r\nDate: d\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let closing = head("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            (closing.framing, closing.keeps),
            (Framing::Length(0), false)
        );
        let old = head("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert!(!old.keeps && old.visitor.starts_with(b"HTTP/1.1 200 OK\r\n"));
        for (text, to_head) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", false),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                false,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                true,
            ),
        ] {
            let head = read(text.as_bytes(), to_head, true).unwrap().unwrap();
            assert_eq!((head.framing, head.keeps), (Framing::Length(0), true));
            let same_length = text.contains("Length: 9");
            let text = str::from_utf8(&head.visitor).unwrap();
            assert_eq!(text.contains("Length: 9"), same_length);
            assert!(text.ends_with("connection: close\r\n\r\n") && !text.contains("chunked"));
        }
    }

    #[test]
    fn what_leaves_the_end_open_is_malformed() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "SSH-2.0-x\r\n",
        ] {
            let read = read(text.as_bytes(), false, false);
            assert_eq!(read.err(), Some(Malformed), "{text:?}");
        }
        assert!(
            read(b"HTTP/1.1 200 OK\r\nDate:", false, false)
                .unwrap()
                .is_none()
        );
        let error = head("HTTP/1.1 502 x\r\nportway-agent-error: ERR_NGROK_8012 t no\r\n\r\n");
        assert_eq!(error.agent_error.as_deref(), Some("ERR_NGROK_8012 t no"));
        assert!(!str::from_utf8(&error.visitor).unwrap().contains("ERR_"));
    }
}
