//! Section 3.3: PUBLISH.

use crate::packets::{packet, publish3};
use crate::stage::{Stage, again, retained};

#[tokio::test]
async fn mqtt_3_3_1_2_dup_with_qos_0_closes_the_connection() {
    let stage = Stage::start().await;
    stage.closes3(&again(publish3(0, "t", 0, b"1"))).await;
}

#[tokio::test]
async fn mqtt_3_3_1_3_dup_is_not_passed_on() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("t", 2)]).await;
    let mut publisher = stage.v3("p").await;
    publisher.send(&again(publish3(1, "t", 7, b"1"))).await;
    socket.expect(&publish3(1, "t", 1, b"1")).await;
    publisher.send(&again(publish3(2, "t", 8, b"2"))).await;
    socket.expect(&publish3(2, "t", 2, b"2")).await;
}

#[tokio::test]
async fn mqtt_3_3_1_4_qos_3_closes_the_connection() {
    let stage = Stage::start().await;
    for flags in [0x06, 0x0e] {
        stage.closes3(&packet(0x30 | flags, b"\0\x01t\0\x011")).await;
    }
}

#[tokio::test]
async fn mqtt_3_3_1_5_a_retained_message_is_kept_with_its_qos() {
    let stage = Stage::start().await;
    for qos in [0, 1, 2] {
        stage.retain(qos, "t", b"1").await;
        let mut socket = stage.subscriber3("s", &[("t", 2)]).await;
        socket.expect(&retained(publish3(qos, "t", 1, b"1"))).await;
    }
}

#[tokio::test]
async fn mqtt_3_3_1_7_a_retained_message_of_qos_0_replaces_the_one_before() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"1").await;
    stage.retain(0, "t", b"2").await;
    stage.publish(1, "u", b"so that the one before is done").await;
    let mut socket = stage.subscriber3("s", &[("t", 1)]).await;
    socket.expect(&retained(publish3(0, "t", 0, b"2"))).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_3_3_1_9_those_who_are_subscribed_already_see_no_retain() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("t", 0)]).await;
    stage.retain(1, "t", b"1").await;
    socket.expect(&publish3(0, "t", 0, b"1")).await;
}

#[tokio::test]
async fn mqtt_3_3_1_12_a_message_without_retain_leaves_the_retained_one_alone() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"1").await;
    stage.publish(1, "t", b"2").await;
    stage.publish(1, "t", b"").await;
    stage.publish(1, "u", b"3").await;
    let mut socket = stage.subscriber3("s", &[("t", 0), ("u", 0)]).await;
    socket.expect(&retained(publish3(0, "t", 0, b"1"))).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_3_3_2_2_a_wildcard_in_a_topic_name_closes_the_connection() {
    let stage = Stage::start().await;
    for topic in ["#", "+", "a/#", "a/+/b", "a+", "#a"] {
        stage.closes3(&publish3(0, topic, 0, b"1")).await;
    }
}

#[tokio::test]
async fn mqtt_3_3_4_1_each_qos_has_its_response() {
    let stage = Stage::start().await;
    let mut socket = stage.v3("x").await;
    socket.send(&publish3(0, "t", 0, b"1")).await;
    socket.expect_nothing().await;
    socket.send(&publish3(1, "t", 1, b"1")).await;
    socket.expect(b"\x40\x02\0\x01").await;
    socket.send(&publish3(2, "t", 2, b"1")).await;
    socket.expect(b"\x50\x02\0\x02").await;
}

#[tokio::test]
async fn mqtt_3_3_5_1_overlapping_subscriptions_get_the_highest_of_their_qos() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("t/+", 0), ("t/#", 2), ("t/x", 1)]).await;
    stage.publish(2, "t/x", b"1").await;
    socket.expect(&publish3(2, "t/x", 1, b"1")).await;
    socket.expect_nothing().await;
}
