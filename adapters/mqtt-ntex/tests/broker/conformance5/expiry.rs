//! Section 3.3.2.3.3: messages that are wanted for some time only, and the largest packet that a client takes.

use std::time::Duration;

use crate::packets::publish5;
use crate::platform::Socket;
use crate::stage::{Stage, again, retained, subscribe_5};

/// Publishes at QoS 1 with an expiry in seconds.
async fn publish(publisher: &mut Socket, topic: &str, seconds: u8, payload: &[u8]) {
    publisher.send(&publish5(1, topic, 1, &[0x02, 0, 0, 0, seconds], payload)).await;
    publisher.expect(b"\x40\x02\0\x01").await;
}

#[tokio::test]
async fn mqtt5_3_3_2_5_a_retained_message_is_gone_when_its_time_is_over() {
    let stage = Stage::start().await;
    let mut publisher = stage.v5("p").await;
    publisher.send(&retained(publish5(1, "t", 1, b"\x02\0\0\0\x01", b"1"))).await;
    publisher.expect(b"\x40\x02\0\x01").await;
    let mut early = stage.subscriber5("early", &[("t", 0)]).await;
    early.expect(&retained(publish5(0, "t", 0, b"\x02\0\0\0\x01", b"1"))).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stage.subscriber5("late", &[("t", 0)]).await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_3_2_6_the_time_that_a_message_waited_is_taken_off_its_expiry() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 1)]).await;
    let mut publisher = stage.v5("p").await;
    publish(&mut publisher, "t", 100, b"1").await;
    socket.expect(&publish5(1, "t", 1, b"\x02\0\0\0\x64", b"1")).await;
    socket.send(b"\x40\x02\0\x01").await;
    stage.lose(socket).await;
    publish(&mut publisher, "t", 100, b"2").await;
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    stage.kept5("s").await.expect(&publish5(1, "t", 2, b"\x02\0\0\0\x63", b"2")).await;
}

#[tokio::test]
async fn mqtt5_an_expiry_of_0_is_for_those_who_are_connected() {
    let stage = Stage::start_with(|config| config.workers = 3).await;
    let mut away = stage.kept5("away").await;
    subscribe_5(&mut away, b"", &[("t", 1)]).await;
    stage.lose(away).await;
    let mut sockets = Vec::new();
    for qos in [0, 1, 2, 0, 1, 2] {
        sockets.push((qos, stage.subscriber5(&format!("s{}", sockets.len()), &[("t", qos)]).await));
    }
    let mut publisher = stage.v5("p").await;
    publisher.send(&publish5(2, "t", 1, b"\x02\0\0\0\0", b"1")).await;
    // [MQTT-4.3.3-13] the exchange with the publisher goes on whatever became of the message
    publisher.expect(b"\x50\x02\0\x01").await;
    publisher.send(b"\x62\x02\0\x01").await;
    publisher.expect(b"\x70\x02\0\x01").await;
    for (qos, socket) in &mut sockets {
        socket.expect(&publish5(*qos, "t", 1, b"\x02\0\0\0\0", b"1")).await;
    }
    stage.kept5("away").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_an_expiry_of_0_replaces_what_is_retained_and_does_not_stay() {
    let stage = Stage::start().await;
    stage.retain(1, "t", b"old").await;
    let mut publisher = stage.v5("p").await;
    publisher.send(&retained(publish5(1, "t", 1, b"\x02\0\0\0\0", b"new"))).await;
    publisher.expect(b"\x40\x02\0\x01").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stage.subscriber5("s", &[("t", 0)]).await.expect_nothing().await;
    // And in a will.
    let mut watcher = stage.subscriber5("w", &[("state", 0)]).await;
    let connect = stage.connect5("x").will_with(0, b"\x02\0\0\0\0", b"state", b"gone");
    stage.accepted(&connect).await.0.break_off();
    watcher.expect(&publish5(0, "state", 0, b"\x02\0\0\0\0", b"gone")).await;
}

#[tokio::test]
async fn mqtt5_4_3_3_7_a_message_that_was_sent_does_not_expire_any_more() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("one", 1), ("two", 2)]).await;
    let mut publisher = stage.v5("p").await;
    publish(&mut publisher, "one", 1, b"1").await;
    socket.expect(&publish5(1, "one", 1, b"\x02\0\0\0\x01", b"1")).await;
    publisher.send(&publish5(2, "two", 2, b"\x02\0\0\0\x01", b"2")).await;
    publisher.packet().await;
    socket.expect(&publish5(2, "two", 2, b"\x02\0\0\0\x01", b"2")).await;
    stage.lose(socket).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut socket = stage.kept5("s").await;
    socket.expect(&again(publish5(1, "one", 1, b"\x02\0\0\0\0", b"1"))).await;
    socket.expect(&again(publish5(2, "two", 2, b"\x02\0\0\0\0", b"2"))).await;
}

#[tokio::test]
async fn mqtt5_a_will_expires_after_it_was_published() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("state", 1)]).await;
    stage.lose(socket).await;
    let connect = stage.connect5("x").will_with(1, b"\x02\0\0\0\x01", b"state", b"gone");
    stage.lose(stage.accepted(&connect).await.0).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    stage.kept5("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_1_2_24_no_packet_is_larger_than_the_client_takes_whichever_it_is() {
    let stage = Stage::start().await;
    stage.retain(1, "t", &[b'1'; 40]).await;
    stage.retain(1, "u", b"2").await;
    let (mut socket, _) = stage.accepted(&stage.connect5("s").property(b"\x27\0\0\0\x28")).await;
    // The retained message that fits, and not the other.
    subscribe_5(&mut socket, b"", &[("#", 1)]).await;
    let publish = socket.packet().await;
    assert_eq!((publish[0], publish.len()), (0x33, 9), "{publish:02x?}");
    socket.send(&[0x40, 2, publish[5], publish[6]]).await;
    // A will.
    let will = [b'3'; 40];
    stage.lose(stage.accepted(&stage.connect5("x").will(1, b"state", &will)).await.0).await;
    // One that is as large as may be, and one of a byte more. [MQTT-3.1.2-25] The exchange goes on with the next.
    for len in [32, 33, 31] {
        stage.publish(1, "v", &vec![b'4'; len]).await;
    }
    let first = socket.packet().await;
    assert_eq!(first.len(), 40, "{first:02x?}");
    assert_eq!(socket.packet().await.len(), 39);
    // A SUBACK of more codes than fit.
    socket.send(&crate::packets::subscribe5(1, b"", &[("a", 0); 50])).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_4_2_2_words_are_left_out_where_they_make_an_acknowledgement_too_large() {
    let stage = Stage::start().await;
    let refused = |qos| publish5(qos, "t", 1, b"\x01\x01", b"\xff");
    let (mut socket, _) = stage.accepted(&stage.connect5("s").property(b"\x27\0\0\0\x20")).await;
    socket.send(&refused(1)).await;
    socket.expect(b"\x40\x03\0\x01\x99").await;
    // [MQTT-3.5.2-2]
    socket.send(&refused(2)).await;
    socket.expect(b"\x50\x03\0\x01\x99").await;
}
