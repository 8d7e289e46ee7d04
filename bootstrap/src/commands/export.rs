//! `export`: the telemetry of a tenant as text, in the forms of REST.
//!
//! It is read a part at a time through the same port as REST reads it, so memory does not grow with the history, and a platform
//! that runs on the database goes on storing meanwhile. A text that is cut off can be told: a file does not have its name, and
//! the exit code is not 0.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use pocket_application::Exporter;
use pocket_domain::{DeviceId, Invalid, TelemetryScan, TenantId, TenantName, TopicFilter};
use pocket_ports::{Storage, StorageError};
use pocket_telemetry_text::{Format, TextExport};

use crate::cli::ExportOptions;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::private_file::Unfinished;
use crate::{Failure, adapters};

/// Writes the telemetry that the options ask for.
///
/// # Errors
/// Options that are not allowed, a tenant or device that does not exist, and those of the database and of the output.
pub(super) async fn run(settings: &Settings, options: &ExportOptions) -> Result<(), Failure> {
    let tenant = TenantName::parse(&options.tenant).map_err(|error| wrong("--tenant", &error))?;
    let format: Format = options.format.parse().map_err(|error| wrong("--format", &error))?;
    let scan = scan(options)?;
    DataDir::open(&settings.data_dir)?;
    let storage = adapters::open_storage(&settings.database).await?;
    let written = async {
        let exporter = exporter(&storage, &tenant, scan).await?;
        let export = TextExport::new(exporter, format, options.gzip);
        let export = if options.spreadsheet { export.for_spreadsheet() } else { export };
        match &options.output {
            Some(file) => to_file(export, file).await,
            None => to_stdout(export).await,
        }
    };
    let written = written.await;
    storage.health.close().await;
    written
}

fn scan(options: &ExportOptions) -> Result<TelemetryScan, Failure> {
    let parse = |option, text: &Option<String>| match text {
        Some(text) => text.parse().map(Some).map_err(|error| wrong(option, &error)),
        None => Ok(None),
    };
    let device = options.device.as_ref().map(|id| id.parse()).transpose();
    let topic = options.topic.as_ref().map(|filter| TopicFilter::parse(filter)).transpose();
    let scan = TelemetryScan {
        device_id: device.map_err(|error| wrong("--device", &error))?,
        topic: topic.map_err(|error| wrong("--topic", &error))?,
        from: parse("--from", &options.from)?,
        to: parse("--to", &options.to)?,
        after: None,
    };
    scan.check().map_err(|error| wrong("--from", &error))?;
    Ok(scan)
}

/// What is wrong with an option.
pub(super) fn wrong(option: &str, error: &Invalid) -> Failure {
    Failure::Usage(format!("{option}: {}", error.message))
}

/// The tenant of this name.
pub(super) async fn find(storage: &Storage, tenant: &TenantName) -> Result<TenantId, Failure> {
    let found = storage.tenants.find_by_name(tenant).await.map_err(unreadable)?;
    Ok(found.ok_or_else(|| Failure::Other(format!("there is no tenant {tenant}")))?.id)
}

async fn exporter(storage: &Storage, tenant: &TenantName, scan: TelemetryScan) -> Result<Exporter, Failure> {
    let id = find(storage, tenant).await?;
    if let Some(device) = scan.device_id
        && storage.devices.get(id, device).await.map_err(unreadable)?.is_none()
    {
        return Err(no_device(device, tenant));
    }
    Exporter::new(Arc::clone(&storage.telemetry), id, scan).map_err(|error| Failure::Other(error.to_string()))
}

fn no_device(device: DeviceId, tenant: &TenantName) -> Failure {
    Failure::Other(format!("there is no device {device} in the tenant {tenant}"))
}

fn unreadable(error: StorageError) -> Failure {
    Failure::while_doing("cannot read the database", error)
}

/// A reader that goes away, as `head` does, ends it in order.
async fn to_stdout(mut export: TextExport) -> Result<(), Failure> {
    let incomplete = |error: &dyn std::fmt::Display| Failure::while_doing("the output is incomplete", error);
    while let Some(bytes) = export.next().await.map_err(|error| incomplete(&error))? {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&bytes).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(incomplete(&error)),
        }
    }
    Ok(())
}

/// Writes beside the file, and gives it its name in the end, in place of a file that has it. What is there and no file, a pipe or a
/// device, is written to as it is.
async fn to_file(export: TextExport, path: &Path) -> Result<(), Failure> {
    let cannot_write = |error: io::Error| Failure::while_doing(format_args!("cannot write {}", path.display()), error);
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut file = OpenOptions::new().write(true).open(path).map_err(cannot_write)?;
        return write_all(export, &mut file, path).await;
    }
    let mut unfinished = Unfinished::beside(path).map_err(cannot_write)?;
    write_all(export, unfinished.file(), path).await?;
    unfinished.replace().map_err(cannot_write)
}

async fn write_all(mut export: TextExport, file: &mut File, path: &Path) -> Result<(), Failure> {
    let incomplete = |error: &dyn std::fmt::Display| {
        Failure::while_doing(format_args!("the output in {} is incomplete", path.display()), error)
    };
    while let Some(bytes) = export.next().await.map_err(|error| incomplete(&error))? {
        file.write_all(&bytes).map_err(|error| incomplete(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ExportOptions {
        ExportOptions {
            tenant: "default".into(),
            device: None,
            topic: None,
            from: None,
            to: None,
            format: "ndjson".into(),
            spreadsheet: false,
            gzip: false,
            output: None,
        }
    }

    #[test]
    fn wrong_options_are_named() {
        for (options, option) in [
            (ExportOptions { device: Some("boiler".into()), ..options() }, "--device: "),
            (ExportOptions { topic: Some("a/#/b".into()), ..options() }, "--topic: "),
            (ExportOptions { from: Some("yesterday".into()), ..options() }, "--from: "),
            (ExportOptions { to: Some("-1".into()), ..options() }, "--to: "),
            (ExportOptions { from: Some("2".into()), to: Some("1".into()), ..options() }, "--from: "),
        ] {
            let error = scan(&options).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(option), "{error}");
        }
        assert_eq!(scan(&options()).unwrap(), TelemetryScan::default());
    }
}
