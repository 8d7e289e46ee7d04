//! Storage of what a broker must not forget: sessions with their subscriptions, messages that wait for clients, exchanges
//! of QoS 2 that are under way, and retained messages.
//!
//! The broker keeps all of it in memory and works from there. Storage is told of every change, together with the telemetry
//! that came with it, and is read once, when the broker starts. What the broker writes in its own form (wills,
//! properties, options) is bytes here.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_domain::{DeviceId, NodeName, TenantId, Timestamp, TopicName};

use crate::StorageError;

/// Names a session, message or delivery of one broker. The broker gives keys that grow and never repeat.
pub type BrokerKey = NonZeroU64;

/// A session that outlives its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its name.
    pub key: BrokerKey,
    /// The tenant of its device.
    pub tenant_id: TenantId,
    /// The device it belongs to.
    pub device_id: DeviceId,
    /// The client id.
    pub client_id: Box<str>,
    /// Seconds it lives after its connection.
    pub expiry_seconds: u32,
    /// When its client left; `None` while it is connected.
    pub left_at: Option<Timestamp>,
    /// What is to be published when the client does not come back.
    pub will: Option<Box<[u8]>>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// The topic filter, without the group.
    pub filter: Box<str>,
    /// The name of the group that shares it.
    pub group: Option<Box<str>>,
    /// The options as SUBSCRIBE of 5.0 writes them.
    pub options: u8,
    /// The subscription identifier.
    pub identifier: Option<NonZeroU32>,
}

/// A message that is kept, for deliveries or as retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its name; of a retained message, the order in which it was published.
    pub key: BrokerKey,
    /// Where it was published.
    pub topic: TopicName,
    /// What was published.
    pub payload: Bytes,
    /// The QoS at which it was published: 0, 1 or 2.
    pub qos: u8,
    /// Whether it was published as retained.
    pub retain: bool,
    /// When nobody wants it any more.
    pub expires_at: Option<Timestamp>,
    /// Its properties of 5.0.
    pub properties: Option<Box<[u8]>>,
}

/// A message on its way to one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its name. Deliveries of one session are made in the order of their keys.
    pub key: BrokerKey,
    /// To whom.
    pub session: BrokerKey,
    /// The QoS at which it is delivered: 1 or 2.
    pub qos: u8,
    /// The retain flag that the client sees.
    pub retain: bool,
    /// The subscription identifiers that the client sees.
    pub identifiers: Vec<NonZeroU32>,
    /// The group of the subscription it is delivered for.
    pub group: Option<Box<str>>,
}

/// How far a delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The packet id that its exchange uses.
    pub packet_id: u16,
    /// QoS 2: whether the client has confirmed the receipt, so that only PUBREL is to be sent.
    pub released: bool,
}

/// One change of what a broker must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerChange {
    /// A session is there, as new or in place of what was known of it.
    SessionKept(Arc<SessionRecord>),
    /// A session is over, with all that is its own. Who ends it tells of its deliveries before, as delivered; storage MAY keep those that it
    /// is not told of until the node is loaded, and MUST NOT load them.
    SessionEnded(BrokerKey),
    /// A session has a subscription, as new or in place of the one of the same filter and group.
    Subscribed(BrokerKey, SubscriptionRecord),
    /// A session has no subscription of this filter and group any more.
    Unsubscribed(BrokerKey, Box<str>, Option<Box<str>>),
    /// A message of QoS 2 with this packet id came from the client.
    Received(BrokerKey, u16),
    /// The exchange of this packet id is over.
    Completed(BrokerKey, u16),
    /// A message waits for sessions.
    Queued(Arc<MessageRecord>, Vec<DeliveryRecord>),
    /// A delivery of this session has come so far.
    Progressed(BrokerKey, Progress),
    /// A delivery is over, or will never be made.
    Delivered {
        /// The delivery.
        delivery: BrokerKey,
        /// Its message, which goes with its last delivery.
        message: BrokerKey,
    },
    /// A message is retained in place of the one that its topic has, unless that one has a larger key.
    Retained(TenantId, Arc<MessageRecord>),
    /// A topic has no retained message any more, unless it has one with a larger key.
    Cleared {
        /// Whose topic.
        tenant_id: TenantId,
        /// Which topic.
        topic: TopicName,
        /// The order in which it was cleared.
        key: BrokerKey,
    },
}

/// A session as it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// The session itself.
    pub session: SessionRecord,
    /// Its subscriptions, in any order.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// The packet ids of messages of QoS 2 that came from the client and were not released.
    pub received: Vec<u16>,
    /// What waits for the client, in the order of the keys, with how far it came.
    pub deliveries: Vec<(DeliveryRecord, Arc<MessageRecord>, Option<Progress>)>,
}

/// All that a broker must not forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerState {
    /// Sessions of devices that are there, ordered by key.
    pub sessions: Vec<StoredSession>,
    /// Retained messages of tenants that are there, in any order.
    pub retained: Vec<(TenantId, MessageRecord)>,
    /// No key that is stored is larger; 0 when there is none.
    pub last_key: u64,
}

/// Keeps the state of brokers, which [`WriteStore`](crate::WriteStore) writes. `node` names the broker: what one node stores,
/// another never sees. A device that is deleted MUST take its sessions along, a tenant its retained messages.
#[async_trait]
pub trait BrokerStore: Send + Sync {
    /// Takes the node's name for this process, until storage is closed or the process ends. MUST return `Conflict(Node)`
    /// while another process that uses the same database has it.
    async fn claim(&self, node: &NodeName) -> Result<(), StorageError>;

    /// What the node stored and did not end. Retained messages that expired by `now` MAY be left out and removed.
    async fn load(&self, node: &NodeName, now: Timestamp) -> Result<BrokerState, StorageError>;
}
