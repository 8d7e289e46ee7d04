//! Logs: `tracing` to stderr, so that stdout stays free for what a command prints.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::Failure;
use crate::config::{LogFormat, LogSettings};

/// Said before the configured filter, which may say otherwise: a migration is told by the storage adapter in one line.
const QUIET: &str = "sea_orm_migration=warn";

/// Begins to log. In a process that logs already, as one that embeds the platform may, nothing changes.
///
/// # Errors
/// When the filter is wrong, which a checked configuration rules out.
pub fn begin(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.filter))
        .map_err(|error| Failure::Usage(format!("POCKET_LOG={:?}: {error}", settings.filter)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match settings.format {
        LogFormat::Pretty => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if begun.is_err() {
        tracing::debug!("this process logs already");
    }
    Ok(())
}
