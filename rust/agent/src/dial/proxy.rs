//! Proxies on the way to the edge (agent-behaviour §2.3): HTTP and HTTPS by CONNECT, and SOCKS5.
//! Names are left to the proxy. Whatever fails names the proxy, and where the agent has it from.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header, request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_socks::tcp::Socks5Stream;

use super::road::Road;
use super::{DialError, host_port};
use crate::plan::{ProxyKind, ProxyPlan};

/// Bytes of the head of a proxy's answer.
const HEAD: usize = 16 * 1024;

/// A proxy, and for whom it is not used.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    plan: ProxyPlan,
    /// As errors and records show it, without its credentials.
    shown: String,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn new(plan: ProxyPlan) -> Self {
        let place = host_port(&plan.host, plan.port);
        let shown = format!(
            "proxy {}://{place} (from {})",
            plan.kind.name(),
            plan.source
        );
        Self { plan, shown }
    }

    /// What the Auth message says.
    pub(crate) fn kind(&self) -> &'static str {
        self.plan.kind.name()
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Where it listens.
    pub(crate) fn place(&self) -> (&str, u16) {
        (&self.plan.host, self.plan.port)
    }

    /// Whether connections to `host` go through it. This machine is never reached by a proxy.
    pub(crate) fn is_for(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let local = host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse()
                .is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
        let mut except = self.plan.except.iter();
        !local && !except.any(|rule| excepts(rule, &host, port))
    }

    /// Has the proxy connect to `host`, over a connection to it.
    ///
    /// # Errors
    /// [`DialError::Proxy`].
    pub(crate) async fn pass(
        &self,
        socket: TcpStream,
        host: &str,
        port: u16,
    ) -> Result<Road, DialError> {
        if !self.passes_requests() {
            return self.socks(socket, host, port).await;
        }
        let road = self.itself(socket).await?;
        self.connect(road, host, port).await
    }

    /// Whether it takes plain requests, to pass them on.
    pub(crate) fn passes_requests(&self) -> bool {
        self.plan.kind != ProxyKind::Socks5
    }

    /// What an HTTP proxy is spoken to over.
    ///
    /// # Errors
    /// [`DialError::Proxy`].
    pub(crate) async fn itself(&self, socket: TcpStream) -> Result<Road, DialError> {
        match self.plan.kind {
            ProxyKind::Https => self.secure(socket).await,
            _ => Ok(Road::Plain(socket)),
        }
    }

    /// A request with the credentials for the proxy.
    pub(crate) fn signed(&self, request: request::Builder) -> request::Builder {
        if self.plan.user.is_empty() {
            return request;
        }
        let pair = format!("{}:{}", self.plan.user, self.plan.password.expose());
        let value = format!("Basic {}", STANDARD.encode(pair));
        request.header(header::PROXY_AUTHORIZATION, value)
    }

    pub(crate) fn fail(&self, reason: impl std::fmt::Display) -> DialError {
        DialError::Proxy {
            proxy: self.shown.clone(),
            reason: reason.to_string(),
            login: false,
        }
    }

    /// The proxy does not know us, or not by these credentials.
    fn locked(&self, what: &str) -> DialError {
        let advice = if self.plan.user.is_empty() {
            "write them into its URL, user:password@"
        } else {
            "it does not accept those it was given"
        };
        DialError::Proxy {
            proxy: self.shown.clone(),
            reason: format!("it wants credentials ({what}): {advice}"),
            login: true,
        }
    }

    /// TLS with the proxy itself, which the operating system's CAs vouch for.
    async fn secure(&self, socket: TcpStream) -> Result<Road, DialError> {
        let fail =
            |error: &dyn std::fmt::Display| self.fail(format!("TLS with it failed: {error}"));
        let config: Arc<ClientConfig> =
            crate::trust::of_the_system().map_err(|error| fail(&error))?;
        let name = ServerName::try_from(self.plan.host.clone()).map_err(|error| fail(&error))?;
        let secured = TlsConnector::from(config).connect(name, socket).await;
        secured
            .map(|io| Road::Secure(Box::new(io)))
            .map_err(|error| fail(&error))
    }

    async fn connect(&self, road: Road, host: &str, port: u16) -> Result<Road, DialError> {
        let place = host_port(host, port);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD)
            .handshake(TokioIo::new(road))
            .await
            .map_err(|error| self.fail(error))?;
        let connection = connection.with_upgrades();
        tokio::pin!(connection);
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(&place)
            .header(header::HOST, &place);
        let request = self
            .signed(request)
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.fail(error))?;
        let exchange = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|error| self.fail(told(&error)))?;
            match answer.status() {
                status if status.is_success() => {}
                // 401 is what tinyproxy says to credentials it does not know.
                status @ (StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED) => {
                    return Err(self.locked(&status.to_string()));
                }
                status => {
                    return Err(self.fail(format!("it does not connect to {place}: {status}")));
                }
            }
            hyper::upgrade::on(answer)
                .await
                .map_err(|error| self.fail(told(&error)))
        };
        // Both live in this future: whoever gives up waiting lets go of the connection.
        tokio::pin!(exchange);
        let upgraded = tokio::select! {
            biased;
            upgraded = &mut exchange => upgraded?,
            ended = &mut connection => {
                ended.map_err(|error| self.fail(told(&error)))?;
                exchange.await?
            }
        };
        let parts = upgraded
            .downcast::<TokioIo<Road>>()
            .map_err(|_| self.fail("it did not switch over"))?;
        // The edge waits for our hello: what came already is nothing of its.
        if !parts.read_buf.is_empty() {
            return Err(self.fail("it sends something of its own where the edge has to answer"));
        }
        Ok(parts.io.into_inner())
    }

    async fn socks(&self, socket: TcpStream, host: &str, port: u16) -> Result<Road, DialError> {
        let target = (host, port);
        let user = self.plan.user.as_str();
        let passed = if user.is_empty() {
            Socks5Stream::connect_with_socket(socket, target).await
        } else {
            let password = self.plan.password.expose();
            Socks5Stream::connect_with_password_and_socket(socket, target, user, password).await
        };
        passed
            .map(|stream| Road::Plain(stream.into_inner()))
            .map_err(|error| match error {
                tokio_socks::Error::NoAcceptableAuthMethods
                | tokio_socks::Error::PasswordAuthFailure(_)
                | tokio_socks::Error::AuthorizationRequired => self.locked("SOCKS5"),
                tokio_socks::Error::InvalidResponseVersion => self.fail("it does not speak SOCKS5"),
                error => self.fail(format!(
                    "it does not connect to {}: {error}",
                    host_port(host, port)
                )),
            })
    }
}

/// What hyper says of a failed exchange, in words for who set the proxy.
pub(super) fn told(error: &hyper::Error) -> String {
    if error.is_parse() {
        "it does not speak HTTP, or answers with too large a head".into()
    } else if error.is_incomplete_message() || error.is_canceled() {
        "it closed the connection without an answer".into()
    } else {
        let source = std::error::Error::source(error);
        source.map_or_else(|| error.to_string(), ToString::to_string)
    }
}

/// Whether one entry of `no_proxy` covers a host: `*`, a name (and all below it), an address, a
/// range of them; with `:port`, that port alone.
fn excepts(rule: &str, host: &str, port: u16) -> bool {
    let rule = rule.trim().to_ascii_lowercase();
    if rule == "*" {
        return true;
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        let bare = rule.trim_start_matches('[').trim_end_matches(']');
        if let Ok(range) = bare.parse::<IpNet>() {
            return range.contains(&ip);
        }
        if let Ok(one) = bare.parse::<IpAddr>() {
            return one == ip;
        }
    }
    let (name, only) = match rule.rsplit_once(':') {
        Some((name, only)) if !name.contains(':') || name.ends_with(']') => (name, Some(only)),
        _ => (rule.as_str(), None),
    };
    if only.is_some_and(|only| only != port.to_string()) {
        return false;
    }
    let name = name
        .trim_start_matches('*')
        .trim_start_matches('.')
        .trim_matches(['[', ']']);
    !name.is_empty()
        && (host == name
            || host
                .strip_suffix(name)
                .is_some_and(|left| left.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(except: &[&str]) -> Proxy {
        Proxy::new(ProxyPlan {
            kind: ProxyKind::Http,
            host: "proxy.test".into(),
            port: 3128,
            user: "me".into(),
            password: "hunter2".to_owned().into(),
            source: "http_proxy".into(),
            except: except.iter().map(ToString::to_string).collect(),
        })
    }

    #[test]
    fn this_machine_and_what_is_excepted_are_reached_directly() {
        let none = proxy(&[]);
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!none.is_for(host, 443), "{host}");
        }
        assert!(none.is_for("edge.test", 443) && none.is_for("192.0.2.1", 443));
        for (rule, host, used) in [
            ("*", "edge.test", false),
            ("edge.test", "edge.test", false),
            ("EDGE.test", "edge.Test.", false),
            ("edge.test", "a.edge.test", false),
            (".edge.test", "a.edge.test", false),
            ("*.edge.test", "a.edge.test", false),
            ("edge.test", "otheredge.test", true),
            ("edge.test:443", "edge.test", false),
            ("edge.test:80", "edge.test", true),
            ("192.0.2.0/24", "192.0.2.7", false),
            ("192.0.3.0/24", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7", false),
            ("192.0.2.7:443", "192.0.2.7", false),
            ("2001:db8::/32", "2001:db8::7", false),
            ("[2001:db8::7]:443", "2001:db8::7", false),
            ("[2001:db8::7]:80", "2001:db8::7", true),
            ("", "edge.test", true),
        ] {
            assert_eq!(proxy(&[rule]).is_for(host, 443), used, "{rule} {host}");
        }
    }

    #[test]
    fn its_credentials_are_never_shown() {
        let proxy = proxy(&[]);
        for text in [
            format!("{proxy:?}"),
            proxy.fail("no").to_string(),
            proxy.locked("407").to_string(),
        ] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("proxy.test"), "{text}");
        }
    }
}
