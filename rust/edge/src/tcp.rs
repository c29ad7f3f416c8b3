//! TCP endpoints: a port each, opened with the first bind and closed with the last (edge.md §7).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, ReentrantMutex, ReentrantMutexGuard};
use portway_mux::copy::{Joint, join};
use portway_wire::{Code, Refusal};
use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::core::Core;
use crate::endpoint::Visit;
use crate::listen::{self, Visitor};
use crate::metrics::Door;
use crate::naming;
use crate::registry::Pick;

/// The open ports.
#[derive(Debug)]
pub(crate) struct TcpPorts {
    address: IpAddr,
    core: Weak<Core>,
    open: Mutex<HashMap<u16, Open>>,
    /// Held while a port is opened and claimed, or released and closed: both or neither.
    turn: ReentrantMutex<()>,
}

/// A port that is listened on. Dropped, it is free at once: an agent that comes back wants it again.
#[derive(Debug)]
struct Open {
    accepting: AbortOnDropHandle<()>,
    /// The listener of that task, which ends a moment later.
    socket: Option<Socket>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(socket) = &self.socket {
            // Where listeners cannot be shut down, as outside Linux, it is that moment later.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

// === impl TcpPorts ===

impl TcpPorts {
    /// Ports of this address, for the edge that is being made.
    pub(crate) fn new(address: IpAddr, core: Weak<Core>) -> Self {
        Self {
            address,
            core,
            open: Mutex::default(),
            turn: ReentrantMutex::new(()),
        }
    }

    /// Keeps others from opening and closing ports until it is dropped.
    pub(crate) fn turn(&self) -> ReentrantMutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Listens on a port, if that is not done already.
    ///
    /// # Errors
    /// A [`Refusal`] where something else on this machine has the port.
    pub(crate) fn open(&self, port: u16) -> Result<(), Refusal> {
        let mut open = self.open.lock();
        if let Entry::Vacant(place) = open.entry(port) {
            place.insert(self.listen(port).map_err(|error| taken(port, &error))?);
        }
        Ok(())
    }

    /// Listens on a random free port of the range.
    ///
    /// # Errors
    /// A [`Refusal`] where there is none.
    pub(crate) fn open_any(&self, range: &RangeInclusive<u16>) -> Result<u16, Refusal> {
        let (first, count) = (*range.start(), range.len());
        let start = usize::from_str_radix(&naming::random_hex(4), 16).unwrap_or(0) % count;
        // Held throughout, so that two who ask at once are not given the same port.
        let mut open = self.open.lock();
        for step in 0..count {
            let port = first + ((start + step) % count) as u16;
            if let Entry::Vacant(place) = open.entry(port)
                && let Ok(accepting) = self.listen(port)
            {
                place.insert(accepting);
                return Ok(port);
            }
        }
        Err(Refusal::new(
            Code(381),
            format!(
                "All TCP ports of this edge, {first}-{}, are in use.",
                range.end()
            ),
        ))
    }

    fn listen(&self, port: u16) -> io::Result<Open> {
        let listener = listen::bind(SocketAddr::new(self.address, port))?;
        let socket = SockRef::from(&listener).try_clone().ok();
        let accepting = tokio::spawn(accept(listener, self.core.clone()));
        Ok(Open {
            accepting: AbortOnDropHandle::new(accepting),
            socket,
        })
    }

    pub(crate) fn close(&self, port: u16) {
        self.open.lock().remove(&port);
    }

    pub(crate) fn close_all(&self) {
        self.open.lock().clear();
    }
}

fn taken(port: u16, error: &io::Error) -> Refusal {
    Refusal::new(
        Code(381),
        format!("Port {port} of this edge cannot be used: {error}."),
    )
}

async fn accept(listener: TcpListener, core: Weak<Core>) {
    let Some(core) = core.upgrade() else { return };
    listen::accept(listener, core, Door::Tcp, serve).await;
}

async fn serve(core: Arc<Core>, visitor: Visitor, io: TcpStream) {
    let visit = Visit {
        visitor: visitor.from,
        local: visitor.local,
        passthrough_tls: false,
    };
    let Some(pool) = core.registry.find_port(visitor.local.port()) else {
        return;
    };
    let (Pick::Ready(endpoint) | Pick::Soon(endpoint)) = pool.pick() else {
        return;
    };
    if !endpoint.chain.admits(visitor.from.ip()) || !endpoint.live().await {
        return;
    }
    match endpoint.connect(visit, &visitor.first).await {
        Ok(stream) => {
            let idle = Some(core.config.load().limits.tcp_idle_timeout);
            let joint = Joint {
                half_close: true,
                idle,
            };
            let copied = join(io, stream, joint).await;
            visitor.copied(&core, &endpoint, &copied);
        }
        Err(code) => core.metrics.failed(code),
    }
}
