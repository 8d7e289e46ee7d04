//! How a connection is addressed from anywhere in the process.

/// Names one connection of one worker. Never used again, so that a letter to a connection that is gone finds nobody.
///
/// The serial number comes first in the order: newer subscribers sort behind older ones, which the index likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriberId {
    pub(crate) serial: u64,
    pub(crate) slot: u32,
    pub(crate) worker: u16,
}
