//! Addresses that the operator of an edge publishes for the day on which no name server answers
//! (agent-behaviour §2.2): a JSON object of host names, each with an address or a list of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::time::timeout;

use super::{Dialer, Found};
use crate::plan::{Dns, EdgeAddress};

const LIMIT: Duration = Duration::from_secs(5);
const LARGEST: usize = 64 * 1024;

/// Where they are, and how that is reached.
pub(super) struct Published {
    url: String,
    dialer: Dialer,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Addresses {
    One(IpAddr),
    Several(Vec<IpAddr>),
}

// === impl Published ===

impl Published {
    /// Nothing, where the operator publishes none.
    pub(super) fn new(edge: &EdgeAddress) -> Option<Box<Self>> {
        let url = edge.dns.published.clone()?;
        let edge = EdgeAddress {
            // For its own place it is of no use.
            dns: Dns {
                published: None,
                ..edge.dns.clone()
            },
            ..edge.clone()
        };
        let dialer = Dialer::new(&edge, LIMIT);
        Some(Box::new(Self { url, dialer }))
    }

    /// The addresses of a host. That this is a box ends a circle: they are fetched by a dialler.
    pub(super) fn of<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Found, String>> {
        async move {
            let fetched = timeout(LIMIT, self.dialer.fetch(&self.url, LARGEST)).await;
            let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
            let body = fetched.map_err(|cause| format!("{}: {cause}", self.url))?;
            let now = find(&body, host).map_err(|cause| format!("{}: {cause}", self.url))?;
            Ok(Found {
                now,
                ..Found::default()
            })
        }
        .boxed()
    }
}

fn find(body: &[u8], host: &str) -> Result<Vec<IpAddr>, String> {
    let all: BTreeMap<String, Addresses> = serde_json::from_slice(body)
        .map_err(|error| format!("this is no JSON object of addresses: {error}"))?;
    let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let wanted = bare(host);
    let found = all.into_iter().find(|(name, _)| bare(name) == wanted);
    let found = match found {
        Some((_, Addresses::One(address))) => vec![address],
        Some((_, Addresses::Several(addresses))) => addresses,
        None => Vec::new(),
    };
    if found.is_empty() {
        return Err(format!("it has no address of {host}"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_address_or_several() {
        let body = br#"{"edge.example": ["192.0.2.1", "2001:db8::1"], "Other.example.": "192.0.2.2", "none": []}"#;
        let shown = |host| {
            let found = find(body, host)?;
            let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
            Ok::<_, String>(texts.join(" "))
        };
        assert_eq!(shown("edge.example."), Ok("192.0.2.1 2001:db8::1".into()));
        assert_eq!(shown("other.example"), Ok("192.0.2.2".into()));
        assert!(shown("none").is_err() && shown("third").is_err());
        for bad in [&b"[]"[..], b"{\"a\": 1}", b"{\"a\": [\"b\"]}", b""] {
            assert!(find(bad, "a").is_err());
        }
    }
}
