//! What became of an import.

use pocket_application::ImportSummary;
use serde::Serialize;
use utoipa::ToSchema;

/// The result of an import.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportResult {
    /// Rows of the body.
    rows: u64,
    /// Rows that were stored.
    stored: u64,
    /// Rows that were stored before and skipped.
    present: u64,
}

impl From<ImportSummary> for ImportResult {
    fn from(summary: ImportSummary) -> Self {
        let ImportSummary { rows, stored, present } = summary;
        Self { rows, stored, present }
    }
}
