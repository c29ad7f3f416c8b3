//! The list of certificates that a CA has revoked (a CRL; agent-behaviour §2.4): fetched for each
//! attempt from `crl_url`, and believed only if a CA of the edge's chain has signed it. Without a
//! list that is good right now, nobody is connected to.

use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;

use crate::clock;
use crate::dial::Dialer;
use crate::trust;

const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of a list.
pub(crate) const LARGEST: usize = 1 << 20;

pub(crate) type Lists = Vec<CertificateRevocationListDer<'static>>;

/// Why there is no list; the text names where it was to come from.
#[derive(Debug, thiserror::Error)]
#[error("failed to fetch CRL {url}: {reason} (crl_url; crl_noverify: true connects without)")]
pub(crate) struct CrlError {
    url: String,
    reason: String,
}

/// Where the list is, and the last one that was good.
pub(crate) struct Crl {
    url: String,
    kept: Mutex<Option<(u64, Lists)>>,
}

// === impl Crl ===

impl Crl {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            kept: Mutex::default(),
        }
    }

    /// The list as it is now. Where it cannot be fetched, the last one serves while it is good.
    ///
    /// # Errors
    /// [`CrlError`].
    pub(crate) async fn get(&self, dialer: &Dialer) -> Result<Lists, CrlError> {
        let fetched = timeout(LIMIT, dialer.fetch(&self.url, LARGEST)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
        match fetched.and_then(|body| read(&body, clock::seconds())) {
            Ok((until, lists)) => {
                *self.kept.lock() = Some((until, lists.clone()));
                Ok(lists)
            }
            Err(reason) => {
                let kept = self.kept.lock().clone();
                if let Some((_, lists)) = kept.filter(|(until, _)| *until > clock::seconds()) {
                    tracing::warn!(
                        obj = "tunnels.session",
                        url = self.url,
                        err = reason,
                        "failed to fetch CRL, the last one is good still"
                    );
                    return Ok(lists);
                }
                let url = self.url.clone();
                Err(CrlError { url, reason })
            }
        }
    }
}

/// The lists of a body, PEM or DER, and until when all of them are good.
fn read(body: &[u8], now: u64) -> Result<(u64, Lists), String> {
    let lists = if body.trim_ascii_start().starts_with(b"-----BEGIN") {
        CertificateRevocationListDer::pem_slice_iter(body)
            .collect::<Result<Lists, _>>()
            .map_err(|_| "what came is broken PEM".to_owned())?
    } else {
        vec![CertificateRevocationListDer::from(body.to_vec())]
    };
    let mut until = u64::MAX;
    for list in &lists {
        let parsed = x509_parser::parse_x509_crl(list);
        let (_, parsed) = parsed.map_err(|_| "what came is no CRL".to_owned())?;
        let next = parsed
            .next_update()
            .ok_or("it does not say how long it is good")?;
        if u64::try_from(next.timestamp()).unwrap_or(0) <= now {
            return Err(format!(
                "it is out of date since {next}: either its CA does not renew it, or the clock of this machine is wrong"
            ));
        }
        until = until.min(next.timestamp() as u64);
    }
    if lists.is_empty() {
        return Err("there is no CRL in what came".into());
    }
    trust::can_use(&lists).map_err(|reason| format!("it cannot be used: {reason}"))?;
    Ok((until, lists))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_told() {
        for (body, told) in [
            (&b""[..], "no CRL"),
            (b"<html>", "no CRL"),
            (
                b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n",
                "broken PEM",
            ),
            (
                b"-----BEGIN NOTHING-----\n-----END NOTHING-----\n",
                "no CRL",
            ),
            (
                b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
                "no CRL",
            ),
        ] {
            assert!(read(body, 0).unwrap_err().contains(told), "{told}");
        }
    }
}
