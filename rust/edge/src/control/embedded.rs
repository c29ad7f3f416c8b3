//! Control of the edge inside an agent: one person on one machine, so everything is allowed.

use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use futures_util::future::{BoxFuture, FutureExt, ready};
use portway_wire::auth::AuthRequest;
use portway_wire::{Code, Refusal, Secret};

use super::{Account, BindAsk, Control, LabelsAsk};

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
        let (given, token) = (request.extra.authtoken.expose(), self.token.expose());
        let known = verify_slices_are_equal(given.as_bytes(), token.as_bytes()).is_ok();
        ready(if known {
            Ok(Account {
                name: "local".into(),
                credential: "local".into(),
                guessable: false,
            })
        } else {
            Err(Refusal::of(Code::UNKNOWN_TOKEN))
        })
        .boxed()
    }

    fn bind<'a>(&'a self, _: BindAsk<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        ready(Ok(())).boxed()
    }

    fn bind_labels<'a>(&'a self, _: LabelsAsk<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use portway_wire::EndpointUrl;

    use super::*;

    #[tokio::test]
    async fn the_token_of_the_process_opens_everything_and_nothing_else_opens_anything() {
        let embedded = Embedded::new(Secret::new("made here"));
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut request = AuthRequest::default();
        for wrong in ["", "guessed", "made here "] {
            request.extra.authtoken = Secret::new(wrong);
            let refused = embedded.authenticate(&request, from).await.unwrap_err();
            assert_eq!(refused.code, Code::UNKNOWN_TOKEN, "{wrong:?}");
        }
        request.extra.authtoken = Secret::new("made here");
        let account = embedded.authenticate(&request, from).await.unwrap();
        for url in ["https://any.name.test", "tcp://h:7", "tls://*.x.test"] {
            let ask = BindAsk {
                account: &account,
                url: &EndpointUrl::parse(url).unwrap(),
                random: false,
            };
            assert_eq!(embedded.bind(ask).await, Ok(()), "{url}");
        }
        assert!(embedded.stands("local"));
    }
}
