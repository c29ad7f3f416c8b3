//! Parts of an edge that do no I/O, for `bench/test_edge.py` to time.

use std::hint::black_box;
use std::sync::Arc;

use portway_wire::{EndpointUrl, Refusal, Scheme};

use crate::endpoint::Endpoint;
use crate::http::fast;
use crate::registry::{Pick, Registry};

/// As a browser asks.
const REQUEST: &[u8] = b"GET /articles/42?page=2 HTTP/1.1\r\nHost: app.example.test\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Wed, 25 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\
    ETag: \"6745-400\"\r\nCache-Control: max-age=60\r\nVary: Accept-Encoding\r\n\r\n";

/// A table of endpoints, one in a hundred a wildcard.
#[derive(Debug)]
pub struct Routes(Registry, usize);

// === impl Routes ===

impl Routes {
    /// `count` endpoints; they lead nowhere.
    ///
    /// # Errors
    /// A [`Refusal`] never comes: no two have one name.
    pub fn new(count: usize) -> Result<Self, Refusal> {
        let (io, _) = tokio::io::duplex(64);
        let (session, ..) = portway_mux::session(io, portway_mux::Config::edge());
        let registry = Registry::new();
        for number in 0..count {
            let url = EndpointUrl::parse(&format!("https://{}", host(number, "*.")))?;
            let endpoint = Arc::new(Endpoint::plain(url, session.clone()));
            registry.claim(&endpoint)?;
            endpoint.go_live();
        }
        Ok(Self(registry, count))
    }

    /// Looks up `rounds` hosts, and counts those that are served.
    pub fn find(&self, rounds: usize) -> usize {
        let hosts: Vec<String> = (0..64)
            .map(|number| host(number * 7919 % self.1, "any."))
            .collect();
        let found = hosts.iter().cycle().take(rounds).filter(|host| {
            let pool = self.0.find(Scheme::Https, black_box(host));
            pool.is_some_and(|pool| matches!(pool.pick(), Pick::Ready(_)))
        });
        found.count()
    }
}

/// The host of an endpoint; that of a wildcard has a label more.
fn host(number: usize, label: &str) -> String {
    let label = if number.is_multiple_of(100) {
        label
    } else {
        ""
    };
    format!("{label}app-{number}.example.test")
}

/// Reads and rewrites the head of a request and that of its response; bytes that were written.
pub fn heads(rounds: usize) -> usize {
    (0..rounds)
        .map(|_| fast::heads(black_box(REQUEST), black_box(RESPONSE)))
        .sum()
}
