//! Sections 2.1.3 and 2.2.1: the flags of the fixed header, packet identifiers, and properties that are not there.

use crate::packets::{packet, publish5};
use crate::stage::{Stage, subscribe_5};

#[tokio::test]
async fn mqtt5_2_1_3_1_flags_that_are_not_those_of_the_type_are_malformed() {
    let stage = Stage::start().await;
    let cases: &[(u8, &[u8])] = &[
        (0x40, b"\0\x01"),
        (0x50, b"\0\x01"),
        (0x62, b"\0\x01"),
        (0x70, b"\0\x01"),
        (0x82, b"\0\x01\0\0\x01t\0"),
        (0xa2, b"\0\x01\0\0\x01t"),
        (0xc0, b""),
        (0xe0, b""),
        (0xf0, b""),
    ];
    for (first, body) in cases {
        for flags in [0x00, 0x01, 0x02, 0x04, 0x08, 0x0f].iter().filter(|flags| **flags != first & 0x0f) {
            stage.closes5(&packet(first & 0xf0 | flags, body), 0x81).await;
        }
    }
}

#[tokio::test]
async fn mqtt5_2_2_1_3_a_packet_identifier_of_0_is_malformed() {
    let stage = Stage::start().await;
    for bytes in [
        publish5(1, "t", 0, b"", b"1"),
        publish5(2, "t", 0, b"", b"1"),
        b"\x82\x07\0\0\0\0\x01t\0".to_vec(),
        b"\xa2\x06\0\0\0\0\x01t".to_vec(),
        b"\x40\x02\0\0".to_vec(),
        b"\x62\x02\0\0".to_vec(),
    ] {
        stage.closes5(&bytes, 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_2_2_1_4_the_server_uses_an_identifier_again_only_after_its_acknowledgement() {
    let stage = Stage::start_with(|config| config.limits.inflight = 3).await;
    let mut socket = stage.subscriber5("s", &[("t", 2)]).await;
    for (qos, id) in [(1, 1), (2, 2), (1, 3)] {
        stage.publish(qos, "t", b"1").await;
        socket.expect(&publish5(qos, "t", id, b"", b"1")).await;
    }
    for _ in 0..3 {
        stage.publish(1, "t", b"2").await;
    }
    socket.send(b"\x50\x02\0\x02").await;
    socket.expect(b"\x62\x02\0\x02").await;
    socket.expect_nothing().await;
    socket.send(b"\x40\x02\0\x03").await;
    let next = socket.packet().await;
    assert!(![1, 2].contains(&next[6]), "{next:02x?}");
}

#[tokio::test]
async fn mqtt5_2_2_1_5_acknowledgements_carry_the_identifier_of_their_publish() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("x").await;
    for id in [1u16, 0x1234, 0xffff] {
        let [high, low] = id.to_be_bytes();
        socket.send(&publish5(1, "t", id, b"", b"1")).await;
        socket.expect(&[0x40, 2, high, low]).await;
        socket.send(&publish5(2, "t", id, b"", b"1")).await;
        socket.expect(&[0x50, 2, high, low]).await;
        socket.send(&[0x62, 2, high, low]).await;
        socket.expect(&[0x70, 2, high, low]).await;
    }
    subscribe_5(&mut socket, b"", &[("t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    let publish = socket.packet().await;
    socket.send(&[0x50, 2, publish[5], publish[6]]).await;
    socket.expect(&[0x62, 2, publish[5], publish[6]]).await;
}

#[tokio::test]
async fn mqtt5_2_2_1_6_suback_and_unsuback_carry_the_identifier_of_their_request() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("x").await;
    for id in [1u16, 0x1234, 0xffff] {
        let [high, low] = id.to_be_bytes();
        socket.send(&[0x82, 7, high, low, 0, 0, 1, b't', 0]).await;
        socket.expect(&[0x90, 4, high, low, 0, 0]).await;
        socket.send(&[0xa2, 6, high, low, 0, 0, 1, b't']).await;
        socket.expect(&[0xb0, 4, high, low, 0, 0]).await;
    }
}

#[tokio::test]
async fn mqtt5_2_2_2_1_where_there_are_no_properties_their_length_is_0() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 1)]).await;
    socket.send(&publish5(1, "t", 5, b"", b"1")).await;
    let mut packets = [socket.packet().await, socket.packet().await];
    packets.sort_unstable();
    assert_eq!(packets, [b"\x32\x07\0\x01t\0\x01\x001".to_vec(), b"\x40\x02\0\x05".to_vec()]);
}
