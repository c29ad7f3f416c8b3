//! Control by a fixed list: the tokens and reservations of flags and edge.yml.

use std::net::SocketAddr;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::{BoxFuture, FutureExt, ready};
use portway_wire::auth::AuthRequest;
use portway_wire::{Code, EndpointUrl, Refusal, Scheme};

use super::{Account, BindAsk, Control};
use crate::config::{EdgeConfig, Reserved};

/// Tokens and who they belong to; replaced as a whole by a reload.
#[derive(Debug)]
pub struct Fixed(ArcSwap<Lists>);

#[derive(Debug, Default)]
struct Lists {
    tokens: Vec<Known>,
    reserved: Vec<Reserved>,
}

/// A token, as a hash: found by it, and nothing to read in a dump.
#[derive(Debug)]
struct Known {
    hash: String,
    name: String,
    acl: Vec<String>,
}

// === impl Fixed ===

impl Fixed {
    pub fn new(config: &EdgeConfig) -> Self {
        let fixed = Self(ArcSwap::default());
        fixed.take_up(config);
        fixed
    }

    fn take_up(&self, config: &EdgeConfig) {
        let known = |(index, token): (usize, &crate::config::Token)| Known {
            hash: hash(token.token.expose()),
            name: if token.name.is_empty() {
                format!("token-{}", index + 1)
            } else {
                token.name.clone()
            },
            acl: token.acl.clone(),
        };
        self.0.store(
            Lists {
                tokens: config.tokens.iter().enumerate().map(known).collect(),
                reserved: config.reserved.clone(),
            }
            .into(),
        );
    }

    fn login(&self, token: &str) -> Result<Account, Refusal> {
        if token.is_empty() {
            return Err(Refusal::new(
                Code::NO_CREDENTIAL,
                "This edge asks for an authtoken, and the agent sent none.",
            ));
        }
        if token.len() > 1024
            || token
                .chars()
                .any(|letter| letter.is_whitespace() || letter.is_control())
        {
            return Err(Refusal::of(Code::BAD_TOKEN));
        }
        let hash = hash(token);
        let lists = self.0.load();
        let known = lists.tokens.iter().find(|known| known.hash == hash);
        let known = known.ok_or_else(|| Refusal::of(Code::UNKNOWN_TOKEN))?;
        Ok(Account {
            name: known.name.clone(),
            credential: known.hash.clone(),
        })
    }

    fn may_bind(&self, ask: &BindAsk<'_>) -> Result<(), Refusal> {
        let lists = self.0.load();
        let url = ask.url;
        if let Some(owner) = lists.owner(url)
            && owner != ask.account.name
        {
            let code = if url.scheme == Scheme::Tcp { 309 } else { 320 };
            return Err(Refusal::new(
                Code(code),
                format!("{} is reserved for someone else.", url.authority()),
            ));
        }
        let known = lists
            .tokens
            .iter()
            .find(|known| known.hash == ask.account.credential)
            .ok_or_else(|| Refusal::of(Code::REVOKED))?;
        if known.acl.is_empty() || known.acl.iter().any(|rule| permits(rule, ask)) {
            return Ok(());
        }
        let code = match url.scheme {
            Scheme::Tcp if ask.random => 356,
            Scheme::Tcp => 308,
            _ => 316,
        };
        Err(Refusal::new(
            Code(code),
            format!(
                "The rules of this authtoken do not let it bind {}.",
                url.authority()
            ),
        ))
    }
}

impl Control for Fixed {
    fn authenticate<'a>(
        &'a self,
        request: &'a AuthRequest,
        _: SocketAddr,
    ) -> BoxFuture<'a, Result<Account, Refusal>> {
        ready(self.login(request.extra.authtoken.expose())).boxed()
    }

    fn bind<'a>(&'a self, ask: BindAsk<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        ready(self.may_bind(&ask)).boxed()
    }

    fn reload(&self, config: &EdgeConfig) {
        self.take_up(config);
    }

    fn stands(&self, credential: &str) -> bool {
        let lists = self.0.load();
        lists.tokens.iter().any(|known| known.hash == credential)
    }
}

// === impl Lists ===

impl Lists {
    /// Whose a name or TCP address is: the exact reservation, else the longest wildcard.
    fn owner(&self, url: &EndpointUrl) -> Option<&str> {
        if url.scheme == Scheme::Tcp {
            let port = url.port?.to_string();
            let held = |entry: &&Reserved| {
                entry
                    .name
                    .rsplit_once(':')
                    .is_some_and(|(_, held)| held == port)
            };
            return self
                .reserved
                .iter()
                .find(held)
                .map(|entry| entry.token.as_str());
        }
        let exact = self
            .reserved
            .iter()
            .find(|entry| entry.name.eq_ignore_ascii_case(&url.host));
        let wildcard = || {
            self.reserved
                .iter()
                .filter(|entry| entry.name.starts_with("*.") && covers(&entry.name, &url.host))
                .max_by_key(|entry| entry.name.len())
        };
        exact.or_else(wildcard).map(|entry| entry.token.as_str())
    }
}

/// `bind:*`, `bind:host`, `bind:*.host`, `bind:host:port`.
fn permits(rule: &str, ask: &BindAsk<'_>) -> bool {
    let Some(pattern) = rule.strip_prefix("bind:") else {
        return false;
    };
    pattern == "*"
        || pattern.eq_ignore_ascii_case(&ask.url.authority())
        || (ask.url.scheme != Scheme::Tcp
            && (pattern.eq_ignore_ascii_case(&ask.url.host) || covers(pattern, &ask.url.host)))
}

/// `*.example.com` covers every name below `example.com`, at any depth.
fn covers(pattern: &str, host: &str) -> bool {
    pattern
        .strip_prefix('*')
        .is_some_and(|suffix| host.len() > suffix.len() && host.ends_with(suffix))
}

fn hash(token: &str) -> String {
    hex::encode(digest(&SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> Fixed {
        let config = serde_json::from_str(
            r#"{"tokens": [{"token": "secret-a", "name": "ann"},
                           {"token": "secret-b", "name": "bo", "acl": ["bind:*.bo.test", "bind:h:7"]}],
                "reserved": [{"name": "*.ann.test", "token": "ann"}, {"name": "tcp.test:9000", "token": "ann"}]}"#,
        );
        Fixed::new(&config.unwrap())
    }

    #[test]
    fn tokens_are_known_or_not() {
        let fixed = fixed();
        assert_eq!(fixed.login("secret-a").unwrap().name, "ann");
        for (token, code) in [("", 4018), ("a b", 105), ("secret-x", 107)] {
            assert_eq!(fixed.login(token).unwrap_err().code, Code(code));
        }
    }

    #[test]
    fn rules_and_reservations_decide() {
        let fixed = fixed();
        let ann = fixed.login("secret-a").unwrap();
        let bo = fixed.login("secret-b").unwrap();
        for (account, url, random, refused) in [
            (&ann, "https://x.ann.test", false, None),
            (&bo, "https://x.ann.test", false, Some(320)),
            (&bo, "https://x.bo.test", false, None),
            (&bo, "https://else.test", false, Some(316)),
            (&bo, "tcp://h:7", false, None),
            (&bo, "tcp://h:8", false, Some(308)),
            (&bo, "tcp://h:8", true, Some(356)),
            (&bo, "tcp://any:9000", false, Some(309)),
            (&ann, "tcp://any:9000", false, None),
        ] {
            let url = EndpointUrl::parse(url).unwrap();
            let ask = BindAsk {
                account,
                url: &url,
                random,
            };
            let code = fixed.may_bind(&ask).err().map(|refusal| refusal.code.0);
            assert_eq!(code, refused, "{url} by {}", account.name);
        }
    }
}
