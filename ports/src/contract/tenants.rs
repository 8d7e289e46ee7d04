//! Cases of [`TenantRepository`](crate::TenantRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use std::sync::Arc;

use pocket_domain::{
    DeviceFilter, MaxAge, MaxBytes, PageRequest, PayloadPolicy, Retention, RetentionUpdate, Role, TelemetryQuery,
    TenantName, Username,
};

use super::fixture::{a_tenant, at, device_with_token, logged, message, names, new_tenant_id, page, tenant, user};
use crate::{AccessChange, Conflict, Storage, StorageError, TenantUpdate};

const TAKEN: StorageError = StorageError::Conflict(Conflict::TenantName);

fn renamed(name: &str) -> TenantUpdate {
    TenantUpdate { name: Some(TenantName::parse(name).unwrap()), ..TenantUpdate::default() }
}

fn limits() -> Retention {
    Retention { max_age: MaxAge::parse(90 * 86_400).ok(), max_bytes: MaxBytes::parse(MaxBytes::MAX).ok() }
}

pub async fn a_new_tenant_is_found_by_id_and_by_name(storage: &Storage) {
    let mut acme = a_tenant("acme");
    acme.payload_policy = PayloadPolicy::Any;
    acme.retention = limits();
    storage.tenants.create(&acme).await.unwrap();
    assert_eq!(storage.tenants.get(acme.id).await, Ok(Some(acme.clone())));
    assert_eq!(storage.tenants.find_by_name(&acme.name).await, Ok(Some(acme)));
}

pub async fn an_unknown_tenant_is_absent(storage: &Storage) {
    tenant(storage, "acme").await;
    assert_eq!(storage.tenants.get(new_tenant_id()).await, Ok(None));
    assert_eq!(storage.tenants.find_by_name(&TenantName::parse("acm").unwrap()).await, Ok(None));
    assert_eq!(storage.tenants.delete(new_tenant_id()).await, Ok(false));
}

pub async fn a_taken_tenant_name_is_a_conflict(storage: &Storage) {
    tenant(storage, "acme").await;
    assert_eq!(storage.tenants.create(&a_tenant("acme")).await, Err(TAKEN));
    assert_eq!(storage.tenants.list(PageRequest::default()).await.unwrap().total, 1);
}

pub async fn tenants_are_listed_by_id_and_all_are_counted(storage: &Storage) {
    for name in ["c", "a", "b"] {
        tenant(storage, name).await;
    }
    for (request, expected) in [
        (PageRequest::default(), vec!["c", "a", "b"]),
        (page(2, 0), vec!["c", "a"]),
        (page(2, 2), vec!["b"]),
        (page(1, 3), vec![]),
        (page(1, PageRequest::MAX_OFFSET), vec![]),
    ] {
        let found = storage.tenants.list(request).await.unwrap();
        assert_eq!(names(&found, |tenant| tenant.name.as_str()), expected);
        assert_eq!(found.total, 3);
    }
}

pub async fn an_update_changes_what_it_names_and_nothing_else(storage: &Storage) {
    let mut expected = a_tenant("acme");
    let other = a_tenant("other");
    storage.tenants.create(&expected).await.unwrap();
    storage.tenants.create(&other).await.unwrap();
    expected.name = TenantName::parse("acme-2").unwrap();
    assert_eq!(storage.tenants.update(expected.id, renamed("acme-2")).await, Ok(expected.clone()));
    expected.payload_policy = PayloadPolicy::Any;
    let update = TenantUpdate { payload_policy: Some(PayloadPolicy::Any), ..TenantUpdate::default() };
    assert_eq!(storage.tenants.update(expected.id, update).await, Ok(expected.clone()));
    let (max_age, max_bytes) = (limits().max_age, limits().max_bytes);
    for retention in [
        RetentionUpdate { max_age: Some(max_age), max_bytes: None },
        RetentionUpdate { max_age: None, max_bytes: Some(max_bytes) },
        RetentionUpdate { max_age: Some(None), max_bytes: None },
    ] {
        expected.retention = retention.of(expected.retention);
        let update = TenantUpdate { retention, ..TenantUpdate::default() };
        assert_eq!(storage.tenants.update(expected.id, update).await, Ok(expected.clone()));
    }
    assert_eq!(storage.tenants.update(expected.id, TenantUpdate::default()).await, Ok(expected.clone()));
    assert_eq!(storage.tenants.get(expected.id).await, Ok(Some(expected)));
    assert_eq!(storage.tenants.get(other.id).await, Ok(Some(other)));
}

pub async fn an_update_of_an_unknown_tenant_is_not_found(storage: &Storage) {
    for update in [renamed("acme"), TenantUpdate::default()] {
        assert_eq!(storage.tenants.update(new_tenant_id(), update).await, Err(StorageError::NotFound));
    }
}

pub async fn a_new_name_that_another_tenant_has_is_a_conflict(storage: &Storage) {
    let id = tenant(storage, "acme").await;
    tenant(storage, "other").await;
    assert_eq!(storage.tenants.update(id, renamed("other")).await, Err(TAKEN));
    assert!(storage.tenants.update(id, renamed("acme")).await.is_ok(), "its own name is not taken");
    assert_eq!(storage.tenants.get(id).await.unwrap().unwrap().name.as_str(), "acme");
}

pub async fn a_change_of_the_payload_policy_is_logged(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    let update = TenantUpdate { payload_policy: Some(PayloadPolicy::Any), ..TenantUpdate::default() };
    storage.tenants.update(tenant_id, update).await.unwrap();
    assert_eq!(logged(storage).await, [AccessChange::Tenant { tenant_id }]);
}

pub async fn a_deleted_tenant_takes_all_it_owns_along(storage: &Storage) {
    let id = tenant(storage, "acme").await;
    let name = TenantName::parse("acme").unwrap();
    let (admin, username) = (user(storage, id, "root", Role::Admin).await, Username::parse("root").unwrap());
    let (device, token) = device_with_token(storage, id, "boiler").await;
    let sent: Arc<[_]> = vec![message(id, device, "a", 1)].into();
    storage.telemetry.append(Arc::clone(&sent)).await.unwrap();

    assert_eq!(storage.tenants.delete(id).await, Ok(true));
    assert_eq!(storage.tenants.delete(id).await, Ok(false));
    assert_eq!(storage.tenants.get(id).await, Ok(None));
    assert_eq!(storage.tenants.find_by_name(&name).await, Ok(None));
    assert_eq!(storage.tenants.list(PageRequest::default()).await.unwrap().total, 0);
    assert_eq!(storage.users.get(id, admin).await, Ok(None));
    assert_eq!(storage.users.find_by_name(id, &username).await, Ok(None));
    assert_eq!(storage.users.any().await, Ok(false));
    assert_eq!(storage.devices.get(id, device).await, Ok(None));
    assert_eq!(storage.devices.list(id, &DeviceFilter::default(), PageRequest::default()).await.unwrap().total, 0);
    assert_eq!(storage.devices.credential(token).await, Ok(None));
    assert!(storage.telemetry.range(id, &TelemetryQuery::default()).await.unwrap().rows.is_empty());
    assert_eq!(storage.telemetry.append(sent).await, Ok(vec![None]));
    let late = super::fixture::a_device(id, "late");
    assert_eq!(storage.devices.create(&late, token).await, Err(StorageError::NotFound));
}

pub async fn a_deleted_tenant_leaves_others_as_they_are(storage: &Storage) {
    let (gone, stays) = (tenant(storage, "gone").await, tenant(storage, "stays").await);
    let (device_gone, _) = device_with_token(storage, gone, "boiler").await;
    let (device, token) = device_with_token(storage, stays, "boiler").await;
    let admin = user(storage, stays, "root", Role::Admin).await;
    let messages = vec![message(gone, device_gone, "a", 1), message(stays, device, "a", 2)];
    storage.telemetry.append(messages.into()).await.unwrap();
    let before = storage.telemetry.range(stays, &TelemetryQuery::default()).await.unwrap();

    assert_eq!(storage.tenants.delete(gone).await, Ok(true));
    assert!(storage.tenants.get(stays).await.unwrap().is_some());
    assert!(storage.users.get(stays, admin).await.unwrap().is_some());
    assert!(storage.devices.get(stays, device).await.unwrap().is_some());
    assert_eq!(storage.devices.credential(token).await.unwrap().unwrap().device_id, device);
    let after = storage.telemetry.range(stays, &TelemetryQuery::default()).await.unwrap();
    assert_eq!((after.rows.len(), &after), (1, &before));
    let more = storage.telemetry.append(vec![message(stays, device, "a", 3)].into()).await.unwrap();
    assert!(more[0].is_some());
}

pub async fn a_deleted_tenant_leaves_its_name_free(storage: &Storage) {
    let old = tenant(storage, "acme").await;
    let (device, _) = device_with_token(storage, old, "boiler").await;
    storage.telemetry.append(vec![message(old, device, "a", 1)].into()).await.unwrap();
    storage.tenants.delete(old).await.unwrap();
    let new = tenant(storage, "acme").await;
    let (device, _) = device_with_token(storage, new, "boiler").await;
    storage.telemetry.append(vec![message(new, device, "a", 2)].into()).await.unwrap();
    let page = storage.telemetry.range(new, &TelemetryQuery::default()).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.timestamp).collect::<Vec<_>>(), [at(2)]);
}

pub async fn a_deleted_tenant_is_logged(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    storage.tenants.delete(tenant_id).await.unwrap();
    assert!(logged(storage).await.contains(&AccessChange::Tenant { tenant_id }));
}
