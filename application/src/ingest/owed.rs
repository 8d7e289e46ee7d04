//! Receipts that are given in any case.

use pocket_ports::{IngestError, Receipt, Settled};

/// The receipt of a submission, where somebody waits for it. One that is dropped tells that the ingest is closed.
pub(super) struct Owed(Option<Receipt>);

impl Owed {
    pub(super) fn new(receipt: Option<Receipt>) -> Self {
        Self(receipt)
    }

    /// Tells what became of the submission.
    pub(super) fn give(mut self, settled: Settled<'_>) {
        if let Some(receipt) = self.0.take() {
            receipt(Ok(settled));
        }
    }

    /// The receipt of a submission that is not taken.
    pub(super) fn take_back(mut self) -> Option<Receipt> {
        self.0.take()
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(receipt) = self.0.take() {
            receipt(Err(IngestError::Closed));
        }
    }
}
