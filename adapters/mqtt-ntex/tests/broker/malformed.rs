//! Bytes that are no MQTT, and packets that are not allowed: the connection is closed, the process is unharmed.

use crate::packets::{connect3, connect5, packet, publish3, publish5, subscribe5};
use crate::platform::Platform;
use crate::stage::Stage;

#[tokio::test]
async fn what_does_not_begin_with_connect_is_closed_without_a_word() {
    let platform = Platform::start().await;
    for garbage in
        [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\xc0\0", b"\x30\x03\0\x01t", b"\xff\xff\xff\xff\xff\xff", b"\0"]
    {
        let mut socket = platform.socket().await;
        socket.send(garbage).await;
        socket.send(&[0; 8]).await;
        socket.expect_closed().await;
    }
    assert_eq!(platform.broker.stats().connects_refused, 5);
}

#[tokio::test]
async fn a_second_connect_is_a_protocol_error() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&connect5(&device, "x", b"")).await;
    // Without DISCONNECT.
    socket.expect_closed().await;
    let mut socket = platform.v3(&device, "x").await;
    socket.send(&connect3(&device, "x")).await;
    socket.expect_closed().await;
    assert_eq!(platform.broker.stats().protocol_errors, 2);
}

#[tokio::test]
async fn the_will_is_published_after_a_second_connect() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("watcher", &[("state", 0)]).await;
    let connect = stage.connect5("x").will(0, b"state", b"gone");
    let (mut socket, _) = stage.accepted(&connect).await;
    socket.send(&connect.bytes()).await;
    socket.expect_closed().await;
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
}

#[tokio::test]
async fn every_malformed_packet_closes_with_its_reason() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let cases: &[(&[u8], u8)] = &[
        // A topic that is longer than its packet, properties that are, QoS 3, DUP at QoS 0.
        (b"\x30\x03\0\x7ft", 0x81),
        (b"\x30\x04\0\x01t\x05", 0x81),
        (b"\x36\x06\0\x01t\0\x01\0", 0x81),
        (b"\x38\x04\0\x01t\0", 0x81),
        // Packet id 0, a topic with a wildcard, an empty topic without an alias.
        (b"\x32\x06\0\x01t\0\0\0", 0x81),
        (b"\x30\x04\0\x01#\0", 0x90),
        (b"\x30\x03\0\0\0", 0x82),
        // A topic that is not UTF-8, a topic with U+0000, a property of another packet, a property twice.
        (b"\x30\x04\0\x01\xff\0", 0x81),
        (b"\x30\x04\0\x01\0\0", 0x81),
        (b"\x30\x07\0\x01t\x03\x21\0\x01", 0x81),
        (b"\x30\x08\0\x01t\x04\x01\0\x01\0", 0x82),
        // Topic alias 0, a payload format that does not exist, a response topic with a wildcard.
        (b"\x30\x07\0\x01t\x03\x23\0\0", 0x94),
        (b"\x30\x06\0\x01t\x02\x01\x02", 0x82),
        (b"\x30\x08\0\x01t\x04\x08\0\x01#", 0x82),
        // SUBSCRIBE without filters, with reserved bits, with wrong flags; UNSUBSCRIBE without filters.
        (b"\x82\x03\0\x01\0", 0x82),
        (b"\x82\x07\0\x01\0\0\x01t\x40", 0x81),
        (b"\x80\x07\0\x01\0\0\x01t\0", 0x81),
        // QoS 3, retain handling 3, subscription identifier 0, a filter with U+0000.
        (b"\x82\x07\0\x01\0\0\x01t\x03", 0x82),
        (b"\x82\x07\0\x01\0\0\x01t\x30", 0x82),
        (b"\x82\x09\0\x01\x02\x0b\0\0\x01t\0", 0x82),
        (b"\x82\x07\0\x01\0\0\x01\0\0", 0x81),
        (b"\xa2\x06\0\x01\0\0\x01\0", 0x81),
        (b"\xa2\x03\0\x01\0", 0x82),
        // PINGREQ with a body, a type that does not exist, AUTH without a method, a server's packets.
        (b"\xc0\x01x", 0x81),
        (b"\x00\x00", 0x81),
        (b"\xf0\x00", 0x82),
        (b"\xd0\x00", 0x82),
        (b"\x90\x04\0\x01\0\0", 0x82),
        // A length of five bytes, one of more bytes than needed, a subscription identifier from a client.
        (b"\x30\xff\xff\xff\xff\x01", 0x81),
        (b"\xc0\x80\0", 0x81),
        (b"\x30\x06\0\x01t\x02\x0b\x01", 0x82),
    ];
    for (bytes, reason) in cases {
        let mut socket = platform.v5(&device, "x").await;
        socket.send(bytes).await;
        let answer = socket.packet().await;
        assert_eq!((answer[0], answer[2]), (0xe0, *reason), "{bytes:02x?} was answered by {answer:02x?}");
        socket.expect_closed().await;
        if bytes[0] != 0xf0 {
            let mut socket = platform.v3(&device, "y").await;
            socket.send(b"\x30\x03\0\x7ft").await;
            socket.expect_closed().await;
        }
    }
}

#[tokio::test]
async fn a_packet_that_is_too_large_closes_the_connection_before_it_is_read() {
    let platform = Platform::start_with(|config| config.limits.packet_bytes = 100).await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    let fitting = publish5(0, "t", 0, b"", &[b'1'; 94]);
    assert_eq!(fitting.len(), 100);
    socket.send(&fitting).await;
    socket.expect_nothing().await;
    socket.send(b"\x30\x63").await;
    socket.expect_disconnect(0x95).await;
}

#[tokio::test]
async fn shared_subscriptions_and_no_local_do_not_mix() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&subscribe5(1, b"", &[("$share/g/t", 4)])).await;
    socket.expect_disconnect(0x82).await;
}

#[tokio::test]
async fn a_packet_may_come_byte_by_byte() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    for byte in connect3(&device, "x") {
        socket.send(&[byte]).await;
    }
    socket.expect(b"\x20\x02\0\0").await;
    for byte in packet(0x30, b"\0\x01t{}") {
        socket.send(&[byte]).await;
    }
    socket.expect_nothing().await;
    assert_eq!(platform.broker.stats().messages_in, [1, 0, 0]);
}

#[tokio::test]
async fn a_large_packet_comes_whole() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    let payload = format!("\"{}\"", "x".repeat(65_534));
    socket.send(&publish3(1, "t", 1, payload.as_bytes())).await;
    socket.expect(b"\x40\x02\0\x01").await;
    assert_eq!(platform.stored(&device, 1).await[0].payload.as_str().len(), 65_536);
}
