//! Certificates of the edge's CA that are not to be believed any more, and the signed list of them
//! (a CRL, RFC 5280 §5) that agents fetch.
//!
//! Two files in the data directory: `issued.txt` tells what was signed, a line a leaf, for people
//! and `portway edge ca list`; `revoked.txt` is written by `portway edge ca revoke` and read here
//! whenever it has changed. An edge without a data directory has neither, and revokes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};

/// How long a list is good for. It is renewed long before.
const LIFETIME: Duration = Duration::from_hours(24);
const RENEWAL: Duration = Duration::from_hours(1);
/// For clocks of agents that are behind.
const EARLIER: Duration = Duration::from_hours(1);
/// How often a look at the file is worth its cost.
const LOOK: Duration = Duration::from_millis(500);
/// Of `issued.txt`; what goes beyond is the oldest half.
const LARGEST: u64 = 4 << 20;

const ISSUED: &str = "issued.txt";
const REVOKED: &str = "revoked.txt";

/// When a certificate was revoked, in seconds since 1970, by its serial number in hex.
type Revoked = BTreeMap<String, u64>;

/// What is known of revoked certificates.
#[derive(Debug)]
pub(crate) struct Revocations {
    dir: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    /// Of the file, as it was read.
    stamp: Option<(SystemTime, u64)>,
    revoked: Revoked,
    list: Option<(Instant, Vec<u8>)>,
}

// === impl Revocations ===

impl Revocations {
    pub(crate) fn new(dir: Option<&Path>) -> Self {
        Self {
            dir: dir.map(Path::to_owned),
            state: Mutex::default(),
        }
    }

    /// Whether the leaf with this serial number is revoked. Asked for every handshake.
    pub(crate) fn has(&self, serial: &str) -> bool {
        let mut state = self.state.lock();
        self.look(&mut state, false);
        state.revoked.contains_key(serial)
    }

    /// The signed list, DER.
    ///
    /// # Errors
    /// What keeps the CA from signing it.
    pub(crate) fn list(&self, issuer: &Issuer<'_, KeyPair>) -> Result<Vec<u8>, rcgen::Error> {
        let mut state = self.state.lock();
        self.look(&mut state, true);
        if let Some((made, list)) = &state.list
            && made.elapsed() < RENEWAL
        {
            return Ok(list.clone());
        }
        let list = sign(&state.revoked, issuer)?;
        state.list = Some((Instant::now(), list.clone()));
        Ok(list)
    }

    /// Notes a leaf that was signed. Where that cannot be written, it serves all the same.
    pub(crate) fn issued(&self, serial: &str, until: &str, names: &str) {
        let Some(dir) = &self.dir else {
            return;
        };
        let path = dir.join(ISSUED);
        if let Err(error) = append(&path, &format!("{serial} {until} {names}\n")) {
            tracing::warn!(obj = "tls", path = %path.display(), err = %error, "cannot note a certificate");
        }
    }

    /// Reads the file again where it has changed.
    fn look(&self, state: &mut State, now: bool) {
        let Some(dir) = &self.dir else {
            return;
        };
        if !now && state.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        state.looked = Some(Instant::now());
        let path = dir.join(REVOKED);
        let stamp = match fs::metadata(&path) {
            Ok(data) => data.modified().ok().map(|time| (time, data.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return unreadable(&path, &error),
        };
        if stamp == state.stamp {
            return;
        }
        // What was revoked stays so while the file cannot be read.
        match fs::read_to_string(&path) {
            Ok(text) => state.revoked = parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => state.revoked.clear(),
            Err(error) => return unreadable(&path, &error),
        }
        state.stamp = stamp;
        state.list = None;
        tracing::info!(
            obj = "tls",
            count = state.revoked.len(),
            "revoked certificates read"
        );
    }
}

fn unreadable(path: &Path, error: &io::Error) {
    tracing::error!(obj = "tls", path = %path.display(), err = %error, "cannot read which certificates are revoked");
}

/// Lines of a serial number and a time; what is none of that is left out and told.
fn parse(text: &str) -> Revoked {
    let mut revoked = Revoked::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (serial, time) = line.split_once(' ').unwrap_or((line, "0"));
        match (hex::decode(serial), time.trim().parse()) {
            (Ok(bytes), Ok(time)) if !bytes.is_empty() && bytes.len() <= 20 => {
                revoked.insert(hex::encode(bytes), time);
            }
            _ => tracing::warn!(
                obj = "tls",
                line,
                "a line of revoked.txt tells no serial number and time"
            ),
        }
    }
    revoked
}

fn sign(revoked: &Revoked, issuer: &Issuer<'_, KeyPair>) -> Result<Vec<u8>, rcgen::Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.unwrap_or_default();
    let time = |since: Duration| rcgen::date_time_ymd(1970, 1, 1) + since;
    let revoked = revoked.iter().filter_map(|(serial, at)| {
        Some(RevokedCertParams {
            serial_number: SerialNumber::from(hex::decode(serial).ok()?),
            revocation_time: time(Duration::from_secs(*at).min(now)),
            reason_code: None,
            invalidity_date: None,
        })
    });
    let params = CertificateRevocationListParams {
        this_update: time(now.saturating_sub(EARLIER)),
        next_update: time(now + LIFETIME),
        // It must grow from one list to the next, restarts included.
        crl_number: SerialNumber::from(now.as_millis() as u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuer)?.der().to_vec())
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|data| data.len() > LARGEST) {
        let text = fs::read_to_string(path)?;
        let half = text[text.len() / 2..].split_once('\n');
        fs::write(path, half.map_or("", |(_, newer)| newer))?;
    }
    let mut options = fs::File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_tell_nothing_are_left_out() {
        let revoked = parse(
            "# by hand\n\n0AFF 17\nab\nxyz 1\n 01 x\n0102030405060708090a0b0c0d0e0f101112131415 1\n",
        );
        assert_eq!(
            revoked,
            Revoked::from([("0aff".into(), 17), ("ab".into(), 0)])
        );
    }
}
