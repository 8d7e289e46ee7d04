//! Calls about devices.

use pocket_domain::DeviceId;

use crate::answer::{Answer, created_at, no_content, ok};
use crate::body::Json;
use crate::dto::device_credentials::DeviceCredentials;
use crate::dto::devices::{CreateDevice, Device, DeviceParameters, DeviceWithToken, RegenerateToken, UpdateDevice};
use crate::dto::page::{IdParameter, Page, TenantParameters};
use crate::extract::{App, Id, User};
use crate::large::{ENTRY, ok_aside};
use crate::query::Query;

/// Register a device
///
/// The response has the device's token, which is shown only this once.
#[utoipa::path(post, path = "/devices", tag = "devices", operation_id = "createDevice",
    params(TenantParameters),
    request_body = CreateDevice,
    responses((status = 201, description = "The device and its token.", body = DeviceWithToken)))]
pub(crate) async fn create(app: App, user: User, query: Query<TenantParameters>, body: Json<CreateDevice>) -> Answer {
    let registered = app.devices.register(&user, query.tenant(), body.0.parse()?).await?;
    created_at(&location(registered.device.id), &DeviceWithToken::from(registered))
}

/// List devices, ordered by id
#[utoipa::path(get, path = "/devices", tag = "devices", operation_id = "listDevices",
    params(DeviceParameters),
    responses((status = 200, description = "A page of devices.", body = Page<Device>)))]
pub(crate) async fn list(app: App, user: User, query: Query<DeviceParameters>) -> Answer {
    let (filter, page) = (query.filter()?, query.page()?);
    let devices = app.devices.list(&user, query.tenant(), &filter, page).await?;
    let bytes = devices.items.iter().map(|listed| ENTRY + listed.notes.as_str().len()).sum();
    ok_aside(&app.reads, user.tenant_id(), bytes, move || Page::<Device>::of(devices, page)).await
}

/// Show a device
#[utoipa::path(get, path = "/devices/{id}", tag = "devices", operation_id = "getDevice",
    params(IdParameter, TenantParameters),
    responses((status = 200, description = "The device.", body = Device)))]
pub(crate) async fn get(app: App, user: User, query: Query<TenantParameters>, id: Id<DeviceId>) -> Answer {
    ok(&Device::from(app.devices.get(&user, query.tenant(), id.0).await?))
}

/// Change a device
///
/// Disabling it, or an expiry that has passed, closes its connections.
#[utoipa::path(patch, path = "/devices/{id}", tag = "devices", operation_id = "updateDevice",
    params(IdParameter, TenantParameters),
    request_body = UpdateDevice,
    responses((status = 200, description = "The device as it is now.", body = Device)))]
pub(crate) async fn update(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    id: Id<DeviceId>,
    body: Json<UpdateDevice>,
) -> Answer {
    ok(&Device::from(app.devices.update(&user, query.tenant(), id.0, body.0.parse()?).await?))
}

/// Remove a device with its telemetry and close its connections
#[utoipa::path(delete, path = "/devices/{id}", tag = "devices", operation_id = "deleteDevice",
    params(IdParameter, TenantParameters),
    responses((status = 204, description = "The device was removed.")))]
pub(crate) async fn delete(app: App, user: User, query: Query<TenantParameters>, id: Id<DeviceId>) -> Answer {
    app.devices.delete(&user, query.tenant(), id.0).await?;
    no_content()
}

/// Give a device a new token
///
/// The old token stops now, or after the grace; connections made with it are closed when it stops. The answer has the new
/// token, this once. The body may be left out.
#[utoipa::path(post, path = "/devices/{id}/regenerate-token", tag = "devices", operation_id = "regenerateToken",
    params(IdParameter, TenantParameters),
    request_body = Option<RegenerateToken>,
    responses((status = 201, description = "The device and its new token.", body = DeviceWithToken)))]
pub(crate) async fn regenerate_token(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    id: Id<DeviceId>,
    body: Json<RegenerateToken>,
) -> Answer {
    let (expires_at, grace) = (body.0.expires_at(), body.0.grace());
    let registered = app.devices.regenerate_token(&user, query.tenant(), id.0, expires_at, grace).await?;
    created_at(&location(registered.device.id), &DeviceWithToken::from(registered))
}

/// Give a device a user name and password of its own
///
/// It may log in with them over MQTT beside its token, so that firmware keeps what it has. They replace those it has; connections
/// that were made with the old ones are closed.
#[utoipa::path(put, path = "/devices/{id}/credentials", tag = "devices", operation_id = "setDeviceCredentials",
    params(IdParameter, TenantParameters),
    request_body = DeviceCredentials,
    responses((status = 200, description = "The device as it is now.", body = Device)))]
pub(crate) async fn set_credentials(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    id: Id<DeviceId>,
    body: Json<DeviceCredentials>,
) -> Answer {
    let (username, password) = body.0.parse()?;
    ok(&Device::from(app.devices.set_login(&user, query.tenant(), id.0, username, password).await?))
}

/// Remove the user name and password of a device
///
/// Connections that were made with them are closed. The token stays.
#[utoipa::path(delete, path = "/devices/{id}/credentials", tag = "devices", operation_id = "deleteDeviceCredentials",
    params(IdParameter, TenantParameters),
    responses((status = 204, description = "The device has no user name and password of its own.")))]
pub(crate) async fn remove_credentials(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    id: Id<DeviceId>,
) -> Answer {
    app.devices.remove_login(&user, query.tenant(), id.0).await?;
    no_content()
}

fn location(id: DeviceId) -> String {
    format!("/api/v1/devices/{id}")
}
