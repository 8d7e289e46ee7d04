//! What sealing could not keep as it should be: told to the operator, and counted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Rows without leaves, and rows that were set aside.
#[derive(Default)]
pub(crate) struct Shortfall {
    /// Rows that were sealed without leaves since this process began.
    pub(crate) without_leaves: AtomicU64,
    /// Rows that were set aside instead of being sealed.
    pub(crate) set_aside: AtomicU64,
    told: Mutex<HashSet<i64>>,
}

impl Shortfall {
    /// The most devices that are told by name.
    const MOST_TOLD: usize = 10_000;

    /// Rows of a device were sealed without leaves; it is told once for each device.
    pub(super) fn lacks_leaves(&self, device: i64, rows: usize, most: usize) {
        self.without_leaves.fetch_add(rows as u64, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < Self::MOST_TOLD && told.insert(device) {
            tracing::warn!(
                device_key = device,
                rows,
                most_keys = most,
                "messages are kept without their values being indexed: the device has more keys than it may have, or they are \
                 too large"
            );
        }
    }

    /// A row was set aside.
    pub(super) fn sets_aside(&self, id: u64, reason: &str) {
        self.set_aside.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(id, reason, "a message that cannot be compressed was moved to the dead letters");
    }
}
