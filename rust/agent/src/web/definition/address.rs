//! Upstreams and public URLs as people write them (cli.md §4, §5), in the same words in which files
//! and flags are told what is wrong with them.

use std::net::IpAddr;

/// What an upstream means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    /// For the plan: with a scheme wherever it matters.
    pub(super) url: String,
    /// For logs and screens.
    pub(super) shown: String,
}

/// A public URL that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicUrl {
    pub(super) proto: String,
    pub(super) text: String,
}

/// Reads an upstream of an endpoint of protocol `proto`.
pub(super) fn upstream(text: &str, proto: &str) -> Result<Upstream, String> {
    let text = text.trim();
    let http = matches!(proto, "http" | "https");
    if let Some(path) = text.strip_prefix("file:") {
        return folder(text, path, http);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(format!(
                "{text:?}: the path of a unix socket must be absolute, unix:///path.sock"
            ));
        }
        return Ok(Upstream {
            url: format!("unix:{path}"),
            shown: format!("unix://{path}"),
        });
    }
    let allowed = if http {
        ["http", "https"]
    } else {
        ["tcp", "tls"]
    };
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if !scheme.is_empty() && !allowed.contains(&scheme) {
        return Err(format!(
            "{text:?}: an upstream of this endpoint has {}://, {}:// or no scheme",
            allowed[0], allowed[1]
        ));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) || rest.contains(char::is_whitespace) {
        return Err(format!(
            "{text:?}: an upstream is host and port, without path or user"
        ));
    }
    let (host, port) = host_and_port(text, rest)?;
    if http {
        let scheme = match (scheme, port) {
            ("", Some(443)) => "https",
            ("", _) => "http",
            (scheme, _) => scheme,
        };
        let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        let url = format!("{scheme}://{host}:{port}");
        return Ok(Upstream {
            shown: url.clone(),
            url,
        });
    }
    let port = port.ok_or_else(|| format!("{text:?} has no port: write host:port"))?;
    let secure = scheme == "tls" || (proto == "tls" && scheme.is_empty() && port == 443);
    let shown = format!("{}{host}:{port}", if secure { "tls://" } else { "" });
    Ok(Upstream {
        url: shown.clone(),
        shown,
    })
}

fn folder(text: &str, path: &str, http: bool) -> Result<Upstream, String> {
    if !http {
        return Err(format!("{text:?}: only http endpoints can serve a folder"));
    }
    let path = path.strip_prefix("//").unwrap_or(path);
    let drive =
        matches!(path.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    if !path.starts_with('/') && !drive {
        return Err(format!(
            "{text:?}: the path of a folder must be absolute, file:///path"
        ));
    }
    Ok(Upstream {
        url: format!("file://{path}"),
        shown: text.to_owned(),
    })
}

fn host_and_port(text: &str, rest: &str) -> Result<(String, Option<u16>), String> {
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(("localhost".into(), Some(port_of(text, rest)?)));
    }
    let bracketed = rest.starts_with('[') && rest.ends_with(']');
    let (host, port) = match rest.rsplit_once(':') {
        Some((_, "")) if !bracketed => {
            return Err(format!("{text:?} has no port behind its colon"));
        }
        Some((host, port)) if !bracketed => (host, port),
        _ => (rest, ""),
    };
    if text.is_empty() {
        return Err("\"\" is no address such as 8080 or host:8080".into());
    }
    let host = if host.is_empty() { "localhost" } else { host };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let good = match address {
        Some(address) => {
            let bare = address.split('%').next().unwrap_or_default();
            bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6())
        }
        None => host.bytes().all(named) && !host.starts_with('-'),
    };
    if !good {
        let hint = if host.contains(':') {
            ": write an IPv6 address in brackets, [::1]:80"
        } else {
            ""
        };
        return Err(format!(
            "{text:?} is no address such as 8080 or host:8080{hint}"
        ));
    }
    let port = (!port.is_empty())
        .then(|| port_of(text, port))
        .transpose()?;
    Ok((host.to_owned(), port))
}

fn port_of(text: &str, port: &str) -> Result<u16, String> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?}: the port {port:?} is not a number"));
    }
    let number = port.parse().ok().filter(|port| *port != 0);
    number.ok_or_else(|| format!("{text:?}: port {port} is not in 1-65535"))
}

/// Reads a public URL. `proto` holds where it names no scheme.
pub(super) fn public_url(text: &str, proto: &str) -> Result<PublicUrl, String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or((proto, text));
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https" | "tcp" | "tls") {
        return Err(format!(
            "{text:?}: the scheme must be http, https, tcp or tls"
        ));
    }
    if rest.ends_with('/') {
        return Err(format!("{text:?} ends with a slash: leave it out"));
    }
    if rest.contains(['/', '?', '#', '@']) {
        return Err(format!("{text:?}: only scheme, host and port may be given"));
    }
    let host = match rest.rsplit_once(':') {
        Some((host, port)) => {
            port_of(text, port)?;
            if host.is_empty() {
                return Err(format!("{text:?} is no URL"));
            }
            host
        }
        None => rest,
    };
    if host.contains(char::is_whitespace) {
        return Err(format!("{text:?} is no URL"));
    }
    let whole = text.contains("://") || rest.is_empty();
    Ok(PublicUrl {
        text: if whole {
            text.to_owned()
        } else {
            format!("{scheme}://{rest}")
        },
        proto: scheme,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_mean_the_same_as_in_files() {
        for (text, proto, url) in [
            ("5000", "http", "http://localhost:5000"),
            ("nas.lan", "https", "http://nas.lan:80"),
            ("https://", "https", "https://localhost:443"),
            ("localhost:443", "https", "https://localhost:443"),
            ("[::1]:80", "http", "http://[::1]:80"),
            ("22", "tcp", "localhost:22"),
            ("tcp://h:1", "tcp", "h:1"),
            ("443", "tls", "tls://localhost:443"),
            ("80", "tls", "localhost:80"),
            ("file:///srv", "http", "file:///srv"),
            ("unix:///run/a.sock", "http", "unix:/run/a.sock"),
        ] {
            assert_eq!(
                upstream(text, proto).map(|found| found.url).as_deref(),
                Ok(url),
                "{text}"
            );
        }
        for (text, proto) in [
            ("", "http"),
            ("h:", "http"),
            ("https://h:", "http"),
            ("70000", "http"),
            ("tcp://h:1", "http"),
            ("h", "tcp"),
            ("::1:80", "http"),
            ("a b", "http"),
            ("h:80/path", "http"),
            ("file:rel", "http"),
            ("file:///srv", "tcp"),
            ("unix:a", "http"),
            ("h:x", "http"),
        ] {
            assert!(upstream(text, proto).is_err(), "{text}");
        }
    }

    #[test]
    fn public_urls_are_read() {
        for (text, proto, found) in [
            ("shop.test", "https", ("https", "https://shop.test")),
            ("tcp://", "https", ("tcp", "tcp://")),
            ("", "tls", ("tls", "")),
            (
                "HTTP://a.test:8080",
                "https",
                ("http", "HTTP://a.test:8080"),
            ),
        ] {
            let read = public_url(text, proto).unwrap();
            assert_eq!((read.proto.as_str(), read.text.as_str()), found);
        }
        for text in [
            "ftp://a",
            "https://a/",
            "https://a/b",
            "a:x",
            "a:0",
            ":1",
            "a b",
        ] {
            assert!(public_url(text, "https").is_err(), "{text}");
        }
    }
}
