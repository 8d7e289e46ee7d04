//! Text becomes rows.

use pocket_application::{ImportRow, WrongLine};

use crate::Format;
use crate::gunzip::{Gunzip, NotGzip};
use crate::lines::Lines;
use crate::records::Records;

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A line is wrong. The rows before it have been given.
    #[error(transparent)]
    Line(#[from] WrongLine),
    /// It should be gzip and is not.
    #[error(transparent)]
    NotGzip(#[from] NotGzip),
}

/// Turns the bytes of a text into rows, in whatever pieces they come.
pub(crate) struct Reader {
    form: Form,
    gunzip: Option<Gunzip>,
}

enum Form {
    Lines(Lines),
    Records(Box<Records>),
}

impl Form {
    fn push(&mut self, bytes: &[u8], rows: &mut Vec<ImportRow>) -> Result<(), WrongLine> {
        match self {
            Self::Lines(lines) => lines.push(bytes, rows),
            Self::Records(records) => records.push(bytes, rows),
        }
    }
}

impl Reader {
    /// Reads a text whose rows have payloads of at most so many bytes.
    pub(crate) fn new(format: Format, gzip: bool, max_payload: usize) -> Self {
        // A byte of a payload that was wrapped takes six, and its quotes are doubled; the rest of a row is short.
        let longest = 8 * max_payload + 16_384;
        let form = match format {
            Format::Ndjson => Form::Lines(Lines::new(longest)),
            Format::Csv => Form::Records(Box::new(Records::new(longest))),
        };
        Self { form, gunzip: gzip.then(Gunzip::default) }
    }

    /// Takes the next bytes and adds the rows that they complete.
    ///
    /// # Errors
    /// When a line is wrong; the rows before it have been added.
    pub(crate) fn push(&mut self, bytes: &[u8], rows: &mut Vec<ImportRow>) -> Result<(), Unreadable> {
        let Some(gunzip) = &mut self.gunzip else { return Ok(self.form.push(bytes, rows)?) };
        for piece in bytes.chunks(Gunzip::PIECE) {
            self.form.push(&gunzip.push(piece)?, rows)?;
        }
        Ok(())
    }

    /// Ends the text and adds the rows that are left.
    ///
    /// # Errors
    /// When the last line is wrong, or gzip ends too early.
    pub(crate) fn finish(&mut self, rows: &mut Vec<ImportRow>) -> Result<(), Unreadable> {
        if let Some(gunzip) = self.gunzip.take() {
            let rest = gunzip.finish()?;
            self.form.push(&rest, rows)?;
        }
        let ended = match &mut self.form {
            Form::Lines(lines) => lines.finish(rows),
            Form::Records(records) => records.finish(rows),
        };
        Ok(ended?)
    }
}

#[cfg(test)]
mod tests;
