//! In the place of `tls.rs` where the feature is left out: there is no [`Tls`], so that nothing of it can be used.

use std::convert::Infallible;
use std::io;

use ntex::io::{Io, IoBoxed};
use ntex::time::Millis;

use crate::stats::TlsReloads;
use crate::tls_files::{TlsError, TlsFile, TlsFiles};

/// Whether this transport is there.
pub(crate) const IS_BUILT_IN: bool = false;

/// There is none.
pub(crate) struct Tls(Infallible);

/// What was seen of the files: there is none.
pub(crate) struct Watch(Infallible);

impl Tls {
    /// Not asked for, because the listeners are refused first.
    pub(crate) fn load(files: &TlsFiles) -> Result<(Self, Watch), TlsError> {
        let (file, problem) = (TlsFile::Certificate, "TLS is not built in".to_owned());
        Err(TlsError { file, path: files.path(file).to_owned(), problem })
    }

    pub(crate) async fn accept<F>(&self, _: Io<F>, _: Millis) -> io::Result<IoBoxed> {
        match self.0 {}
    }

    pub(crate) async fn watch(&self, watch: Watch, _: &TlsReloads) {
        match watch.0 {}
    }
}
