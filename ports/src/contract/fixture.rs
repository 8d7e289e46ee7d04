//! What the cases start from: tenants, users, devices and messages with ids that are never the same twice.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pocket_domain::{
    Device, DeviceConnection, DeviceFilter, DeviceId, DeviceName, NewTelemetry, NodeName, Page, PageRequest,
    PasswordHash, Payload, PayloadPolicy, Peer, Rejection, Retention, Role, Tenant, TenantId, TenantName, Timestamp,
    TokenHash, TopicName, User, UserId, Username,
};

use crate::{AccessChange, DeviceActivity, LoggedChange, Storage};

static COUNT: AtomicU64 = AtomicU64::new(1);

/// Ten bytes that no other call gets; later ones are larger.
fn unique() -> [u8; 10] {
    let mut bytes = [0; 10];
    // The first two bytes lose bits to the version and the variant of the UUID.
    bytes[2..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

/// Seconds after the moment at which all cases begin.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).unwrap().plus(Duration::from_secs(seconds))
}

pub(super) fn page(limit: u64, offset: u64) -> PageRequest {
    PageRequest::new(Some(limit), Some(offset)).unwrap()
}

pub(super) fn names<T>(page: &Page<T>, name: impl Fn(&T) -> &str) -> Vec<String> {
    page.items.iter().map(|item| name(item).to_owned()).collect()
}

pub(super) fn new_tenant_id() -> TenantId {
    TenantId::new(at(0), unique())
}

pub(super) fn new_user_id() -> UserId {
    UserId::new(at(0), unique())
}

pub(super) fn new_device_id() -> DeviceId {
    DeviceId::new(at(0), unique())
}

pub(super) fn new_token() -> TokenHash {
    let mut bytes = [0xa5; 32];
    bytes[..10].copy_from_slice(&unique());
    TokenHash::from_bytes(bytes)
}

pub(super) fn a_tenant(name: &str) -> Tenant {
    Tenant {
        id: new_tenant_id(),
        name: TenantName::parse(name).unwrap(),
        payload_policy: PayloadPolicy::Json,
        retention: Retention::default(),
        created_at: at(0),
    }
}

pub(super) async fn tenant(storage: &Storage, name: &str) -> TenantId {
    let tenant = a_tenant(name);
    storage.tenants.create(&tenant).await.unwrap();
    tenant.id
}

pub(super) fn a_user(tenant: TenantId, name: &str, role: Role) -> User {
    User {
        id: new_user_id(),
        tenant_id: tenant,
        username: Username::parse(name).unwrap(),
        role,
        credential_version: 1,
        created_at: at(0),
    }
}

pub(super) fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_phc(format!("$argon2id${text}"))
}

pub(super) async fn user(storage: &Storage, tenant: TenantId, name: &str, role: Role) -> UserId {
    let user = a_user(tenant, name, role);
    storage.users.create(&user, &hash(name)).await.unwrap();
    user.id
}

pub(super) fn a_device(tenant: TenantId, name: &str) -> Device {
    Device::new(new_device_id(), tenant, DeviceName::parse(name).unwrap(), at(0))
}

pub(super) async fn device(storage: &Storage, tenant: TenantId, name: &str) -> DeviceId {
    device_with_token(storage, tenant, name).await.0
}

pub(super) async fn device_with_token(storage: &Storage, tenant: TenantId, name: &str) -> (DeviceId, TokenHash) {
    let (device, token) = (a_device(tenant, name), new_token());
    storage.devices.create(&device, token).await.unwrap();
    (device.id, token)
}

/// A message about the moment `second`, received one second later.
pub(super) fn message(tenant: TenantId, device: DeviceId, topic: &str, second: u64) -> NewTelemetry {
    NewTelemetry {
        tenant_id: tenant,
        device_id: device,
        topic: TopicName::parse(topic).unwrap(),
        payload: Payload::from_stored(format!("{{\"s\":{second}}}")),
        timestamp: at(second),
        received_at: at(second + 1),
    }
}

/// What is in the log.
pub(super) async fn logged(storage: &Storage) -> Vec<AccessChange> {
    let entries: Vec<LoggedChange> = storage.access_log.after(0, 1_000).await.unwrap();
    entries.into_iter().map(|entry| entry.change).collect()
}

pub(super) fn rejection(second: u64, reason: &str) -> Rejection {
    Rejection::new(at(second), TopicName::parse("a/b").unwrap(), reason)
}

pub(super) fn seen(tenant: TenantId, device: DeviceId, second: u64) -> DeviceActivity {
    DeviceActivity { seen_at: Some(at(second)), ..DeviceActivity::nothing(tenant, device) }
}

pub(super) fn peer(client_id: &str) -> Peer {
    let address = Some(SocketAddr::from(([192, 0, 2, 7], 50_123)));
    Peer { client_id: client_id.into(), address, protocol: "MQTT 5.0".into() }
}

/// A device connects.
pub(super) fn came(tenant: TenantId, device: DeviceId, second: u64) -> DeviceActivity {
    let connection = DeviceConnection { connected_at: at(second), peer: peer("x") };
    DeviceActivity { connection: Some(connection), ..DeviceActivity::nothing(tenant, device) }
}

/// The last connection of a device is gone.
pub(super) fn went(tenant: TenantId, device: DeviceId) -> DeviceActivity {
    DeviceActivity { offline: true, ..DeviceActivity::nothing(tenant, device) }
}

/// What the broker process `main` heard is recorded; the last hundred events are kept.
pub(super) async fn record(storage: &Storage, activity: &[DeviceActivity]) {
    storage.presence.record(&NodeName::default(), activity, 100).await.unwrap();
}

pub(super) async fn get(storage: &Storage, tenant: TenantId, id: DeviceId) -> Device {
    storage.devices.get(tenant, id).await.unwrap().unwrap()
}

/// The names of the devices that the filter finds; fails when the total is another number.
pub(super) async fn found(storage: &Storage, tenant: TenantId, filter: &DeviceFilter) -> Vec<String> {
    let page = storage.devices.list(tenant, filter, PageRequest::default()).await.unwrap();
    assert_eq!(page.total, page.items.len() as u64);
    names(&page, |device| device.name.as_str())
}

pub(super) fn by_name(pattern: &str) -> DeviceFilter {
    DeviceFilter { name: Some(pattern.to_owned()), ..Default::default() }
}
