//! The files that TLS needs, and what can be wrong with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where certificates and keys are. All are PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate of the server, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// Certificates of which clients must have one that leads to them; absent: clients need none.
    pub client_ca: Option<PathBuf>,
    /// How often the files are looked at. A change is taken up at the second look that finds it.
    pub look_every: Duration,
}

impl TlsFiles {
    /// A certificate and its key, looked at every second. Clients need no certificates.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), client_ca: None, look_every: Duration::from_secs(1) }
    }

    /// The path of one of them; empty where there is none.
    pub(crate) fn path(&self, file: TlsFile) -> &Path {
        match file {
            TlsFile::Certificate => &self.certificate,
            TlsFile::Key => &self.key,
            TlsFile::ClientCa => self.client_ca.as_deref().unwrap_or(Path::new("")),
        }
    }
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// [`TlsFiles::certificate`]
    Certificate,
    /// [`TlsFiles::key`]
    Key,
    /// [`TlsFiles::client_ca`]
    ClientCa,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub struct TlsError {
    /// Which of the files.
    pub file: TlsFile,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}
