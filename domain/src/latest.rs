//! What a device said last, key by key.

use crate::{LeafPath, Timestamp};

/// The most keys of a device that are told. Of a device with more, these are the first ones in the order of their bytes.
pub const MAX_DEVICE_KEYS: usize = 1_000;

/// The last value that a device gave for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestValue {
    /// The key.
    pub key: LeafPath,
    /// The value: the text of one JSON value that is no object, as it was published.
    pub value: Box<str>,
    /// The time of the message.
    pub timestamp: Timestamp,
}
