//! Sections 3.3.1, 3.3.2.1 and 3.3.4: PUBLISH without its properties.

use crate::packets::{packet, publish5, subscribe5};
use crate::stage::{Stage, again, retained, subscribe_5};

#[tokio::test]
async fn mqtt5_3_3_1_1_what_is_sent_again_says_so() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 2)]).await;
    stage.publish(1, "t", b"1").await;
    stage.publish(2, "t", b"2").await;
    socket.expect(&publish5(1, "t", 1, b"", b"1")).await;
    socket.expect(&publish5(2, "t", 2, b"", b"2")).await;
    for _ in 0..2 {
        stage.lose(socket).await;
        socket = stage.kept5("s").await;
        socket.expect(&again(publish5(1, "t", 1, b"", b"1"))).await;
        socket.expect(&again(publish5(2, "t", 2, b"", b"2"))).await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_1_2_dup_with_qos_0_is_malformed() {
    let stage = Stage::start().await;
    stage.closes5(&again(publish5(0, "t", 0, b"", b"1")), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_3_1_3_dup_is_not_passed_on() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 2)]).await;
    let mut publisher = stage.v5("p").await;
    publisher.send(&again(publish5(1, "t", 7, b"", b"1"))).await;
    socket.expect(&publish5(1, "t", 1, b"", b"1")).await;
    publisher.send(&again(publish5(2, "t", 8, b"", b"2"))).await;
    socket.expect(&publish5(2, "t", 2, b"", b"2")).await;
}

#[tokio::test]
async fn mqtt5_3_3_1_4_qos_3_is_malformed() {
    let stage = Stage::start().await;
    for flags in [0x06, 0x07, 0x0e] {
        stage.closes5(&packet(0x30 | flags, b"\0\x01t\0\x01\x001"), 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_1_5_a_retained_message_replaces_the_one_before_and_keeps_its_qos() {
    let stage = Stage::start().await;
    for (qos, payload) in [(2, b"1"), (0, b"2"), (1, b"3")] {
        stage.retain(qos, "t", payload).await;
        let mut socket = stage.subscriber5("s", &[("t", 2)]).await;
        socket.expect(&retained(publish5(qos, "t", 1, b"", payload))).await;
    }
    assert_eq!(stage.platform.broker.stats().retained_messages, 1);
}

#[tokio::test]
async fn mqtt5_3_3_1_6_an_empty_retained_message_removes_the_one_before_and_is_delivered() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"1").await;
    let mut socket = stage.subscriber5("s", &[("t", 0)]).await;
    socket.expect(&retained(publish5(0, "t", 0, b"", b"1"))).await;
    stage.retain(1, "t", b"").await;
    socket.expect(&publish5(0, "t", 0, b"", b"")).await;
    // [MQTT-3.3.1-7] it is not kept itself
    stage.subscriber5("late", &[("t", 0)]).await.expect_nothing().await;
    assert_eq!(stage.platform.broker.stats().retained_messages, 0);
}

#[tokio::test]
async fn mqtt5_3_3_1_8_a_message_without_retain_leaves_the_retained_one_alone() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"1").await;
    for payload in [b"2".as_slice(), b""] {
        stage.publish(1, "t", payload).await;
    }
    stage.publish(1, "u", b"3").await;
    let mut socket = stage.subscriber5("s", &[("t", 0), ("u", 0)]).await;
    socket.expect(&retained(publish5(0, "t", 0, b"", b"1"))).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_3_1_9_retain_handling_0_sends_all_that_match_each_time() {
    let stage = Stage::start().await;
    for topic in ["a/1", "a/2", "a/b/c", "b"] {
        stage.retain(1, topic, b"1").await;
    }
    let mut socket = stage.v5("s").await;
    for _ in 0..2 {
        subscribe_5(&mut socket, b"", &[("a/#", 0)]).await;
        let mut topics = Vec::new();
        for _ in 0..3 {
            let publish = socket.packet().await;
            assert_eq!(publish[0], 0x31);
            topics.push(publish[4..publish.len() - 2].to_vec());
        }
        topics.sort_unstable();
        assert_eq!(topics, [b"a/1".to_vec(), b"a/2".to_vec(), b"a/b/c".to_vec()]);
        socket.expect_nothing().await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_1_10_retain_handling_1_sends_them_when_the_subscription_is_new() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"1").await;
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 0x10)]).await;
    socket.expect(&retained(publish5(0, "t", 0, b"", b"1"))).await;
    subscribe_5(&mut socket, b"", &[("t", 0x10)]).await;
    socket.expect_nothing().await;
    socket.send(b"\xa2\x06\0\x02\0\0\x01t").await;
    socket.packet().await;
    subscribe_5(&mut socket, b"", &[("t", 0x10)]).await;
    socket.expect(&retained(publish5(0, "t", 0, b"", b"1"))).await;
}

#[tokio::test]
async fn mqtt5_3_3_1_11_retain_handling_2_sends_none_and_3_is_a_protocol_error() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"1").await;
    let mut socket = stage.subscriber5("s", &[("t", 0x20)]).await;
    socket.expect_nothing().await;
    stage.closes5(&subscribe5(1, b"", &[("t", 0x30)]), 0x82).await;
}

#[tokio::test]
async fn mqtt5_3_3_1_12_without_retain_as_published_the_flag_is_0() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 1)]).await;
    stage.retain(1, "t", b"1").await;
    socket.expect(&publish5(1, "t", 1, b"", b"1")).await;
    stage.publish(1, "t", b"2").await;
    socket.expect(&publish5(1, "t", 2, b"", b"2")).await;
}

#[tokio::test]
async fn mqtt5_3_3_1_13_with_retain_as_published_the_flag_is_as_it_came() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 0x09)]).await;
    stage.retain(1, "t", b"1").await;
    socket.expect(&retained(publish5(1, "t", 1, b"", b"1"))).await;
    stage.publish(1, "t", b"2").await;
    socket.expect(&publish5(1, "t", 2, b"", b"2")).await;
    // Also for a message that waits.
    stage.lose(socket).await;
    let mut socket = stage.kept5("k").await;
    subscribe_5(&mut socket, b"", &[("t", 0x29)]).await;
    stage.lose(socket).await;
    stage.retain(1, "t", b"3").await;
    stage.kept5("k").await.expect(&retained(publish5(1, "t", 1, b"", b"3"))).await;
}

#[tokio::test]
async fn mqtt5_3_3_2_2_a_wildcard_in_a_topic_name_closes_the_connection() {
    let stage = Stage::start().await;
    for topic in ["#", "+", "a/#", "a/+/b", "a+", "#a"] {
        stage.closes5(&publish5(0, topic, 0, b"", b"1"), 0x90).await;
        stage.closes5(&publish5(1, topic, 1, b"", b"1"), 0x90).await;
    }
    // No topic at all, and no alias in its place.
    stage.closes5(&publish5(0, "", 0, b"", b"1"), 0x82).await;
}

#[tokio::test]
async fn mqtt5_3_3_4_1_each_qos_has_its_response() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("x").await;
    socket.send(&publish5(0, "t", 0, b"", b"1")).await;
    socket.expect_nothing().await;
    socket.send(&publish5(1, "t", 1, b"", b"1")).await;
    socket.expect(b"\x40\x02\0\x01").await;
    socket.send(&publish5(2, "t", 2, b"", b"1")).await;
    socket.expect(b"\x50\x02\0\x02").await;
}
