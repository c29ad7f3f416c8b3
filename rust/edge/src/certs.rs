//! Which certificate a TLS client gets: agents one that covers the address they dialled, visitors
//! an operator's own PEM pair where there is one, else a leaf of the edge's CA.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;

use crate::ca::{Authority, SharedAuthority};
use crate::registry::Registry;

/// A leaf that is older is made anew.
const LEAF_AGE: Duration = Duration::from_hours(30 * 24);
/// Leaves and configurations that are kept.
const KEPT: usize = 4096;

/// A pair of files that cannot be used; the others are.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(crate) struct PairError {
    pub path: PathBuf,
    pub reason: String,
}

/// Certificates of all listeners.
#[derive(Debug)]
pub(crate) struct Certificates {
    authority: SharedAuthority,
    /// Names every agent and visitor may ask for: the base domains and what is below them.
    names: Vec<String>,
    agent_names: Vec<String>,
    /// The operator's own, by name; wildcards with their star.
    pairs: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
    leaves: Mutex<HashMap<String, Made<CertifiedKey>>>,
    agent_configs: Mutex<HashMap<IpAddr, Made<ServerConfig>>>,
    registry: Arc<Registry>,
}

/// A leaf of our own, or what holds one, and when it is to be made anew.
#[derive(Debug)]
struct Made<T> {
    when: Instant,
    serial: String,
    what: Arc<T>,
}

// === impl Made ===

impl<T> Made<T> {
    fn new(serial: String, what: T) -> Self {
        Self {
            when: Instant::now(),
            serial,
            what: Arc::new(what),
        }
    }

    /// What may still be shown.
    fn good(&self, authority: &Authority) -> Option<Arc<T>> {
        let good = self.when.elapsed() < LEAF_AGE && !authority.has_revoked(&self.serial);
        good.then(|| self.what.clone())
    }
}

// === impl Certificates ===

impl Certificates {
    /// `agent_host`: another name agents dial, of a public address.
    pub(crate) fn new(
        authority: SharedAuthority,
        domains: &[String],
        agent_host: Option<&str>,
        registry: Arc<Registry>,
    ) -> Self {
        let names: Vec<String> = domains
            .iter()
            .flat_map(|domain| [domain.clone(), format!("*.{domain}")])
            .collect();
        let mut agent_names = names.clone();
        agent_names.extend(domains.iter().map(|domain| format!("connect.{domain}")));
        agent_names.extend(agent_host.map(str::to_owned));
        agent_names.push("localhost".into());
        // A certificate names a name once, and knows no addresses among names.
        agent_names.retain(|name| name.parse::<IpAddr>().is_err());
        agent_names.sort();
        agent_names.dedup();
        Self {
            authority,
            names,
            agent_names,
            pairs: ArcSwap::default(),
            leaves: Mutex::default(),
            agent_configs: Mutex::default(),
            registry,
        }
    }

    /// Reads the PEM pairs of a folder anew. What cannot be used is told; what can is served.
    pub(crate) fn load_pairs(&self, dir: Option<&Path>) -> Vec<PairError> {
        let mut pairs = HashMap::new();
        let mut errors = Vec::new();
        for path in dir.map(certificate_files).unwrap_or_default() {
            match read_pair(&path) {
                Ok((names, pair)) => {
                    pairs.extend(names.into_iter().map(|name| (name, pair.clone())));
                }
                Err(reason) => errors.push(PairError { path, reason }),
            }
        }
        self.pairs.store(Arc::new(pairs));
        errors
    }

    /// TLS for an agent that dialled this address of ours.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub(crate) fn for_agent(&self, local: IpAddr) -> Result<Arc<ServerConfig>, crate::ca::CaError> {
        let local = local.to_canonical();
        if let Some(made) = self.agent_configs.lock().get(&local)
            && let Some(config) = made.good(&self.authority)
        {
            return Ok(config);
        }
        let mut addresses = vec![
            local,
            IpAddr::from([127, 0, 0, 1]),
            std::net::Ipv6Addr::LOCALHOST.into(),
        ];
        addresses.sort();
        addresses.dedup();
        let leaf = self.authority.leaf(&self.agent_names, &addresses)?;
        let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(leaf.key));
        let made = Made::new(leaf.serial, config(None, resolver, &[]));
        let config = made.what.clone();
        let mut configs = self.agent_configs.lock();
        if configs.len() >= KEPT {
            configs.clear();
        }
        configs.insert(local, made);
        Ok(config)
    }

    /// The certificate for a visitor who asks for this name.
    pub(crate) fn for_name(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let pairs = self.pairs.load();
        let wildcard = || {
            let (_, rest) = name.split_once('.')?;
            pairs.get(&format!("*.{rest}")).cloned()
        };
        if let Some(pair) = pairs.get(&name).cloned().or_else(wildcard) {
            return Some(pair);
        }
        let below = name.split_once('.').map(|(_, rest)| rest);
        let base = below.filter(|rest| self.names.iter().any(|base| base == rest));
        match base {
            Some(base) if base.contains('.') => self.leaf("", &self.names),
            // Clients take no wildcard of a top-level name such as `*.localhost`. Nobody need serve
            // the name (any more): who visits it is to see the error page, not a warning.
            Some(_) => self.leaf(&name, std::slice::from_ref(&name)),
            None if self.registry.knows(&name) => self.leaf(&name, std::slice::from_ref(&name)),
            // Elsewhere leaves are made for names that are served, not for whatever is asked for.
            None => self.leaf("", &self.names),
        }
    }

    fn leaf(&self, key: &str, names: &[String]) -> Option<Arc<CertifiedKey>> {
        if let Some(made) = self.leaves.lock().get(key)
            && let Some(leaf) = made.good(&self.authority)
        {
            return Some(leaf);
        }
        let made = match self.authority.leaf(names, &[]) {
            Ok(leaf) => Made::new(leaf.serial, leaf.key),
            Err(error) => {
                tracing::error!(obj = "tls", name = key, err = %error, "cannot make a certificate");
                return None;
            }
        };
        let mut leaves = self.leaves.lock();
        if leaves.len() >= KEPT {
            leaves.clear();
        }
        let leaf = made.what.clone();
        leaves.insert(key.to_owned(), made);
        Some(leaf)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_name(hello.server_name().unwrap_or_default())
    }
}

/// TLS 1.2 and 1.3 with one provider; X25519 before the larger hybrid groups.
pub(crate) fn config(
    client_cas: Option<Arc<dyn ClientCertVerifier>>,
    resolver: Arc<dyn ResolvesServerCert>,
    alpn: &[&[u8]],
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap_or_else(|_| unreachable!("the provider has suites for both versions"));
    let builder = match client_cas {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<rustls::crypto::CryptoProvider>> =
        std::sync::OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            provider
                .kx_groups
                .sort_by_key(|group| group.name() != rustls::NamedGroup::X25519);
            Arc::new(provider)
        })
        .clone()
}

/// Clients must show a certificate of one of these CAs (PEM).
///
/// # Errors
/// A sentence on what is wrong with the PEM.
pub(crate) fn client_verifier(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("the PEM is broken: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("a certificate is no CA: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".into());
    }
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        .map_err(|error| error.to_string())
}

/// A certificate with its private key, both PEM.
///
/// # Errors
/// A sentence on what is wrong: no key, no certificate, or the two do not belong together.
pub(crate) fn certified_key(cert: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate is broken: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in it".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "there is no private key in it".to_owned())?;
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| error.to_string())?;
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(pair)
        }
        Err(_) => Err("the private key does not belong to the certificate".into()),
    }
}

/// `NAME.crt` and `NAME.pem`, but not the keys beside them.
fn certificate_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return vec![dir.to_owned()];
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let certificate = path
                .extension()
                .is_some_and(|end| end == "pem" || end == "crt");
            certificate && !name.ends_with("-key.pem") && name != "privkey.pem"
        })
        .collect();
    files.sort();
    files
}

/// A certificate and the key in the same file, in `NAME.key`, or in `NAME-key.pem`.
fn read_pair(path: &Path) -> Result<(Vec<String>, Arc<CertifiedKey>), String> {
    let read = |path: &Path| fs::read(path).map_err(|error| error.to_string());
    let cert = read(path)?;
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let beside = [
        format!("{stem}.key"),
        format!("{stem}-key.pem"),
        "privkey.pem".to_owned(),
    ];
    let key_file = beside
        .iter()
        .map(|name| path.with_file_name(name))
        .find(|path| path.exists());
    let key = match key_file {
        Some(path) => read(&path)?,
        None => cert.clone(),
    };
    let pair = certified_key(&cert, &key)?;
    let names = names_of(pair.end_entity_cert().map_err(|error| error.to_string())?);
    if names.is_empty() {
        return Err("the certificate names no domain".into());
    }
    Ok((names, Arc::new(pair)))
}

fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}
