//! What the broker tells of itself, and to whom.

use std::collections::BTreeMap;
use std::time::Duration;

use pocket_domain::Role;

use crate::packets::{publish3, publish5, subscribe3, subscribe5, unsubscribe3};
use crate::platform::{Platform, Socket};

/// Topics whose number and names users rely on.
const NAMES: [&str; 20] = [
    "version",
    "uptime",
    "clients/connected",
    "clients/disconnected",
    "clients/total",
    "clients/maximum",
    "clients/expired",
    "messages/received",
    "messages/sent",
    "bytes/received",
    "bytes/sent",
    "publish/messages/received",
    "publish/messages/sent",
    "publish/messages/dropped",
    "publish/bytes/received",
    "publish/bytes/sent",
    "retained messages/count",
    "subscriptions/count",
    "store/messages/count",
    "store/messages/bytes",
];
const LOADS: usize = 9 * 3;

async fn with_interval(interval: Option<Duration>) -> Platform {
    Platform::start_with(|config| config.sys_interval = interval).await
}

/// Of a message of QoS 0 in 3.1.1: whether it is retained, its topic, its payload.
fn read(packet: &[u8]) -> (bool, String, String) {
    assert_eq!(packet[0] & 0xfe, 0x30, "{packet:02x?}");
    let topic_len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (packet[0] & 1 == 1, text(&packet[4..4 + topic_len]), text(&packet[4 + topic_len..]))
}

/// So many messages by topic, all retained or none.
async fn receive(socket: &mut Socket, count: usize, retained: bool) -> BTreeMap<String, String> {
    let mut received = BTreeMap::new();
    for _ in 0..count {
        let (is_retained, topic, payload) = read(&socket.packet().await);
        assert_eq!(is_retained, retained, "{topic}");
        let name = topic.strip_prefix("$SYS/broker/").unwrap().to_owned();
        assert!(received.insert(name, payload).is_none(), "{topic} twice");
    }
    received
}

#[tokio::test]
async fn only_a_platform_administrator_may_subscribe() {
    let platform = with_interval(None).await;
    let device = platform.device("a").await;
    for role in Role::ALL {
        let person = platform.person(None, role).await;
        let mut modern = platform.person5(&person, "5").await;
        let filters = [("$SYS/#", 0), ("$SYS/broker/uptime", 1), ("$share/g/$SYS/#", 0), ("$SYS", 0), ("$other/#", 0)];
        modern.send(&subscribe5(1, b"", &filters)).await;
        let answer: &[u8] = match role {
            Role::PlatformAdmin => b"\x90\x08\0\x01\0\0\x01\0\x87\x87",
            _ => b"\x90\x08\0\x01\0\x87\x87\x87\x87\x87",
        };
        modern.expect(answer).await;
        let mut old = platform.person3(&person, "3").await;
        old.send(&subscribe3(1, &[("$SYS/broker/+", 0)])).await;
        old.expect(if role == Role::PlatformAdmin { b"\x90\x03\0\x01\0" } else { b"\x90\x03\0\x01\x80" }).await;
    }
    let mut socket = platform.v3(&device, "x").await;
    socket.send(&subscribe3(1, &[("$SYS/#", 0)])).await;
    socket.expect(b"\x90\x03\0\x01\x80").await;
}

#[tokio::test]
async fn a_new_subscriber_is_told_everything_at_once_as_if_it_were_retained() {
    let platform = with_interval(Some(Duration::from_secs(3_600))).await;
    let root = platform.person(None, Role::PlatformAdmin).await;
    let mut socket = platform.person3(&root, "x").await;
    socket.send(&subscribe3(1, &[("$SYS/#", 2)])).await;
    socket.expect(b"\x90\x03\0\x01\x02").await;
    let told = receive(&mut socket, NAMES.len() + LOADS, true).await;
    for name in NAMES {
        assert!(told.contains_key(name), "{name}");
    }
    for name in ["load/messages/received/1min", "load/publish/dropped/15min", "load/connections/5min"] {
        assert_eq!(told[name], "0.00", "{name}");
    }
    assert!(told["version"].starts_with("pocket-iot version "));
    assert!(told["uptime"].ends_with(" seconds"));
    // A part of it, for a narrower filter.
    socket.send(&subscribe3(2, &[("$SYS/broker/clients/+", 0)])).await;
    socket.expect(b"\x90\x03\0\x02\0").await;
    assert_eq!(receive(&mut socket, 5, true).await["clients/connected"], "1");
    socket.expect_nothing().await;
}

#[tokio::test]
async fn everything_is_told_again_at_each_interval_until_nobody_listens() {
    let platform = with_interval(Some(Duration::from_millis(200))).await;
    let root = platform.person(None, Role::PlatformAdmin).await;
    let mut socket = platform.person3(&root, "x").await;
    socket.send(&subscribe3(1, &[("$SYS/broker/uptime", 0)])).await;
    socket.expect(b"\x90\x03\0\x01\0").await;
    assert!(read(&socket.packet().await).0);
    for _ in 0..3 {
        let (is_retained, topic, _) = read(&socket.packet().await);
        assert_eq!((is_retained, topic.as_str()), (false, "$SYS/broker/uptime"));
    }
    socket.send(&unsubscribe3(2, "$SYS/broker/uptime")).await;
    while socket.packet().await[0] != 0xb0 {}
    let sent = platform.broker.stats().messages_out[0];
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(platform.broker.stats().messages_out[0], sent);
    socket.expect_nothing().await;
}

#[tokio::test]
async fn the_figures_are_those_of_the_broker() {
    let platform = with_interval(Some(Duration::from_secs(3_600))).await;
    let device = platform.device("a").await;
    let (mut away, _) = platform.v3_kept(&device, "away").await;
    away.send(&subscribe3(1, &[("t", 1)])).await;
    away.packet().await;
    away.break_off();
    platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 1).await;
    let mut publisher = platform.v3(&device, "p").await;
    for (id, topic, flags) in [(1, "t", 0), (2, "t", 0), (3, "kept", 1)] {
        let mut message = publish3(1, topic, id, b"1234");
        message[0] |= flags;
        publisher.send(&message).await;
        publisher.packet().await;
    }
    // Packets are counted when the worker looks at its connections.
    platform.eventually(|platform| platform.broker.stats().packets_in >= 6).await;
    let root = platform.person(None, Role::PlatformAdmin).await;
    let mut socket = platform.person3(&root, "x").await;
    socket.send(&subscribe3(1, &[("$SYS/#", 0)])).await;
    socket.packet().await;
    let told = receive(&mut socket, NAMES.len() + LOADS, true).await;
    for (name, value) in [
        ("clients/connected", "2"),
        ("clients/disconnected", "1"),
        ("clients/total", "3"),
        ("clients/maximum", "2"),
        ("publish/messages/received", "3"),
        ("publish/messages/sent", "0"),
        ("publish/bytes/received", "12"),
        ("retained messages/count", "1"),
        ("subscriptions/count", "2"),
        // Two that wait and the retained one: 18 bytes with their topics, one of the publisher's name, and what surrounds each.
        ("store/messages/count", "3"),
        ("store/messages/bytes", "979"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
}

#[tokio::test]
async fn wildcards_at_the_beginning_do_not_match_the_brokers_topics() {
    // [MQTT-4.7.2-1]
    let platform = with_interval(Some(Duration::from_millis(50))).await;
    let device = platform.device("a").await;
    let root = platform.person(None, Role::PlatformAdmin).await;
    let mut wide = platform.person3(&root, "wide").await;
    wide.send(&subscribe3(1, &[("#", 0), ("+/broker/uptime", 0), ("+/#", 0)])).await;
    wide.expect(b"\x90\x05\0\x01\0\0\0").await;
    let mut other = platform.v3(&device, "x").await;
    other.send(&subscribe3(1, &[("#", 0), ("+/broker/uptime", 0)])).await;
    other.expect(b"\x90\x04\0\x01\0\0").await;
    let mut watcher = platform.person3(&root, "watcher").await;
    watcher.send(&subscribe3(1, &[("$SYS/broker/uptime", 0)])).await;
    watcher.packet().await;
    for _ in 0..4 {
        watcher.packet().await;
    }
    wide.expect_nothing().await;
    other.expect_nothing().await;
    let rows = platform.application.storage.telemetry.range(device.tenant, &Default::default()).await.unwrap().rows;
    assert!(rows.is_empty());
    assert_eq!(platform.broker.stats().retained_messages, 0);
}

#[tokio::test]
async fn nobody_publishes_on_the_brokers_topics() {
    let platform = with_interval(None).await;
    let device = platform.device("a").await;
    let root = platform.person(None, Role::PlatformAdmin).await;
    let mut watcher = platform.person3(&root, "watcher").await;
    watcher.send(&subscribe3(1, &[("$SYS/#", 0)])).await;
    watcher.expect(b"\x90\x03\0\x01\0").await;
    for mut socket in [platform.person5(&root, "x").await, platform.v5(&device, "x").await] {
        for topic in ["$SYS/broker/uptime", "$SYS/x", "$x"] {
            socket.send(&publish5(1, topic, 1, b"", b"1")).await;
            socket.expect(b"\x40\x03\0\x01\x87").await;
        }
    }
    let mut old = platform.person3(&root, "old").await;
    old.send(&publish3(1, "$SYS/broker/uptime", 1, b"1")).await;
    old.expect(b"\x40\x02\0\x01").await;
    watcher.expect_nothing().await;
}

#[tokio::test]
async fn without_an_interval_nothing_is_told() {
    let platform = with_interval(None).await;
    let root = platform.person(None, Role::PlatformAdmin).await;
    let mut socket = platform.person3(&root, "x").await;
    socket.send(&subscribe3(1, &[("$SYS/#", 0)])).await;
    socket.expect(b"\x90\x03\0\x01\0").await;
    socket.expect_nothing().await;
}
