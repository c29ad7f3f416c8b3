//! Headers of a message on its way (RFC 9110 §7.6): what belongs to one connection is taken off,
//! what tells the upstream of the visitor is put on (edge.md §4.2).

use std::net::IpAddr;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Marks errors of the edge, so no upstream may send it.
pub(super) const ERROR_CODE: HeaderName = HeaderName::from_static("ngrok-error-code");
/// An agent's word that it made an error page itself, with a token only it and the edge know.
pub(super) const AGENT_ERROR: HeaderName = HeaderName::from_static("portway-agent-error");

pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(super) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(super) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a `Connection` header may not take away: these are for the upstream, whatever it says.
pub(super) const KEPT: [HeaderName; 5] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
    header::COOKIE,
    header::TRAILER,
];

/// Takes off what is between two neighbours only. `te: trailers` stays: it is asked of the
/// upstream.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| !KEPT.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    let trailers = headers
        .get(header::TE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in [
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Tells the upstream who asks, by which name and how.
pub(super) fn add_forwarded(
    headers: &mut HeaderMap,
    visitor: IpAddr,
    scheme: &'static str,
    host: &str,
) {
    append(headers, X_FORWARDED_FOR, &visitor.to_string());
    append(headers, X_FORWARDED_PROTO, scheme);
    if !headers.contains_key(X_FORWARDED_HOST)
        && let Ok(host) = HeaderValue::from_str(host)
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

/// Behind what is there, in one header.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let earlier: Vec<&str> = headers
        .get_all(&name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let all = if earlier.is_empty() {
        HeaderValue::from_str(value)
    } else {
        HeaderValue::from_str(&format!("{}, {value}", earlier.join(", ")))
    };
    if let Ok(all) = all {
        headers.insert(name, all);
    }
}

/// Whether a request wants to leave HTTP behind.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
}

/// A line of a head as HTTP/1.1 has it.
pub(super) fn put_field(out: &mut BytesMut, name: &str, value: &[u8]) {
    put(out, &[name, ": "]);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn put(out: &mut BytesMut, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn neighbours_headers_go_and_the_others_stay() {
        let mut all = headers(&[
            ("connection", "close, x-private, host"),
            ("x-private", "1"),
            ("host", "a"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("trailer", "x-sum"),
        ]);
        strip_hop_by_hop(&mut all);
        let mut left: Vec<_> = all.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "te", "trailer"]);
    }

    #[test]
    fn the_visitor_is_appended() {
        let mut all = headers(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "first.test"),
        ]);
        add_forwarded(&mut all, IpAddr::from([192, 0, 2, 7]), "https", "a.test");
        assert_eq!(all["x-forwarded-for"], "10.0.0.1, 192.0.2.7");
        assert_eq!(all["x-forwarded-proto"], "https");
        assert_eq!(all["x-forwarded-host"], "first.test");
    }
}
