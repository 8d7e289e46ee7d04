//! `backup`.

use std::path::Path;

use crate::config::Settings;
use crate::{Failure, adapters, console};

/// Copies the database into a new file.
///
/// # Errors
/// When it is no SQLite database or cannot be read, or the file exists or cannot be written.
pub(super) async fn run(settings: &Settings, file: &Path) -> Result<(), Failure> {
    adapters::backup(&settings.database, file).await?;
    console::finish(format_args!("{} is a copy of {}\n", file.display(), settings.database.url))
}
