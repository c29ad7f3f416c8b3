//! Control by a fixed list: the tokens and reservations of flags and edge.yml.

use std::net::SocketAddr;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::{BoxFuture, FutureExt, ready};
use portway_wire::auth::AuthRequest;
use portway_wire::{Code, EndpointUrl, Refusal, Scheme};

use super::{Account, BindAsk, Control, LabelsAsk};
use crate::config::{EdgeConfig, Reserved};
use crate::logins::is_guessable;

/// Tokens and who they belong to; replaced as a whole by a reload.
#[derive(Debug)]
pub struct Fixed(ArcSwap<Lists>);

#[derive(Debug, Default)]
struct Lists {
    tokens: Vec<Known>,
    reserved: Vec<Reserved>,
    reserved_only: bool,
}

/// A token, as a hash: found by it, and nothing to read in a dump.
#[derive(Debug)]
struct Known {
    hash: String,
    name: String,
    acl: Vec<String>,
    guessable: bool,
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
            acl: token.acl.iter().map(|rule| lower(rule)).collect(),
            guessable: is_guessable(token.token.expose()),
        };
        self.0.store(
            Lists {
                tokens: config.tokens.iter().enumerate().map(known).collect(),
                reserved: config.reserved.iter().map(Reserved::lower).collect(),
                reserved_only: config.reserved_only,
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
            guessable: known.guessable,
        })
    }

    fn may_bind(&self, ask: &BindAsk<'_>) -> Result<(), Refusal> {
        let lists = self.0.load();
        let url = ask.url;
        lists.is_free(url, &ask.account.name, ask.random)?;
        let known = lists.known(ask.account)?;
        if known.acl.is_empty() || known.acl.iter().any(|rule| permits(rule, url)) {
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

    /// The operator has given the URL to the labels; who carries them is what the rules are about.
    fn may_bind_labels(&self, ask: &LabelsAsk<'_>) -> Result<(), Refusal> {
        let lists = self.0.load();
        let known = lists.known(ask.account)?;
        let permits = |rule: &String| {
            let Some(pattern) = rule.strip_prefix("bind:") else {
                return false;
            };
            // `app=*` is any value of it.
            let carried = |(key, value)| {
                [value, "*"]
                    .iter()
                    .any(|value| lower(&format!("{key}={value}")) == pattern)
            };
            pattern == "*"
                || ask
                    .labels
                    .iter()
                    .map(|(key, value)| (key, value.as_str()))
                    .any(carried)
        };
        if known.acl.is_empty() || known.acl.iter().any(permits) {
            return Ok(());
        }
        Err(Refusal::of(Code(399)))
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

    fn bind_labels<'a>(&'a self, ask: LabelsAsk<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        ready(self.may_bind_labels(&ask)).boxed()
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
    fn known(&self, account: &Account) -> Result<&Known, Refusal> {
        let found = self
            .tokens
            .iter()
            .find(|known| known.hash == account.credential);
        found.ok_or_else(|| Refusal::of(Code::REVOKED))
    }

    /// Whether nobody else's reservation is in the way, and one's own is there where it must be.
    fn is_free(&self, url: &EndpointUrl, account: &str, random: bool) -> Result<(), Refusal> {
        let tcp = url.scheme == Scheme::Tcp;
        match self.owner(url) {
            Some(owner) if owner == account => return Ok(()),
            Some(_) => {
                return Err(Refusal::new(
                    Code(if tcp { 309 } else { 320 }),
                    format!("{} is reserved for someone else.", url.authority()),
                ));
            }
            None => {}
        }
        // A wildcard serves the names below it whose own endpoints are offline.
        let below = |entry: &&Reserved| entry.token != account && covers(&url.host, &entry.name);
        if let Some(entry) = self.reserved.iter().find(below) {
            return Err(Refusal::new(
                Code(320),
                format!(
                    "{} covers {}, which is reserved for someone else.",
                    url.authority(),
                    entry.name
                ),
            ));
        }
        if self.reserved_only && !random {
            let code = match url.scheme {
                Scheme::Tcp => 307,
                _ if url.host.starts_with("*.") => 318,
                _ => 319,
            };
            return Err(Refusal::new(
                Code(code),
                format!(
                    "{} is not reserved for this authtoken, and this edge serves no other names but random ones.",
                    url.authority()
                ),
            ));
        }
        Ok(())
    }

    /// Whose a name or TCP address is: the exact reservation, else the longest wildcard.
    fn owner(&self, url: &EndpointUrl) -> Option<&str> {
        if url.scheme == Scheme::Tcp {
            let port = url.port?.to_string();
            let held = |entry: &&Reserved| {
                let held = entry.name.rsplit_once(':');
                held.is_some_and(|(_, held)| held == port)
            };
            return self
                .reserved
                .iter()
                .find(held)
                .map(|entry| entry.token.as_str());
        }
        let exact = self.reserved.iter().find(|entry| entry.name == url.host);
        let wildcard = || {
            self.reserved
                .iter()
                .filter(|entry| covers(&entry.name, &url.host))
                .max_by_key(|entry| entry.name.len())
        };
        exact.or_else(wildcard).map(|entry| entry.token.as_str())
    }
}

// === impl Reserved ===

impl Reserved {
    fn lower(&self) -> Self {
        Self {
            name: lower(&self.name),
            token: self.token.clone(),
        }
    }
}

/// `bind:*`, `bind:host`, `bind:*.host`, `bind:host:port`.
fn permits(rule: &str, url: &EndpointUrl) -> bool {
    let Some(pattern) = rule.strip_prefix("bind:") else {
        return false;
    };
    pattern == "*"
        || pattern == url.authority()
        || (url.scheme != Scheme::Tcp && (pattern == url.host || covers(pattern, &url.host)))
}

/// `*.example.com` covers every name below `example.com`, at any depth.
fn covers(pattern: &str, host: &str) -> bool {
    pattern.strip_prefix('*').is_some_and(|suffix| {
        suffix.starts_with('.') && host.len() > suffix.len() && host.ends_with(suffix)
    })
}

fn lower(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

fn hash(token: &str) -> String {
    hex::encode(digest(&SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(reserved_only: bool) -> Fixed {
        let config = serde_json::from_value(serde_json::json!({
            "tokens": [
                {"token": "secret-a", "name": "ann"},
                {"token": "secret-b", "name": "bo", "acl": ["bind:*.Bo.test", "bind:h:7", "bind:app=web", "bind:team=*"]},
                {"token": "secret-c", "name": "cy"},
            ],
            "reserved": [
                {"name": "*.Ann.test", "token": "ann"},
                {"name": "*.bo.test", "token": "bo"},
                {"name": "tcp.test:9000", "token": "ann"},
            ],
            "reserved_only": reserved_only,
        }));
        Fixed::new(&config.unwrap())
    }

    #[test]
    fn tokens_are_known_or_not() {
        let fixed = fixed(false);
        assert_eq!(fixed.login("secret-a").unwrap().name, "ann");
        for (token, code) in [("", 4018), ("a b", 105), ("secret-x", 107)] {
            assert_eq!(fixed.login(token).unwrap_err().code, Code(code));
        }
    }

    fn code(fixed: &Fixed, token: &str, url: &str, random: bool) -> Option<u16> {
        let ask = BindAsk {
            account: &fixed.login(token).unwrap(),
            url: &EndpointUrl::parse(url).unwrap(),
            random,
        };
        fixed.may_bind(&ask).err().map(|refusal| refusal.code.0)
    }

    #[test]
    fn rules_and_reservations_decide() {
        let fixed = fixed(false);
        for (token, url, random, refused) in [
            ("secret-a", "https://x.ann.test", false, None),
            ("secret-b", "https://x.ann.test", false, Some(320)),
            ("secret-b", "http://x.bo.test", false, None),
            ("secret-b", "tls://*.bo.test", false, None),
            ("secret-b", "https://bo.test", false, Some(316)),
            ("secret-b", "https://else.test", false, Some(316)),
            ("secret-b", "https://xbo.test", false, Some(316)),
            ("secret-b", "tcp://h:7", false, None),
            ("secret-b", "tcp://h:8", false, Some(308)),
            ("secret-b", "tcp://h:8", true, Some(356)),
            ("secret-b", "tcp://any:9000", false, Some(309)),
            ("secret-a", "tcp://any:9000", false, None),
            ("secret-c", "https://free.test", false, None),
            ("secret-c", "https://*.test", false, Some(320)),
            ("secret-c", "https://*.else.test", false, None),
        ] {
            assert_eq!(
                code(&fixed, token, url, random),
                refused,
                "{url} by {token}"
            );
        }
    }

    #[test]
    fn where_only_reservations_count_the_rest_is_random() {
        let fixed = fixed(true);
        for (url, random, refused) in [
            ("https://x.ann.test", false, None),
            ("https://mine.test", false, Some(319)),
            ("https://*.mine.test", false, Some(318)),
            ("tcp://any:9001", false, Some(307)),
            ("tcp://any:9000", false, None),
            ("https://0123456789abcdef.test", true, None),
            ("tcp://any:9001", true, None),
        ] {
            assert_eq!(code(&fixed, "secret-a", url, random), refused, "{url}");
        }
    }

    #[test]
    fn labels_are_under_rules_too() {
        let fixed = fixed(false);
        let code = |token: &str, key: &str, value: &str| {
            let ask = LabelsAsk {
                account: &fixed.login(token).unwrap(),
                labels: &[(key.to_owned(), value.to_owned())].into(),
            };
            let refused = fixed.may_bind_labels(&ask).err();
            refused.map(|refusal| refusal.code.0)
        };
        assert_eq!(code("secret-a", "app", "any"), None);
        assert_eq!(code("secret-b", "app", "web"), None);
        assert_eq!(code("secret-b", "app", "api"), Some(399));
        assert_eq!(code("secret-b", "team", "any"), None);
        assert_eq!(code("secret-b", "teams", "any"), Some(399));
    }

    #[test]
    fn a_token_that_a_reload_took_away_binds_nothing() {
        let fixed = fixed(false);
        let account = fixed.login("secret-a").unwrap();
        let config: EdgeConfig =
            serde_json::from_str(r#"{"tokens": [{"token": "secret-c"}]}"#).unwrap();
        fixed.reload(&config);
        assert!(!fixed.stands(&account.credential));
        let ask = BindAsk {
            account: &account,
            url: &EndpointUrl::parse("https://x.test").unwrap(),
            random: false,
        };
        assert_eq!(fixed.may_bind(&ask).unwrap_err().code, Code::REVOKED);
    }
}
