//! `migrate`.

use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::{Failure, adapters, console};

/// Brings the database to the schema of this version.
///
/// # Errors
/// When the database cannot be used or is newer than this binary.
pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    DataDir::open(&settings.data_dir)?;
    let report = adapters::migrate(&settings.database).await?;
    console::finish(format_args!("{}: {report}\n", settings.database.url))
}
