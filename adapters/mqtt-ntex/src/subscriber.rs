//! How a session is addressed from anywhere in the process.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use pocket_mqtt_core::StoreKey;

/// Names one slot of one worker. Never used again, so that a letter to a session that is gone finds nobody.
///
/// The serial number counts subscribers in the whole process and comes first in the order: newer subscribers sort behind
/// older ones, which the index likes, and the members of a shared group take turns in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscriberId {
    pub(crate) serial: u64,
    pub(crate) slot: u32,
    pub(crate) worker: u16,
    /// The session's key in storage, for those who find it in the index. Not part of the name: a connection takes its slot
    /// before it knows its session.
    pub(crate) session: Option<StoreKey>,
}

impl SubscriberId {
    /// The publisher of what no session published. Serial numbers do not come that far.
    pub(crate) fn nobody(worker: u16) -> Self {
        Self { serial: u64::MAX, slot: u32::MAX, worker, session: None }
    }

    fn name(&self) -> (u64, u16) {
        (self.serial, self.worker)
    }
}

impl PartialEq for SubscriberId {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for SubscriberId {}

impl PartialOrd for SubscriberId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SubscriberId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(&other.name())
    }
}

impl Hash for SubscriberId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}
