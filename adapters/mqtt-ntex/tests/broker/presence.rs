//! What people see of connections: who is online, since when and from where, and why connections ended.

use std::collections::BTreeSet;
use std::time::Duration;

use pocket_domain::{DeviceEvent, DeviceEventQuery, DeviceUpdate};
use pocket_ports::{Clock, SystemClock};

use crate::packets::{connect3, connect3_with, connect5, connect5_with, field, publish3, publish5, subscribe3};
use crate::platform::{Device, Platform, Socket};

/// The events of a device, the oldest first, when there are as many as expected.
async fn events(platform: &Platform, device: &Device, count: usize) -> Vec<DeviceEvent> {
    for _ in 0..1_000 {
        platform.application.activity.flush().await;
        let presence = &platform.application.storage.presence;
        let page = presence.events(device.tenant, device.id, &DeviceEventQuery::default()).await.unwrap();
        if page.events.len() >= count {
            assert_eq!(page.events.len(), count, "{:?}", page.events);
            return page.events.into_iter().rev().collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the events never came");
}

/// Why the only connection of a device ended.
async fn reason(platform: &Platform, device: &Device) -> String {
    let events = events(platform, device, 2).await;
    assert_eq!(events[0].event.kind.reason(), None);
    assert_eq!(events[0].event.peer, events[1].event.peer);
    events[1].event.kind.reason().unwrap().to_owned()
}

/// Connects in both versions as a device of its own, lets something happen, and tells why the connections ended.
async fn reasons(platform: &Platform, name: &str, happen: impl AsyncFn(Socket, &Device, bool)) -> [String; 2] {
    let [three, five] = [format!("{name} 3"), format!("{name} 5")];
    let (three, five) = (platform.device(&three).await, platform.device(&five).await);
    happen(platform.v3(&three, "x").await, &three, false).await;
    happen(platform.v5(&five, "x").await, &five, true).await;
    [reason(platform, &three).await, reason(platform, &five).await]
}

#[tokio::test]
async fn the_way_a_client_leaves_is_told() {
    let platform = Platform::start().await;
    let left = reasons(&platform, "leaves", async |mut socket, _, _| {
        socket.send(b"\xe0\0").await;
        socket.expect_closed().await;
    });
    assert_eq!(left.await, ["client_disconnect"; 2]);
    let lost = reasons(&platform, "breaks", async |socket, _, _| socket.break_off());
    assert_eq!(lost.await, ["connection_lost"; 2]);
    let device = platform.device("with will").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(b"\xe0\x01\x04").await;
    socket.expect_closed().await;
    assert_eq!(reason(&platform, &device).await, "disconnect_with_will");
}

#[tokio::test]
async fn what_a_client_did_wrong_is_told_by_its_name() {
    let platform = Platform::start_with(|config| {
        config.limits.packet_bytes = 200;
        config.limits.receive_maximum = 1;
    })
    .await;
    let malformed = reasons(&platform, "malformed", async |mut socket, _, _| {
        socket.send(b"\x30\x03\0\x7ft").await;
        socket.packet_or_end().await;
    });
    assert_eq!(malformed.await, ["protocol_error: malformed_packet"; 2]);
    let twice = reasons(&platform, "twice", async |mut socket, device, is_five| {
        socket.send(&if is_five { connect5(device, "x", b"") } else { connect3(device, "x") }).await;
        socket.packet_or_end().await;
    });
    assert_eq!(twice.await, ["protocol_error: protocol_error"; 2]);
    let wildcard = reasons(&platform, "wildcard", async |mut socket, _, is_five| {
        socket.send(&if is_five { publish5(0, "#", 0, b"", b"1") } else { publish3(0, "#", 0, b"1") }).await;
        socket.packet_or_end().await;
    });
    assert_eq!(wildcard.await, ["protocol_error: topic_name_invalid"; 2]);
    let large = reasons(&platform, "large", async |mut socket, _, _| {
        socket.send(b"\x30\xff\x01").await;
        socket.packet_or_end().await;
    });
    assert_eq!(large.await, ["packet_too_large"; 2]);

    let device = platform.device("ahead").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&[publish5(2, "t", 1, b"", b"1"), publish5(2, "t", 2, b"", b"1")].concat()).await;
    while socket.packet().await[0] != 0xe0 {}
    assert_eq!(reason(&platform, &device).await, "protocol_error: receive_maximum_exceeded");
    let device = platform.device("alias").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&publish5(0, "", 0, b"\x23\0\0", b"1")).await;
    socket.expect_disconnect(0x94).await;
    assert_eq!(reason(&platform, &device).await, "protocol_error: topic_alias_invalid");
}

#[tokio::test]
async fn access_that_ends_is_told_with_what_ended_it() {
    let platform = Platform::start().await;
    let devices = &platform.application.devices;
    let update = async |device: &Device, update| {
        devices.update(&platform.admin, None, device.id, update).await.unwrap();
    };
    let disabled = reasons(&platform, "disabled", async |mut socket, device, _| {
        update(device, DeviceUpdate { enabled: Some(false), ..Default::default() }).await;
        socket.packet_or_end().await;
    });
    assert_eq!(disabled.await, ["access_revoked: disabled"; 2]);
    let replaced = reasons(&platform, "replaced", async |mut socket, device, _| {
        devices.regenerate_token(&platform.admin, None, device.id, None, Duration::ZERO).await.unwrap();
        socket.packet_or_end().await;
    });
    assert_eq!(replaced.await, ["access_revoked: token"; 2]);
    let expired = reasons(&platform, "expired", async |mut socket, device, _| {
        let soon = SystemClock.now().plus(Duration::from_millis(100));
        update(device, DeviceUpdate { token_expires_at: Some(Some(soon)), ..Default::default() }).await;
        socket.packet_or_end().await;
    });
    assert_eq!(expired.await, ["access_revoked: token"; 2]);
}

#[tokio::test]
async fn a_silent_client_and_a_slow_one_are_told_apart() {
    let platform = Platform::start_with(|config| {
        config.limits.inflight = 1;
        config.limits.queued_messages = 1;
        config.limits.slow_consumer_seconds = 1;
    })
    .await;
    let (silent3, silent5) = (platform.device("silent 3").await, platform.device("silent 5").await);
    let credentials = |device: &Device| [device.id.to_string(), device.token.clone()].map(String::into_bytes);
    let mut three = platform.socket().await;
    let [id, token] = credentials(&silent3);
    three.send(&connect3_with(0xc2, 1, "x", &[&id, &token])).await;
    let mut five = platform.socket().await;
    let [id, token] = credentials(&silent5);
    five.send(&connect5_with(0xc2, 1, b"", "x", &field(&id), &field(&token))).await;

    let slow = platform.device("slow").await;
    let mut subscriber = platform.v3(&slow, "x").await;
    subscriber.send(&subscribe3(1, &[("t", 1)])).await;
    subscriber.packet().await;
    let publisher = platform.device("publisher").await;
    let mut publisher = platform.v3(&publisher, "x").await;
    for id in 1..=3 {
        publisher.send(&publish3(1, "t", id, b"1")).await;
        publisher.packet().await;
    }
    assert_eq!(reason(&platform, &slow).await, "slow_consumer");
    for device in [&silent3, &silent5] {
        assert_eq!(reason(&platform, device).await, "keep_alive_timeout");
    }
}

#[tokio::test]
async fn a_stop_is_told_and_what_could_not_be_stored() {
    let platform = Platform::start().await;
    let device = platform.device("not stored").await;
    let mut socket = platform.v3(&device, "x").await;
    let (three, five) = (platform.device("three").await, platform.device("five").await);
    let (_three, _five) = (platform.v3(&three, "x").await, platform.v5(&five, "x").await);
    platform.application.ingest.drain(Duration::ZERO).await;
    socket.send(&publish3(1, "t", 1, b"1")).await;
    socket.expect_closed().await;
    assert_eq!(reason(&platform, &device).await, "not_stored");
    platform.running.close_sessions(Duration::from_secs(5)).await;
    for device in [&three, &five] {
        assert_eq!(reason(&platform, device).await, "server_shutdown");
    }
}

#[tokio::test]
async fn a_client_that_connects_again_takes_over_and_the_device_stays_online() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut first = platform.v5(&device, "x").await;
    let second = platform.v3(&device, "x").await;
    first.expect_disconnect(0x8e).await;
    let all = events(&platform, &device, 3).await;
    // The end of the first and the beginning of the second come in either order.
    let told: BTreeSet<_> = all.iter().map(|event| (&*event.event.peer.protocol, event.event.kind.reason())).collect();
    assert_eq!(told, [("MQTT 3.1.1", None), ("MQTT 5.0", None), ("MQTT 5.0", Some("taken_over"))].into());
    let shown = platform.application.devices.get(&platform.admin, None, device.id).await.unwrap();
    assert!(shown.online);
    assert_eq!(shown.connection.unwrap().peer.protocol, "MQTT 3.1.1");
    second.break_off();
    let last = events(&platform, &device, 4).await.pop().unwrap();
    assert_eq!(last.event.kind.reason(), Some("connection_lost"));
}

#[tokio::test]
async fn a_device_shows_its_latest_connection_and_is_online_until_the_last_is_gone() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let shown = async || platform.application.devices.get(&platform.admin, None, device.id).await.unwrap();
    assert_eq!(shown().await.connection, None);
    let before = SystemClock.now();
    let first = platform.v3(&device, "first").await;
    events(&platform, &device, 1).await;
    let second = platform.v5(&device, "second").await;
    let address = second.address();
    let connected = events(&platform, &device, 2).await.pop().unwrap();
    let connection = shown().await.connection.unwrap();
    assert_eq!((&*connection.peer.client_id, &*connection.peer.protocol), ("second", "MQTT 5.0"));
    assert_eq!(connection.peer.address, Some(address));
    assert!(connection.connected_at >= before && connection.connected_at == connected.event.at);
    assert_eq!(connected.event.peer, connection.peer);

    second.break_off();
    events(&platform, &device, 3).await;
    assert!(shown().await.online);
    first.break_off();
    let last = events(&platform, &device, 4).await.pop().unwrap();
    let gone = shown().await;
    assert!(!gone.online && gone.last_seen_at == Some(last.event.at));
    assert_eq!(gone.connection, Some(connection));
}
