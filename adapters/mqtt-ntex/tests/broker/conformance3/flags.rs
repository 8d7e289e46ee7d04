//! Sections 2.2.2 and 2.3.1: the flags of the fixed header, and packet identifiers.

use crate::packets::{packet, publish3};
use crate::stage::{Stage, subscribe_3};

#[tokio::test]
async fn mqtt_2_2_2_1_what_the_server_sends_has_the_flags_of_its_type() {
    let stage = Stage::start().await;
    let (mut socket, ack) = stage.accepted(&stage.connect3("x")).await;
    let mut firsts = vec![ack[0]];
    for bytes in [
        b"\x82\x06\0\x01\0\x01t\x02".to_vec(),
        b"\xa2\x05\0\x02\0\x01u".to_vec(),
        b"\xc0\0".to_vec(),
        publish3(1, "u", 3, b"1"),
        publish3(2, "u", 4, b"1"),
        b"\x62\x02\0\x04".to_vec(),
    ] {
        socket.send(&bytes).await;
        firsts.push(socket.packet().await[0]);
    }
    stage.publish(2, "t", b"1").await;
    firsts.push(socket.packet().await[0]);
    socket.send(b"\x50\x02\0\x01").await;
    firsts.push(socket.packet().await[0]);
    // CONNACK, SUBACK, UNSUBACK, PINGRESP, PUBACK, PUBREC, PUBCOMP, PUBLISH of QoS 2, PUBREL.
    assert_eq!(firsts, [0x20, 0x90, 0xb0, 0xd0, 0x40, 0x50, 0x70, 0x34, 0x62]);
}

#[tokio::test]
async fn mqtt_2_2_2_2_flags_that_are_not_those_of_the_type_close_the_connection() {
    let stage = Stage::start().await;
    let cases: &[(u8, &[u8])] = &[
        (0x40, b"\0\x01"),
        (0x50, b"\0\x01"),
        (0x62, b"\0\x01"),
        (0x70, b"\0\x01"),
        (0x82, b"\0\x01\0\x01t\0"),
        (0xa2, b"\0\x01\0\x01t"),
        (0xc0, b""),
        (0xe0, b""),
    ];
    for (first, body) in cases {
        for flags in (0..16).filter(|flags| flags != &(first & 0x0f)) {
            stage.closes3(&packet(first & 0xf0 | flags, body)).await;
        }
    }
    // CONNECT itself.
    let connect = stage.connect3("x").bytes();
    for flags in 1..16 {
        let mut connect = connect.clone();
        connect[0] |= flags;
        stage.said(&connect).await.expect_closed().await;
    }
}

#[tokio::test]
async fn mqtt_2_3_1_1_a_packet_identifier_of_0_closes_the_connection() {
    let stage = Stage::start().await;
    for bytes in [
        publish3(1, "t", 0, b"1"),
        publish3(2, "t", 0, b"1"),
        b"\x82\x06\0\0\0\x01t\0".to_vec(),
        b"\xa2\x05\0\0\0\x01t".to_vec(),
    ] {
        stage.closes3(&bytes).await;
    }
}

#[tokio::test]
async fn mqtt_2_3_1_4_the_server_uses_an_identifier_again_only_after_its_acknowledgement() {
    let stage = Stage::start_with(|config| config.limits.inflight = 3).await;
    let mut socket = stage.subscriber3("s", &[("t", 2)]).await;
    for (qos, id) in [(1, 1), (2, 2), (1, 3)] {
        stage.publish(qos, "t", b"1").await;
        socket.expect(&publish3(qos, "t", id, b"1")).await;
    }
    for _ in 0..3 {
        stage.publish(1, "t", b"2").await;
    }
    // The window is full, and PUBREC is not the end of an exchange of QoS 2.
    socket.send(b"\x50\x02\0\x02").await;
    socket.expect(b"\x62\x02\0\x02").await;
    socket.expect_nothing().await;
    socket.send(b"\x40\x02\0\x03").await;
    let next = socket.packet().await;
    assert!(![1, 2].contains(&next[6]), "{next:02x?}");
}

#[tokio::test]
async fn mqtt_2_3_1_6_acknowledgements_carry_the_identifier_of_their_publish() {
    let stage = Stage::start().await;
    let mut socket = stage.v3("x").await;
    for id in [1u16, 0x1234, 0xffff] {
        let [high, low] = id.to_be_bytes();
        socket.send(&publish3(1, "t", id, b"1")).await;
        socket.expect(&[0x40, 2, high, low]).await;
        socket.send(&publish3(2, "t", id, b"1")).await;
        socket.expect(&[0x50, 2, high, low]).await;
        socket.send(&[0x62, 2, high, low]).await;
        socket.expect(&[0x70, 2, high, low]).await;
    }
    // And PUBREL that of the PUBREC.
    subscribe_3(&mut socket, &[("t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    let publish = socket.packet().await;
    socket.send(&[0x50, 2, publish[5], publish[6]]).await;
    socket.expect(&[0x62, 2, publish[5], publish[6]]).await;
}

#[tokio::test]
async fn mqtt_2_3_1_7_suback_and_unsuback_carry_the_identifier_of_their_request() {
    let stage = Stage::start().await;
    let mut socket = stage.v3("x").await;
    for id in [1u16, 0x1234, 0xffff] {
        let [high, low] = id.to_be_bytes();
        socket.send(&[0x82, 6, high, low, 0, 1, b't', 0]).await;
        socket.expect(&[0x90, 3, high, low, 0]).await;
        socket.send(&[0xa2, 5, high, low, 0, 1, b't']).await;
        socket.expect(&[0xb0, 2, high, low]).await;
    }
}
