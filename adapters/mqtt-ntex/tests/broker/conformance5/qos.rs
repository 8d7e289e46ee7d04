//! Sections 4.1 to 4.6: sessions, the flows of QoS, and order.

use crate::packets::{packet, publish5};
use crate::stage::{Stage, again, subscribe_5};

#[tokio::test]
async fn mqtt5_4_1_0_2_a_session_is_discarded_when_its_time_is_over() {
    let stage = Stage::start().await;
    let connect = stage.connect5("s").kept().property(b"\x11\0\0\0\x01");
    let (mut socket, _) = stage.accepted(&connect).await;
    subscribe_5(&mut socket, b"", &[("t", 1)]).await;
    stage.lose(socket).await;
    stage.platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 0).await;
    assert_eq!(stage.platform.broker.stats().subscriptions, 0);
    let (_socket, ack) = stage.accepted(&connect).await;
    assert_eq!(ack[2], 0);
}

#[tokio::test]
async fn mqtt5_4_1_0_1_a_session_lives_as_long_as_its_connection_whatever_its_expiry() {
    let stage = Stage::start().await;
    let connect = stage.connect5("s").property(b"\x11\0\0\0\x01");
    let (mut socket, _) = stage.accepted(&connect).await;
    subscribe_5(&mut socket, b"", &[("t", 1)]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
    stage.publish(1, "t", b"1").await;
    socket.expect(&publish5(1, "t", 1, b"", b"1")).await;
}

#[tokio::test]
async fn mqtt5_4_3_1_1_qos_0_comes_once_without_dup() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 0)]).await;
    stage.publish(2, "t", b"1").await;
    socket.expect(&publish5(0, "t", 0, b"", b"1")).await;
    stage.lose(socket).await;
    stage.kept5("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_3_2_3_qos_1_is_unacknowledged_until_its_puback() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 1)]).await;
    stage.publish(1, "t", b"1").await;
    socket.expect(&publish5(1, "t", 1, b"", b"1")).await;
    stage.lose(socket).await;
    let mut socket = stage.kept5("s").await;
    socket.expect(&again(publish5(1, "t", 1, b"", b"1"))).await;
    socket.send(b"\x40\x02\0\x01").await;
    stage.lose(socket).await;
    stage.kept5("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_3_2_5_after_puback_the_same_identifier_is_a_new_message_even_with_dup() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("t", 0)]).await;
    let mut socket = stage.v5("x").await;
    for packet in [publish5(1, "t", 7, b"", b"1"), again(publish5(1, "t", 7, b"", b"2"))] {
        socket.send(&packet).await;
        socket.expect(b"\x40\x02\0\x07").await;
    }
    watcher.expect(&publish5(0, "t", 0, b"", b"1")).await;
    watcher.expect(&publish5(0, "t", 0, b"", b"2")).await;
}

#[tokio::test]
async fn mqtt5_4_3_3_6_a_message_of_qos_2_is_not_sent_again_after_its_pubrel() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    socket.expect(&publish5(2, "t", 1, b"", b"1")).await;
    stage.lose(socket).await;
    let mut socket = stage.kept5("s").await;
    // [MQTT-4.3.3-3] until PUBREC it is
    socket.expect(&again(publish5(2, "t", 1, b"", b"1"))).await;
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x01").await;
    // [MQTT-4.3.3-5] and until PUBCOMP so is PUBREL
    for _ in 0..2 {
        stage.lose(socket).await;
        socket = stage.kept5("s").await;
        socket.expect(b"\x62\x02\0\x01").await;
        socket.expect_nothing().await;
    }
    socket.send(b"\x70\x02\0\x01").await;
    stage.lose(socket).await;
    stage.kept5("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_3_3_9_after_a_pubrec_of_failure_the_same_identifier_is_a_new_message() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("t", 0)]).await;
    let mut socket = stage.v5("x").await;
    socket.send(&publish5(2, "t", 7, b"\x01\x01", b"\xff")).await;
    assert_eq!(socket.packet().await[4], 0x99);
    socket.send(&publish5(2, "t", 7, b"", b"1")).await;
    socket.expect(b"\x50\x02\0\x07").await;
    watcher.expect(&publish5(0, "t", 0, b"", b"1")).await;
}

#[tokio::test]
async fn mqtt5_4_3_3_10_until_pubrel_the_same_identifier_is_the_same_message() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("t", 0)]).await;
    let mut socket = stage.kept5("x").await;
    socket.send(&publish5(2, "t", 7, b"", b"1")).await;
    socket.expect(b"\x50\x02\0\x07").await;
    socket.send(&again(publish5(2, "t", 7, b"", b"1"))).await;
    socket.expect(b"\x50\x02\0\x07").await;
    // On the next connection, too, and even if the client forgets to say so.
    stage.lose(socket).await;
    let mut socket = stage.kept5("x").await;
    socket.send(&publish5(2, "t", 7, b"", b"1")).await;
    socket.expect(b"\x50\x02\0\x07").await;
    // [MQTT-4.3.3-11]
    socket.send(b"\x62\x02\0\x07").await;
    socket.expect(b"\x70\x02\0\x07").await;
    // [MQTT-4.3.3-12] and then it is a new one
    socket.send(&publish5(2, "t", 7, b"", b"2")).await;
    socket.expect(b"\x50\x02\0\x07").await;
    watcher.expect(&publish5(0, "t", 0, b"", b"1")).await;
    watcher.expect(&publish5(0, "t", 0, b"", b"2")).await;
    watcher.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_4_0_1_nothing_is_sent_again_but_on_a_new_connection() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 2)]).await;
    stage.publish(1, "t", b"1").await;
    stage.publish(2, "t", b"2").await;
    socket.expect(&publish5(1, "t", 1, b"", b"1")).await;
    socket.expect(&publish5(2, "t", 2, b"", b"2")).await;
    socket.send(b"\x50\x02\0\x02").await;
    socket.expect(b"\x62\x02\0\x02").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    socket.expect_nothing().await;
    stage.lose(socket).await;
    let mut socket = stage.kept5("s").await;
    socket.expect(&again(publish5(1, "t", 1, b"", b"1"))).await;
    socket.expect(b"\x62\x02\0\x02").await;
    // A session that begins anew owes nothing.
    stage.lose(socket).await;
    stage.v5("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_5_0_1_a_message_is_added_to_every_session_that_matches_connected_or_not() {
    let stage = Stage::start().await;
    let mut away = stage.kept5("away").await;
    subscribe_5(&mut away, b"", &[("t/#", 1)]).await;
    stage.lose(away).await;
    let mut here = stage.subscriber5("here", &[("+/x", 1)]).await;
    let mut other = stage.subscriber5("other", &[("u/#", 1)]).await;
    stage.publish(1, "t/x", b"1").await;
    here.expect(&publish5(1, "t/x", 1, b"", b"1")).await;
    stage.kept5("away").await.expect(&publish5(1, "t/x", 1, b"", b"1")).await;
    other.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_6_0_5_messages_of_one_client_on_one_topic_come_in_their_order() {
    let stage = Stage::start_with(|config| config.workers = 3).await;
    let mut sockets = Vec::new();
    for number in 0..6u8 {
        // One worker after the other, and each QoS on some of them.
        sockets.push((number % 3, stage.subscriber5(&format!("s{number}"), &[("t", number % 3)]).await));
    }
    let mut publisher = stage.v5("p").await;
    let all: Vec<u8> = (1..=200u16).flat_map(|id| publish5(2, "t", id, b"", &id.to_be_bytes())).collect();
    publisher.send(&all).await;
    for id in 1..=200u16 {
        publisher.expect(&packet(0x50, &id.to_be_bytes())).await;
    }
    for (qos, socket) in &mut sockets {
        for id in 1..=200u16 {
            let publish = socket.packet().await;
            assert_eq!((publish[0] >> 1 & 3, publish[publish.len() - 2..].to_vec()), (*qos, id.to_be_bytes().to_vec()));
        }
    }
}
