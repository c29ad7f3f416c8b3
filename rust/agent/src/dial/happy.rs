//! Happy eyeballs (RFC 8305): several addresses of a host tried side by side, families in turns.
//! The first that answers wins, and the others are let go.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

/// Between the starts of attempts at several addresses (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that come later than the first ones.
pub(crate) type Later = Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send>>;

/// The addresses of a host, as far as they are known.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) now: Vec<IpAddr>,
    /// Those of the other family, which an answer is still awaited for.
    pub(crate) later: Option<Later>,
    /// Tried first of its family.
    pub(crate) favourite: Option<IpAddr>,
}

/// The first address that answers; each gets a head start before the next is tried too. What was
/// tried is noted in `tried`, and what is noted there already is left out.
///
/// # Errors
/// The last failure, with its address, once there is nothing left to try; nothing when there
/// was nothing to try at all.
pub(crate) async fn race(
    found: Found,
    port: u16,
    interface: Option<&str>,
    tried: &mut Vec<IpAddr>,
) -> Result<TcpStream, Option<(SocketAddr, io::Error)>> {
    let (mut later, favourite) = (found.later, found.favourite);
    let mut waiting = VecDeque::from(in_turns(fresh(found.now, tried, favourite)));
    let mut running = FuturesUnordered::new();
    let mut last = None;
    loop {
        if let Some(address) = waiting.pop_front() {
            tried.push(address);
            let address = SocketAddr::new(address, port);
            running.push(async move { (address, connect(address, interface).await) });
        }
        if running.is_empty() && later.is_none() {
            return Err(last);
        }
        let head_start = async {
            if waiting.is_empty() {
                pending::<()>().await;
            } else {
                sleep(STAGGER).await;
            }
        };
        let more = async {
            match &mut later {
                Some(later) => later.await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some((address, done)) = running.next(), if !running.is_empty() => match done {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some((address, error)),
            },
            more = more => {
                later = None;
                // The family that has just come goes between those that wait.
                let more = fresh(more, tried, favourite);
                waiting = in_turns(more.into_iter().chain(waiting).collect()).into();
            }
            () = head_start => {}
        }
    }
}

/// Those that were not tried yet, each once; the favourite is the first of its family.
fn fresh(addresses: Vec<IpAddr>, tried: &[IpAddr], favourite: Option<IpAddr>) -> Vec<IpAddr> {
    let mut seen = tried.to_vec();
    let mut fresh = addresses;
    fresh.retain(|address| {
        let new = !seen.contains(address);
        seen.push(*address);
        new
    });
    if let Some(favourite) = favourite
        && let Some(at) = fresh.iter().position(|address| *address == favourite)
    {
        let family = |address: &IpAddr| address.is_ipv6() == favourite.is_ipv6();
        let first = fresh.iter().position(family).unwrap_or(at);
        fresh[first..=at].rotate_right(1);
    }
    fresh
}

/// Both families in turns, the first one's first.
fn in_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let Some(six) = addresses.first().map(IpAddr::is_ipv6) else {
        return addresses;
    };
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == six);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::with_capacity(one.len() + other.len());
    loop {
        let pair = (one.next(), other.next());
        if pair == (None, None) {
            return turns;
        }
        turns.extend(pair.0);
        turns.extend(pair.1);
    }
}

async fn connect(address: SocketAddr, interface: Option<&str>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    if let Some(interface) = interface {
        bind(&socket, interface)?;
    }
    socket.connect(address).await
}

#[cfg(target_os = "linux")]
fn bind(socket: &TcpSocket, interface: &str) -> io::Result<()> {
    socket
        .bind_device(Some(interface.as_bytes()))
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "cannot use the network interface {interface} (connect_interface): {error}"
                ),
            )
        })
}

#[cfg(not(target_os = "linux"))]
fn bind(_: &TcpSocket, interface: &str) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("connect_interface: {interface} can be chosen on Linux only"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    async fn listening() -> (tokio::net::TcpListener, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn now(texts: &[&str]) -> Found {
        Found {
            now: addresses(texts),
            ..Found::default()
        }
    }

    #[test]
    fn families_take_turns_and_nothing_is_lost() {
        assert_eq!(
            in_turns(addresses(&[
                "::1", "::2", "::3", "1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"
            ])),
            addresses(&[
                "::1", "1.1.1.1", "::2", "1.1.1.2", "::3", "1.1.1.3", "1.1.1.4"
            ])
        );
        assert_eq!(in_turns(Vec::new()), Vec::<IpAddr>::new());
    }

    #[test]
    fn the_favourite_comes_first_in_its_family() {
        let all = addresses(&["::1", "1.1.1.1", "::2", "1.1.1.2"]);
        let first = |favourite: &str| fresh(all.clone(), &[], favourite.parse().ok());
        assert_eq!(
            first("1.1.1.2"),
            addresses(&["::1", "1.1.1.2", "1.1.1.1", "::2"])
        );
        assert_eq!(first("::1"), all);
        assert_eq!(first("9.9.9.9"), all);
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_keep_from_the_next() {
        let (listener, port) = listening().await;
        let mut tried = Vec::new();
        let socket = race(now(&["127.0.0.9", "127.0.0.1"]), port, None, &mut tried).await;
        assert_eq!(
            socket.unwrap().peer_addr().unwrap(),
            listener.local_addr().unwrap()
        );
        assert_eq!(tried, addresses(&["127.0.0.9", "127.0.0.1"]));
    }

    #[tokio::test]
    async fn what_was_tried_is_not_tried_again() {
        let (_listener, port) = listening().await;
        let mut tried = Vec::new();
        let refused = race(now(&["127.0.0.9", "127.0.0.9"]), port, None, &mut tried).await;
        let (address, error) = refused.unwrap_err().unwrap();
        assert_eq!(address.ip(), addresses(&["127.0.0.9"])[0]);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(
            race(now(&["127.0.0.9"]), port, None, &mut tried)
                .await
                .unwrap_err()
                .is_none()
        );
    }

    #[tokio::test]
    async fn addresses_that_come_later_are_tried_too() {
        let (listener, port) = listening().await;
        for first in [vec![], addresses(&["127.0.0.9"])] {
            let found = Found {
                now: first,
                later: Some(Box::pin(async {
                    tokio::task::yield_now().await;
                    addresses(&["127.0.0.1"])
                })),
                favourite: None,
            };
            let socket = race(found, port, None, &mut Vec::new()).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), listener.local_addr().unwrap());
        }
    }
}
