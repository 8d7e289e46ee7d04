//! A text becomes rows of a history.

use std::sync::Arc;

use pocket_application::{Error, ImportError, ImportRow, ImportSummary, Importer, WrongLine};

use crate::Format;
use crate::gunzip::{Gunzip, NotGzip};
use crate::read::{Reader, Unreadable};

/// Bytes of payloads after which a batch has no more rows.
const MOST_BYTES: usize = 4_000_000;

/// Why an import ended early. The batches before are stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextImportError {
    /// A line is wrong; nothing of its batch is stored.
    #[error(transparent)]
    Line(WrongLine),
    /// The text should be gzip and is not, is damaged or ends too early.
    #[error(transparent)]
    NotGzip(#[from] NotGzip),
    /// Something else came in the way.
    #[error(transparent)]
    Other(Error),
}

/// Imports a text, in whatever pieces it comes. Rows are stored in batches, of [`Importer::BATCH`] unless
/// payloads are long, in the order of the lines, and
/// no more than a few are in memory.
pub struct TextImport {
    importer: Importer,
    /// `None` after a failure of the thread that reads.
    reader: Option<Reader>,
    is_gzip: bool,
    rows: Vec<ImportRow>,
}

impl TextImport {
    /// Begins with nothing.
    pub fn new(importer: Importer, format: Format, gzip: bool) -> Self {
        let reader = Reader::new(format, gzip, importer.max_payload());
        Self { importer, reader: Some(reader), is_gzip: gzip, rows: Vec::new() }
    }

    /// How far it is.
    pub fn summary(&self) -> ImportSummary {
        self.importer.summary()
    }

    /// Takes the next bytes, and stores the batches that they complete. They are unpacked and read on a thread of the runtime that may
    /// be blocked, in one of the places for heavy work. To be awaited on a tokio runtime.
    ///
    /// # Errors
    /// When a line is wrong, or something came in the way.
    pub async fn push(&mut self, bytes: Vec<u8>) -> Result<(), TextImportError> {
        let bytes = Arc::new(bytes);
        let length = bytes.len();
        // What is compressed may become a thousand times as much.
        let step = if self.is_gzip { Gunzip::PIECE } else { length.max(1) };
        for begin in (0..length).step_by(step) {
            let bytes = Arc::clone(&bytes);
            let end = length.min(begin + step);
            let read = self.read(move |reader, rows| reader.push(&bytes[begin..end], rows)).await;
            self.store_batches().await?;
            read?;
        }
        Ok(())
    }

    /// Reads on a thread that may be blocked.
    async fn read(
        &mut self,
        work: impl FnOnce(&mut Reader, &mut Vec<ImportRow>) -> Result<(), Unreadable> + Send + 'static,
    ) -> Result<(), TextImportError> {
        let lost = || TextImportError::Other(Error::Internal("an import was not read to its end".into()));
        let mut reader = self.reader.take().ok_or_else(lost)?;
        let mut rows = std::mem::take(&mut self.rows);
        let place = self.importer.place().await.map_err(TextImportError::Other)?;
        let task = tokio::task::spawn_blocking(move || {
            let read = work(&mut reader, &mut rows);
            drop(place);
            (reader, rows, read)
        });
        let (reader, rows, read) = task.await.map_err(|_| lost())?;
        (self.reader, self.rows) = (Some(reader), rows);
        Ok(read?)
    }

    /// Ends the text and stores what is left.
    ///
    /// # Errors
    /// Those of [`push`](Self::push), and gzip that ends too early.
    pub async fn finish(mut self) -> Result<ImportSummary, (TextImportError, ImportSummary)> {
        let ended = self.end().await;
        let summary = self.summary();
        ended.map(|()| summary).map_err(|error| (error, summary))
    }

    async fn end(&mut self) -> Result<(), TextImportError> {
        let read = self.read(Reader::finish).await;
        self.store_batches().await?;
        read?;
        let rest = std::mem::take(&mut self.rows);
        if !rest.is_empty() {
            self.importer.store(rest).await?;
        }
        Ok(())
    }

    /// Stores all batches that are complete.
    async fn store_batches(&mut self) -> Result<(), TextImportError> {
        while let Some(rows) = batch(&self.rows) {
            let rest = self.rows.split_off(rows);
            let batch = std::mem::replace(&mut self.rows, rest);
            self.importer.store(batch).await?;
        }
        Ok(())
    }
}

/// How many of the rows make a batch; `None` when more must come.
fn batch(rows: &[ImportRow]) -> Option<usize> {
    let mut bytes = 0;
    let is_over = |(number, row): (usize, &ImportRow)| {
        bytes += row.payload.len();
        number + 1 >= Importer::BATCH || bytes >= MOST_BYTES
    };
    rows.iter().enumerate().position(is_over).map(|last| last + 1)
}

impl From<ImportError> for TextImportError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Line(wrong) => Self::Line(wrong),
            ImportError::Other(error) => Self::Other(error),
        }
    }
}

impl From<Unreadable> for TextImportError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Line(wrong) => Self::Line(wrong),
            Unreadable::NotGzip(error) => Self::NotGzip(error),
        }
    }
}
