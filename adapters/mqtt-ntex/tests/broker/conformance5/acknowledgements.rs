//! Sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP.

use crate::packets::{packet, publish5};
use crate::stage::{Stage, subscribe_5, text, user_property};

#[tokio::test]
async fn mqtt5_3_6_2_1_an_exchange_that_is_not_known_is_answered_with_its_code() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("x").await;
    socket.send(b"\x50\x02\0\x07").await;
    socket.expect(b"\x62\x03\0\x07\x92").await;
    // [MQTT-3.7.2-1]
    socket.send(b"\x62\x02\0\x08").await;
    socket.expect(b"\x70\x03\0\x08\x92").await;
    // Acknowledgements that nobody waits for are passed over.
    socket.send(b"\x40\x02\0\x09\x70\x02\0\x0a").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_6_1_1_flags_of_pubrel_that_are_not_2_are_malformed() {
    let stage = Stage::start().await;
    for flags in (0..16).filter(|flags| *flags != 2) {
        stage.closes5(&packet(0x60 | flags, b"\0\x01"), 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_an_acknowledgement_may_be_short_or_long() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 2)]).await;
    let words = [text(0x1f, b"why"), user_property(b"a", b"b"), user_property(b"a", b"b")].concat();
    let with = |first: u8, id: u8, reason: u8, properties: &[u8]| {
        let len = u8::try_from(properties.len()).unwrap();
        packet(first, &[&[0, id, reason, len], properties].concat())
    };
    let forms = |first: u8, id: u8| {
        [packet(first, &[0, id]), packet(first, &[0, id, 0]), with(first, id, 0, b""), with(first, id, 0, &words)]
    };
    for form in 0..4 {
        stage.publish(1, "t", b"1").await;
        let id = socket.packet().await[6];
        socket.send(&forms(0x40, id)[form]).await;
        stage.publish(2, "t", b"2").await;
        let id = socket.packet().await[6];
        socket.send(&forms(0x50, id)[form]).await;
        socket.expect(&[0x62, 2, 0, id]).await;
        socket.send(&forms(0x70, id)[form]).await;
        socket.send(&publish5(2, "u", 1, b"", b"3")).await;
        socket.expect(b"\x50\x02\0\x01").await;
        socket.send(&forms(0x62, 1)[form]).await;
        socket.expect(b"\x70\x02\0\x01").await;
    }
}

#[tokio::test]
async fn mqtt5_3_4_2_1_an_acknowledgement_that_is_not_well_formed_is_answered_by_its_reason() {
    let stage = Stage::start().await;
    for first in [0x40, 0x50, 0x62, 0x70] {
        for (body, reason) in [
            // A code that it does not have, too short, properties of others, cut off, bytes after the end.
            (b"\0\x01\x55".as_slice(), 0x81),
            (b"\0", 0x81),
            (b"", 0x81),
            (b"\0\x01\0\x02\x01\0", 0x81),
            (b"\0\x01\0\x05\x1f", 0x81),
            (b"\0\x01\0\0\0", 0x81),
            // Words twice.
            (b"\0\x01\0\x06\x1f\0\0\x1f\0\0", 0x82),
        ] {
            stage.closes5(&packet(first, body), reason).await;
        }
    }
}

#[tokio::test]
async fn mqtt5_4_4_0_2_a_failure_ends_the_exchange() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 2)]).await;
    for reason in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        stage.publish(1, "t", b"1").await;
        let id = socket.packet().await[6];
        socket.send(&[0x40, 3, 0, id, reason]).await;
        stage.publish(2, "t", b"2").await;
        let id = socket.packet().await[6];
        // [MQTT-4.3.3-4] and there is no PUBREL
        socket.send(&[0x50, 3, 0, id, reason]).await;
        socket.expect_nothing().await;
    }
    stage.lose(socket).await;
    stage.kept5("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_an_acknowledgement_of_another_kind_than_the_message_asks_for_is_a_protocol_error() {
    let stage = Stage::start().await;
    for (qos, first) in [(1, 0x50), (1, 0x70), (2, 0x40), (2, 0x70)] {
        let mut socket = stage.subscriber5("s", &[("t", qos)]).await;
        stage.publish(qos, "t", b"1").await;
        socket.expect(&publish5(qos, "t", 1, b"", b"1")).await;
        socket.send(&[first, 2, 0, 1]).await;
        socket.expect_disconnect(0x82).await;
    }
    // After PUBREC only PUBCOMP is due, and PUBREC again does no harm.
    let mut socket = stage.subscriber5("s", &[("t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    socket.expect(&publish5(2, "t", 1, b"", b"1")).await;
    for _ in 0..2 {
        socket.send(b"\x50\x02\0\x01").await;
        socket.expect(b"\x62\x02\0\x01").await;
    }
    socket.send(b"\x40\x02\0\x01").await;
    socket.expect_disconnect(0x82).await;
}
