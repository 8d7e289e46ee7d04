//! The last message of a device that was refused, so that a person can see why nothing arrives.

use crate::{Timestamp, TopicName};

/// A message that was neither stored nor routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// When it arrived.
    pub at: Timestamp,
    /// Where it was published.
    pub topic: TopicName,
    /// What was wrong and what is allowed.
    pub reason: String,
}

impl Rejection {
    /// The most characters of a reason that are kept.
    pub const MAX_REASON_CHARS: usize = 256;

    /// A rejection; a longer reason is cut.
    pub fn new(at: Timestamp, topic: TopicName, reason: &str) -> Self {
        Self { at, topic, reason: reason.chars().take(Self::MAX_REASON_CHARS).collect() }
    }
}
