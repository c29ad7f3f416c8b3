//! One bound endpoint, and the way from a visitor into its agent (wire-protocol §5).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use portway_mux::{OpenError, Session, Stream};
use portway_policy::Chain;
use portway_wire::proxied::ProxyHeader;
use portway_wire::{Code, EndpointUrl, Secret};
use rustls::ServerConfig;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::latency::Latency;

/// How long a visitor waits for room in the agent's session.
const ROOM: Duration = Duration::from_secs(5);
/// How long for an agent to have heard that its endpoint is bound.
const LIVE: Duration = Duration::from_secs(2);

/// How long a new endpoint may be unknown to its agent, which lets go of visitors then.
const YOUNG: Duration = Duration::from_secs(2);

const PENDING: u8 = 0;
const SERVING: u8 = 1;
const GONE: u8 = 2;

/// An endpoint as visitors meet it. Everything about it was decided at its bind.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The bind's id, unique in its session.
    pub id: Arc<str>,
    pub url: EndpointUrl,
    /// As the agent spelled it in its bind.
    pub proto: Cow<'static, str>,
    /// How it came to its URL; the rules are asked again when they change.
    pub asked: Asked,
    /// What edge type the agent is told; `"0"` but for labelled binds.
    pub edge_type: &'static str,
    pub chain: Chain,
    /// 0, 1 or 2.
    pub proxy_proto: u8,
    /// The agent expects HTTP/2 on its streams.
    pub http2: bool,
    /// Shares its URL with others that do too. Its agent may change its mind.
    pub pooling: AtomicBool,
    /// Absolute redirects of the upstream are turned back to the public name.
    pub rewrites_host: bool,
    /// https: a configuration of its own, which asks for client certificates. tls: the edge ends
    /// TLS with it; none: it goes through untouched.
    pub tls: Option<Arc<ServerConfig>>,
    /// Proves that an error page was made by the agent; known to it and to us.
    pub token: Secret,
    pub session: Session,
    /// Of the session.
    pub latency: Arc<Latency>,
    /// Whose it is.
    pub account: Arc<str>,
    /// Account and client: its sessions may serve one bind together.
    pub owner: Arc<str>,
    pub state: State,
    pub bound: Instant,
    pub visits: AtomicU64,
}

/// What a bind asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// This very URL.
    Name,
    /// Any name or port.
    Random,
    Labels(BTreeMap<String, String>),
}

/// Whether visitors may come.
#[derive(Debug, Default)]
pub(crate) struct State {
    is: AtomicU8,
    changed: Notify,
}

/// Who connects, for the agent and for a PROXY header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub visitor: SocketAddr,
    /// The address of ours that was dialled.
    pub local: SocketAddr,
    /// The bytes are the visitor's own TLS.
    pub passthrough_tls: bool,
}

// === impl Endpoint ===

impl Endpoint {
    /// One that nothing more was asked for, of nobody.
    pub(crate) fn plain(url: EndpointUrl, session: Session) -> Self {
        Self {
            id: "id".into(),
            proto: url.scheme.as_str().into(),
            url,
            asked: Asked::Name,
            edge_type: "0",
            chain: Chain::default(),
            proxy_proto: 0,
            http2: false,
            pooling: false.into(),
            rewrites_host: false,
            tls: None,
            token: Secret::default(),
            session,
            latency: Arc::default(),
            account: "".into(),
            owner: "".into(),
            state: State::default(),
            bound: Instant::now(),
            visits: AtomicU64::new(0),
        }
    }

    pub(crate) fn pools(&self) -> bool {
        self.pooling.load(Ordering::Relaxed)
    }

    /// Whether both are one bind, over connections of the same agent.
    pub(crate) fn is_leg_of(&self, other: &Self) -> bool {
        self.owner == other.owner && self.id == other.id
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state.is.load(Ordering::Acquire) == SERVING
    }

    /// The agent knows of the bind: visitors may come.
    pub(crate) fn go_live(&self) {
        let _ =
            self.state
                .is
                .compare_exchange(PENDING, SERVING, Ordering::AcqRel, Ordering::Relaxed);
        self.state.changed.notify_waiters();
    }

    pub(crate) fn end(&self) {
        self.state.is.store(GONE, Ordering::Release);
        self.state.changed.notify_waiters();
    }

    pub(crate) fn is_young(&self) -> bool {
        self.bound.elapsed() < YOUNG
    }

    /// Waits until visitors may come; `false`: they never may.
    pub(crate) async fn live(&self) -> bool {
        let _ = timeout(LIVE, async {
            loop {
                let changed = self.state.changed.notified();
                if self.state.is.load(Ordering::Acquire) != PENDING {
                    return;
                }
                changed.await;
            }
        })
        .await;
        self.is_live()
    }

    /// Opens a stream to the agent. Type, header, PROXY header and `first` go in one frame: some
    /// agents read them inside their accept loop.
    ///
    /// # Errors
    /// The code to show: the agent is gone, or has no room.
    pub(crate) async fn connect(&self, visit: Visit, first: &[u8]) -> Result<Stream, Code> {
        let frame = self.opening(visit, first);
        match self.begin(frame.clone()) {
            Err(OpenError::Busy) => {
                self.visits.fetch_add(1, Ordering::Relaxed);
                match timeout(ROOM, self.session.open(frame)).await {
                    Ok(opened) => opened.map_err(code_of),
                    Err(_) => Err(Code::NOTHING_AVAILABLE),
                }
            }
            opened => opened.map_err(code_of),
        }
    }

    /// The same, where there is room at once.
    ///
    /// # Errors
    /// As [`Session::try_open`].
    pub(crate) fn try_connect(&self, visit: Visit, first: &[u8]) -> Result<Stream, OpenError> {
        self.begin(self.opening(visit, first))
    }

    fn begin(&self, frame: Bytes) -> Result<Stream, OpenError> {
        let opened = self.session.try_open(frame);
        if opened.is_ok() {
            self.visits.fetch_add(1, Ordering::Relaxed);
        }
        opened
    }

    /// The first frame of a visitor's stream.
    fn opening(&self, visit: Visit, first: &[u8]) -> Bytes {
        let header = ProxyHeader {
            id: self.id.to_string(),
            client_addr: visit.visitor.to_string(),
            proto: self.proto.to_string(),
            edge_type: self.edge_type.into(),
            passthrough_tls: visit.passthrough_tls,
        };
        if self.proxy_proto == 0 {
            return header.encode(first);
        }
        let mut bytes = proxy_header(self.proxy_proto, visit.visitor, visit.local);
        bytes.extend_from_slice(first);
        header.encode(&bytes)
    }
}

fn code_of(error: OpenError) -> Code {
    match error {
        OpenError::Busy => Code::NOTHING_AVAILABLE,
        OpenError::Closed | OpenError::Exhausted | OpenError::TooShort => Code::AGENT_UNREACHABLE,
    }
}

/// The PROXY protocol header, version 1 or 2, of a visitor (edge.md §4.4).
fn proxy_header(version: u8, from: SocketAddr, to: SocketAddr) -> BytesMut {
    let (source, target) = (from.ip().to_canonical(), to.ip().to_canonical());
    let mut bytes = BytesMut::with_capacity(112);
    if version == 1 {
        let family = match (source, target) {
            (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
            (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
            _ => return BytesMut::from(&b"PROXY UNKNOWN\r\n"[..]),
        };
        let line = format!(
            "PROXY {family} {source} {target} {} {}\r\n",
            from.port(),
            to.port()
        );
        bytes.extend_from_slice(line.as_bytes());
        return bytes;
    }
    bytes.extend_from_slice(b"\r\n\r\n\0\r\nQUIT\n");
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            bytes.extend_from_slice(&[0x21, 0x11]);
            bytes.put_u16(12);
            bytes.extend_from_slice(&source.octets());
            bytes.extend_from_slice(&target.octets());
        }
        (source, target) => {
            let v6 = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            bytes.extend_from_slice(&[0x21, 0x21]);
            bytes.put_u16(36);
            bytes.extend_from_slice(&v6(source).octets());
            bytes.extend_from_slice(&v6(target).octets());
        }
    }
    bytes.put_u16(from.port());
    bytes.put_u16(to.port());
    bytes
}

/// What a stream begins with when nothing of the visitor's goes along.
pub(crate) const NOTHING: Bytes = Bytes::new();

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An endpoint whose session leads nowhere.
    pub(crate) fn endpoint(url: &str, pooling: bool) -> Arc<Endpoint> {
        let (io, _) = tokio::io::duplex(64);
        let (session, ..) = portway_mux::session(io, portway_mux::Config::edge());
        let mut endpoint = Endpoint::plain(EndpointUrl::parse(url).unwrap(), session);
        endpoint.pooling = pooling.into();
        Arc::new(endpoint)
    }

    /// One whose session takes streams, for nobody.
    pub(crate) fn open_endpoint(url: &str) -> Arc<Endpoint> {
        let (io, far) = tokio::io::duplex(64);
        let (session, acceptor, driver) = portway_mux::session(io, portway_mux::Config::edge());
        session.set_peer(portway_mux::Peer::PORTWAY);
        // Without them it were over.
        std::mem::forget((far, acceptor, driver));
        Arc::new(Endpoint::plain(EndpointUrl::parse(url).unwrap(), session))
    }

    #[test]
    fn p100_headers_are_those_of_the_protocol() {
        let v4 = |port| SocketAddr::from(([203, 0, 113, 7], port));
        let v6 = |port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port));
        assert_eq!(
            &proxy_header(1, v4(4711), v4(80))[..],
            b"PROXY TCP4 203.0.113.7 203.0.113.7 4711 80\r\n"
        );
        assert_eq!(
            &proxy_header(1, v6(1), v6(2))[..],
            b"PROXY TCP6 2001:db8::1 2001:db8::1 1 2\r\n"
        );
        for (version, from, to) in [
            (2, v4(4711), v4(80)),
            (2, v6(4711), v6(80)),
            (2, v6(1), v4(2)),
        ] {
            let bytes = proxy_header(version, from, to);
            let parsed = ppp::v2::Header::try_from(&bytes[..]).unwrap();
            let ports = match parsed.addresses {
                ppp::v2::Addresses::IPv4(addresses) => {
                    (addresses.source_port, addresses.destination_port)
                }
                ppp::v2::Addresses::IPv6(addresses) => {
                    (addresses.source_port, addresses.destination_port)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(ports, (from.port(), to.port()));
        }
    }
}
