//! Control of the edge inside an agent: one person on one machine, so everything is allowed.

use std::net::SocketAddr;

use futures_util::future::{BoxFuture, FutureExt, ready};
use portway_wire::auth::AuthRequest;
use portway_wire::{Code, Refusal, Secret};

use super::{Account, BindAsk, Control};

/// Lets in whoever knows the token that was made for this process.
#[derive(Debug)]
pub struct Embedded {
    token: Secret,
}

// === impl Embedded ===

impl Embedded {
    pub fn new(token: Secret) -> Self {
        Self { token }
    }
}

impl Control for Embedded {
    fn authenticate<'a>(
        &'a self,
        request: &'a AuthRequest,
        _: SocketAddr,
    ) -> BoxFuture<'a, Result<Account, Refusal>> {
        // Loopback is shared by everybody on the machine; the token is not.
        let known = request.extra.authtoken.expose() == self.token.expose();
        ready(if known {
            Ok(Account {
                name: "local".into(),
                credential: "local".into(),
            })
        } else {
            Err(Refusal::of(Code::UNKNOWN_TOKEN))
        })
        .boxed()
    }

    fn bind<'a>(&'a self, _: BindAsk<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        ready(Ok(())).boxed()
    }
}
