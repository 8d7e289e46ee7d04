//! What runs of bridges to other brokers.

use pocket_domain::{DeviceId, TenantId, Timestamp};

/// The user property of MQTT 5.0 by which bridges know a message that they have had before. Its value is the id of a bridge's device.
pub const BRIDGE_MARK: &str = "pocket-bridge";

/// A bridge as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeState {
    /// Its name.
    pub name: String,
    /// The other broker's address, without secrets.
    pub remote: String,
    /// The tenant on this side.
    pub tenant_id: TenantId,
    /// The device that it is on this side.
    pub device_id: DeviceId,
    /// Whether the bridge is connected.
    pub is_connected: bool,
    /// Since when that is so; `None`: since the start.
    pub since: Option<Timestamp>,
    /// Messages that came in since the start.
    pub messages_in: u64,
    /// Messages that went out since the start.
    pub messages_out: u64,
    /// Messages dropped because of a rule or limit of either side.
    pub dropped: u64,
    /// What went wrong last, and when.
    pub last_error: Option<(Timestamp, String)>,
}

/// The bridges of this process.
pub trait BridgeMonitor: Send + Sync {
    /// All of them, in the order of the configuration.
    fn bridges(&self) -> Vec<BridgeState>;
}
