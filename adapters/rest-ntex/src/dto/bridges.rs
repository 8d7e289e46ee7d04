//! Bridges in JSON.

use pocket_domain::{DeviceId, TenantId, Timestamp};
use pocket_ports::BridgeState;
use serde::Serialize;
use utoipa::ToSchema;

use super::text::Moment;

/// All bridges of a process.
#[derive(Serialize, ToSchema)]
pub(crate) struct BridgeList {
    /// The bridges.
    data: Vec<Bridge>,
}

/// A bridge to another broker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bridge {
    /// Its name.
    #[schema(example = "head-office")]
    name: String,
    /// The other broker, without secrets.
    #[schema(example = "mqtts://hub.example:8883")]
    remote: String,
    /// The tenant on this side.
    #[schema(value_type = String, format = "uuid")]
    tenant_id: String,
    /// The device that it is on this side.
    #[schema(value_type = String, format = "uuid")]
    device_id: String,
    /// Whether the bridge is connected.
    connected: bool,
    /// Since when; `null`: since the start of the process.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    since: Option<Moment>,
    /// Messages received from the other broker since the start of the process.
    #[schema(minimum = 0)]
    messages_in: u64,
    /// Messages sent to the other broker since the start of the process.
    #[schema(minimum = 0)]
    messages_out: u64,
    /// Messages dropped because of a rule or limit of either side.
    #[schema(minimum = 0)]
    dropped: u64,
    /// The last error; `null`: none since the start of the process.
    #[schema(required)]
    last_error: Option<BridgeError>,
}

/// An error of a bridge.
#[derive(Serialize, ToSchema)]
pub(crate) struct BridgeError {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Moment,
    /// What.
    #[schema(example = "mqtts://hub.example:8883 refuses: the user name or password is wrong (code 134)")]
    reason: String,
}

impl From<Vec<BridgeState>> for BridgeList {
    fn from(states: Vec<BridgeState>) -> Self {
        Self { data: states.into_iter().map(Into::into).collect() }
    }
}

impl From<BridgeState> for Bridge {
    fn from(state: BridgeState) -> Self {
        let error = |(at, reason): (Timestamp, String)| BridgeError { at: Moment(at), reason };
        let (tenant, device): (TenantId, DeviceId) = (state.tenant_id, state.device_id);
        Self {
            name: state.name,
            remote: state.remote,
            tenant_id: tenant.to_string(),
            device_id: device.to_string(),
            connected: state.is_connected,
            since: state.since.map(Moment),
            messages_in: state.messages_in,
            messages_out: state.messages_out,
            dropped: state.dropped,
            last_error: state.last_error.map(error),
        }
    }
}
