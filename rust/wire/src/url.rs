//! URLs of endpoints: as asked for, and as given (edge.md §2).

use std::fmt;

use crate::codes::{Code, Refusal};

/// Labels an internal name may have.
const MAX_INTERNAL_LABELS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Tcp,
    Tls,
}

// === impl Scheme ===

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|scheme| scheme.as_str() == text)
    }

    /// The port a URL of this scheme need not name.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https | Self::Tls => Some(443),
            Self::Tcp => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an agent asks for: each part may be left to the edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlRequest {
    pub scheme: Option<Scheme>,
    /// Lower case; `*.` in front is a wildcard.
    pub host: Option<String>,
    pub port: Option<u16>,
}

// === impl UrlRequest ===

impl UrlRequest {
    /// Reads what stands in a flag, a file or a bind.
    ///
    /// # Errors
    /// A [`Refusal`] with the code of what is wrong.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => {
                let known = Scheme::parse(&scheme.to_ascii_lowercase());
                let known = known.ok_or_else(|| {
                    Refusal::new(
                        Code(9036),
                        format!("{text:?}: the scheme must be http, https, tcp or tls."),
                    )
                })?;
                (Some(known), rest)
            }
            None => (None, text),
        };
        if let Some(rest) = rest.strip_suffix('/')
            && !rest.contains(['/', '?', '#'])
        {
            return Err(Refusal::new(
                Code(9038),
                format!("{text:?} ends with a slash: leave it out."),
            ));
        }
        if rest.contains(['/', '?', '#', '@']) {
            return Err(Refusal::new(
                Code(9037),
                format!("{text:?}: only scheme, host and port may be given."),
            ));
        }
        let (host, port) = match rest.rsplit_once(':') {
            None => (rest, None),
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(read_port(text, port)?))
            }
            Some(_) => return Err(Refusal::new(Code(9034), format!("{text:?} is not a URL."))),
        };
        if host.is_empty() {
            if port.is_some() {
                return Err(Refusal::new(
                    Code(9032),
                    format!("{text:?} names a port but no host."),
                ));
            }
            return Ok(Self {
                scheme,
                host: None,
                port: None,
            });
        }
        let host = host.to_ascii_lowercase();
        check_host(&host)?;
        Ok(Self {
            scheme,
            host: Some(host),
            port,
        })
    }
}

fn read_port(text: &str, port: &str) -> Result<u16, Refusal> {
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::new(
            Code(9033),
            format!("{text:?}: the port is not a number."),
        ));
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(Refusal::new(
            Code(9030),
            format!("{text:?}: the port is not in 1-65535."),
        )),
        Ok(port) => Ok(port),
    }
}

/// Syntax of host names, each fault with its own code.
fn check_host(host: &str) -> Result<(), Refusal> {
    let fault = |code: u16, what: &str| {
        Err(Refusal::new(
            Code(code),
            format!("The domain {host:?} {what}."),
        ))
    };
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return Ok(());
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    if name.contains('*') {
        return fault(326, "has a * that is not the whole leftmost label");
    }
    if name.contains('_') {
        return fault(355, "has an underscore");
    }
    if name.contains("..") {
        return fault(327, "has two dots in a row");
    }
    if name.len() > 253 {
        return fault(397, "is longer than 253 characters");
    }
    let legal = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    if !name.bytes().all(legal) {
        return fault(326, "has a character that is not allowed in a domain");
    }
    for label in name.split('.') {
        if label.strip_prefix("xn--") == Some("") {
            return fault(347, "has invalid punycode");
        }
        if label.is_empty() || label.starts_with('-') {
            return fault(328, "has a label that begins with a dot or a dash");
        }
        if label.ends_with('-') {
            return fault(329, "has a label that ends with a dash");
        }
        if label.len() > 63 {
            return fault(396, "has a label of more than 63 characters");
        }
        if label.get(2..4) == Some("--") && !label.starts_with("xn--") {
            return fault(
                330,
                "has -- at the third place of a label that is no punycode",
            );
        }
    }
    if let Some(internal) = name.strip_suffix(".internal")
        && internal.split('.').count() + 1 > MAX_INTERNAL_LABELS
    {
        return fault(9031, "has too many labels for an internal name");
    }
    Ok(())
}

/// Where an endpoint is served. `port: None` is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    pub scheme: Scheme,
    pub host: String,
    pub port: Option<u16>,
}

// === impl EndpointUrl ===

impl EndpointUrl {
    /// Reads a complete URL.
    ///
    /// # Errors
    /// A [`Refusal`] with the code of what is wrong or missing.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let request = UrlRequest::parse(text)?;
        let (Some(scheme), Some(host)) = (request.scheme, request.host) else {
            return Err(Refusal::new(
                Code(9034),
                format!("{text:?} is not a complete URL."),
            ));
        };
        let port = request
            .port
            .filter(|port| scheme.default_port() != Some(*port));
        Ok(Self { scheme, host, port })
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// `*.example.com` covers every name below `example.com`.
    pub fn is_wildcard(&self) -> bool {
        self.host.starts_with("*.")
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if self.scheme.default_port() != Some(port) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(scheme: Option<Scheme>, host: &str, port: Option<u16>) -> UrlRequest {
        UrlRequest {
            scheme,
            host: (!host.is_empty()).then(|| host.to_owned()),
            port,
        }
    }

    #[test]
    fn r71_every_form_of_the_grammar_is_read() {
        use Scheme::*;
        for (text, wanted) in [
            ("", request(None, "", None)),
            ("Foo.Example.com", request(None, "foo.example.com", None)),
            (
                "https://foo.example.com:443",
                request(Some(Https), "foo.example.com", Some(443)),
            ),
            ("http://foo", request(Some(Http), "foo", None)),
            ("tls://foo.b", request(Some(Tls), "foo.b", None)),
            ("tcp://h:12", request(Some(Tcp), "h", Some(12))),
            ("h:12", request(None, "h", Some(12))),
            ("https://", request(Some(Https), "", None)),
            ("tcp://", request(Some(Tcp), "", None)),
            (
                "https://*.example.com",
                request(Some(Https), "*.example.com", None),
            ),
        ] {
            assert_eq!(UrlRequest::parse(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn every_fault_has_its_code() {
        let label = "a".repeat(64);
        let long = format!("{}x", "a.".repeat(127));
        for (text, code) in [
            ("https://invalid@domain.com", 9037),
            ("https://a.com/path", 9037),
            ("https://a.com?q", 9037),
            ("https://a.com/", 9038),
            ("ftp://a.com", 9036),
            ("tcp://a:b", 9033),
            ("tcp://a:0", 9030),
            ("tcp://a:65536", 9030),
            ("a:b:1", 9034),
            (":1", 9032),
            ("1.21 gigawatts", 326),
            ("a.*.com", 326),
            ("a..b", 327),
            ("-a.b", 328),
            (".a", 328),
            ("a-.b", 329),
            ("ab--c.d", 330),
            ("xn--.d", 347),
            ("a_b.c", 355),
            (&format!("{label}.b"), 396),
            (&long, 397),
            ("a.b.c.d.e.internal", 9031),
        ] {
            assert_eq!(
                UrlRequest::parse(text).map_err(|refusal| refusal.code),
                Err(Code(code)),
                "{text}"
            );
        }
    }

    #[test]
    fn default_ports_are_not_shown() {
        for (text, shown) in [
            ("https://a.b:443", "https://a.b"),
            ("http://a.b:80", "http://a.b"),
            ("http://a.b:8080", "http://a.b:8080"),
            ("tls://a.b:443", "tls://a.b"),
            ("tcp://a.b:443", "tcp://a.b:443"),
        ] {
            assert_eq!(EndpointUrl::parse(text).unwrap().to_string(), shown);
        }
    }
}
