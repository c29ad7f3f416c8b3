//! Basic authentication (RFC 7617; traffic-policy §6.3).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use portway_wire::opts::Credential;
use portway_wire::{Code, Refusal};

const MOST: usize = 10;
const LONGEST: usize = 128;
const SHORTEST_PASSWORD: usize = 8;

/// The pairs that are let in, as digests: equal in length, and nothing to read in a dump.
#[derive(Debug)]
pub(crate) struct Credentials(Vec<[u8; 32]>);

// === impl Credentials ===

impl Credentials {
    /// Nothing where no pair is given.
    pub(crate) fn compile(pairs: &[Credential]) -> Result<Option<Self>, Refusal> {
        if pairs.len() > MOST {
            return Err(Refusal::of(Code(15009)));
        }
        for pair in pairs {
            check(pair)?;
        }
        let digests = pairs
            .iter()
            .map(|pair| hash(format!("{}:{}", pair.username, pair.password.expose()).as_bytes()));
        Ok((!pairs.is_empty()).then(|| Self(digests.collect())))
    }

    pub(crate) fn challenge() -> HeaderValue {
        HeaderValue::from_static("Basic realm=\"ngrok\"")
    }

    pub(crate) fn admit(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(presented) = authorization.and_then(|value| pair(value.as_bytes())) else {
            return false;
        };
        let presented = hash(&presented);
        // All of them are compared, so that time tells nothing of which came close.
        self.0.iter().fold(false, |found, digest| {
            verify_slices_are_equal(digest, &presented).is_ok() | found
        })
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// `user:password` of an `Authorization: Basic …`.
fn pair(value: &[u8]) -> Option<Vec<u8>> {
    const SCHEME: &[u8] = b"basic ";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    STANDARD.decode(rest.trim_ascii()).ok()
}

fn check(pair: &Credential) -> Result<(), Refusal> {
    let (user, password) = (pair.username.as_str(), pair.password.expose());
    if !pair.hashed_password.is_empty() {
        return Err(Refusal::new(
            Code(360),
            "This edge takes no hashed passwords for basic authentication.",
        ));
    }
    let code = if user.is_empty() {
        359
    } else if user.len() > LONGEST {
        15008
    } else if !(SHORTEST_PASSWORD..=LONGEST).contains(&password.len()) {
        360
    } else if user.contains(':') || user.chars().any(char::is_control) {
        15011
    } else if password.chars().any(char::is_control) {
        15012
    } else {
        return Ok(());
    };
    Err(Refusal::of(Code(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(user: &str, password: &str) -> Credential {
        Credential {
            username: user.into(),
            password: password.to_owned().into(),
            hashed_password: Vec::new(),
        }
    }

    #[test]
    fn one_of_the_pairs_and_nothing_else() {
        let pairs = [
            credential("ann", "longenough"),
            credential("bo", "pass:with:colons"),
        ];
        let credentials = Credentials::compile(&pairs).unwrap().unwrap();
        let admits = |text: &str, scheme: &str| {
            let value = format!("{scheme} {}", STANDARD.encode(text));
            credentials.admit(Some(&HeaderValue::from_str(&value).unwrap()))
        };
        assert!(admits("ann:longenough", "Basic") && admits("bo:pass:with:colons", "bAsIc"));
        assert!(!admits("ann:longenoug", "Basic") && !admits("ann:longenough", "Bearer"));
        assert!(!credentials.admit(None));
        assert!(!credentials.admit(Some(&HeaderValue::from_static("Basic ???"))));
    }

    #[test]
    fn weak_pairs_are_refused() {
        for (pair, code) in [
            (credential("", "longenough"), 359),
            (credential("a", "short"), 360),
            (credential(&"u".repeat(129), "longenough"), 15008),
            (credential("a:b", "longenough"), 15011),
            (credential("a", "longenough\n"), 15012),
        ] {
            assert_eq!(Credentials::compile(&[pair]).unwrap_err().code, Code(code));
        }
        assert!(Credentials::compile(&[]).unwrap().is_none());
        let many = vec![credential("a", "longenough"); 11];
        assert_eq!(Credentials::compile(&many).unwrap_err().code, Code(15009));
    }
}
