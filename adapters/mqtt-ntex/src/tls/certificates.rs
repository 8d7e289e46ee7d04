//! From the contents of the files to what rustls needs.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{Error, RootCertStore, ServerConfig};

use crate::tls_files::{TlsError, TlsFile, TlsFiles};

/// What is in the files.
#[derive(Hash)]
pub(super) struct Certificates {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Tells contents apart without keeping them, one of which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    /// That of something; only comparable within this process.
    pub(super) fn of(value: impl std::hash::Hash) -> Self {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(KEYS.hash_one(value))
    }
}

impl Certificates {
    /// Reads the files.
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |file| {
            std::fs::read(files.path(file)).map_err(|error| problem(files, file, format!("cannot be read: {error}")))
        };
        let client_ca = files.client_ca.is_some().then(|| read(TlsFile::ClientCa)).transpose()?;
        Ok(Self { certificate: read(TlsFile::Certificate)?, key: read(TlsFile::Key)?, client_ca })
    }

    /// What tells them from others.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// The configuration of handshakes.
    pub(super) fn config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = self.certified_key(files, &provider)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has the ciphers of TLS 1.2 and 1.3")
            .with_client_cert_verifier(self.verifier(files, provider)?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // Many devices that come back at once resume without a place in memory for each.
        config.ticketer = aws_lc_rs::Ticketer::new().expect("the system has random numbers");
        Ok(Arc::new(config))
    }

    fn certified_key(&self, files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(files, TlsFile::Certificate, &self.certificate)?;
        let certified = CertifiedKey::new(chain, self.signing_key(files, provider)?);
        certified.keys_match().map(|()| certified).map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                let certificate = files.certificate.display();
                problem(files, TlsFile::Key, format!("does not belong to the certificate in {certificate}"))
            }
            error => problem(files, TlsFile::Certificate, format!("the first certificate is not usable: {error}")),
        })
    }

    fn signing_key(&self, files: &TlsFiles, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsError> {
        let problem = |words| problem(files, TlsFile::Key, words);
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                problem("there is no private key in it that is PEM and needs no pass phrase".to_owned())
            }
            error => problem(malformed(&error)),
        })?;
        let loaded = provider.key_provider.load_private_key(key);
        loaded.map_err(|error| problem(format!("the private key is not usable: {error}")))
    }

    fn verifier(
        &self,
        files: &TlsFiles,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Some(client_ca) = &self.client_ca else { return Ok(Arc::new(NoClientAuth)) };
        let unusable = |error: &dyn std::fmt::Display| {
            problem(files, TlsFile::ClientCa, format!("a certificate in it is not usable: {error}"))
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(files, TlsFile::ClientCa, client_ca)? {
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map(|verifier| verifier as Arc<_>).map_err(|error| unusable(&error))
    }
}

fn problem(files: &TlsFiles, file: TlsFile, problem: String) -> TlsError {
    TlsError { file, path: files.path(file).to_owned(), problem }
}

fn malformed(error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a part of it has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line in it is cut short".to_owned(),
        error => error.to_string(),
    };
    format!("is not PEM: {what}")
}

/// The certificates in a file, at least one.
fn certificates(files: &TlsFiles, file: TlsFile, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| problem(files, file, malformed(&error)))?;
    if found.is_empty() {
        return Err(problem(files, file, "there is no certificate in it that is PEM".to_owned()));
    }
    Ok(found)
}
