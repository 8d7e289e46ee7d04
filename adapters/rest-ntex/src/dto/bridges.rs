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
    /// Whether messages get through.
    connected: bool,
    /// Since when that is so; `null`: since the start of the process.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    since: Option<Moment>,
    /// Messages that came in since the start of the process.
    #[schema(minimum = 0)]
    messages_in: u64,
    /// Messages that went out since the start of the process.
    #[schema(minimum = 0)]
    messages_out: u64,
    /// Messages that did not get through, for a rule or limit of either side.
    #[schema(minimum = 0)]
    dropped: u64,
    /// What went wrong last; `null`: nothing since the start of the process.
    #[schema(required)]
    last_error: Option<BridgeError>,
}

/// What went wrong with a bridge.
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
