//! How surely a message arrives.

/// Quality of service, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum QoS {
    /// Sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// Acknowledged by PUBACK; may arrive twice.
    AtLeastOnce = 1,
    /// Four packets; arrives once.
    ExactlyOnce = 2,
}

impl QoS {
    /// All levels.
    pub const ALL: [Self; 3] = [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce];

    /// The level as a place in a table of three.
    pub fn index(self) -> usize {
        self as usize
    }
}
