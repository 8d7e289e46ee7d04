//! Cases of what is heard of devices, in [`PresenceRepository`](crate::PresenceRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use super::fixture::{at, came, device, get, new_device_id, new_tenant_id, record, rejection, seen, tenant, went};
use crate::{DeviceActivity, Storage};

pub async fn activity_is_recorded_and_changes_nothing_else(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let mut expected = get(storage, acme, id).await;
    let all = DeviceActivity { rejection: Some(rejection(4, "é")), seen_at: Some(at(5)), ..came(acme, id, 3) };
    record(storage, std::slice::from_ref(&all)).await;
    (expected.online, expected.connection) = (true, all.connection);
    (expected.last_seen_at, expected.last_rejection) = (Some(at(5)), Some(rejection(4, "é")));
    assert_eq!(get(storage, acme, id).await, expected);
    record(storage, &[DeviceActivity::nothing(acme, id)]).await;
    assert_eq!(get(storage, acme, id).await, expected);
    record(storage, &[went(acme, id)]).await;
    expected.online = false;
    assert_eq!(get(storage, acme, id).await, expected);
    record(storage, &[]).await;
}

pub async fn activity_of_unknown_devices_is_passed_over(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let stranger = came(new_tenant_id(), new_device_id(), 3);
    record(storage, &[seen(acme, new_device_id(), 1), seen(acme, id, 2), came(acme, new_device_id(), 2), stranger])
        .await;
    assert_eq!(get(storage, acme, id).await.last_seen_at, Some(at(2)));
}

pub async fn the_latest_of_several_activities_of_a_device_holds(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let activity = [
        DeviceActivity { rejection: Some(rejection(1, "first")), seen_at: Some(at(8)), ..came(acme, id, 8) },
        DeviceActivity { seen_at: Some(at(3)), ..went(acme, id) },
        DeviceActivity { rejection: Some(rejection(2, "second")), ..DeviceActivity::nothing(acme, id) },
    ];
    record(storage, &activity).await;
    let device = get(storage, acme, id).await;
    assert_eq!((device.online, device.last_seen_at), (false, Some(at(8))));
    assert_eq!(device.last_rejection, Some(rejection(2, "second")));
}

pub async fn the_time_of_the_last_message_does_not_go_back(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    for (second, expected) in [(5, 5), (4, 5), (6, 6)] {
        record(storage, &[seen(acme, id, second)]).await;
        assert_eq!(get(storage, acme, id).await.last_seen_at, Some(at(expected)));
    }
}

pub async fn activity_of_thousands_of_devices_is_recorded(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (first, last) = (device(storage, acme, "first").await, device(storage, acme, "last").await);
    let mut activity = vec![came(acme, first, 1)];
    activity.extend((0..5_000).map(|_| came(acme, new_device_id(), 2)));
    activity.push(seen(acme, last, 3));
    record(storage, &activity).await;
    assert!(get(storage, acme, first).await.online);
    assert_eq!(get(storage, acme, last).await.last_seen_at, Some(at(3)));
}

pub async fn text_that_a_database_cannot_keep_hinders_no_other(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (odd, other) = (device(storage, acme, "odd").await, device(storage, acme, "other").await);
    let mut connection = came(acme, odd, 1);
    connection.rejection = Some(rejection(1, "a\0b"));
    if let Some(connection) = &mut connection.connection {
        connection.peer.client_id = "a\0b".into();
    }
    record(storage, &[connection, seen(acme, other, 2)]).await;
    assert!(get(storage, acme, odd).await.online);
    assert_eq!(get(storage, acme, other).await.last_seen_at, Some(at(2)));
}
