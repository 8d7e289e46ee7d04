//! How much a chunk holds. A reader refuses what is beyond, so that a chunk made to do harm costs no more than these.

/// The version of the format that [`encode`](crate::encode) writes; the fourth byte of a chunk.
pub const FORMAT_VERSION: u8 = 1;

/// Rows of a chunk.
pub const MAX_ROWS: usize = 65_536;

/// Bytes of all payloads of a chunk together.
pub const MAX_TEXT_BYTES: usize = 32 * 1024 * 1024;

/// Values (numbers, strings, words and arrays inside objects) of all payloads of a chunk together.
pub const MAX_VALUES: usize = 2 * 1024 * 1024;

/// Values, and keys, of one payload. One with more is kept as one text without leaves.
pub const MAX_PAYLOAD_VALUES: usize = 65_536;

/// About how many bytes of memory it takes to make a chunk, where nobody says otherwise. Rows that take more make several.
pub const MAX_WEIGHT: usize = 32 * 1024 * 1024;

/// Bytes of the path of a leaf. A number at a longer path is kept, but is no leaf.
pub const MAX_PATH_BYTES: usize = 255;

/// The path of a payload that is a number by itself.
pub const ROOT_PATH: &str = "$";

/// The last timestamp, the end of the year 9999 in milliseconds since 1970.
pub const MAX_TIMESTAMP: i64 = 253_402_300_799_999;

/// How deep objects are looked into. A payload that nests them deeper is kept as one text without leaves.
pub(crate) const MAX_DEPTH: usize = 128;
