//! Looks at the files again and again, and takes up what has changed.
//!
//! Contents are compared and not times, so that links that point elsewhere are seen. A change is taken up when it is the
//! same at two looks: certificate and key are seldom written at the same moment.

use std::sync::PoisonError;

use ntex::time::{Millis, sleep};

use super::Tls;
use super::certificates::{Certificates, Fingerprint};
use crate::stats::TlsReloads;
use crate::tls_files::TlsError;

/// What was seen of the files.
pub(crate) struct Watch {
    /// What is in use, or was found to be unusable.
    known: Fingerprint,
    /// What was different at the last look.
    changed: Option<Fingerprint>,
}

impl Watch {
    /// Of files whose contents are in use.
    pub(super) fn new(known: Fingerprint) -> Self {
        Self { known, changed: None }
    }

    /// Whether these contents, seen now, are to be taken up.
    fn is_settled(&mut self, seen: Fingerprint) -> bool {
        let is_settled = seen != self.known && self.changed == Some(seen);
        self.changed = (seen != self.known).then_some(seen);
        if is_settled {
            (self.known, self.changed) = (seen, None);
        }
        is_settled
    }
}

impl Tls {
    /// Looks at the files as long as the broker serves. They are small: reading them here holds nobody up.
    pub(crate) async fn watch(&self, mut watch: Watch, count: &TlsReloads) {
        // A timer of 0 would be no pause at all.
        let pause = Millis::from(self.files.look_every).max(Millis(1));
        loop {
            sleep(pause).await;
            let read = Certificates::read(&self.files);
            let seen = match &read {
                Ok(certificates) => certificates.fingerprint(),
                Err(error) => Fingerprint::of(error.to_string()),
            };
            if watch.is_settled(seen) {
                self.take_up(read, count);
            }
        }
    }

    fn take_up(&self, read: Result<Certificates, TlsError>, count: &TlsReloads) {
        match read.and_then(|certificates| certificates.config(&self.files)) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                count.done.add(1);
                tracing::info!(certificate = %self.files.certificate.display(), "TLS certificate reloaded");
            }
            Err(error) => {
                count.failed.add(1);
                tracing::error!(%error, "TLS certificate not reloaded; the old one stays in use");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_up_once_when_it_stays() {
        let [old, half, new] = ["old", "half", "new"].map(Fingerprint::of);
        let mut watch = Watch::new(old);
        let looks = [old, half, new, new, new, old, new, old, old, old];
        let taken_up = looks.map(|seen| watch.is_settled(seen));
        assert_eq!(taken_up, [false, false, false, true, false, false, false, false, true, false]);
    }
}
