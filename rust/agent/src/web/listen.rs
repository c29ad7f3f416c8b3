//! The place where the local interface is found (agent-api §1): the address that was asked for, or
//! the first free port from the usual one on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, lookup_host};

use crate::board::without_number;
use crate::plan::Web;
use crate::run::AgentError;

/// Ports that are tried where nobody asked for one.
const TRIES: u16 = 100;
/// Browsers refuse to go there: another protocol's.
const REFUSED: u16 = 4045;

/// Binds the addresses of a plan; more than one where `localhost` is both families.
///
/// # Errors
/// [`AgentError`] with the address and why nobody can listen there.
pub(crate) async fn bind(web: &Web) -> Result<Vec<TcpListener>, AgentError> {
    let (host, port) = parts(&web.addr)
        .ok_or_else(|| AgentError(format!("web_addr: {:?} is no host:port", web.addr)))?;
    let mut addresses = resolve(host, port)
        .await
        .map_err(|error| AgentError(format!("web_addr: {host:?} is nowhere here: {error}")))?;
    // Wrappers look for a dotted address.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let first = addresses
        .first()
        .copied()
        .ok_or_else(|| AgentError(format!("web_addr: {host:?} has no address")))?;
    let listener = if web.search {
        search(first).await?
    } else {
        let shown = if host.is_empty() {
            first.ip().to_string()
        } else {
            host.to_owned()
        };
        TcpListener::bind(first)
            .await
            .map_err(|error| AgentError(refused(&shown, first.port(), &error)))?
    };
    let mut listeners = vec![listener];
    if host == "localhost" {
        let port = listeners[0].local_addr().map_or(port, |bound| bound.port());
        for address in &addresses[1..] {
            // The other family is a convenience: a machine may have it by name only.
            listeners.extend(TcpListener::bind((address.ip(), port)).await);
        }
    }
    Ok(listeners)
}

fn parts(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    Some((bare.unwrap_or(host), port.parse().ok()?))
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.is_empty() {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    Ok(lookup_host((host, port)).await?.collect())
}

async fn search(first: SocketAddr) -> Result<TcpListener, AgentError> {
    let last = first.port().saturating_add(TRIES - 1);
    for port in (first.port()..=last).filter(|port| *port != REFUSED) {
        match TcpListener::bind((first.ip(), port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => {
                return bound
                    .map_err(|error| AgentError(refused(&first.ip().to_string(), port, &error)));
            }
        }
    }
    Err(AgentError(format!(
        "listen tcp {}:{}: bind: address already in use, and so are all ports up to {last}\n{HINT}",
        first.ip(),
        first.port()
    )))
}

const HINT: &str = "Set web_addr in the configuration file to another address, or to false for no local interface.";

/// As agents tell it: wrappers look for these words.
fn refused(host: &str, port: u16, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse if cfg!(windows) => {
            "Only one usage of each socket address (protocol/network address/port) is normally permitted."
                .to_owned()
        }
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        _ => without_number(&error.to_string()).to_lowercase(),
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!("listen tcp {host}:{port}: bind: {why}\n{HINT}")
}
