//! Storage of what is heard of devices: their connections, their last message that was refused, and their events.

use async_trait::async_trait;
use pocket_domain::{
    DeviceConnection, DeviceEventPage, DeviceEventQuery, DeviceId, NewDeviceEvent, NodeName, Rejection, TenantId,
    Timestamp,
};

use crate::StorageError;

/// What was heard of a device since the last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceActivity {
    /// The device's tenant.
    pub tenant_id: TenantId,
    /// The device.
    pub device_id: DeviceId,
    /// When it was last seen.
    pub seen_at: Option<Timestamp>,
    /// Its latest refused message.
    pub rejection: Option<Rejection>,
    /// The connection that it opened last: it is online.
    pub connection: Option<DeviceConnection>,
    /// It has no connection any more, neither this one nor another.
    pub offline: bool,
    /// What happened to its connections, in that order.
    pub events: Vec<NewDeviceEvent>,
}

impl DeviceActivity {
    /// Nothing was heard of the device.
    pub fn nothing(tenant_id: TenantId, device_id: DeviceId) -> Self {
        let (seen_at, rejection, connection) = (None, None, None);
        Self { tenant_id, device_id, seen_at, rejection, connection, offline: false, events: Vec::new() }
    }

    /// Adds what was heard of the same device later.
    pub fn add(&mut self, later: Self) {
        self.seen_at = self.seen_at.max(later.seen_at);
        self.rejection = later.rejection.or(self.rejection.take());
        self.offline = later.offline || (self.offline && later.connection.is_none());
        self.connection = later.connection.or(self.connection.take());
        self.events.extend(later.events);
    }
}

/// Keeps what is heard of devices. An entry of another tenant is the same as none, in every method. What is kept of a
/// device that is deleted, or of a tenant that is, MUST go with it.
#[async_trait]
pub trait PresenceRepository: Send + Sync {
    /// Records what the broker process `node` heard of devices, all of it or, when it fails, nothing; devices that do not
    /// exist are passed over. MUST NOT change `updated_at`. Neither `seen_at` nor the time of the device's connection
    /// MUST go back.
    ///
    /// Through `node` a device is online from `connection` on and until `offline`; an entry with both came and went. It
    /// MUST be online as long as it is so through any node, and not longer. A node whose process is gone, as far as storage can tell, MAY count
    /// as one through which nothing is online, until the process is back. Of each device that came or went, or of which
    /// there are events, MUST keep the last `keep` events in the order in which they were recorded, and no more.
    async fn record(&self, node: &NodeName, activity: &[DeviceActivity], keep: u32) -> Result<(), StorageError>;

    /// For the broker process `node` that starts: nothing is online through it. Each device that was, according to its
    /// record, MUST get an event `Disconnected(BROKER_RESTART)` at `now` with the connection it opened last through that
    /// node, unless `keep` is 0, and MUST keep the last `keep` events. What is online through other nodes MUST stay so.
    async fn restart(&self, node: &NodeName, now: Timestamp, keep: u32) -> Result<(), StorageError>;

    /// A page of a device's events, the newest first, those of the same time by id. Going on with `next` as the cursor
    /// MUST give every event that was there all the time exactly once, while events are added.
    async fn events(
        &self,
        tenant: TenantId,
        device: DeviceId,
        query: &DeviceEventQuery,
    ) -> Result<DeviceEventPage, StorageError>;
}
