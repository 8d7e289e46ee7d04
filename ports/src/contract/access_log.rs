//! Cases of [`AccessLog`](crate::AccessLog) and [`StorageHealth`](crate::StorageHealth).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{DeviceName, DeviceUpdate};

use super::fixture::{at, device, logged, tenant};
use crate::{AccessChange, Storage};

pub async fn the_log_is_empty_at_first(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    device(storage, acme, "boiler").await;
    assert_eq!(storage.access_log.latest().await, Ok(0));
    assert_eq!(storage.access_log.after(0, 10).await, Ok(vec![]));
}

pub async fn entries_are_ordered_and_read_from_a_place_on(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    let (first, second) = (device(storage, tenant_id, "boiler").await, device(storage, tenant_id, "pump").await);
    storage.devices.delete(tenant_id, first).await.unwrap();
    let place = storage.access_log.latest().await.unwrap();
    assert!(place > 0);
    assert_eq!(storage.access_log.after(place, 10).await, Ok(vec![]));
    storage.devices.delete(tenant_id, second).await.unwrap();
    let entries = storage.access_log.after(place, 10).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].change, AccessChange::Device { tenant_id, device_id: second });
    assert_eq!(storage.access_log.latest().await, Ok(entries[0].sequence));
    assert!(entries[0].sequence > place);
    assert_eq!(storage.access_log.after(u64::MAX, 10).await, Ok(vec![]));
}

pub async fn the_log_is_read_in_parts(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    let mut expected = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let device_id = device(storage, tenant_id, name).await;
        storage.devices.delete(tenant_id, device_id).await.unwrap();
        expected.push(AccessChange::Device { tenant_id, device_id });
    }
    let (mut read, mut place) = (Vec::new(), 0);
    loop {
        let part = storage.access_log.after(place, 2).await.unwrap();
        assert!(part.len() <= 2);
        let Some(last) = part.last() else { break };
        place = last.sequence;
        read.extend(part.into_iter().map(|entry| entry.change));
    }
    assert_eq!(read, expected);
}

pub async fn a_change_that_fails_is_not_logged(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    device(storage, acme, "boiler").await;
    let id = device(storage, acme, "pump").await;
    let update =
        DeviceUpdate { name: Some(DeviceName::parse("boiler").unwrap()), enabled: Some(false), ..Default::default() };
    assert!(storage.devices.update(acme, id, update, at(1)).await.is_err());
    assert!(logged(storage).await.is_empty());
}

pub async fn a_storage_that_works_says_so(storage: &Storage) {
    assert_eq!(storage.health.check().await, Ok(()));
}
