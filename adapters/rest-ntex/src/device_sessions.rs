//! Calls about sessions of devices with brokers.

use pocket_domain::DeviceId;

use crate::answer::{Answer, no_content, ok};
use crate::dto::device_sessions::{ClientIdParameter, DeviceSessions};
use crate::dto::page::{IdParameter, TenantParameters};
use crate::extract::{App, Id, User};
use crate::query::Query;
use crate::rest_of_path::ClientId;

/// List the sessions of a device, connected or waiting for their clients
///
/// Ordered by client id. Sessions with the broker of the process that answers are told as they are; those of other processes on the
/// same database as they are stored, which is a second later at the most.
#[utoipa::path(get, path = "/devices/{id}/sessions", tag = "devices", operation_id = "listDeviceSessions",
    params(IdParameter, TenantParameters),
    responses((status = 200, description = "The sessions.", body = DeviceSessions)))]
pub(crate) async fn list(app: App, user: User, query: Query<TenantParameters>, id: Id<DeviceId>) -> Answer {
    ok(&DeviceSessions::from(app.device_sessions.list(&user, query.tenant(), id.0).await?))
}

/// End a session of a device, and disconnect its client
///
/// Its subscriptions and what waits for it are gone. The will of a client that is connected is published, and so is one that waits for
/// its delay. At once in the process that answers, within two seconds in others.
#[utoipa::path(delete, path = "/devices/{id}/sessions/{clientId}", tag = "devices", operation_id = "endDeviceSession",
    params(IdParameter, ClientIdParameter, TenantParameters),
    responses((status = 204, description = "The session ends.")))]
pub(crate) async fn end(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    id: Id<DeviceId>,
    client_id: ClientId,
) -> Answer {
    app.device_sessions.end(&user, query.tenant(), id.0, &client_id.0).await?;
    no_content()
}
