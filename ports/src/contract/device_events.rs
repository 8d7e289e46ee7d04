//! Cases of the events of devices, in [`PresenceRepository`](crate::PresenceRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{
    DeviceEvent, DeviceEventKind, DeviceEventQuery, DeviceId, NewDeviceEvent, NodeName, PageLimit, TenantId,
};

use super::fixture::{at, came, device, get, new_device_id, new_tenant_id, peer, record, tenant, went};
use crate::{DeviceActivity, Storage};

fn connected(second: u64) -> NewDeviceEvent {
    NewDeviceEvent { at: at(second), kind: DeviceEventKind::Connected, peer: peer("x") }
}

fn disconnected(second: u64, reason: &'static str) -> NewDeviceEvent {
    NewDeviceEvent { kind: DeviceEventKind::Disconnected(reason.into()), ..connected(second) }
}

fn with(tenant: TenantId, device: DeviceId, events: impl IntoIterator<Item = NewDeviceEvent>) -> DeviceActivity {
    DeviceActivity { events: events.into_iter().collect(), ..DeviceActivity::nothing(tenant, device) }
}

async fn record_keeping(storage: &Storage, keep: u32, activity: DeviceActivity) {
    storage.presence.record(&NodeName::default(), &[activity], keep).await.unwrap();
}

/// All events, through pages of `limit`.
async fn events(storage: &Storage, tenant: TenantId, device: DeviceId, limit: u64) -> Vec<DeviceEvent> {
    let mut query = DeviceEventQuery { page_limit: PageLimit::parse(Some(limit)).unwrap(), cursor: None };
    let mut all = Vec::new();
    loop {
        let page = storage.presence.events(tenant, device, &query).await.unwrap();
        assert!(page.events.len() as u64 <= limit);
        all.extend(page.events);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return all;
        }
    }
}

async fn seconds(storage: &Storage, tenant: TenantId, device: DeviceId) -> Vec<u64> {
    let all = events(storage, tenant, device, 1_000).await;
    all.iter().map(|event| event.event.at.since(at(0)).as_secs()).collect()
}

pub async fn events_come_back_as_they_were_the_newest_first(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    let before = get(storage, acme, id).await;
    let mut nowhere = disconnected(3, "protocol_error: malformed_packet");
    nowhere.peer.address = None;
    nowhere.peer.client_id = "'; DROP TABLE \"é\"\n\\".into();
    let mut six = connected(2);
    six.peer.address = Some("[2001:db8::1]:50123".parse().unwrap());
    six.peer.protocol = "MQTT 3.1.1".into();
    record(storage, &[with(acme, id, [connected(1), six.clone()]), with(acme, id, [nowhere.clone()])]).await;
    let found = events(storage, acme, id, 1_000).await;
    assert_eq!(found.iter().map(|event| event.event.clone()).collect::<Vec<_>>(), [nowhere, six, connected(1)]);
    assert!(found.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!(get(storage, acme, id).await, before);
}

pub async fn events_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let id = device(storage, acme, "boiler").await;
    let other = device(storage, acme, "pump").await;
    record(storage, &[with(acme, id, [connected(1)]), with(umbrella, id, [connected(2)])]).await;
    record(storage, &[with(acme, new_device_id(), [connected(3)])]).await;
    assert_eq!(seconds(storage, acme, id).await, [1]);
    for (tenant, device) in [(umbrella, id), (new_tenant_id(), id), (acme, other), (acme, new_device_id())] {
        assert!(seconds(storage, tenant, device).await.is_empty());
    }
}

pub async fn the_last_events_of_each_device_are_kept(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (id, other) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    record_keeping(storage, 3, with(acme, other, [connected(1)])).await;
    for second in 1..=4 {
        record_keeping(storage, 3, with(acme, id, [connected(second)])).await;
    }
    assert_eq!(seconds(storage, acme, id).await, [4, 3, 2]);
    record_keeping(storage, 3, with(acme, id, (5..=9).map(connected))).await;
    assert_eq!(seconds(storage, acme, id).await, [9, 8, 7]);
    // A smaller number holds from the next time on that the device comes or goes, a larger one for what comes then.
    record_keeping(storage, 1, DeviceActivity::nothing(acme, id)).await;
    assert_eq!(seconds(storage, acme, id).await, [9, 8, 7]);
    record_keeping(storage, 2, went(acme, id)).await;
    assert_eq!(seconds(storage, acme, id).await, [9, 8]);
    record_keeping(storage, 5, with(acme, id, [connected(10)])).await;
    assert_eq!(seconds(storage, acme, id).await, [10, 9, 8]);
    record_keeping(storage, 0, came(acme, id, 11)).await;
    assert!(seconds(storage, acme, id).await.is_empty());
    record_keeping(storage, 0, with(acme, id, [connected(12)])).await;
    assert!(seconds(storage, acme, id).await.is_empty());
    assert_eq!(seconds(storage, acme, other).await, [1]);
}

pub async fn pages_give_every_event_once_while_events_are_added(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let id = device(storage, acme, "boiler").await;
    // Several of the same time, and one that is recorded late.
    record(storage, &[with(acme, id, [1, 2, 2, 2, 3, 5, 5, 4].map(connected))]).await;
    for limit in 1..=9 {
        let ids: Vec<u64> = events(storage, acme, id, limit).await.iter().map(|event| event.id.as_number()).collect();
        assert_eq!(ids, [7, 6, 8, 5, 4, 3, 2, 1], "{limit}");
    }
    let first = DeviceEventQuery { page_limit: PageLimit::parse(Some(4)).unwrap(), cursor: None };
    let page = storage.presence.events(acme, id, &first).await.unwrap();
    record(storage, &[with(acme, id, [connected(6)])]).await;
    let rest = DeviceEventQuery { cursor: page.next, ..DeviceEventQuery::default() };
    let rest = storage.presence.events(acme, id, &rest).await.unwrap();
    assert_eq!(rest.events.iter().map(|event| event.id.as_number()).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(rest.next, None);
}

pub async fn a_restart_is_an_event_of_those_that_were_online(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (on, off, elsewhere) = (
        device(storage, acme, "on").await,
        device(storage, acme, "off").await,
        device(storage, acme, "elsewhere").await,
    );
    let mut came_back = came(acme, on, 2);
    came_back.connection.as_mut().unwrap().peer = peer("second");
    record(storage, &[came(acme, on, 1), came(acme, off, 1), went(acme, off)]).await;
    record(storage, &[came_back, with(acme, on, [connected(1), connected(2)])]).await;
    let other = NodeName::parse("other").unwrap();
    storage.presence.record(&other, &[came(acme, elsewhere, 1), came(acme, on, 9)], 100).await.unwrap();

    storage.presence.restart(&NodeName::default(), at(20), 2).await.unwrap();
    let found = events(storage, acme, on, 10).await;
    let gone = NewDeviceEvent { peer: peer("second"), ..disconnected(20, DeviceEventKind::BROKER_RESTART) };
    assert_eq!(found.iter().map(|event| event.event.clone()).collect::<Vec<_>>(), [gone, connected(2)]);
    assert!(seconds(storage, acme, off).await.is_empty() && seconds(storage, acme, elsewhere).await.is_empty());
    // Once.
    storage.presence.restart(&NodeName::default(), at(21), 2).await.unwrap();
    assert_eq!(seconds(storage, acme, on).await, [20, 2]);
    // Not where events are off.
    storage.presence.restart(&other, at(22), 0).await.unwrap();
    assert!(seconds(storage, acme, elsewhere).await.is_empty());
}

pub async fn events_go_with_their_device_and_their_tenant(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let theirs = device(storage, umbrella, "boiler").await;
    let of = |tenant, device| with(tenant, device, [connected(1)]);
    record(storage, &[of(acme, boiler), of(acme, pump), of(umbrella, theirs)]).await;
    storage.devices.delete(acme, boiler).await.unwrap();
    assert!(seconds(storage, acme, boiler).await.is_empty());
    assert_eq!(seconds(storage, acme, pump).await, [1]);
    storage.tenants.delete(acme).await.unwrap();
    assert!(seconds(storage, acme, pump).await.is_empty());
    assert_eq!(seconds(storage, umbrella, theirs).await, [1]);
}
