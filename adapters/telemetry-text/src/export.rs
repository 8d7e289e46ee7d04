//! A history becomes a text.

use pocket_application::{Error, Exporter};

use crate::Format;
use crate::write::Writer;

/// The text of an export, a piece at a time. It is whole when the last piece was `None`; gzip of which the end is missing can be
/// told from a whole one.
pub struct TextExport {
    exporter: Exporter,
    /// `None` at the end, and after a failure.
    writer: Option<Writer>,
}

impl TextExport {
    /// The text of an export.
    pub fn new(exporter: Exporter, format: Format, gzip: bool) -> Self {
        Self { exporter, writer: Some(Writer::new(format, gzip)) }
    }

    /// The same text, in which a spreadsheet takes no value for a formula: where one begins like a formula, an apostrophe stands before it.
    /// Only CSV is changed.
    pub fn for_spreadsheet(mut self) -> Self {
        self.writer = self.writer.map(Writer::for_spreadsheet);
        self
    }

    /// The next bytes, at most some megabytes; `None` when all have been given. Writing and compressing is done on a thread of the
    /// runtime that may be blocked. To be awaited on a tokio runtime.
    ///
    /// # Errors
    /// Those of storage. What was given before is then not all.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let Some(mut writer) = self.writer.take() else { return Ok(None) };
            let Some(rows) = self.exporter.next().await? else {
                let last = writer.finish();
                return Ok((!last.is_empty()).then_some(last));
            };
            let written = tokio::task::spawn_blocking(move || (writer.write(&rows), writer)).await;
            let (bytes, writer) = written.map_err(|error| Error::Internal(error.to_string()))?;
            self.writer = Some(writer);
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}
