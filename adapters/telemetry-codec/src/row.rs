//! One telemetry message of a device, borrowed for encoding and owned when it comes back.

/// A row to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Grows with the order of arrival; at most 2^63 - 1.
    pub id: u64,
    /// Milliseconds since 1970, from 0 to [`MAX_TIMESTAMP`](crate::MAX_TIMESTAMP).
    pub timestamp: i64,
    /// When the platform took it, in milliseconds since 1970.
    pub received_at: i64,
    /// The key of the topic.
    pub topic: i64,
    /// The text of one JSON value. Any other text comes back as well, and has no leaves.
    pub payload: &'a str,
}

/// A row out of a chunk; the fields are those of [`Row`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRow {
    /// Grows with the order of arrival.
    pub id: u64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// When the platform took it, in milliseconds since 1970.
    pub received_at: i64,
    /// The key of the topic.
    pub topic: i64,
    /// The payload exactly as it was encoded.
    pub payload: String,
}

impl OwnedRow {
    /// The row, borrowed for encoding.
    pub fn as_row(&self) -> Row<'_> {
        let Self { id, timestamp, received_at, topic, ref payload } = *self;
        Row { id, timestamp, received_at, topic, payload }
    }
}
