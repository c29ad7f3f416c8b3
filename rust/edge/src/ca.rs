//! The edge's own certificate authority (design, decision 6): a CA in the data directory that
//! signs separate leaves. A leaf is never a CA, and names are in its SANs only.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::revocation::Revocations;

/// Days a leaf is good for; shorter than what browsers accept at most.
const LEAF_DAYS: i64 = 397;
const CA_YEARS: i64 = 10;

/// What went wrong with the CA's files.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no certificate authority this edge can sign with: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot use the new key: {0}")]
    Key(#[from] rustls::Error),
}

/// Signs leaves, and the list of those that are revoked. Cheap to share.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    revocations: Revocations,
    pem: String,
    der: CertificateDer<'static>,
    fingerprint: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.fingerprint)
    }
}

// === impl Authority ===

impl Authority {
    /// The CA of a data directory, made on first use; without a directory, one in memory.
    ///
    /// # Errors
    /// [`CaError`] with the file that is in the way.
    pub(crate) fn open(data_dir: Option<&Path>) -> Result<Self, CaError> {
        let Some(dir) = data_dir else {
            let (pem, key) = make()?;
            return Self::new(pem, key, Path::new("the CA in memory"), None);
        };
        let (cert_path, key_path) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
        if !cert_path.exists() || !key_path.exists() {
            let (pem, key) = make()?;
            create_dir(dir)?;
            write(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
            write(&cert_path, pem.as_bytes(), 0o644)?;
        }
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|error| CaError::Unusable {
            path: key_path,
            reason: error.to_string(),
        })?;
        Self::new(read(&cert_path)?, key, &cert_path, data_dir)
    }

    fn new(
        pem: String,
        key: KeyPair,
        path: &Path,
        data_dir: Option<&Path>,
    ) -> Result<Self, CaError> {
        let unusable = |reason: String| CaError::Unusable {
            path: path.to_owned(),
            reason,
        };
        let der = rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes());
        let der: CertificateDer<'static> = der.map_err(|error| unusable(format!("{error:?}")))?;
        let fingerprint = hex::encode(digest(&SHA256, &der).as_ref());
        let issuer =
            Issuer::from_ca_cert_der(&der, key).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            issuer,
            revocations: Revocations::new(data_dir),
            pem,
            der,
            fingerprint,
        })
    }

    /// The CA's certificate, PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of the CA's certificate (DER), lower-case hex.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A fresh leaf for these names and addresses, and behind it the CA, which agents that were
    /// told its fingerprint recognise.
    ///
    /// # Errors
    /// [`CaError::Make`] for a name that no certificate can hold.
    pub(crate) fn leaf(&self, names: &[String], addresses: &[IpAddr]) -> Result<Leaf, CaError> {
        let key = KeyPair::generate()?;
        let serial = serial()?;
        let mut params = CertificateParams::new(names)?;
        params
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name = named(names.first().map_or("portway", String::as_str));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        set_days(&mut params, LEAF_DAYS);
        let until = params.not_after.date().to_string();
        let certificate = params.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|reason| rustls::Error::General(reason.to_owned()))?;
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)?;
        let serial = hex::encode(serial);
        let addresses = addresses.iter().map(IpAddr::to_string);
        let told: Vec<_> = names.iter().cloned().chain(addresses).collect();
        self.revocations.issued(&serial, &until, &told.join(","));
        let chain = vec![certificate.der().clone(), self.der.clone()];
        Ok(Leaf {
            key: CertifiedKey::new(chain, signer),
            serial,
        })
    }

    /// Whether a leaf must not be shown any more.
    pub(crate) fn has_revoked(&self, serial: &str) -> bool {
        self.revocations.has(serial)
    }

    /// The signed list of revoked leaves, DER.
    ///
    /// # Errors
    /// [`CaError::Make`].
    pub(crate) fn revoked(&self) -> Result<Vec<u8>, CaError> {
        Ok(self.revocations.list(&self.issuer)?)
    }
}

/// A leaf with its key, and the number it is revoked by, in hex.
pub(crate) struct Leaf {
    pub(crate) key: CertifiedKey,
    pub(crate) serial: String,
}

/// A number nobody has had yet; positive, and with no zero in front, as certificates tell it.
fn serial() -> Result<[u8; 16], CaError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)
        .map_err(|_| rustls::Error::General("the system has no random numbers".into()))?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

fn make() -> Result<(String, KeyPair), CaError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("portway edge CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_days(&mut params, CA_YEARS * 365);
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key))
}

fn named(name: &str) -> DistinguishedName {
    // The common name is for people; longer ones are not allowed in it.
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "portway");
    distinguished.push(DnType::CommonName, name.get(..64).unwrap_or(name));
    distinguished
}

/// From yesterday, for clocks that are behind.
fn set_days(params: &mut CertificateParams, days: i64) {
    let day = |offset: i64| {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * offset);
        let date = jiff::tz::Offset::UTC.to_datetime(now).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    params.not_before = day(-1);
    params.not_after = day(days);
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| CaError::File {
        path: path.to_owned(),
        source,
    })
}

fn create_dir(path: &Path) -> Result<(), CaError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| CaError::File {
        path: path.to_owned(),
        source,
    })
}

/// Whole or not at all: a temporary file beside it, renamed.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let attempt = || {
        let temporary = path.with_extension("tmp");
        let _ = fs::remove_file(&temporary);
        let mut options = fs::File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = options.open(&temporary)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().map_err(|source| CaError::File {
        path: path.to_owned(),
        source,
    })
}

/// Where leaves come from, shared by all that need one.
pub(crate) type SharedAuthority = Arc<Authority>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t36_the_leaf_is_no_ca_and_has_its_names() {
        let authority = Authority::open(None).unwrap();
        let leaf = authority
            .leaf(
                &["a.test".into(), "*.a.test".into()],
                &[IpAddr::from([127, 0, 0, 1])],
            )
            .unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf.key.cert[0]).unwrap();
        assert!(!parsed.is_ca());
        assert_eq!(hex::encode(parsed.raw_serial()), leaf.serial);
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 3);
        let ca = rustls_pki_types::pem::PemObject::from_pem_slice(authority.pem().as_bytes());
        let ca: CertificateDer<'static> = ca.unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(&ca).unwrap();
        assert!(ca.is_ca());
        parsed.verify_signature(Some(ca.public_key())).unwrap();
    }

    #[test]
    fn the_ca_of_a_directory_stays() {
        let dir = std::env::temp_dir().join(format!("portway-ca-{}", std::process::id()));
        let first = Authority::open(Some(&dir)).unwrap();
        let second = Authority::open(Some(&dir)).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.join("ca-key.pem"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(dir.join("ca-key.pem"), "nonsense").unwrap();
        assert!(
            Authority::open(Some(&dir))
                .unwrap_err()
                .to_string()
                .contains("ca-key.pem")
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_list_of_revoked_leaves_is_signed_and_follows_its_file() {
        let dir = std::env::temp_dir().join(format!("portway-crl-{}", std::process::id()));
        let authority = Authority::open(Some(&dir)).unwrap();
        let leaf = authority.leaf(&["a.test".into()], &[]).unwrap();
        let issued = fs::read_to_string(dir.join("issued.txt")).unwrap();
        assert!(issued.starts_with(&leaf.serial) && issued.ends_with(" a.test\n"));
        let (_, ca) = x509_parser::parse_x509_certificate(&authority.der).unwrap();
        let revoked = |authority: &Authority| {
            let list = authority.revoked().unwrap();
            let (_, list) = x509_parser::parse_x509_crl(&list).unwrap();
            list.verify_signature(ca.public_key()).unwrap();
            assert!(list.next_update().unwrap().timestamp() > list.last_update().timestamp());
            let serials = list.iter_revoked_certificates();
            serials
                .map(|one| hex::encode(one.raw_serial()))
                .collect::<Vec<_>>()
        };
        assert!(revoked(&authority).is_empty());
        assert!(!authority.has_revoked(&leaf.serial));
        fs::write(
            dir.join("revoked.txt"),
            format!("{} 1700000000\n", leaf.serial),
        )
        .unwrap();
        assert_eq!(revoked(&authority), std::slice::from_ref(&leaf.serial));
        assert!(authority.has_revoked(&leaf.serial));
        fs::remove_dir_all(dir).unwrap();
    }
}
