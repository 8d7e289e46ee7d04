//! Rows of telemetry of one device as a chunk: compressed, checksummed, with a column for each number of the JSON.
//!
//! [`encode`] makes a chunk of sorted rows, [`Chunk::open`] checks one and reads what is wanted of it. The format is
//! described in `docs/STORAGE.md`.
//!
//! Invariants: every payload comes back byte by byte, whatever its numbers, white space and keys look like; a chunk that
//! is damaged or made to do harm is an error, never a panic and never more memory than the limits here allow; what a
//! leaf of JSON is has one definition, for chunks and for single payloads ([`LeafReader`]).
//!
//! Architecture invariant: no I/O, no clock, and nothing of the domain.

mod bytes;
mod chunk;
mod column;
mod damaged;
mod directory;
mod encode;
mod encoding;
mod form;
mod integers;
mod leaf;
mod limits;
mod number;
mod numbers;
mod packed;
mod path;
mod restore;
mod row;
mod scan;
mod shape;
mod shape_table;
mod skeleton;
mod summary;
mod text;
mod values;
mod weight;

pub use chunk::Chunk;
pub use damaged::Damaged;
pub use encode::{NotEncoded, encode, encode_with};
pub use encoding::{Encoded, Encoding, KeyLimit};
pub use leaf::{Leaf, LeafReader, leaves_of};
pub use limits::{
    FORMAT_VERSION, MAX_PATH_BYTES, MAX_PAYLOAD_VALUES, MAX_ROWS, MAX_TEXT_BYTES, MAX_TIMESTAMP, MAX_VALUES,
    MAX_WEIGHT, ROOT_PATH,
};
pub use numbers::Numbers;
pub use row::{OwnedRow, Row};
