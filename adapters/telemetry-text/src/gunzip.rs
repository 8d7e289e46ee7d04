//! Gzip, pushed in.

use std::io::Write;

use flate2::write::MultiGzDecoder;

/// How a text begins that is gzip (RFC 1952, 2.3.1).
pub const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A text that is said to be gzip is not, is damaged, ends too early, or becomes too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not gzip, or not all of it: {0}")]
pub struct NotGzip(String);

/// Unpacks gzip of one member or several.
pub(crate) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    packed: u64,
    unpacked: u64,
}

impl Default for Gunzip {
    fn default() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), packed: 0, unpacked: 0 }
    }
}

impl Gunzip {
    /// Bytes that are unpacked together: a thousand times as many come out at the most.
    pub(crate) const PIECE: usize = 4_096;
    /// How many times its size a text may become, once it is longer than the following. Rows of telemetry become twenty times.
    const MOST_RATIO: u64 = 250;
    const FREE: u64 = 16 * 1_024 * 1_024;

    /// Unpacks a piece.
    ///
    /// # Errors
    /// When it is not gzip, or becomes too much.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, NotGzip> {
        self.decoder.write_all(piece).map_err(|error| not_gzip(&error))?;
        let out = std::mem::take(self.decoder.get_mut());
        self.packed += piece.len() as u64;
        self.unpacked += out.len() as u64;
        if self.unpacked > Self::FREE && self.unpacked / Self::MOST_RATIO > self.packed {
            return Err(NotGzip(format!("it becomes more than {} times as long", Self::MOST_RATIO)));
        }
        Ok(out)
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// When the text ends too early.
    pub(crate) fn finish(self) -> Result<Vec<u8>, NotGzip> {
        self.decoder.finish().map_err(|error| not_gzip(&error))
    }
}

fn not_gzip(error: &std::io::Error) -> NotGzip {
    NotGzip(error.to_string())
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn unpack(packed: &[u8]) -> Result<usize, NotGzip> {
        let mut gunzip = Gunzip::default();
        let mut bytes = 0;
        for piece in packed.chunks(Gunzip::PIECE) {
            bytes += gunzip.push(piece)?.len();
        }
        Ok(bytes + gunzip.finish()?.len())
    }

    fn pack(line: &[u8], times: usize) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..times {
            encoder.write_all(line).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn what_becomes_a_thousand_times_as_long_is_refused_before_it_is_all_unpacked() {
        let error = unpack(&pack(&[b'\n'; 1 << 20], 64)).unwrap_err();
        assert!(error.to_string().contains("250 times"), "{error}");
        assert_eq!(unpack(&pack(&[b'\n'; 1 << 20], 8)), Ok(8 << 20));
    }

    #[test]
    fn rows_of_any_length_are_unpacked() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let mut length = 0;
        for number in 0..400_000 {
            let row = format!("{{\"deviceId\":\"0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f\",\"payload\":{number}}}\n");
            encoder.write_all(row.as_bytes()).unwrap();
            length += row.len();
        }
        assert!(length > 24 << 20);
        assert_eq!(unpack(&encoder.finish().unwrap()), Ok(length));
    }
}
