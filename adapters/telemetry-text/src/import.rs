//! A text becomes rows of a history.

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
    reader: Reader,
    rows: Vec<ImportRow>,
}

impl TextImport {
    /// Begins with nothing.
    pub fn new(importer: Importer, format: Format, gzip: bool) -> Self {
        let reader = Reader::new(format, gzip, importer.max_payload());
        Self { importer, reader, rows: Vec::new() }
    }

    /// How far it is.
    pub fn summary(&self) -> ImportSummary {
        self.importer.summary()
    }

    /// Takes the next bytes, and stores the batches that they complete.
    ///
    /// # Errors
    /// When a line is wrong, or something came in the way.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), TextImportError> {
        // What is compressed may become a thousand times as much.
        for piece in bytes.chunks(Gunzip::PIECE) {
            let read = self.reader.push(piece, &mut self.rows);
            self.store_batches().await?;
            read?;
        }
        Ok(())
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
        let read = self.reader.finish(&mut self.rows);
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
