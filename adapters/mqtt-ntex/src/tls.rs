//! TLS 1.2 and 1.3 by rustls. Certificates are exchanged while connections go on: each handshake takes the present ones, and
//! no connection asks for them again.
//!
//! A file that cannot be used is an error at the start. Later it is logged, and what was in use before stays in use.

mod certificates;
mod reload;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use ntex::io::{Filter, Io, IoBoxed};
use ntex::time::Millis;
use ntex_tls::rustls::TlsServerFilter;
use rustls::ServerConfig;

use crate::tls_files::{TlsError, TlsFiles};
use certificates::Certificates;

pub(crate) use reload::Watch;

/// Whether this transport is there.
pub(crate) const IS_BUILT_IN: bool = true;

/// The certificates that are in use.
pub(crate) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files, and what they are to be compared with later.
    pub(crate) fn load(files: &TlsFiles) -> Result<(Self, Watch), TlsError> {
        let certificates = Certificates::read(files)?;
        let config = RwLock::new(certificates.config(files)?);
        Ok((Self { files: files.clone(), config }, Watch::new(certificates.fingerprint())))
    }

    /// Does the handshake of a connection.
    pub(crate) async fn accept<F: Filter>(&self, io: Io<F>, patience: Millis) -> io::Result<IoBoxed> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        TlsServerFilter::create(io, config, patience).await.map(Io::boxed)
    }
}
