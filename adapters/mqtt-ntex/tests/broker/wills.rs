//! Wills.

use pocket_application::{IngestOptions, TelemetryRules};

use crate::packets::{connect3_with, connect5_with, field, publish3, publish5, subscribe3};
use crate::platform::{Device, Platform, Socket, rules};

async fn with_will(platform: &Platform, device: &Device) -> Socket {
    let mut socket = platform.socket().await;
    let id = device.id.to_string();
    let connect = connect3_with(0xc6, 0, "w", &[b"state", b"gone", id.as_bytes(), device.token.as_bytes()]);
    socket.send(&connect).await;
    socket.expect(b"\x20\x02\0\0").await;
    socket
}

async fn watcher(platform: &Platform, device: &Device) -> Socket {
    let mut socket = platform.v3(device, "s").await;
    socket.send(&subscribe3(1, &[("#", 0)])).await;
    socket.packet().await;
    socket
}

#[tokio::test]
async fn a_broken_connection_publishes_its_will() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = watcher(&platform, &device).await;
    with_will(&platform, &device).await.break_off();
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
}

#[tokio::test]
async fn a_takeover_publishes_the_will() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = watcher(&platform, &device).await;
    let _first = with_will(&platform, &device).await;
    let _second = platform.v3(&device, "w").await;
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_takes_its_will_back() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = watcher(&platform, &device).await;
    let mut leaving = with_will(&platform, &device).await;
    leaving.send(b"\xe0\0").await;
    leaving.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    watcher.expect_nothing().await;
}

#[tokio::test]
async fn a_client_of_5_0_may_leave_with_its_will() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = platform.v5(&device, "s").await;
    watcher.send(b"\x82\x07\0\x01\0\0\x01#\0").await;
    watcher.packet().await;
    let mut leaving = platform.socket().await;
    let will = [b"\0".as_slice(), &field(b"state"), &field(b"gone")].concat();
    let credentials = [field(device.id.to_string().as_bytes()), field(device.token.as_bytes())].concat();
    leaving.send(&connect5_with(0xc6, 0, b"", "w", &will, &credentials)).await;
    leaving.packet().await;
    leaving.send(b"\xe0\x01\x04").await;
    watcher.expect(&publish5(0, "state", 0, b"", b"gone")).await;
}

#[tokio::test]
async fn a_will_on_a_topic_that_is_not_allowed_is_refused_at_connect() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    let id = device.id.to_string();
    let connect = connect3_with(0xc6, 0, "w", &[b"$SYS/x", b"gone", id.as_bytes(), device.token.as_bytes()]);
    socket.send(&connect).await;
    socket.expect(b"\x20\x02\0\x05").await;
    socket.expect_closed().await;
}

#[tokio::test]
async fn a_will_that_is_larger_than_a_message_may_be_is_refused_at_connect() {
    let rules = TelemetryRules { max_payload: 100, ..rules(&["#"]) };
    let platform = Platform::start_with_rules(|_| {}, rules, IngestOptions::default()).await;
    let device = platform.device("a").await;
    let (id, credentials) = (device.id.to_string(), [device.id.to_string(), device.token.clone()]);
    for (len, reason) in [(100, 0), (101, 0x95)] {
        let payload = vec![b'x'; len];
        let will = [b"\0".as_slice(), &field(b"state"), &field(&payload)].concat();
        let credentials = credentials.each_ref().map(|text| field(text.as_bytes())).concat();
        let mut socket = platform.socket().await;
        socket.send(&connect5_with(0xc6, 0, b"", "w5", &will, &credentials)).await;
        assert_eq!(socket.packet().await[3], reason);
        let mut socket = platform.socket().await;
        let fields = [b"state".as_slice(), &payload, id.as_bytes(), device.token.as_bytes()];
        socket.send(&connect3_with(0xc6, 0, "w3", &fields)).await;
        if reason == 0 {
            socket.expect(b"\x20\x02\0\0").await;
        } else {
            socket.expect_closed().await;
        }
    }
}

/// A client of 5.0 whose session outlives its connection by a minute, with a will that waits this many seconds.
async fn with_delayed_will(platform: &Platform, device: &Device, delay: u8) -> Socket {
    let mut socket = platform.socket().await;
    let will = [b"\x05\x18\0\0\0".as_slice(), &[delay], &field(b"state"), &field(b"gone")].concat();
    let credentials = [field(device.id.to_string().as_bytes()), field(device.token.as_bytes())].concat();
    socket.send(&connect5_with(0xc4, 0, b"\x11\0\0\0\x3c", "w", &will, &credentials)).await;
    socket.packet().await;
    socket
}

#[tokio::test]
async fn a_delayed_will_is_cancelled_when_the_client_comes_back() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = watcher(&platform, &device).await;
    with_delayed_will(&platform, &device, 1).await.break_off();
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    let mut back = with_delayed_will(&platform, &device, 60).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_800)).await;
    watcher.expect_nothing().await;
    // Also when it comes back before its old connection is known to be broken.
    let mut again = with_delayed_will(&platform, &device, 60).await;
    back.expect_disconnect(0x8e).await;
    watcher.expect_nothing().await;
    again.expect_nothing().await;
}

#[tokio::test]
async fn a_delayed_will_is_published_when_its_time_has_come() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = watcher(&platform, &device).await;
    with_delayed_will(&platform, &device, 1).await.break_off();
    let began = std::time::Instant::now();
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
    assert!(began.elapsed() >= std::time::Duration::from_millis(900));
}

#[tokio::test]
async fn a_delayed_will_is_published_when_a_takeover_ends_its_session() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = watcher(&platform, &device).await;
    let mut first = platform.socket().await;
    let will = [b"\x05\x18\0\0\0\x3c".as_slice(), &field(b"state"), &field(b"gone")].concat();
    let credentials = [field(device.id.to_string().as_bytes()), field(device.token.as_bytes())].concat();
    first.send(&connect5_with(0xc4, 0, b"", "w", &will, &credentials)).await;
    first.packet().await;
    let (_second, present) = platform.v5_kept(&device, "w", 60).await;
    assert!(!present);
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
}

#[tokio::test]
async fn a_delayed_will_is_published_when_its_session_ends() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut watcher = watcher(&platform, &device).await;
    with_delayed_will(&platform, &device, 60).await.break_off();
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    let _anew = platform.v5(&device, "w").await;
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
}
