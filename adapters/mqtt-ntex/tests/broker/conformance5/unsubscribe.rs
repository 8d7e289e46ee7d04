//! Sections 3.10 to 3.12: UNSUBSCRIBE, UNSUBACK and PINGREQ.

use crate::packets::{publish5, unsubscribe5};
use crate::stage::{Stage, subscribe_5};

#[tokio::test]
async fn mqtt5_3_10_3_2_an_unsubscribe_without_a_filter_is_a_protocol_error() {
    let stage = Stage::start().await;
    stage.closes5(b"\xa2\x03\0\x01\0", 0x82).await;
}

#[tokio::test]
async fn mqtt5_3_10_4_1_filters_are_compared_character_by_character() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("a/b", 0), ("a/+", 0)]).await;
    for filter in ["+/b", "#", "a/#", "A/b", "a/b/", "/a/b", "a", "$share/g/a/b"] {
        socket.send(&unsubscribe5(1, &[filter])).await;
        socket.expect(b"\xb0\x04\0\x01\0\x11").await;
    }
    assert_eq!(stage.platform.broker.stats().subscriptions, 2);
    socket.send(&unsubscribe5(1, &["a/+"])).await;
    socket.expect(b"\xb0\x04\0\x01\0\0").await;
    stage.publish(0, "a/c", b"1").await;
    stage.publish(0, "a/b", b"2").await;
    socket.expect(&publish5(0, "a/b", 0, b"", b"2")).await;
}

#[tokio::test]
async fn mqtt5_3_10_4_2_after_unsubscribing_nothing_new_comes() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 0)]).await;
    socket.send(&unsubscribe5(2, &["t"])).await;
    socket.expect(b"\xb0\x04\0\x02\0\0").await;
    stage.publish(1, "t", b"1").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_10_4_3_a_delivery_that_has_begun_is_completed_after_unsubscribing() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    socket.expect(&publish5(2, "t", 1, b"", b"1")).await;
    socket.send(&unsubscribe5(2, &["t"])).await;
    socket.expect(b"\xb0\x04\0\x02\0\0").await;
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x01").await;
    socket.send(b"\x70\x02\0\x01").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_10_4_5_unsubscribing_from_nothing_is_answered() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    socket.send(&unsubscribe5(0x1234, &["never/subscribed"])).await;
    socket.expect(b"\xb0\x04\x12\x34\0\x11").await;
}

#[tokio::test]
async fn mqtt5_3_10_4_6_many_filters_end_as_many_subscriptions_with_one_unsuback() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"", &[("a", 0), ("b", 0), ("c", 0)]).await;
    // [MQTT-3.11.3-1] [MQTT-3.11.3-2] a code for each, in their order
    socket.send(&unsubscribe5(5, &["a", "x", "c", &"a".repeat(1_025), "a"])).await;
    socket.expect(b"\xb0\x08\0\x05\0\0\x11\0\x8f\x11").await;
    for topic in ["a", "b", "c"] {
        stage.publish(0, topic, b"1").await;
    }
    socket.expect(&publish5(0, "b", 0, b"", b"1")).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_12_4_1_every_ping_is_answered() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    socket.send(&b"\xc0\0".repeat(5)).await;
    for _ in 0..5 {
        socket.expect(b"\xd0\0").await;
    }
    // Nothing belongs into it.
    stage.closes5(b"\xc0\x01\0", 0x81).await;
}
