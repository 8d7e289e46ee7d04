//! What a session that is stored tells its storage.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use pocket_domain::TopicFilter;

use crate::{Delivery, GroupName, PacketId, Subscription};

/// Names a session, a message or a delivery in storage.
pub type StoreKey = NonZeroU64;

/// Gives keys: each one once, later ones larger.
#[derive(Debug, Default)]
pub struct StoreKeys(AtomicU64);

impl StoreKeys {
    /// Begins behind the keys that an earlier process gave.
    pub fn begin_after(&self, last: u64) {
        self.0.fetch_max(last, Ordering::Relaxed);
    }

    /// The first of `count` keys that follow one another.
    pub fn take(&self, count: usize) -> StoreKey {
        let first = self.0.fetch_add(count as u64, Ordering::Relaxed) + 1;
        // A process that takes a key each nanosecond is there in 584 years.
        StoreKey::new(first).expect("the number of keys stays below 2^64")
    }
}

/// The key that is `place` behind another.
pub fn key_behind(first: StoreKey, place: usize) -> StoreKey {
    first.saturating_add(place as u64)
}

/// Under which keys a delivery is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAs {
    /// The delivery itself. Deliveries to one session are made in the order of their keys.
    pub delivery: StoreKey,
    /// Its message, which deliveries to other sessions may share.
    pub message: StoreKey,
}

/// A change of a stored session. Those of messages that are queued are known to whoever queues them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// A subscription, as new or in place of one with the same filter and group.
    Subscribed(Subscription),
    /// A subscription is gone.
    Unsubscribed(TopicFilter, Option<GroupName>),
    /// The client sent a message of QoS 2 with this id.
    Received(PacketId),
    /// The client's exchange with this id is over.
    Completed(PacketId),
    /// A delivery uses this packet id; of QoS 2, `released` tells that the client confirmed the receipt.
    Progressed {
        /// The delivery.
        delivery: StoreKey,
        /// Its packet id.
        packet_id: PacketId,
        /// Whether only PUBREL is still to be sent.
        released: bool,
    },
    /// A delivery is over or will never be made.
    Delivered(StoredAs),
}

/// A session as storage gives it back.
#[derive(Debug)]
pub struct LeftSession {
    /// Its key.
    pub key: StoreKey,
    /// Its subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Packet ids of messages of QoS 2 that came from the client and were not released.
    pub received: Vec<PacketId>,
    /// What waits for the client, in the order of the keys.
    pub deliveries: Vec<LeftDelivery>,
}

/// A delivery as storage gives it back.
#[derive(Debug)]
pub struct LeftDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// Its packet id, if it had one, and whether it was released.
    pub progress: Option<(PacketId, bool)>,
}
