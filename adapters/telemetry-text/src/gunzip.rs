//! Gzip, pushed in.

use std::io::Write;

use flate2::write::MultiGzDecoder;

/// How a text begins that is gzip (RFC 1952, 2.3.1).
pub const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A text that is said to be gzip is not, is damaged or ends too early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not gzip, or not all of it: {0}")]
pub struct NotGzip(String);

/// Unpacks gzip of one member or several.
pub(crate) struct Gunzip(MultiGzDecoder<Vec<u8>>);

impl Default for Gunzip {
    fn default() -> Self {
        Self(MultiGzDecoder::new(Vec::new()))
    }
}

impl Gunzip {
    /// Bytes that are unpacked together: a thousand times as many come out at the most.
    pub(crate) const PIECE: usize = 4_096;

    /// Unpacks a piece.
    ///
    /// # Errors
    /// When it is not gzip.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, NotGzip> {
        self.0.write_all(piece).map_err(|error| not_gzip(&error))?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// When the text ends too early.
    pub(crate) fn finish(self) -> Result<Vec<u8>, NotGzip> {
        self.0.finish().map_err(|error| not_gzip(&error))
    }
}

fn not_gzip(error: &std::io::Error) -> NotGzip {
    NotGzip(error.to_string())
}
