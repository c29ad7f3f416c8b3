//! Whom the agent believes (agent-behaviour §2.4): the edge by one of five kinds of trust, and
//! upstreams, which are not verified unless asked for.

use std::io;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use crate::crl::Lists;
use crate::plan::{AgentTls, Cas};

/// Something with certificates that keeps the agent from starting or connecting; a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TrustError(pub(crate) String);

/// TLS towards the edge. A file is read anew each time, so a renewed CA needs no restart. `lists`:
/// of revoked certificates; a certificate that none of them speaks of is not believed then.
///
/// # Errors
/// [`TrustError`] with the file that cannot be used.
pub(crate) fn edge(cas: &Cas, lists: Option<Lists>) -> Result<Arc<ClientConfig>, TrustError> {
    let roots = match cas {
        Cas::Trusted => public_roots(),
        Cas::Host => host_roots()?,
        Cas::File(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| TrustError(format!("cannot read the CA file {path}: {error}")))?;
            roots_of(&pem)
                .map_err(|reason| TrustError(format!("cannot use the CA file {path}: {reason}")))?
        }
        Cas::Pem(pem) => roots_of(pem.as_bytes())
            .map_err(|reason| TrustError(format!("cannot use the CA: {reason}")))?,
        Cas::Pin(pin) => return pinned(pin, lists),
    };
    if lists.is_none() {
        return Ok(Arc::new(with_roots(roots)));
    }
    let verifier = verifier(roots, lists).map_err(|error| TrustError(error.to_string()))?;
    Ok(Arc::new(verified_by(verifier)))
}

/// Whether certificates can be checked with these lists at all.
///
/// # Errors
/// A sentence.
pub(crate) fn can_use(lists: &Lists) -> Result<(), String> {
    let tried = verifier(public_roots(), Some(lists.clone()));
    tried.map(|_| ()).map_err(|error| error.to_string())
}

fn verifier(
    roots: RootCertStore,
    lists: Option<Lists>,
) -> Result<Arc<WebPkiServerVerifier>, VerifierBuilderError> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    match lists {
        None => builder.build(),
        Some(lists) => builder
            .with_crls(lists)
            .enforce_revocation_expiration()
            .build(),
    }
}

fn verified_by(verifier: Arc<dyn ServerCertVerifier>) -> ClientConfig {
    builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// TLS that trusts nobody, for what needs a configuration and makes no use of it.
pub(crate) fn nobody() -> Arc<ClientConfig> {
    Arc::new(with_roots(RootCertStore::empty()))
}

/// Why a handshake failed, and what may help.
pub(crate) fn why(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let hint = match inner {
        // Words of our own, which would be called unexpected.
        Some(Error::General(text)) => return text.clone(),
        Some(Error::InvalidCertificate(reason)) => hint_of(reason),
        Some(Error::InvalidCertRevocationList(_)) => {
            " (the CRL of crl_url is not signed by the CA of this certificate)"
        }
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            " (what listens there speaks no TLS: is it the address for agents?)"
        }
        _ => "",
    };
    format!("{error}{hint}")
}

fn hint_of(reason: &CertificateError) -> &'static str {
    use CertificateError as E;
    match reason {
        E::UnknownIssuer => {
            " (its certificate is signed by a CA that is not trusted here: set connect_cas, or join the edge with `config join`)"
        }
        E::NotValidYet | E::NotValidYetContext { .. } if clock_is_early() => {
            " (the clock of this machine is wrong: it shows a time before this program was made)"
        }
        E::NotValidYet | E::NotValidYetContext { .. } => " (is the clock of this machine right?)",
        E::Expired | E::ExpiredContext { .. } => {
            " (the edge has to renew its certificate, or the clock of this machine is wrong)"
        }
        E::Revoked => {
            " (its CA has revoked this certificate: who answers there may not be the edge)"
        }
        E::UnknownRevocationStatus => {
            " (the CRL of crl_url is of another CA than this certificate)"
        }
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
            " (the CRL of crl_url is out of date)"
        }
        _ => "",
    }
}

/// Whether the clock stands before the time this was built at.
fn clock_is_early() -> bool {
    let built = env!("BUILT_AT").parse().unwrap_or(0);
    crate::clock::seconds() < built
}

/// TLS towards a proxy, which the operating system's CAs vouch for.
///
/// # Errors
/// [`TrustError`] where the system has none.
pub(crate) fn of_the_system() -> Result<Arc<ClientConfig>, TrustError> {
    Ok(Arc::new(with_roots(host_roots()?)))
}

/// TLS towards anybody else of the web. `edge`: whom the edge is trusted by; where that is the
/// operating system's CAs, an inspecting proxy is expected, and it inspects this too.
///
/// # Errors
/// [`TrustError`] where the system has none.
pub(crate) fn public(edge: &Cas) -> Result<Arc<ClientConfig>, TrustError> {
    let cas = match edge {
        Cas::Host => Cas::Host,
        _ => Cas::Trusted,
    };
    self::edge(&cas, None)
}

/// TLS towards an upstream. `alpn`: nothing, or the one protocol it must speak.
///
/// # Errors
/// [`TrustError`] where the CAs cannot be used.
pub(crate) fn upstream(
    verify: bool,
    cas: Option<&str>,
    http2: bool,
) -> Result<Arc<ClientConfig>, TrustError> {
    let mut config = match (verify, cas) {
        (_, Some(pem)) => {
            let roots = roots_of(pem.as_bytes()).map_err(|reason| {
                TrustError(format!("cannot use the CAs of the upstream: {reason}"))
            })?;
            with_roots(roots)
        }
        (true, None) => with_roots(host_roots()?),
        (false, None) => verified_by(Arc::new(Unverified)),
    };
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(Arc::new(config))
}

/// TLS that the agent ends towards visitors. Client CAs make a client certificate a must.
///
/// # Errors
/// [`TrustError`] for a pair that does not match, and for PEM that cannot be used.
pub(crate) fn visitors(tls: &AgentTls) -> Result<Arc<ServerConfig>, TrustError> {
    let fail = |reason: String| TrustError(format!("cannot end TLS for visitors: {reason}"));
    let chain = CertificateDer::pem_slice_iter(tls.cert.text.expose().as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(format!("the certificate is broken: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.text.expose().as_bytes())
        .map_err(|_| fail("there is no private key in the key given".into()))?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(tls).map_err(fail)?)
        .map_err(|error| fail(error.to_string()))?;
    let builder = match &tls.client_cas[..] {
        [] => builder.with_no_client_auth(),
        cas => {
            let mut roots = RootCertStore::empty();
            for pem in cas {
                let more = roots_of(pem.text.expose().as_bytes()).map_err(fail)?;
                roots.roots.extend(more.roots);
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| fail(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder
        .with_single_cert(chain, key)
        .map(Arc::new)
        .map_err(|error| fail(error.to_string()))
}

/// Those between the two that are named.
fn versions(tls: &AgentTls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    const KNOWN: [(&str, &SupportedProtocolVersion); 2] = [("1.2", &TLS12), ("1.3", &TLS13)];
    let place = |text: &str, absent: usize| {
        if text.is_empty() {
            return Ok(absent);
        }
        let found = KNOWN.iter().position(|(name, _)| *name == text);
        found.ok_or_else(|| format!("the version {text:?} of TLS is not 1.2 or 1.3"))
    };
    let (least, most) = (place(&tls.min_version, 0)?, place(&tls.max_version, 1)?);
    let between = KNOWN.get(least..=most).filter(|found| !found.is_empty());
    let between = between.ok_or("min_version is above max_version")?;
    Ok(between.iter().map(|(_, version)| *version).collect())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("the provider has suites for both versions"))
}

fn with_roots(roots: RootCertStore) -> ClientConfig {
    builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn public_roots() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

fn host_roots() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TrustError("the operating system has no CA certificates to trust (on Debian: install ca-certificates)".into()));
    }
    Ok(roots)
}

fn roots_of(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("the PEM is broken: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(roots)
}

/// The edge's CA is known by its hash. An edge sends its CA behind its leaf, or is unknown.
fn pinned(pin: &str, lists: Option<Lists>) -> Result<Arc<ClientConfig>, TrustError> {
    let bytes = (0..pin.len())
        .step_by(2)
        .map(|at| {
            pin.get(at..at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect::<Option<Vec<u8>>>();
    let pin: [u8; 32] = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| TrustError(format!("the pin {pin:?} is no SHA-256 in hex")))?;
    Ok(Arc::new(verified_by(Arc::new(Pinned { pin, lists }))))
}

/// Verifies against the one CA of the chain whose hash is known.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    lists: Option<Lists>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let known = chain
            .iter()
            .find(|certificate| digest(&SHA256, certificate).as_ref() == self.pin)
            .ok_or_else(|| {
                Error::General(
                    "the edge's CA is not the one that was joined: its fingerprint differs. If the edge has a new CA, \
                     join it again with `config join`; else it is not the edge that answers there"
                        .into(),
                )
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(known.clone().into_owned())?;
        let verifier = verifier(roots, self.lists.clone())
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Upstreams are on the agent's own side; who wants them verified says so.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_trusted_is_named() {
        let file = edge(&Cas::File("/nonexistent/ca.pem".into()), None).unwrap_err();
        assert!(file.0.contains("/nonexistent/ca.pem"));
        assert!(
            edge(&Cas::Pem("nothing".into()), None)
                .unwrap_err()
                .0
                .contains("no certificate")
        );
        assert!(
            edge(&Cas::Pin("xyz".into()), None)
                .unwrap_err()
                .0
                .contains("SHA-256")
        );
        assert!(edge(&Cas::Pin("ab".repeat(32)), None).is_ok());
        assert!(edge(&Cas::Trusted, None).is_ok());
    }
}
