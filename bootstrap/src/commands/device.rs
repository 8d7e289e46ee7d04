//! `device import-passwords`: the users of a Mosquitto password file as devices.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use pocket_application::{Adapters, Error, LoginImportReport, LoginImporter};
use pocket_domain::TenantName;

use super::export::wrong;
use crate::cli::ImportPasswordsOptions;
use crate::config::Settings;
use crate::{Failure, adapters, console};

/// The most bytes of a file; 10,000 users take about one million.
const MAX_FILE: u64 = 64 * 1_024 * 1_024;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Makes the users of the file devices, and says which lines were not taken.
///
/// # Errors
/// A file that cannot be read, a tenant that does not exist, lines that were not taken, and those of the database.
pub(super) async fn import_passwords(settings: &Settings, options: &ImportPasswordsOptions) -> Result<(), Failure> {
    let tenant = TenantName::parse(&options.tenant).map_err(|error| wrong("--tenant", &error))?;
    let file = read(&options.file)?;
    let adapters = adapters::open(settings).await?;
    let report = import(&adapters, &tenant, &file, options).await;
    adapters.storage.health.close().await;
    let report = report?;
    for warning in &report.warnings {
        console::tell(format_args!("warning: {warning}"));
    }
    for refused in &report.refused {
        console::tell(refused);
    }
    let prefix = if options.dry_run { "nothing was changed; an import would find " } else { "" };
    console::finish(format_args!("{prefix}{report}\n"))?;
    match report.refused.len() {
        0 => Ok(()),
        refused => Err(Failure::Other(format!("{refused} of {} users refused, see above", report.lines))),
    }
}

async fn import(
    adapters: &Adapters,
    tenant: &TenantName,
    file: &[u8],
    options: &ImportPasswordsOptions,
) -> Result<LoginImportReport, Failure> {
    let importer = LoginImporter::new(adapters, tenant, options.replace).await.map_err(|error| match error {
        Error::NotFound if tenant.is_default() => Failure::Usage(
            "the database is new: start the platform once, so that it has a tenant and an administrator".into(),
        ),
        Error::NotFound => Failure::Usage(format!("--tenant: there is no tenant {tenant}")),
        error => failed(&error),
    })?;
    let plan = importer.plan(file).await.map_err(|error| match error {
        Error::Invalid(invalid) => Failure::Other(format!("{}: {}", options.file.display(), invalid.message)),
        error => failed(&error),
    })?;
    if options.dry_run {
        return Ok(plan.report);
    }
    let mut told_at = Instant::now();
    let stored = importer.store(plan, |report| {
        if told_at.elapsed() >= TELL_EVERY {
            console::tell(format_args!("{} of {} users stored", report.added + report.given, report.lines));
            told_at = Instant::now();
        }
    });
    stored.await.map_err(|(error, report)| {
        let stored = report.added + report.given;
        Failure::Other(format!("{}; {stored} users were stored before. The import can be repeated", failed(&error)))
    })
}

fn failed(error: &Error) -> Failure {
    match error {
        Error::Unavailable(cause) => Failure::while_doing("cannot use the database", cause),
        error => Failure::Other(error.to_string()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    let unreadable = |error: io::Error| Failure::while_doing(format_args!("cannot read {name}"), error);
    let file: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::Usage(format!("{name} has more than {} MiB; is it a password file?", MAX_FILE >> 20)));
    }
    Ok(bytes)
}
