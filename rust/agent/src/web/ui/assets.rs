//! The files of the page, as the build compressed them: sent as they are kept, and unpacked only
//! for who cannot do that.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::super::reply::{Problem, Reply, with_type};

/// Path, type and compressed bytes, sorted by path.
const FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Nothing but the agent's own files, and pictures out of captured bodies, which are shown from
/// memory.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page itself: it finds out which of its views the path is of.
pub(super) fn page(asked: &HeaderMap) -> Result<Reply, Problem> {
    file("index.html", asked)
}

/// One file of the page.
pub(super) fn file(path: &str, asked: &HeaderMap) -> Result<Reply, Problem> {
    let found = FILES.binary_search_by(|(name, ..)| (*name).cmp(path));
    let Ok(place) = found else {
        return Err(Problem::no_route(&format!("/static/{path}")));
    };
    let (_, kind, packed) = FILES[place];
    let mut reply = if takes_gzip(asked) {
        let mut reply = with_type(StatusCode::OK, kind, Bytes::from_static(packed));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        reply
    } else {
        let mut plain = Vec::new();
        GzDecoder::new(packed)
            .read_to_end(&mut plain)
            .map_err(|error| Problem::internal(format!("{path}: {error}")))?;
        with_type(StatusCode::OK, kind, plain)
    };
    let headers = reply.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    Ok(reply)
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let codings = asked.get_all(header::ACCEPT_ENCODING).iter();
    let codings = codings.filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().trim_start_matches("q=").parse() == Ok(0.0);
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn asked(codings: &'static str) -> HeaderMap {
        let value = HeaderValue::from_static(codings);
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)])
    }

    #[tokio::test]
    async fn whoever_cannot_unpack_gets_it_unpacked() {
        for (codings, packed) in [
            ("gzip, deflate, br", true),
            ("*", true),
            ("br;q=1, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
        ] {
            let reply = file("app.js", &asked(codings)).unwrap();
            assert_eq!(
                reply.headers().contains_key("content-encoding"),
                packed,
                "{codings}"
            );
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.starts_with(&[0x1f, 0x8b]), packed, "{codings}");
        }
        assert!(file("vendor/preact.js", &HeaderMap::new()).is_ok());
        for path in [
            "",
            "..",
            "../Cargo.toml",
            "vendor/LICENSE.preact",
            "vendor/README.md",
        ] {
            assert!(file(path, &HeaderMap::new()).is_err(), "{path}");
        }
    }

    #[test]
    fn the_whole_page_is_no_more_than_150_kilobytes() {
        let total: usize = FILES.iter().map(|(_, _, packed)| packed.len()).sum();
        assert!(total <= 150_000, "{total} bytes");
        assert!(FILES.is_sorted_by_key(|(name, ..)| *name));
    }
}
