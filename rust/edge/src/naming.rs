//! Which URL a bind gets (edge.md §2): what the agent asks for, completed and checked.

use aws_lc_rs::rand;
use portway_wire::{Code, EndpointUrl, Refusal, Scheme, UrlRequest};

use crate::config::EdgeConfig;

/// The ports visitors see, by scheme; nothing where there is no such listener.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PublicPorts {
    pub http: Option<u16>,
    pub https: Option<u16>,
}

/// The URL to bind. Without a port: a TCP endpoint that takes any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub url: EndpointUrl,
    /// The edge chose the name, or is to choose the port.
    pub random: bool,
}

/// Completes a request. `label`: the name is a label below the base domain.
///
/// # Errors
/// The [`Refusal`] with the code of what does not fit.
pub(crate) fn assign(
    config: &EdgeConfig,
    ports: PublicPorts,
    proto: &str,
    wanted: &str,
    label: bool,
) -> Result<Assigned, Refusal> {
    let proto = Scheme::parse(proto).ok_or_else(|| Refusal::of(Code(332)))?;
    let base = config.base_domain();
    let wanted = if label {
        format!("{wanted}.{base}")
    } else {
        wanted.to_owned()
    };
    let request = UrlRequest::parse(&wanted)?;
    let scheme = request.scheme.unwrap_or(proto);
    let family = |scheme| match scheme {
        Scheme::Http | Scheme::Https => 0,
        Scheme::Tcp => 1,
        Scheme::Tls => 2,
    };
    if family(scheme) != family(proto) {
        return Err(Refusal::new(
            Code(9036),
            format!("{wanted:?}: an endpoint of protocol {proto} cannot have this scheme."),
        ));
    }
    if request
        .host
        .as_deref()
        .is_some_and(|host| host.ends_with(".internal"))
    {
        return Err(Refusal::new(
            Code(15005),
            "This edge has no internal endpoints yet, so it does not bind one.",
        ));
    }
    if scheme == Scheme::Tcp {
        return tcp(config, request);
    }
    let public = match scheme {
        Scheme::Http => ports.http,
        _ => ports.https,
    };
    let Some(public) = public else {
        return Err(Refusal::new(
            Code(9036),
            format!("This edge serves no {scheme} endpoints: it has no listener for them."),
        ));
    };
    if let Some(port) = request.port
        && port != public
        && scheme.default_port() != Some(port)
    {
        return Err(Refusal::new(
            Code(9035),
            format!("{wanted:?}: {scheme} endpoints of this edge are on port {public}."),
        ));
    }
    let random = request.host.is_none();
    let host = request
        .host
        .unwrap_or_else(|| format!("{}.{base}", random_hex(8)));
    Ok(Assigned {
        url: EndpointUrl {
            scheme,
            host,
            port: (scheme.default_port() != Some(public)).then_some(public),
        },
        random,
    })
}

fn tcp(config: &EdgeConfig, request: UrlRequest) -> Result<Assigned, Refusal> {
    let Some(range) = &config.tcp_ports else {
        return Err(Refusal::new(
            Code(9036),
            "This edge serves no tcp endpoints: it has no ports for them.",
        ));
    };
    let host = request
        .host
        .unwrap_or_else(|| config.base_domain().to_owned());
    let host = if host.starts_with('*') {
        return Err(Refusal::of(Code(326)));
    } else {
        host
    };
    if let Some(port) = request.port
        && !range.contains(&port)
    {
        return Err(Refusal::new(
            Code(307),
            format!(
                "Port {port} is not one of the TCP ports of this edge, {}-{}.",
                range.start(),
                range.end()
            ),
        ));
    }
    Ok(Assigned {
        random: request.port.is_none(),
        url: EndpointUrl {
            scheme: Scheme::Tcp,
            host,
            port: request.port,
        },
    })
}

/// So many random bytes as lower-case hex.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    // Names and tokens must not be guessable; without randomness there is no going on.
    if rand::fill(&mut buffer).is_err() {
        unreachable!("the operating system has no randomness");
    }
    hex::encode(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(proto: &str, wanted: &str, label: bool) -> Result<(String, bool), u16> {
        let config =
            serde_json::from_str(r#"{"domains": ["edge.test"], "tcp_ports": "20000-20009"}"#);
        let ports = PublicPorts {
            http: Some(80),
            https: Some(8443),
        };
        assign(&config.unwrap(), ports, proto, wanted, label)
            .map(|assigned| (assigned.url.to_string(), assigned.random))
            .map_err(|refusal| refusal.code.0)
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (proto, wanted, label, url) in [
            (
                "https",
                "Shop.example.com",
                false,
                "https://shop.example.com:8443",
            ),
            (
                "https",
                "https://shop.example.com:443",
                false,
                "https://shop.example.com:8443",
            ),
            (
                "https",
                "http://shop.example.com",
                false,
                "http://shop.example.com",
            ),
            ("http", "shop", true, "http://shop.edge.test"),
            ("tls", "*.x.test", false, "tls://*.x.test:8443"),
            ("tcp", "h:20001", false, "tcp://h:20001"),
        ] {
            assert_eq!(urls(proto, wanted, label), Ok((url.to_owned(), false)));
        }
        let (url, random) = urls("https", "https://", false).unwrap();
        assert!(
            random && url.ends_with(".edge.test:8443") && url.len() == "https://".len() + 16 + 15
        );
        assert_eq!(
            urls("tcp", "", false),
            Ok(("tcp://edge.test".to_owned(), true))
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (proto, wanted, code) in [
            ("ssh", "", 332),
            ("https", "tcp://a:1", 9036),
            ("tcp", "https://a", 9036),
            ("https", "https://a.test:9", 9035),
            ("tcp", "h:7", 307),
            ("tcp", "*.h:20001", 326),
            ("https", "api.internal", 15005),
            ("https", "1.21 gigawatts", 326),
        ] {
            assert_eq!(urls(proto, wanted, false).unwrap_err(), code, "{wanted}");
        }
    }
}
