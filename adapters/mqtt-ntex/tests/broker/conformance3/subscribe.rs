//! Sections 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use crate::packets::{field, packet, publish3, subscribe3, unsubscribe3};
use crate::stage::{Stage, retained, subscribe_3};

#[tokio::test]
async fn mqtt_3_8_3_3_a_subscribe_without_a_filter_closes_the_connection() {
    let stage = Stage::start().await;
    stage.closes3(b"\x82\x02\0\x01").await;
}

#[tokio::test]
async fn mqtt_3_8_3_4_reserved_bits_and_qos_3_close_the_connection() {
    let stage = Stage::start().await;
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
        stage.closes3(&subscribe3(1, &[("t", options)])).await;
    }
    // The options of the second filter count, too.
    stage.closes3(&subscribe3(1, &[("t", 0), ("u", 3)])).await;
}

#[tokio::test]
async fn mqtt_3_8_4_3_the_same_filter_replaces_the_subscription_and_sends_what_is_retained() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"kept").await;
    let mut socket = stage.subscriber3("s", &[("t", 1)]).await;
    socket.expect(&retained(publish3(1, "t", 1, b"kept"))).await;
    socket.send(b"\x40\x02\0\x01").await;
    subscribe_3(&mut socket, &[("t", 0)]).await;
    socket.expect(&retained(publish3(0, "t", 0, b"kept"))).await;
    stage.publish(1, "t", b"1").await;
    socket.expect(&publish3(0, "t", 0, b"1")).await;
    socket.expect_nothing().await;
    assert_eq!(stage.platform.broker.stats().subscriptions, 1);
}

#[tokio::test]
async fn mqtt_3_8_4_4_many_filters_are_as_many_subscriptions_with_one_suback() {
    let stage = Stage::start().await;
    stage.retain(1, "a", b"1").await;
    let mut socket = stage.v3("s").await;
    socket.send(&subscribe3(7, &[("a", 1), ("$SYS/x", 1), ("c", 2), ("a", 0)])).await;
    // [MQTT-3.8.4-5] [MQTT-3.9.3-1] a code for each filter, in their order
    socket.expect(b"\x90\x06\0\x07\x01\x80\x02\0").await;
    assert_eq!(stage.platform.broker.stats().subscriptions, 2);
    stage.publish(2, "a", b"2").await;
    let mut packets = Vec::new();
    while packets.last() != Some(&publish3(0, "a", 0, b"2")) {
        packets.push(socket.packet().await);
    }
    assert!(packets.contains(&retained(publish3(0, "a", 0, b"1"))), "{packets:02x?}");
}

#[tokio::test]
async fn mqtt_3_8_4_6_a_message_comes_at_the_lower_qos_of_publisher_and_subscription() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("0", 0), ("1", 1), ("2", 2)]).await;
    let mut id = 0;
    for granted in 0..=2u8 {
        for published in 0..=2 {
            stage.publish(published, &granted.to_string(), b"1").await;
            let qos = granted.min(published);
            id += u16::from(qos > 0);
            socket.expect(&publish3(qos, &granted.to_string(), id, b"1")).await;
            match qos {
                0 => {}
                1 => socket.send(&packet(0x40, &id.to_be_bytes())).await,
                _ => {
                    socket.send(&packet(0x50, &id.to_be_bytes())).await;
                    socket.expect(&packet(0x62, &id.to_be_bytes())).await;
                    socket.send(&packet(0x70, &id.to_be_bytes())).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn mqtt_3_10_3_2_an_unsubscribe_without_a_filter_closes_the_connection() {
    let stage = Stage::start().await;
    stage.closes3(b"\xa2\x02\0\x01").await;
}

#[tokio::test]
async fn mqtt_3_10_4_1_filters_are_compared_byte_by_byte() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("a/b", 0)]).await;
    // Each means the topic, or looks like it.
    for filter in ["a/+", "#", "a/#", "+/b", "A/b", "a/b/", "/a/b", "a"] {
        socket.send(&unsubscribe3(1, filter)).await;
        socket.expect(b"\xb0\x02\0\x01").await;
    }
    stage.publish(0, "a/b", b"1").await;
    socket.expect(&publish3(0, "a/b", 0, b"1")).await;
}

#[tokio::test]
async fn mqtt_3_10_4_3_a_delivery_that_has_begun_is_completed_after_unsubscribing() {
    let stage = Stage::start().await;
    let mut socket = stage.kept3("s").await;
    subscribe_3(&mut socket, &[("t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    socket.expect(&publish3(2, "t", 1, b"1")).await;
    socket.send(&unsubscribe3(2, "t")).await;
    socket.expect(b"\xb0\x02\0\x02").await;
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x01").await;
    socket.send(b"\x70\x02\0\x01").await;
    // [MQTT-3.10.4-2] and nothing new begins
    stage.publish(2, "t", b"2").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_3_10_4_5_unsubscribing_from_nothing_is_answered() {
    let stage = Stage::start().await;
    let mut socket = stage.v3("s").await;
    socket.send(&unsubscribe3(0x1234, "never/subscribed")).await;
    socket.expect(b"\xb0\x02\x12\x34").await;
}

#[tokio::test]
async fn mqtt_3_10_4_6_many_filters_end_as_many_subscriptions_with_one_unsuback() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("a", 0), ("b", 0), ("c", 0)]).await;
    let filters: Vec<u8> = ["a", "x", "c"].iter().flat_map(|filter| field(filter.as_bytes())).collect();
    socket.send(&packet(0xa2, &[b"\0\x05", &filters[..]].concat())).await;
    socket.expect(b"\xb0\x02\0\x05").await;
    for topic in ["a", "b", "c"] {
        stage.publish(0, topic, b"1").await;
    }
    socket.expect(&publish3(0, "b", 0, b"1")).await;
    socket.expect_nothing().await;
}
