//! Whether a newer version has been announced (agent-behaviour §1.1, §11). It is only looked for
//! where somebody has said where; nothing waits for the answer.

use std::time::Duration;

use jiff::Timestamp;
use minisign_verify::{PublicKey, Signature};
use serde::Deserialize;
use tokio::time::timeout;

use crate::board::{Board, without_number};
use crate::dial::Dialer;
use crate::plan::UpdatePlan;

const LIMIT: Duration = Duration::from_secs(5);
const LARGEST_MANIFEST: usize = 1 << 20;
const LARGEST_SIGNATURE: usize = 1 << 14;

/// What counts of a manifest here; the rest is read by who installs.
#[derive(Debug, Deserialize)]
struct Manifest {
    version: String,
    channel: String,
    expires: String,
}

/// Tells of a newer version, in the log and on the board.
pub(crate) async fn look(dialer: &Dialer, plan: &UpdatePlan, board: &Board) {
    let found = timeout(LIMIT, Box::pin(newer(dialer, plan))).await;
    match found.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}"))) {
        Ok(Some(version)) => {
            tracing::info!(obj = "updater", version, "update available");
            board.offer(&version);
        }
        Ok(None) => tracing::debug!(obj = "updater", "this is the newest version"),
        Err(error) => {
            let err = without_number(&error);
            tracing::warn!(obj = "updater", err, "failed to check for update");
        }
    }
}

async fn newer(dialer: &Dialer, plan: &UpdatePlan) -> Result<Option<String>, String> {
    let url = format!("{}/{}.json", plan.url.trim_end_matches('/'), plan.channel);
    let signature = format!("{url}.minisig");
    let fetched = tokio::try_join!(
        text(dialer, &url, LARGEST_MANIFEST),
        text(dialer, &signature, LARGEST_SIGNATURE)
    );
    let (content, signature) = fetched?;
    verify(&content, &signature, &plan.keys)?;
    judge(
        &content,
        &plan.channel,
        env!("CARGO_PKG_VERSION"),
        Timestamp::now(),
    )
}

async fn text(dialer: &Dialer, url: &str, largest: usize) -> Result<String, String> {
    let body = dialer.fetch(url, largest).await;
    let body = body.map_err(|cause| format!("cannot fetch {url}: {cause}"))?;
    String::from_utf8(body.to_vec()).map_err(|_| format!("{url} is no text"))
}

/// The version, if it is newer than ours.
fn judge(
    content: &str,
    channel: &str,
    ours: &str,
    now: Timestamp,
) -> Result<Option<String>, String> {
    let told: Manifest = serde_json::from_str(content)
        .map_err(|error| format!("the manifest of the release cannot be read: {error}"))?;
    if told.channel != channel {
        return Err(format!(
            "the manifest is one of the channel {}",
            told.channel
        ));
    }
    let expires: Timestamp = told
        .expires
        .parse()
        .map_err(|error| format!("the manifest has no date of expiry: {error}"))?;
    if expires < now {
        return Err(format!("the manifest has expired ({})", told.expires));
    }
    let number =
        |version: &str| number(version).ok_or_else(|| format!("{version:?} is no version of ours"));
    Ok((number(&told.version)? > number(ours)?).then_some(told.version))
}

fn number(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let number = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(number)
}

/// Succeeds where one of the keys has signed the content. The form of signature and keys is that of
/// minisign, the keys without their comment.
///
/// # Errors
/// What the user is told.
pub fn verify(content: &str, signature: &str, keys: &[String]) -> Result<(), String> {
    let signature = Signature::decode(signature)
        .map_err(|_| "The signature of the release is broken: it cannot be trusted.".to_owned())?;
    let mut keys = keys
        .iter()
        .filter_map(|key| PublicKey::from_base64(key).ok());
    if keys.any(|key| key.verify(content.as_bytes(), &signature, false).is_ok()) {
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
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        verify(content, signature, &keys)
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

    #[test]
    fn a_later_version_of_the_channel_is_on_offer_as_long_as_the_manifest_holds() {
        let manifest = |version: &str, channel: &str, expires: &str| {
            format!(
                r#"{{"version":"{version}","channel":"{channel}","expires":"{expires}","files":[]}}"#
            )
        };
        let later = "2030-01-01T00:00:00+00:00";
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (version, newer) in [
            ("0.10.0", true),
            ("0.9.1", true),
            ("1.0.0", true),
            ("0.9.0", false),
            ("0.8.9", false),
        ] {
            let found = judge(&manifest(version, "stable", later), "stable", "0.9.0", now);
            assert_eq!(found, Ok(newer.then(|| version.to_owned())), "{version}");
        }
        for bad in [
            manifest("1.0.0", "beta", later),
            manifest("1.0.0", "stable", "2025-12-31T23:59:59Z"),
            manifest("1.0", "stable", later),
            manifest("new", "stable", later),
            "{}".to_owned(),
        ] {
            assert!(judge(&bad, "stable", "0.9.0", now).is_err(), "{bad}");
        }
    }
}
