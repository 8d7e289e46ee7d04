//! Cases of [`DeviceRepository`](crate::DeviceRepository): what people do with devices.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use super::fixture::{
    a_device, at, by_name, came, device, device_with_token, found, get, logged, names, new_device_id, new_tenant_id,
    new_token, page, record, rejection, seen, tenant,
};
use crate::{AccessChange, Conflict, Storage, StorageError, TokenReplacement};
use pocket_domain::{DeviceFilter, DeviceName, DeviceUpdate, Labels, Notes, PageRequest};

const TAKEN: StorageError = StorageError::Conflict(Conflict::DeviceName);

fn renamed(name: &str) -> DeviceUpdate {
    DeviceUpdate { name: Some(DeviceName::parse(name).unwrap()), ..Default::default() }
}

pub async fn a_new_device_comes_back_as_it_was(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut full = a_device(acme, "Kessel Süd 1");
    full.labels = Labels::parse(&["süd", "a \"b\" \\ c", "Boiler"]).unwrap();
    full.notes = Notes::parse("line 1\nline 2\t'; DROP TABLE devices; --").unwrap();
    full.enabled = false;
    full.token_expires_at = Some(at(100));
    full.created_at = at(1);
    full.updated_at = at(2);
    full.last_seen_at = Some(at(3));
    full.last_rejection = Some(rejection(4, "not JSON"));
    for device in [full, a_device(acme, "plain")] {
        storage.devices.create(&device, new_token()).await.unwrap();
        assert_eq!(storage.devices.get(acme, device.id).await, Ok(Some(device)));
    }
}

pub async fn a_new_device_is_not_online_and_never_was(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut device = a_device(acme, "boiler");
    device.online = true;
    device.connection = came(acme, device.id, 1).connection;
    storage.devices.create(&device, new_token()).await.unwrap();
    (device.online, device.connection) = (false, None);
    assert_eq!(get(storage, acme, device.id).await, device);
}

pub async fn an_unknown_device_is_absent(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    device(storage, acme, "boiler").await;
    assert_eq!(storage.devices.get(acme, new_device_id()).await, Ok(None));
    assert_eq!(storage.devices.delete(acme, new_device_id()).await, Ok(false));
}

pub async fn a_taken_device_name_is_a_conflict_in_its_tenant_only(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    device(storage, acme, "boiler").await;
    let token = new_token();
    assert_eq!(storage.devices.create(&a_device(acme, "boiler"), token).await, Err(TAKEN));
    assert_eq!(storage.devices.credential(token).await, Ok(None), "a refused device leaves no token");
    assert_eq!(storage.devices.create(&a_device(acme, "Boiler"), token).await, Ok(()));
    assert_eq!(storage.devices.create(&a_device(other, "boiler"), new_token()).await, Ok(()));
}

pub async fn a_device_of_an_unknown_tenant_is_not_found(storage: &Storage) {
    let lost = a_device(new_tenant_id(), "boiler");
    assert_eq!(storage.devices.create(&lost, new_token()).await, Err(StorageError::NotFound));
    assert_eq!(storage.devices.get(lost.tenant_id, lost.id).await, Ok(None));
}

pub async fn devices_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (id, token) = device_with_token(storage, acme, "boiler").await;
    let before = get(storage, acme, id).await;
    let replacement = TokenReplacement { hash: new_token(), expires_at: None, grace_until: None, now: at(9) };
    for stranger in [other, new_tenant_id()] {
        assert_eq!(storage.devices.get(stranger, id).await, Ok(None));
        assert!(found(storage, stranger, &DeviceFilter::default()).await.is_empty());
        assert!(found(storage, stranger, &by_name("boiler")).await.is_empty());
        let update = storage.devices.update(stranger, id, renamed("mine"), at(9)).await;
        assert_eq!(update, Err(StorageError::NotFound));
        assert_eq!(storage.devices.delete(stranger, id).await, Ok(false));
        let replaced = storage.devices.replace_token(stranger, id, replacement.clone()).await;
        assert_eq!(replaced, Err(StorageError::NotFound));
        record(storage, &[seen(stranger, id, 9), came(stranger, id, 9)]).await;
    }
    assert_eq!(get(storage, acme, id).await, before);
    assert!(storage.devices.credential(token).await.unwrap().is_some());
    assert!(logged(storage).await.is_empty());
}

pub async fn devices_are_listed_by_id_and_all_of_the_tenant_are_counted(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    for name in ["c", "a", "b"] {
        device(storage, acme, name).await;
        device(storage, other, name).await;
    }
    for (request, expected) in [
        (PageRequest::default(), vec!["c", "a", "b"]),
        (page(2, 0), vec!["c", "a"]),
        (page(2, 2), vec!["b"]),
        (page(2, 3), vec![]),
        (page(2, PageRequest::MAX_OFFSET), vec![]),
    ] {
        for filter in [DeviceFilter::default(), by_name("*")] {
            let found = storage.devices.list(acme, &filter, request).await.unwrap();
            assert_eq!(names(&found, |device| device.name.as_str()), expected);
            assert_eq!(found.total, 3);
        }
    }
}

pub async fn an_update_changes_what_it_names_and_nothing_else(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let other = device(storage, acme, "other").await;
    let other_before = get(storage, acme, other).await;
    record(storage, &[seen(acme, id, 1), came(acme, id, 2)]).await;
    let mut expected = get(storage, acme, id).await;
    let updates = [
        renamed("boiler 2"),
        DeviceUpdate { labels: Some(Labels::parse(&["b", "a"]).unwrap()), ..Default::default() },
        DeviceUpdate { notes: Some(Notes::parse("in the cellar").unwrap()), ..Default::default() },
        DeviceUpdate { enabled: Some(false), ..Default::default() },
        DeviceUpdate { token_expires_at: Some(Some(at(50))), ..Default::default() },
        DeviceUpdate { token_expires_at: Some(None), labels: Some(Labels::default()), ..Default::default() },
        DeviceUpdate::default(),
    ];
    for (second, update) in (10..).zip(updates) {
        expected = expected.updated(update.clone(), at(second));
        assert_eq!(storage.devices.update(acme, id, update, at(second)).await, Ok(expected.clone()));
        assert_eq!(get(storage, acme, id).await, expected);
    }
    assert_eq!(get(storage, acme, other).await, other_before);
}

pub async fn an_update_of_an_unknown_device_is_not_found(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    for update in [renamed("boiler"), DeviceUpdate::default()] {
        let result = storage.devices.update(acme, new_device_id(), update, at(1)).await;
        assert_eq!(result, Err(StorageError::NotFound));
    }
}

pub async fn a_new_name_that_another_device_has_is_a_conflict(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let id = device(storage, acme, "boiler").await;
    device(storage, acme, "pump").await;
    device(storage, other, "fan").await;
    assert_eq!(storage.devices.update(acme, id, renamed("pump"), at(1)).await, Err(TAKEN));
    assert_eq!(get(storage, acme, id).await.updated_at, at(0));
    assert!(storage.devices.update(acme, id, renamed("boiler"), at(1)).await.is_ok(), "its own name is not taken");
    assert!(storage.devices.update(acme, id, renamed("fan"), at(1)).await.is_ok(), "another tenant's is not taken");
}

pub async fn a_change_of_the_switch_or_the_expiry_is_logged(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    let disabled = device(storage, tenant_id, "boiler").await;
    let expiring = device(storage, tenant_id, "pump").await;
    let update = DeviceUpdate { enabled: Some(false), ..Default::default() };
    storage.devices.update(tenant_id, disabled, update, at(1)).await.unwrap();
    let update = DeviceUpdate { token_expires_at: Some(Some(at(9))), ..Default::default() };
    storage.devices.update(tenant_id, expiring, update, at(1)).await.unwrap();
    let changes = [disabled, expiring].map(|device_id| AccessChange::Device { tenant_id, device_id });
    assert_eq!(logged(storage).await, changes);
}

pub async fn a_deleted_device_is_gone_and_its_name_is_free(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let other = device(storage, acme, "pump").await;
    assert_eq!(storage.devices.delete(acme, id).await, Ok(true));
    assert_eq!(storage.devices.delete(acme, id).await, Ok(false));
    assert_eq!(storage.devices.get(acme, id).await, Ok(None));
    assert_eq!(found(storage, acme, &DeviceFilter::default()).await, ["pump"]);
    assert_eq!(storage.devices.update(acme, id, renamed("x"), at(1)).await, Err(StorageError::NotFound));
    record(storage, &[seen(acme, id, 1)]).await;
    assert_eq!(storage.devices.get(acme, id).await, Ok(None));
    device(storage, acme, "boiler").await;
    assert!(storage.devices.update(acme, other, renamed("fan"), at(1)).await.is_ok());
}

pub async fn a_deleted_device_is_logged(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    let device_id = device(storage, tenant_id, "boiler").await;
    storage.devices.delete(tenant_id, device_id).await.unwrap();
    assert_eq!(logged(storage).await, [AccessChange::Device { tenant_id, device_id }]);
}
