//! MQTT over WebSocket.

use std::net::SocketAddr;
use std::time::Duration;

use pocket_mqtt_ntex::{MqttConfig, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::{Authority, Files, handshake};
use crate::packets::{connect3, connect5, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{PATIENCE, Platform, tcp};
use crate::websocket_client::{BINARY, CLOSE, PING, PONG, REQUEST, TEXT, WebSocket, frame};

pub(crate) fn turn_on(config: &mut MqttConfig) {
    config.websocket_address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
}

async fn start() -> Platform {
    Platform::start_with(turn_on).await
}

#[tokio::test]
async fn devices_of_both_versions_publish_and_subscribe() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut subscriber = WebSocket::v5(&platform, &device, "s").await;
    subscriber.send(&subscribe5(1, b"", &[("t", 1)])).await;
    subscriber.expect(b"\x90\x04\0\x01\0\x01").await;
    let mut publisher = WebSocket::v3(&platform, &device, "p").await;
    publisher.send(&publish3(1, "t", 7, b"21.5")).await;
    publisher.expect(b"\x40\x02\0\x07").await;
    subscriber.expect(&publish5(1, "t", 1, b"", b"21.5")).await;
    assert_eq!(platform.stored(&device, 1).await.len(), 1);
}

/// [MQTT-6.0.0-1]
#[tokio::test]
async fn packets_in_frames_that_are_not_binary_close_the_connection() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut early = WebSocket::open(&platform).await;
    early.send_frame(TEXT, &connect3(&device, "x")).await;
    early.expect_close(1003).await;
    for first in [TEXT, 0x01] {
        let mut late = WebSocket::v5(&platform, &device, "x").await;
        late.send_frame(first, b"\xc0\0").await;
        late.expect_close(1003).await;
    }
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
}

/// [MQTT-6.0.0-1]
#[tokio::test]
async fn the_broker_sends_packets_in_binary_frames() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut socket = WebSocket::open(&platform).await;
    socket.send(&connect3(&device, "x")).await;
    assert_eq!(socket.frame().await, Some((BINARY, b"\x20\x02\0\0".to_vec())));
}

/// [MQTT-6.0.0-2]
#[tokio::test]
async fn a_packet_may_span_frames_and_a_frame_may_hold_several_packets() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut socket = WebSocket::open(&platform).await;
    // Each byte in a frame of its own, an empty frame before each.
    for byte in connect3(&device, "x") {
        socket.send(b"").await;
        socket.send(&[byte]).await;
    }
    socket.expect(b"\x20\x02\0\0").await;
    // Two and a half packets in a frame, the rest in another.
    let third = publish3(1, "t", 3, b"3");
    let (begin, end) = third.split_at(4);
    socket.send(&[&publish3(1, "t", 1, b"1"), &publish3(1, "t", 2, b"2"), begin].concat()).await;
    socket.send(end).await;
    for id in 1..=3 {
        socket.expect(&[0x40, 2, 0, id]).await;
    }
}

/// [MQTT-6.0.0-3]
#[tokio::test]
async fn a_client_that_does_not_offer_the_sub_protocol_mqtt_is_refused() {
    let platform = start().await;
    let address = platform.address(Transport::WebSocket);
    for protocol in ["sec-websocket-protocol: mqttv3.1\r\n", "sec-websocket-protocol: mqtt2, http\r\n", ""] {
        let request = REQUEST.replace("sec-websocket-protocol: mqtt\r\n", protocol);
        let response = WebSocket::request(tcp(address).await, &request).await.response().await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    }
}

/// [MQTT-6.0.0-4]
#[tokio::test]
async fn the_sub_protocol_that_is_returned_is_mqtt() {
    let platform = start().await;
    for offered in ["mqtt", "mqttv3.1, mqtt", "mqttv3.1\r\nsec-websocket-protocol: mqtt"] {
        let request = REQUEST.replace("protocol: mqtt\r\n", &format!("protocol: {offered}\r\n"));
        let stream = tcp(platform.address(Transport::WebSocket)).await;
        let response = WebSocket::request(stream, &request).await.response().await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        assert!(response.contains("\r\nsec-websocket-protocol: mqtt\r\n"), "{response}");
        assert!(response.contains("\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    }
}

#[tokio::test]
async fn requests_for_something_else_are_answered_by_http() {
    let platform = start().await;
    let long = format!("GET /mqtt HTTP/1.1\r\nx: {}\r\n", "y".repeat(9_000));
    for (request, status) in [
        (REQUEST.replace("/mqtt HTTP", "/ HTTP"), 404),
        (REQUEST.replace("GET", "POST"), 405),
        (REQUEST.replace("version: 13", "version: 12"), 426),
        ("GET /mqtt HTTP/1.1\r\nhost: broker.test\r\n\r\n".to_owned(), 400),
        ("\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x".to_owned(), 400),
        (long, 431),
    ] {
        let stream = tcp(platform.address(Transport::WebSocket)).await;
        let mut socket = WebSocket::request(stream, &request).await;
        let response = socket.response().await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{response}");
        assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
    }
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
    assert_eq!(platform.broker.stats().connects_refused_at, [0, 0, 6]);
}

#[tokio::test]
async fn messages_in_fragments_are_read_with_pings_between_them() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut socket = WebSocket::open(&platform).await;
    let connect = connect5(&device, "x", b"");
    socket.send_frame(0x02, &connect[..5]).await;
    socket.send_frame(PING, b"are you there").await;
    assert_eq!(socket.frame().await, Some((PONG, b"are you there".to_vec())));
    socket.send_frame(0x00, &connect[5..9]).await;
    socket.send_frame(PONG, b"").await;
    socket.send_frame(0x80, &connect[9..]).await;
    assert_eq!(socket.packet().await[3], 0);
}

#[tokio::test]
async fn a_client_that_closes_is_answered_and_its_will_is_published() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut watcher = platform.v3(&device, "w").await;
    watcher.send(&subscribe3(1, &[("will", 0)])).await;
    watcher.packet().await;
    let mut socket = WebSocket::open(&platform).await;
    let credentials = [device.id.to_string(), device.token.clone()];
    let fields = [b"will".as_slice(), b"gone", credentials[0].as_bytes(), credentials[1].as_bytes()];
    socket.send(&crate::packets::connect3_with(0xc6, 0, "x", &fields)).await;
    socket.expect(b"\x20\x02\0\0").await;
    socket.send_frame(CLOSE, &1001u16.to_be_bytes()).await;
    socket.expect_close(1001).await;
    watcher.expect(&publish3(0, "will", 0, b"gone")).await;
}

#[tokio::test]
async fn a_connection_that_the_broker_ends_is_closed_as_a_websocket() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut socket = WebSocket::v5(&platform, &device, "x").await;
    let _second = WebSocket::v5(&platform, &device, "x").await;
    let disconnect = socket.packet().await;
    assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x8e));
    socket.expect_close(1000).await;
    let mut refused = WebSocket::open(&platform).await;
    refused.send(&crate::packets::connect3_with(0x02, 0, "x", &[])).await;
    refused.expect(b"\x20\x02\0\x04").await;
    refused.expect_close(1000).await;
}

#[tokio::test]
async fn frames_that_rfc_6455_does_not_allow_close_the_connection() {
    let platform = start().await;
    let device = platform.device("a").await;
    for bytes in [
        // Not masked, reserved bits, an unknown opcode, a fragment of nothing, a ping in fragments, one that is too long.
        b"\x82\x02\xc0\0".to_vec(),
        frame(0xc2, b"\xc0\0"),
        frame(0x83, b"\xc0\0"),
        frame(0x80, b"\xc0\0"),
        frame(0x09, b""),
        frame(PING, &[0; 126]),
        [frame(0x02, b"\xc0"), frame(BINARY, b"\0")].concat(),
    ] {
        let mut socket = WebSocket::v5(&platform, &device, "x").await;
        socket.send_bytes(&bytes).await;
        socket.expect_close(1002).await;
    }
}

#[tokio::test]
async fn a_huge_frame_is_refused_before_it_comes() {
    let platform = start().await;
    let device = platform.device("a").await;
    for len in [16 * 1024 * 1024 + 1, u64::MAX] {
        let mut socket = WebSocket::v5(&platform, &device, "x").await;
        socket.send_bytes(&[b"\x82\xff".as_slice(), &len.to_be_bytes(), &[0; 4]].concat()).await;
        socket.expect_close(1009).await;
    }
}

#[tokio::test]
async fn a_frame_may_be_larger_than_the_largest_packet() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut socket = WebSocket::v3(&platform, &device, "x").await;
    let payload = format!("\"{}\"", "x".repeat(50_000));
    let packets: Vec<u8> = (1..=20).flat_map(|id| publish3(1, "t", id, payload.as_bytes())).collect();
    socket.send(&packets).await;
    for id in 1..=20 {
        socket.expect(&[0x40, 2, 0, id]).await;
    }
}

#[tokio::test]
async fn the_limits_of_packets_hold_in_frames() {
    let platform = Platform::start_with(|config| {
        turn_on(config);
        config.limits.packet_bytes = 100;
    })
    .await;
    let device = platform.device("a").await;
    let mut socket = WebSocket::v5(&platform, &device, "x").await;
    socket.send(b"\x30\x65").await;
    let disconnect = socket.packet().await;
    assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x95));
    socket.expect_close(1000).await;
}

#[tokio::test]
async fn a_client_that_only_pings_and_never_reads_costs_no_memory_and_harms_nobody() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut other = WebSocket::v3(&platform, &device, "other").await;
    let mut stream = tcp(platform.address(Transport::WebSocket)).await;
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut response = [0; 12];
    stream.read_exact(&mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 101");
    let pings = frame(PING, &[b'x'; 125]).repeat(1_000);
    // Far more than the sockets' own buffers hold.
    for _ in 0..500 {
        stream.write_all(&pings).await.unwrap();
    }
    other.expect_nothing().await;
    // It is alive, and every answer that was kept is whole.
    stream.write_all(&frame(BINARY, &connect3(&device, "x"))).await.unwrap();
    let mut answers = Vec::new();
    while !answers.ends_with(b"\x82\x04\x20\x02\0\0") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answers)).await;
        assert!(read.expect("CONNACK comes").unwrap() > 0, "the connection was closed");
    }
    assert!(answers.len() < 500 * 1_000 * 127, "no ping was left out");
}

#[tokio::test]
async fn a_slow_request_is_cut_off_by_the_connect_timeout() {
    let platform = Platform::start_with(|config| {
        turn_on(config);
        config.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let mut slow = tcp(platform.address(Transport::WebSocket)).await;
    slow.write_all(&REQUEST.as_bytes()[..40]).await.unwrap();
    let mut idle = WebSocket::open(&platform).await;
    let read = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut Vec::new())).await;
    assert_eq!(read.expect("the connection is closed").unwrap_or(0), 0);
    idle.expect_close(1000).await;
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
}

#[tokio::test]
async fn frames_that_come_with_the_request_are_not_lost() {
    let platform = start().await;
    let device = platform.device("a").await;
    let mut stream = tcp(platform.address(Transport::WebSocket)).await;
    let at_once = [REQUEST.as_bytes(), &frame(BINARY, &connect3(&device, "x"))].concat();
    stream.write_all(&at_once).await.unwrap();
    let mut socket = WebSocket::request(stream, "").await;
    assert!(socket.response().await.starts_with("HTTP/1.1 101 "));
    socket.expect(b"\x20\x02\0\0").await;
}

#[tokio::test]
async fn a_websocket_may_be_over_tls() {
    let authority = Authority::new();
    let files = Files::of(&authority.sign());
    let platform = Platform::start_with(|config| {
        config.tls = Some(files.tls());
        config.secure_websocket_address = config.address;
    })
    .await;
    let device = platform.device("a").await;
    let stream = tcp(platform.address(Transport::SecureWebSocket)).await;
    let mut socket = WebSocket::over(handshake(stream, authority.any_client()).await.unwrap()).await;
    socket.send(&connect3(&device, "x")).await;
    socket.expect(b"\x20\x02\0\0").await;
    let payload = format!("\"{}\"", "x".repeat(65_534));
    socket.send(&publish3(1, "t", 1, payload.as_bytes())).await;
    socket.expect(b"\x40\x02\0\x01").await;
    socket.send_frame(CLOSE, &1000u16.to_be_bytes()).await;
    socket.expect_close(1000).await;
}
