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

    /// A rejection that shows the beginning of what came; a reason that is too long to stand before it is cut.
    pub fn with_beginning(at: Timestamp, topic: TopicName, reason: &str, beginning: &str) -> Self {
        const BEGINS: &str = "; it begins: ";
        let shown = BEGINS.len() + beginning.chars().count();
        let room = Self::MAX_REASON_CHARS.saturating_sub(shown).max(Self::MAX_REASON_CHARS / 2);
        let reason: String = reason.chars().take(room).collect();
        Self::new(at, topic, &format!("{reason}{BEGINS}{beginning}"))
    }
}
