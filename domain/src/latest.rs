//! What a device said last, key by key and topic by topic.

use crate::{LeafPath, Timestamp, TopicFilter, TopicName};

/// The most values of a device that are told. Of a device with more, these are the newest.
pub const MAX_DEVICE_KEYS: usize = 1_000;

/// Which of a device's last values are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestQuery {
    /// Only topics that match this filter.
    pub topic: Option<TopicFilter>,
    /// The most values that are told.
    pub most: usize,
}

impl Default for LatestQuery {
    fn default() -> Self {
        Self { topic: None, most: MAX_DEVICE_KEYS }
    }
}

/// The last value that a device gave for a key on a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestValue {
    /// The key.
    pub key: LeafPath,
    /// The topic.
    pub topic: TopicName,
    /// The value: the text of one JSON value that is no object, as it was published.
    pub value: Box<str>,
    /// The time of the message.
    pub timestamp: Timestamp,
}

/// Last values of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatestValues {
    /// By key, those of one key with the newest first.
    pub values: Vec<LatestValue>,
    /// Whether there are older ones that are not told.
    pub has_more: bool,
}

impl LatestValues {
    /// The newest of some values, each with the number of its message, in the order in which they are told.
    pub fn newest(mut values: Vec<(u64, LatestValue)>, most: usize) -> Self {
        let has_more = values.len() > most;
        if has_more {
            values.sort_unstable_by(|(one_id, one), (other_id, other)| {
                (other.timestamp, other_id)
                    .cmp(&(one.timestamp, one_id))
                    .then_with(|| (&one.key, &one.topic).cmp(&(&other.key, &other.topic)))
            });
            values.truncate(most);
        }
        values.sort_unstable_by(|(one_id, one), (other_id, other)| {
            one.key
                .cmp(&other.key)
                .then_with(|| (other.timestamp, other_id).cmp(&(one.timestamp, one_id)))
                .then_with(|| one.topic.cmp(&other.topic))
        });
        Self { values: values.into_iter().map(|(_, value)| value).collect(), has_more }
    }
}
