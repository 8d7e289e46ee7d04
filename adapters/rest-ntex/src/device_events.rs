//! Calls about what happened to the connections of devices.

use pocket_domain::DeviceId;

use crate::answer::{Answer, ok};
use crate::dto::device_events::{DeviceEventParameters, DeviceEvents};
use crate::dto::page::IdParameter;
use crate::extract::{App, Id, User};
use crate::query::Query;

/// List the latest connects and disconnects of a device, the newest first
///
/// By default the last 100 of each device are kept (`POCKET_MQTT_DEVICE_EVENTS`). They appear within a second.
#[utoipa::path(get, path = "/devices/{id}/events", tag = "devices", operation_id = "listDeviceEvents",
    params(IdParameter, DeviceEventParameters),
    responses((status = 200, description = "A page of events.", body = DeviceEvents)))]
pub(crate) async fn list(app: App, user: User, query: Query<DeviceEventParameters>, id: Id<DeviceId>) -> Answer {
    let wanted = query.query()?;
    let page = app.device_events.list(&user, query.tenant(), id.0, &wanted).await?;
    ok(&DeviceEvents::of(page, wanted.page_limit))
}
