//! Section 3.3.4: overlapping subscriptions and subscription identifiers.

use crate::packets::{publish5, subscribe5};
use crate::stage::{Stage, properties, retained, subscribe_5};

/// The subscription identifiers of a PUBLISH on a topic of one character, ordered.
fn identifiers(publish: &[u8]) -> Vec<Vec<u8>> {
    let at = if publish[0] & 6 == 0 { 5 } else { 7 };
    let found = properties(&publish[at..]).into_iter().filter(|(id, _)| *id == 0x0b);
    let mut found: Vec<Vec<u8>> = found.map(|(_, value)| value).collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn mqtt5_3_3_4_2_overlapping_subscriptions_get_one_copy_at_the_highest_of_their_qos() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"\x0b\x01", &[("t", 0)]).await;
    subscribe_5(&mut socket, b"\x0b\x02", &[("+", 2)]).await;
    subscribe_5(&mut socket, b"", &[("#", 1)]).await;
    stage.publish(2, "t", b"1").await;
    let publish = socket.packet().await;
    assert_eq!(publish[0], 0x34);
    // [MQTT-3.3.4-4] with the identifiers of all that have one
    assert_eq!(identifiers(&publish), [[1], [2]]);
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_3_4_3_identifiers_of_every_size_come_with_the_messages() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    for id in [b"\x01".as_slice(), b"\x7f", b"\x80\x01", b"\xff\x7f", b"\x80\x80\x01", b"\xff\xff\xff\x7f"] {
        subscribe_5(&mut socket, &[b"\x0b", id].concat(), &[("t", 1)]).await;
        stage.publish(1, "t", b"1").await;
        let publish = socket.packet().await;
        assert_eq!(identifiers(&publish), [id]);
        socket.send(&[0x40, 2, publish[5], publish[6]]).await;
    }
    // The same subscription without one has none any more.
    subscribe_5(&mut socket, b"", &[("t", 0)]).await;
    stage.publish(1, "t", b"1").await;
    assert!(identifiers(&socket.packet().await).is_empty());
}

#[tokio::test]
async fn mqtt5_3_3_4_5_each_copy_has_the_identifier_of_the_subscription_it_is_sent_for() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"\x0b\x01", &[("t", 0)]).await;
    subscribe_5(&mut socket, b"\x0b\x02", &[("$share/g/t", 0)]).await;
    subscribe_5(&mut socket, b"\x0b\x03", &[("$share/h/+", 0)]).await;
    stage.publish(0, "t", b"1").await;
    let mut seen = [socket.packet().await, socket.packet().await, socket.packet().await].map(|p| identifiers(&p));
    seen.sort_unstable();
    assert_eq!(seen, [[[1]], [[2]], [[3]]]);
}

#[tokio::test]
async fn mqtt5_an_identifier_comes_with_retained_messages_and_with_those_that_waited() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"1").await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"\x0b\x09", &[("t", 1)]).await;
    socket.expect(&retained(publish5(1, "t", 1, b"\x0b\x09", b"1"))).await;
    socket.send(b"\x40\x02\0\x01").await;
    stage.lose(socket).await;
    stage.publish(1, "t", b"2").await;
    stage.kept5("s").await.expect(&publish5(1, "t", 2, b"\x0b\x09", b"2")).await;
}

#[tokio::test]
async fn mqtt5_an_identifier_of_0_or_a_second_one_is_a_protocol_error() {
    let stage = Stage::start().await;
    for properties in [b"\x0b\0".as_slice(), b"\x0b\x01\x0b\x02"] {
        stage.closes5(&subscribe5(1, properties, &[("t", 0)]), 0x82).await;
    }
    // Five bytes.
    stage.closes5(&subscribe5(1, b"\x0b\x80\x80\x80\x80\x01", &[("t", 0)]), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_3_4_6_a_client_does_not_publish_with_an_identifier() {
    let stage = Stage::start().await;
    stage.closes5(&publish5(1, "t", 1, b"\x0b\x01", b"1"), 0x82).await;
}
