//! Requests that may go the short way: those of which nothing has to be decided, only passed on.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};

use crate::http::fields::{
    AGENT_ERROR, HTTP2_SETTINGS, KEEP_ALIVE, PROXY_CONNECTION, X_FORWARDED_FOR, X_FORWARDED_HOST,
    X_FORWARDED_PROTO, put, put_field,
};

/// Headers of a head; one with more goes the long way.
pub(super) const HEADERS: usize = 100;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
];

/// Between two neighbours only, or in need of more than passing on.
const NOT_SIMPLE: [HeaderName; 9] = [
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    TE,
    PROXY_AUTHORIZATION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    AGENT_ERROR,
];

/// Who asks, as upstreams are told (edge.md §4.2).
#[derive(Debug)]
pub(super) struct Visitor {
    pub address: String,
    pub scheme: &'static str,
}

/// What came first on a connection.
#[derive(Debug)]
pub(super) enum Read {
    Simple(Request),
    /// A head or a body that is not here whole.
    Begun,
    /// Something that is not passed on without a second look.
    Other,
}

#[derive(Debug)]
pub(super) struct Request {
    /// Bytes of the head, and of head and body.
    pub head: usize,
    pub length: usize,
    pub headers: usize,
    /// The `Host`, in what was read.
    pub host: Range<usize>,
    pub is_head: bool,
    /// It has no body and may be sent again.
    pub repeatable: bool,
    /// Nothing follows it.
    pub last: bool,
    /// As the upstream gets it, body and all.
    pub upstream: Bytes,
}

/// Reads the request at the beginning of `bytes` (RFC 9112). The parser is hyper's, with the same
/// settings: what this takes, hyper takes too.
pub(super) fn read(bytes: &[u8], visitor: &Visitor) -> Read {
    let mut space = [const { MaybeUninit::uninit() }; HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_request_with_uninit_headers(&mut head, bytes, &mut space);
    match parsed {
        Ok(httparse::Status::Complete(length)) => {
            check(bytes, length, &head, visitor).unwrap_or(Read::Other)
        }
        Ok(httparse::Status::Partial) => Read::Begun,
        Err(_) => Read::Other,
    }
}

fn check(
    bytes: &[u8],
    head_length: usize,
    head: &httparse::Request<'_, '_>,
    visitor: &Visitor,
) -> Option<Read> {
    let (method, path) = (head.method?, head.path?);
    let method = METHODS.iter().find(|known| *known == method)?;
    if head.version != Some(1) || !path.starts_with('/') {
        return None;
    }
    let path = PathAndQuery::try_from(path).ok()?;
    let mut host = None;
    let mut body = None;
    let mut last = false;
    let (mut forwarded_for, mut forwarded_proto, mut forwarded_host) = (false, false, false);
    let mut out = BytesMut::with_capacity(head_length + 160);
    put(
        &mut out,
        &[method.as_str(), " ", path.as_str(), " HTTP/1.1\r\n"],
    );
    for header in head.headers.iter() {
        let is = |name: &HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
        let mut also = "";
        if is(&HOST) {
            if host.is_some() {
                return None;
            }
            let start = header.value.as_ptr() as usize - bytes.as_ptr() as usize;
            host = Some(start..start + header.value.len());
        } else if is(&CONTENT_LENGTH) {
            if body.is_some() || !header.value.iter().all(u8::is_ascii_digit) {
                return None;
            }
            body = Some(str::from_utf8(header.value).ok()?.parse().ok()?);
        } else if is(&CONNECTION) {
            last |= header.value.eq_ignore_ascii_case(b"close");
            if !last && !header.value.eq_ignore_ascii_case(b"keep-alive") {
                return None;
            }
            continue;
        } else if is(&X_FORWARDED_FOR) {
            also = visitor.address.as_str();
            if std::mem::replace(&mut forwarded_for, true) {
                return None;
            }
        } else if is(&X_FORWARDED_PROTO) {
            also = visitor.scheme;
            if std::mem::replace(&mut forwarded_proto, true) {
                return None;
            }
        } else if is(&X_FORWARDED_HOST) {
            forwarded_host = true;
        } else if NOT_SIMPLE.iter().any(is) {
            return None;
        }
        if also.is_empty() {
            put_field(&mut out, header.name, header.value);
        } else {
            let all = [header.value, b", ", also.as_bytes()].concat();
            put_field(&mut out, header.name, &all);
        }
    }
    let host = host?;
    if !forwarded_for {
        put_field(
            &mut out,
            X_FORWARDED_FOR.as_str(),
            visitor.address.as_bytes(),
        );
    }
    if !forwarded_proto {
        put_field(
            &mut out,
            X_FORWARDED_PROTO.as_str(),
            visitor.scheme.as_bytes(),
        );
    }
    if !forwarded_host {
        put_field(&mut out, X_FORWARDED_HOST.as_str(), &bytes[host.clone()]);
    }
    out.put_slice(b"\r\n");
    let length = head_length.checked_add(body.unwrap_or(0))?;
    let Some(body) = bytes.get(head_length..length) else {
        // A body is passed on while it comes, and that is not for here.
        return None;
    };
    out.extend_from_slice(body);
    Some(Read::Simple(Request {
        head: head_length,
        length,
        headers: head.headers.len(),
        host,
        is_head: *method == Method::HEAD,
        repeatable: method.is_idempotent() && body.is_empty(),
        last,
        upstream: out.freeze(),
    }))
}

/// What decides on the form of an error page.
pub(super) fn forms(bytes: &[u8]) -> HeaderMap {
    let mut forms = HeaderMap::new();
    let mut space = [const { MaybeUninit::uninit() }; HEADERS];
    let mut head = httparse::Request::new(&mut []);
    // It was read before, so it can be read again.
    let _ = head.parse_with_uninit_headers(bytes, &mut space);
    for header in head.headers.iter() {
        for name in [ACCEPT, USER_AGENT] {
            if header.name.eq_ignore_ascii_case(name.as_str())
                && let Ok(value) = HeaderValue::from_bytes(header.value)
            {
                forms.entry(name).or_insert(value);
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor() -> Visitor {
        Visitor {
            address: "192.0.2.7".into(),
            scheme: "https",
        }
    }

    fn simple(text: &str) -> Request {
        match read(text.as_bytes(), &visitor()) {
            Read::Simple(request) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_passed_on_with_what_is_known_of_the_visitor() {
        let text = "GET /a?b=c#d HTTP/1.1\r\nhOst: a.test:80\r\nConnection: keep-alive\r\nX-Own:  v \r\n\r\nGET /";
        let request = simple(text);
        assert_eq!(&text[request.host.clone()], "a.test:80");
        assert_eq!(&text[request.length..], "GET /");
        assert!(request.repeatable && !request.last && !request.is_head);
        assert_eq!(
            request.upstream,
            "GET /a?b=c HTTP/1.1\r\nhOst: a.test:80\r\nX-Own: v\r\nx-forwarded-for: 192.0.2.7\r\n\
             x-forwarded-proto: https\r\nx-forwarded-host: a.test:80\r\n\r\n"
        );
    }

    #[test]
    fn what_was_forwarded_before_is_added_to() {
        let request = simple(
            "HEAD / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nx-forwarded-proto: http\r\n\
             X-Forwarded-Host: b\r\nconnection: Close\r\n\r\n",
        );
        assert!(request.is_head && request.last);
        assert_eq!(
            request.upstream,
            "HEAD / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1, 192.0.2.7\r\n\
             x-forwarded-proto: http, https\r\nX-Forwarded-Host: b\r\n\r\n"
        );
    }

    #[test]
    fn a_body_that_is_here_goes_along() {
        let request = simple("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET");
        assert!(!request.repeatable);
        assert!(request.upstream.ends_with(b"\r\n\r\nabc"));
    }

    #[test]
    fn all_else_goes_the_long_way() {
        for text in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\" HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\na",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\na",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-own\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\nX-Forwarded-For: c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nportway-agent-error: x\r\n\r\n",
        ] {
            let read = read(text.as_bytes(), &visitor());
            assert!(matches!(read, Read::Other), "{text:?}: {read:?}");
        }
    }

    #[test]
    fn half_a_head_is_begun() {
        let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..whole.len() {
            assert!(matches!(
                read(&whole.as_bytes()[..end], &visitor()),
                Read::Begun
            ));
        }
    }
}
