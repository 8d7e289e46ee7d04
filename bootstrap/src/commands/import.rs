//! `import`: the telemetry of an export back into a tenant, as often as one likes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_application::{Error, ImportPorts, ImportSummary, Importer};
use pocket_domain::TenantName;
use pocket_ports::{Storage, SystemClock};
use pocket_telemetry_text::{Format, GZIP_MAGIC, TextImport, TextImportError};

use super::export::{find, wrong};
use crate::cli::ImportOptions;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::{Failure, adapters, console};

/// Bytes that are read together.
const BLOCK: usize = 64 * 1_024;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Stores what the file has and the tenant has not.
///
/// # Errors
/// Options that are not allowed, a tenant that does not exist, a line that is wrong, and those of the file and the database.
pub(super) async fn run(settings: &Settings, options: &ImportOptions) -> Result<(), Failure> {
    let tenant = TenantName::parse(&options.tenant).map_err(|error| wrong("--tenant", &error))?;
    let format = format(options)?;
    let mut input = Input::open(&options.file)?;
    let first = input.next().await?;
    DataDir::open(&settings.data_dir)?;
    let storage = adapters::open_storage(&settings.database).await?;
    let imported = async {
        let max_payload = settings.ingest.max_payload as usize;
        let importer = importer(&storage, &tenant, max_payload).await?;
        import(TextImport::new(importer, format, first.starts_with(&GZIP_MAGIC)), first, input).await
    };
    let imported = imported.await;
    storage.health.close().await;
    console::finish(format_args!("{}\n", told(imported?)))
}

fn format(options: &ImportOptions) -> Result<Format, Failure> {
    if let Some(format) = &options.format {
        return format.parse().map_err(|error| wrong("--format", &error));
    }
    let name = options.file.to_string_lossy().to_lowercase();
    let is_csv = name.trim_end_matches(".gz").ends_with(".csv");
    Ok(if is_csv { Format::Csv } else { Format::Ndjson })
}

async fn importer(storage: &Storage, tenant: &TenantName, max_payload: usize) -> Result<Importer, Failure> {
    let id = find(storage, tenant).await?;
    let ports = ImportPorts {
        tenants: Arc::clone(&storage.tenants),
        devices: Arc::clone(&storage.devices),
        store: Arc::clone(&storage.telemetry),
        clock: Arc::new(SystemClock),
    };
    Importer::new(ports, id, max_payload).await.map_err(|error| Failure::Other(error.to_string()))
}

async fn import(mut import: TextImport, mut block: Vec<u8>, mut input: Input) -> Result<ImportSummary, Failure> {
    let mut told_at = Instant::now();
    while !block.is_empty() {
        import.push(block).await.map_err(|error| failed(&error, import.summary()))?;
        if told_at.elapsed() >= TELL_EVERY {
            console::tell(told(import.summary()));
            told_at = Instant::now();
        }
        block = input.next().await?;
    }
    import.finish().await.map_err(|(error, summary)| failed(&error, summary))
}

fn failed(error: &TextImportError, summary: ImportSummary) -> Failure {
    let error = match error {
        TextImportError::Other(Error::Unavailable(cause)) => format!("the database cannot be used: {cause}"),
        error => error.to_string(),
    };
    Failure::Other(format!("{error}; of the batches before: {}. The import can be repeated", told(summary)))
}

fn told(summary: ImportSummary) -> String {
    let ImportSummary { rows, stored, present } = summary;
    format!("{rows} rows, {stored} stored, {present} already there")
}

/// A file, or stdin, that is read on a thread that may be blocked.
struct Input {
    name: String,
    file: Option<Box<dyn Read + Send>>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { name: "stdin".into(), file: Some(Box::new(io::stdin())) });
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::while_doing(format_args!("cannot read {name}"), error))?;
        Ok(Self { name, file: Some(Box::new(file)) })
    }

    /// The next block, which is full unless it is the last; empty at the end.
    async fn next(&mut self) -> Result<Vec<u8>, Failure> {
        let Some(file) = self.file.take() else { return Ok(Vec::new()) };
        let read = tokio::task::spawn_blocking(move || {
            let (mut file, mut block) = (file, Vec::with_capacity(BLOCK));
            let read = file.by_ref().take(BLOCK as u64).read_to_end(&mut block);
            read.map(|_| (file, block))
        });
        let unreadable = |error: String| Failure::while_doing(format_args!("cannot read {}", self.name), error);
        let read = read.await.map_err(|error| unreadable(error.to_string()))?;
        let (file, block) = read.map_err(|error| unreadable(error.to_string()))?;
        self.file = Some(file);
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_its_form_unless_an_option_does() {
        let of = |file: &str, format: Option<&str>| {
            let options =
                ImportOptions { tenant: "default".into(), format: format.map(str::to_owned), file: file.into() };
            super::format(&options).map_err(|error| error.to_string())
        };
        for (file, expected) in [
            ("-", Format::Ndjson),
            ("a.ndjson", Format::Ndjson),
            ("a.csv", Format::Csv),
            ("dir.csv/A.CSV.GZ", Format::Csv),
            ("a.gz", Format::Ndjson),
        ] {
            assert_eq!(of(file, None), Ok(expected), "{file}");
        }
        assert_eq!(of("a.csv", Some("ndjson")), Ok(Format::Ndjson));
        assert_eq!(of("a.csv", Some("xml")), Err("--format: must be csv or ndjson".into()));
    }
}
