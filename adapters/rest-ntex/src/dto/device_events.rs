//! Events of devices in JSON.

use pocket_domain::{DeviceEvent, DeviceEventCursor, DeviceEventPage, DeviceEventQuery, Invalid, PageLimit, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::telemetry::HistoryPagination;
use super::text::{Moment, Parsed, Whole};

/// Which part of a device's events is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceEventParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// Events per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Whole>,
    /// The `pagination.next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Parsed<DeviceEventCursor>>,
}

impl DeviceEventParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The page that is asked for.
    pub(crate) fn query(&self) -> Result<DeviceEventQuery, Invalid> {
        let page_limit = PageLimit::parse(self.limit.map(|limit| limit.0))?;
        Ok(DeviceEventQuery { cursor: self.cursor.map(|cursor| cursor.0), page_limit })
    }
}

/// One page of a device's events.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeviceEvents {
    /// The newest first.
    data: Vec<DeviceEventRow>,
    pagination: HistoryPagination,
}

/// The kinds, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
enum EventType {
    Connected,
    Disconnected,
}

/// A connect or a disconnect.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeviceEventRow {
    /// Opaque; unique among the events of the device.
    id: String,
    #[serde(rename = "type")]
    #[schema(value_type = EventType, inline)]
    kind: &'static str,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: Moment,
    /// The client id.
    client_id: String,
    /// Remote address and port; `null` for clients inside the process.
    #[schema(required, example = "192.0.2.7:50123")]
    remote_address: Option<String>,
    /// `MQTT 3.1.1` or `MQTT 5.0`.
    #[schema(example = "MQTT 5.0")]
    protocol: String,
    /// Why the connection ended: a stable word, optionally followed by `: ` and another. `null` for a connect.
    #[schema(required, example = "keep_alive_timeout")]
    reason: Option<String>,
}

impl From<DeviceEvent> for DeviceEventRow {
    fn from(DeviceEvent { id, event }: DeviceEvent) -> Self {
        Self {
            id: id.to_string(),
            kind: event.kind.name(),
            at: event.at.into(),
            client_id: event.peer.client_id.to_string(),
            remote_address: event.peer.address.map(|address| address.to_string()),
            protocol: event.peer.protocol.into_owned(),
            reason: event.kind.reason().map(str::to_owned),
        }
    }
}

impl DeviceEvents {
    /// The page that answers a query of this limit.
    pub(crate) fn of(page: DeviceEventPage, limit: PageLimit) -> Self {
        let next = page.next.map(|next| next.to_string());
        let data = page.events.into_iter().map(Into::into).collect();
        Self { data, pagination: HistoryPagination { limit: limit.get(), next } }
    }
}
