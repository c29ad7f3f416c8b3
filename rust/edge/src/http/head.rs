//! What a request's head must be (RFC 9112 §3.2, §6.3): where two readers could differ, it is
//! refused. hyper has parsed it already and refused what is no HTTP at all.

use http::request::Parts;
use http::uri::Authority;
use http::{Method, Version, header};

/// The host a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Lower case, no port, no dot at the end.
    pub host: String,
    /// As the visitor sent it: what the upstream sees.
    pub shown: String,
}

/// Reads the target; the error is a sentence for the visitor.
///
/// # Errors
/// For a head that could be understood in two ways, or has no host.
pub(super) fn target(head: &Parts) -> Result<Target, &'static str> {
    if head.method == Method::CONNECT {
        return Err("CONNECT is not for this server.");
    }
    if head.version < Version::HTTP_10 {
        return Err("This version of HTTP is not spoken here.");
    }
    let path = head.uri.path();
    let of_the_server = path == "*" && head.method == Method::OPTIONS;
    if !path.starts_with('/') && !of_the_server {
        return Err("The request target must begin with a slash.");
    }
    framing(head)?;
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("The request has more than one Host.");
    }
    let host = match host {
        Some(value) => Some(value.to_str().map_err(|_| "The Host is not text.")?),
        None => None,
    };
    let authority = head.uri.authority();
    let shown = match (authority, host) {
        (None, None) => return Err("The request has no Host."),
        (None, Some(host)) => host,
        (Some(authority), None) => authority.as_str(),
        (Some(authority), Some(host)) => {
            if !same_authority(authority, host) {
                return Err("The Host differs from the request target.");
            }
            host
        }
    };
    named(shown)
}

/// The target of this name.
///
/// # Errors
/// For what is no host, with or without a port.
pub(super) fn named(shown: &str) -> Result<Target, &'static str> {
    let parsed: Authority = shown.parse().map_err(|_| "The Host is not valid.")?;
    let port = shown.strip_prefix(parsed.host()).unwrap_or("@");
    let no_port = |port: &str| !port.bytes().all(|digit| digit.is_ascii_digit());
    if shown.contains('@') || !port.is_empty() && port.strip_prefix(':').is_none_or(no_port) {
        return Err("The Host is not valid.");
    }
    let host = parsed.host().trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() {
        return Err("The request has no Host.");
    }
    let shown = shown.to_owned();
    Ok(Target { host, shown })
}

/// One way to tell where the body ends.
fn framing(head: &Parts) -> Result<(), &'static str> {
    let encodings = head.headers.get_all(header::TRANSFER_ENCODING);
    let lengths = head.headers.get_all(header::CONTENT_LENGTH);
    let encoded = encodings.iter().next().is_some();
    if encoded && lengths.iter().next().is_some() {
        return Err("The request has both a Content-Length and a Transfer-Encoding.");
    }
    if lengths.iter().count() > 1 {
        return Err("The request has more than one Content-Length.");
    }
    if encoded {
        let mut all = encodings.iter();
        let chunked = all
            .next()
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || all.next().is_some() || head.version != Version::HTTP_11 {
            return Err("The Transfer-Encoding must be chunked and nothing else.");
        }
    }
    if let Some(length) = lengths.iter().next()
        && !length.as_bytes().iter().all(u8::is_ascii_digit)
    {
        return Err("The Content-Length is not a number.");
    }
    Ok(())
}

fn same_authority(authority: &Authority, host: &str) -> bool {
    let strip = |text: &str| {
        text.strip_suffix(":80")
            .or_else(|| text.strip_suffix(":443"))
            .unwrap_or(text)
            .to_ascii_lowercase()
    };
    strip(authority.as_str()) == strip(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_host_is_found() {
        for (uri, headers, host) in [
            ("/", vec![("host", "A.Test:8080")], "a.test"),
            ("/", vec![("host", "a.test.")], "a.test"),
            ("http://a.test/x", vec![], "a.test"),
            ("http://a.test/x", vec![("host", "a.test:80")], "a.test"),
            ("/", vec![("host", "[::1]:80")], "[::1]"),
        ] {
            assert_eq!(target(&head(uri, &headers)).unwrap().host, host, "{uri}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (uri, headers) in [
            ("/", vec![]),
            ("/", vec![("host", "")]),
            ("/", vec![("host", "a"), ("host", "a")]),
            ("/", vec![("host", "a b")]),
            ("/", vec![("host", "user@a")]),
            ("/", vec![("host", "a/b")]),
            ("/", vec![("host", "a:http")]),
            ("/", vec![("host", "a:+80")]),
            ("http://a.test/", vec![("host", "b.test")]),
            ("*", vec![("host", "a")]),
            (
                "/",
                vec![
                    ("host", "a"),
                    ("content-length", "1"),
                    ("content-length", "1"),
                ],
            ),
            ("/", vec![("host", "a"), ("content-length", "+1")]),
            (
                "/",
                vec![
                    ("host", "a"),
                    ("content-length", "1"),
                    ("transfer-encoding", "chunked"),
                ],
            ),
            (
                "/",
                vec![("host", "a"), ("transfer-encoding", "gzip, chunked")],
            ),
            (
                "/",
                vec![
                    ("host", "a"),
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
            ),
            ("/", vec![("host", "a"), ("transfer-encoding", "identity")]),
        ] {
            assert!(target(&head(uri, &headers)).is_err(), "{uri} {headers:?}");
        }
    }
}
