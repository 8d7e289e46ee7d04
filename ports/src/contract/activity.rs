//! Cases of what is heard of devices, in [`DeviceRepository`](crate::DeviceRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use super::fixture::{
    a_device, at, device, get, new_device_id, new_tenant_id, new_token, nothing_heard, rejection, seen, tenant,
};
use crate::{DeviceActivity, Storage};

pub async fn activity_is_recorded_and_changes_nothing_else(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let mut expected = get(storage, acme, id).await;
    let all = DeviceActivity {
        online: Some(true),
        seen_at: Some(at(5)),
        rejection: Some(rejection(4, "é")),
        ..nothing_heard(acme, id)
    };
    storage.devices.record_activity(&[all]).await.unwrap();
    (expected.online, expected.last_seen_at, expected.last_rejection) = (true, Some(at(5)), Some(rejection(4, "é")));
    assert_eq!(get(storage, acme, id).await, expected);
    storage.devices.record_activity(&[nothing_heard(acme, id)]).await.unwrap();
    assert_eq!(get(storage, acme, id).await, expected);
    let offline = DeviceActivity { online: Some(false), ..nothing_heard(acme, id) };
    storage.devices.record_activity(&[offline]).await.unwrap();
    expected.online = false;
    assert_eq!(get(storage, acme, id).await, expected);
    storage.devices.record_activity(&[]).await.unwrap();
}

pub async fn activity_of_unknown_devices_is_passed_over(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let activity = [seen(acme, new_device_id(), 1), seen(acme, id, 2), seen(new_tenant_id(), new_device_id(), 3)];
    storage.devices.record_activity(&activity).await.unwrap();
    assert_eq!(get(storage, acme, id).await.last_seen_at, Some(at(2)));
}

pub async fn the_latest_of_several_activities_of_a_device_holds(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let activity = [
        DeviceActivity { online: Some(true), rejection: Some(rejection(1, "first")), ..seen(acme, id, 8) },
        DeviceActivity { online: Some(false), ..seen(acme, id, 3) },
        DeviceActivity { rejection: Some(rejection(2, "second")), ..nothing_heard(acme, id) },
    ];
    storage.devices.record_activity(&activity).await.unwrap();
    let device = get(storage, acme, id).await;
    assert_eq!((device.online, device.last_seen_at), (false, Some(at(8))));
    assert_eq!(device.last_rejection, Some(rejection(2, "second")));
}

pub async fn the_time_of_the_last_message_does_not_go_back(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    for (second, expected) in [(5, 5), (4, 5), (6, 6)] {
        storage.devices.record_activity(&[seen(acme, id, second)]).await.unwrap();
        assert_eq!(get(storage, acme, id).await.last_seen_at, Some(at(expected)));
    }
}

pub async fn activity_of_thousands_of_devices_is_recorded(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (first, last) = (device(storage, acme, "first").await, device(storage, acme, "last").await);
    let mut activity = vec![seen(acme, first, 1)];
    activity.extend((0..5_000).map(|_| seen(acme, new_device_id(), 2)));
    activity.push(seen(acme, last, 3));
    storage.devices.record_activity(&activity).await.unwrap();
    assert_eq!(get(storage, acme, first).await.last_seen_at, Some(at(1)));
    assert_eq!(get(storage, acme, last).await.last_seen_at, Some(at(3)));
}

pub async fn every_device_is_marked_offline(storage: &Storage) {
    for name in ["acme", "other"] {
        let tenant = tenant(storage, name).await;
        let mut device = a_device(tenant, "boiler");
        device.online = true;
        storage.devices.create(&device, new_token()).await.unwrap();
        storage.devices.mark_all_offline().await.unwrap();
        device.online = false;
        assert_eq!(get(storage, tenant, device.id).await, device);
    }
}
