//! CONNECT and its answers.

use std::time::Duration;

use crate::packets::{self, connect3_with, connect5, connect5_with, field};
use crate::platform::Platform;

#[tokio::test]
async fn a_device_connects_with_its_id_and_its_token() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    platform.v3(&device, "x").await.expect_nothing().await;
    platform.v5(&device, "y").await.expect_nothing().await;
    assert_eq!(platform.broker.stats().connects_accepted, 2);
}

#[tokio::test]
async fn a_device_connects_with_its_token_alone() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    socket.send(&connect3_with(0x82, 0, "x", &[device.token.as_bytes()])).await;
    socket.expect(b"\x20\x02\0\0").await;
}

#[tokio::test]
async fn nothing_tells_an_unknown_device_from_a_wrong_token() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let id = device.id.to_string();
    let wrong_token = [id.as_bytes(), b"0000-0000-0000"];
    let unknown = [b"0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f".as_slice(), device.token.as_bytes()];
    for credentials in [wrong_token, unknown] {
        let mut socket = platform.socket().await;
        socket.send(&connect3_with(0xc2, 0, "x", &credentials)).await;
        socket.expect(b"\x20\x02\0\x04").await;
        socket.expect_closed().await;
        let mut socket = platform.socket().await;
        socket.send(&connect5_with(0xc2, 0, b"", "x", &field(credentials[0]), &field(credentials[1]))).await;
        let ack = socket.packet().await;
        assert_eq!((ack[0], ack[2], ack[3]), (0x20, 0, 0x86));
        socket.expect_closed().await;
    }
    let mut socket = platform.socket().await;
    socket.send(&connect3_with(0x02, 0, "x", &[])).await;
    socket.expect(b"\x20\x02\0\x04").await;
}

#[tokio::test]
async fn an_unknown_version_is_told_so() {
    let platform = Platform::start().await;
    for connect in [b"\x10\x0c\0\x04MQTT\x03\x02\0\0\0\0".as_slice(), b"\x10\x0e\0\x06MQIsdp\x02\x02\0\0\0\0"] {
        let mut socket = platform.socket().await;
        socket.send(connect).await;
        socket.expect(b"\x20\x02\0\x01").await;
        socket.expect_closed().await;
    }
}

#[tokio::test]
async fn the_server_chooses_a_missing_client_id() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    socket.send(&connect5(&device, "", b"")).await;
    let ack = socket.packet().await;
    assert_eq!(ack[3], 0);
    assert!(ack.windows(8).any(|bytes| bytes == b"\x12\0\x29auto-"), "{ack:02x?}");
    platform.v3(&device, "").await.expect_nothing().await;
    let mut socket = platform.socket().await;
    let credentials = [device.id.to_string(), device.token.clone()];
    socket.send(&connect3_with(0xc0, 0, "", &[credentials[0].as_bytes(), credentials[1].as_bytes()])).await;
    socket.expect(b"\x20\x02\0\x02").await;
}

#[tokio::test]
async fn an_authentication_method_is_not_offered() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    socket.send(&connect5(&device, "x", b"\x15\0\x05SCRAM")).await;
    let ack = socket.packet().await;
    assert_eq!((ack[0], ack[3]), (0x20, 0x8c));
    socket.expect_closed().await;
}

#[tokio::test]
async fn the_same_client_takes_over() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut first = platform.v5(&device, "x").await;
    let mut second = platform.v3(&device, "x").await;
    first.expect_disconnect(0x8e).await;
    let mut third = platform.v3(&device, "x").await;
    second.expect_closed().await;
    third.expect_nothing().await;
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    assert_eq!(platform.broker.stats().takeovers, 2);
}

#[tokio::test]
async fn the_same_client_id_of_another_device_is_another_client() {
    let platform = Platform::start().await;
    let (a, b) = (platform.device("a").await, platform.device("b").await);
    let (mut first, mut second) = (platform.v3(&a, "x").await, platform.v3(&b, "x").await);
    first.expect_nothing().await;
    second.expect_nothing().await;
}

#[tokio::test]
async fn a_client_that_never_finishes_its_connect_is_cut_off() {
    let platform = Platform::start_with(|config| config.connect_timeout = Duration::from_millis(200)).await;
    let mut silent = platform.socket().await;
    let mut slow = platform.socket().await;
    slow.send(b"\x10\x20\0\x04MQ").await;
    silent.expect_closed().await;
    slow.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
}

#[tokio::test]
async fn a_silent_client_is_cut_off_after_one_and_a_half_times_its_keep_alive() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let credentials = [device.id.to_string(), device.token.clone()];
    let mut socket = platform.socket().await;
    let began = std::time::Instant::now();
    socket
        .send(&packets::connect5_with(
            0xc2,
            1,
            b"",
            "x",
            &field(credentials[0].as_bytes()),
            &field(credentials[1].as_bytes()),
        ))
        .await;
    socket.packet().await;
    socket.expect_disconnect(0x8d).await;
    assert!((Duration::from_millis(1_500)..Duration::from_secs(4)).contains(&began.elapsed()));
}

#[tokio::test]
async fn more_connections_than_allowed_are_refused() {
    let platform = Platform::start_with(|config| config.limits.connections = 1).await;
    let device = platform.device("a").await;
    let first = platform.v3(&device, "x").await;
    let mut second = platform.socket().await;
    second.send(&packets::connect3(&device, "y")).await;
    second.expect(b"\x20\x02\0\x03").await;
    second.expect_closed().await;
    let mut third = platform.socket().await;
    third.send(&connect5(&device, "z", b"")).await;
    assert_eq!(third.packet().await[3], 0x97);
    drop((first, third));
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
    platform.v3(&device, "y").await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let platform = Platform::start().await;
    let address = platform.running.local_addr();
    let config = pocket_mqtt_ntex::MqttConfig::new(address);
    let gateway = platform.application.gateway.clone();
    let second =
        pocket_mqtt_ntex::Broker::new(config, gateway, std::sync::Arc::new(pocket_mqtt_ntex::TenantAuthorizer));
    let error = second.bind().err().unwrap().to_string();
    assert_eq!(error, format!("cannot listen for MQTT on {address}: the port is taken by another program"));
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_ends_its_threads() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut first, mut second) = (platform.v5(&device, "x").await, platform.v3(&device, "y").await);
    platform.running.stop_accepting().await;
    assert_eq!(platform.running.close_sessions(Duration::from_secs(5)).await, 0);
    first.expect_disconnect(0x8b).await;
    second.expect_closed().await;
    platform.running.stop().await;
}
