//! Whether the manifest of a release is ours: an Ed25519 signature in the form of minisign, by one of
//! the keys that came with this version.

use minisign_verify::{PublicKey, Signature};
use serde::Deserialize;

use crate::plan;
use crate::report::Fatal;

/// What is signed, by whom it may be, and the signature.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    content: String,
    signature: String,
    /// As minisign writes them, without the comment.
    keys: Vec<String>,
}

/// Succeeds where one of the keys has signed the content.
///
/// # Errors
/// What the user is told.
pub(crate) fn run(descriptor: i32) -> Result<(), Fatal> {
    check(&plan::read(descriptor)?).map_err(Fatal)
}

fn check(signed: &Signed) -> Result<(), String> {
    let signature = Signature::decode(&signed.signature)
        .map_err(|_| "The signature of the release is broken: it cannot be trusted.".to_owned())?;
    let mut keys = signed
        .keys
        .iter()
        .filter_map(|key| PublicKey::from_base64(key).ok());
    let content = signed.content.as_bytes();
    if keys.any(|key| key.verify(content, &signature, false).is_ok()) {
        return Ok(());
    }
    Err("The release is not signed by a key that this version trusts.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQbIn5EA5xfIzVKYT6ef5J+doylLmAMV9tluHyUqoycRMw7RaHJF/1C";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQbIn5EA5xfI6+4bavoFpR8LQl5rCtcRFAqOPkTuDIL5uwysBCaTI0S51K7RfQaxb/FjKvdGIHPnu6KjAWiFZM5NrzcHOtLCw4=\n\
        trusted comment: timestamp:1795647427	file:m	hashed\n\
        tIfxJal+TMtEv10u7vnhMjCu3pWvPglUbSGq1sEc8Bzj+0quTt9veksfDHTkCKZavtoV9AlsIWf9iOvLsssXBQ==\n";

    fn signed(content: &str, keys: &[&str], signature: &str) -> Result<(), String> {
        check(&Signed {
            content: content.into(),
            signature: signature.into(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        })
    }

    #[test]
    fn what_one_of_the_keys_has_signed_is_ours_and_nothing_else() {
        let other = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert_eq!(signed("{}\n", &[KEY], SIGNATURE), Ok(()));
        assert_eq!(signed("{}\n", &["", other, KEY], SIGNATURE), Ok(()));
        assert!(signed("{ }\n", &[KEY], SIGNATURE).is_err());
        assert!(signed("{}\n", &[other], SIGNATURE).is_err());
        assert!(signed("{}\n", &[], SIGNATURE).is_err());
        assert!(signed("{}\n", &[KEY], "").is_err());
        assert!(signed("{}\n", &[KEY], &SIGNATURE[..SIGNATURE.len() / 2]).is_err());
    }
}
