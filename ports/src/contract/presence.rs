//! Cases of who is online, in [`PresenceRepository`](crate::PresenceRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{DeviceFilter, DeviceId, NodeName, TenantId};

use super::fixture::{at, came, device, found, get, peer, record, tenant, went};
use super::race::both;
use crate::{DeviceActivity, Storage};

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

async fn record_on(storage: &Storage, name: &str, activity: DeviceActivity) {
    storage.presence.record(&node(name), &[activity], 100).await.unwrap();
}

async fn is_online(storage: &Storage, tenant: TenantId, id: DeviceId) -> bool {
    get(storage, tenant, id).await.online
}

pub async fn a_device_is_online_from_a_connection_on_until_it_goes(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    for (activity, expected) in [
        (came(acme, id, 1), true),
        (came(acme, id, 2), true),
        (went(acme, id), false),
        (went(acme, id), false),
        (came(acme, id, 3), true),
        (DeviceActivity { offline: true, ..came(acme, id, 4) }, false),
    ] {
        record(storage, &[activity]).await;
        assert_eq!(is_online(storage, acme, id).await, expected);
    }
    let wanted = |online| DeviceFilter { online: Some(online), ..Default::default() };
    assert_eq!(found(storage, acme, &wanted(false)).await, ["boiler"]);
    assert!(found(storage, acme, &wanted(true)).await.is_empty());
}

pub async fn a_device_shows_the_connection_it_opened_last(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let mut later = came(acme, id, 9);
    let connection = later.connection.as_mut().unwrap();
    connection.peer.protocol = "MQTT 3.1.1".into();
    connection.peer.address = Some("[2001:db8::1]:1883".parse().unwrap());
    let expected = later.connection.clone();
    record(storage, &[later]).await;
    // One that another node reports late does not replace it.
    record_on(storage, "other", came(acme, id, 8)).await;
    assert_eq!(get(storage, acme, id).await.connection, expected);
    for activity in [went(acme, id), DeviceActivity { seen_at: Some(at(20)), ..DeviceActivity::nothing(acme, id) }] {
        record(storage, &[activity]).await;
        assert_eq!(get(storage, acme, id).await.connection, expected);
    }
    let mut nowhere = came(acme, id, 10);
    nowhere.connection.as_mut().unwrap().peer.address = None;
    record(storage, &[nowhere]).await;
    let connection = get(storage, acme, id).await.connection.unwrap();
    assert_eq!((connection.connected_at, connection.peer.address), (at(10), None));
    assert_eq!(connection.peer.client_id, peer("x").client_id);
}

pub async fn a_device_is_online_as_long_as_one_node_says_so(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    for (name, activity, expected) in [
        ("a", came(acme, id, 1), true),
        ("b", came(acme, id, 2), true),
        ("a", went(acme, id), true),
        ("c", went(acme, id), true),
        ("b", went(acme, id), false),
    ] {
        record_on(storage, name, activity).await;
        assert_eq!(is_online(storage, acme, id).await, expected, "{name}");
    }
}

pub async fn of_two_nodes_at_once_both_are_heard(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    record_on(storage, "a", came(acme, id, 1)).await;
    for second in 2..12 {
        // The device moves from one node to the other.
        let (from, to) = if second % 2 == 0 { ("a", "b") } else { ("b", "a") };
        both(record_on(storage, from, went(acme, id)), record_on(storage, to, came(acme, id, second))).await;
        assert!(is_online(storage, acme, id).await);
    }
}

pub async fn a_node_that_starts_has_nothing_online_and_leaves_others(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (here, there, both) = (
        device(storage, acme, "here").await,
        device(storage, umbrella, "there").await,
        device(storage, umbrella, "both").await,
    );
    record_on(storage, "a", came(acme, here, 1)).await;
    record_on(storage, "b", came(umbrella, there, 1)).await;
    record_on(storage, "a", came(umbrella, both, 1)).await;
    record_on(storage, "b", came(umbrella, both, 1)).await;
    storage.presence.restart(&node("a"), at(5), 100).await.unwrap();
    assert!(!is_online(storage, acme, here).await);
    assert!(is_online(storage, umbrella, there).await && is_online(storage, umbrella, both).await);
    storage.presence.restart(&node("b"), at(6), 0).await.unwrap();
    assert!(!is_online(storage, umbrella, there).await && !is_online(storage, umbrella, both).await);
    assert_eq!(get(storage, acme, here).await.connection, came(acme, here, 1).connection);
    assert_eq!(get(storage, acme, here).await.updated_at, at(0));
}

pub async fn a_deleted_device_that_was_online_is_gone(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    record(storage, &[came(acme, id, 1)]).await;
    assert_eq!(storage.devices.delete(acme, id).await, Ok(true));
    record(storage, &[came(acme, id, 2)]).await;
    storage.presence.restart(&NodeName::default(), at(5), 100).await.unwrap();
    assert!(found(storage, acme, &DeviceFilter { online: Some(true), ..Default::default() }).await.is_empty());
}
