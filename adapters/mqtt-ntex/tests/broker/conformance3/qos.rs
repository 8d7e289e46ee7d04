//! Chapter 4: sessions, the flows of QoS, and order.

use crate::packets::{packet, publish3};
use crate::platform::Socket;
use crate::stage::{Stage, again, subscribe_3};

/// Acknowledges messages of QoS 1 until the answer to a ping; returns their payloads.
async fn received(socket: &mut Socket) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    socket.send(b"\xc0\0").await;
    loop {
        let packet = socket.packet().await;
        match packet[0] & 0xf6 {
            0x32 => {
                socket.send(&[0x40, 2, packet[5], packet[6]]).await;
                payloads.push(packet[7..].to_vec());
            }
            0xd0 => return payloads,
            _ => panic!("{packet:02x?}"),
        }
    }
}

#[tokio::test]
async fn mqtt_4_3_1_1_qos_0_comes_once_without_dup() {
    let stage = Stage::start().await;
    let mut socket = stage.kept3("s").await;
    subscribe_3(&mut socket, &[("t", 0)]).await;
    stage.publish(2, "t", b"1").await;
    socket.expect(&publish3(0, "t", 0, b"1")).await;
    stage.lose(socket).await;
    stage.kept3("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_4_3_2_1_qos_1_is_unacknowledged_until_its_puback() {
    let stage = Stage::start().await;
    let mut socket = stage.kept3("s").await;
    subscribe_3(&mut socket, &[("t", 1)]).await;
    stage.publish(1, "t", b"1").await;
    socket.expect(&publish3(1, "t", 1, b"1")).await;
    // An acknowledgement of QoS 2 is not one of QoS 1.
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect_closed().await;
    let mut socket = stage.kept3("s").await;
    socket.expect(&again(publish3(1, "t", 1, b"1"))).await;
    socket.send(b"\x40\x02\0\x01").await;
    stage.lose(socket).await;
    stage.kept3("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_4_3_2_2_after_puback_the_same_identifier_is_a_new_message_even_with_dup() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("t", 0)]).await;
    let mut socket = stage.v3("x").await;
    for packet in [publish3(1, "t", 7, b"1"), again(publish3(1, "t", 7, b"2"))] {
        socket.send(&packet).await;
        socket.expect(b"\x40\x02\0\x07").await;
    }
    watcher.expect(&publish3(0, "t", 0, b"1")).await;
    watcher.expect(&publish3(0, "t", 0, b"2")).await;
}

#[tokio::test]
async fn mqtt_4_3_3_1_a_message_of_qos_2_is_not_sent_again_after_its_pubrel() {
    let stage = Stage::start().await;
    let mut socket = stage.kept3("s").await;
    subscribe_3(&mut socket, &[("t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    socket.expect(&publish3(2, "t", 1, b"1")).await;
    stage.lose(socket).await;
    let mut socket = stage.kept3("s").await;
    socket.expect(&again(publish3(2, "t", 1, b"1"))).await;
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x01").await;
    for _ in 0..2 {
        stage.lose(socket).await;
        socket = stage.kept3("s").await;
        socket.expect(b"\x62\x02\0\x01").await;
        socket.expect_nothing().await;
    }
    socket.send(b"\x70\x02\0\x01").await;
    stage.lose(socket).await;
    stage.kept3("s").await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_4_3_3_2_until_pubrel_the_same_identifier_is_the_same_message() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("t", 0)]).await;
    let mut socket = stage.v3("x").await;
    socket.send(&publish3(2, "t", 7, b"1")).await;
    socket.expect(b"\x50\x02\0\x07").await;
    socket.send(&again(publish3(2, "t", 7, b"1"))).await;
    socket.expect(b"\x50\x02\0\x07").await;
    socket.send(b"\x62\x02\0\x07").await;
    socket.expect(b"\x70\x02\0\x07").await;
    socket.send(&publish3(2, "t", 7, b"2")).await;
    socket.expect(b"\x50\x02\0\x07").await;
    watcher.expect(&publish3(0, "t", 0, b"1")).await;
    watcher.expect(&publish3(0, "t", 0, b"2")).await;
    watcher.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_4_6_0_4_pubrels_come_in_the_order_of_the_pubrecs() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("t", 2)]).await;
    for id in 1..=3 {
        stage.publish(2, "t", b"1").await;
        socket.expect(&publish3(2, "t", id, b"1")).await;
    }
    socket.send(b"\x50\x02\0\x02\x50\x02\0\x03\x50\x02\0\x01").await;
    for id in [2, 3, 1] {
        socket.expect(&[0x62, 2, 0, id]).await;
    }
}

#[tokio::test]
async fn mqtt_4_6_0_5_messages_of_one_client_on_one_topic_come_in_their_order() {
    let stage = Stage::start_with(|config| config.workers = 3).await;
    let mut sockets = Vec::new();
    for number in 0..3 {
        sockets.push(stage.subscriber3(&format!("s{number}"), &[("t", 1)]).await);
    }
    let mut publisher = stage.v3("p").await;
    let all: Vec<u8> = (1..=200u16).flat_map(|id| publish3(1, "t", id, &id.to_be_bytes())).collect();
    publisher.send(&all).await;
    // [MQTT-4.6.0-2] and the server's acknowledgements, too.
    for id in 1..=200u16 {
        publisher.expect(&packet(0x40, &id.to_be_bytes())).await;
    }
    stage.platform.eventually(|platform| platform.broker.stats().messages_out[1] == 600).await;
    let expected: Vec<Vec<u8>> = (1..=200u16).map(|id| id.to_be_bytes().to_vec()).collect();
    for socket in &mut sockets {
        assert_eq!(received(socket).await, expected);
    }
}
