//! Section 3.1.2.5 and those after it: the will.

use crate::packets::{field, packet, publish3};
use crate::stage::{Stage, retained};

#[tokio::test]
async fn mqtt_3_1_2_8_the_will_is_published_however_the_connection_ends_but_by_disconnect() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 0)]).await;
    // A protocol violation, bytes that are no packet, a packet that is too large, DISCONNECT with wrong flags.
    for end in [stage.connect3("x").bytes(), b"\0\0".to_vec(), b"\x30\xff\xff\xff\x7f".to_vec(), b"\xe1\0".to_vec()] {
        let (mut socket, _) = stage.accepted(&stage.connect3("x").will(0, b"state", b"gone")).await;
        socket.send(&end).await;
        socket.expect_closed().await;
        watcher.expect(&publish3(0, "state", 0, b"gone")).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_9_a_will_flag_without_topic_and_message_closes_the_connection() {
    let stage = Stage::start().await;
    let with = |fields: &[u8]| stage.connect3("x").flip(0xc4).raw_credentials(fields).bytes();
    stage.said(&with(b"")).await.expect_closed().await;
    stage.said(&with(&field(b"state"))).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_10_a_will_is_published_once_and_ends_with_its_connection() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 0)]).await;
    let connect = stage.connect3("x").kept();
    let (socket, _) = stage.accepted(&connect.clone().will(0, b"state", b"gone")).await;
    stage.lose(socket).await;
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
    // The session goes on, its will does not.
    let (socket, ack) = stage.accepted(&connect).await;
    assert_eq!(ack[2], 1);
    stage.lose(socket).await;
    watcher.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_3_1_2_11_a_will_without_its_flag_closes_the_connection() {
    let stage = Stage::start().await;
    let whole = stage.connect3("x").will(0, b"state", b"gone").flip(0x04).bytes();
    stage.said(&whole).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_12_without_a_will_nothing_is_published() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("#", 0)]).await;
    stage.lose(stage.v3("x").await).await;
    watcher.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_3_1_2_13_a_qos_without_a_will_closes_the_connection() {
    let stage = Stage::start().await;
    for qos in [0x08, 0x10, 0x18] {
        stage.said(&stage.connect3("x").flip(qos).bytes()).await.expect_closed().await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_14_a_will_has_qos_0_1_or_2_and_3_closes_the_connection() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 2)]).await;
    for (qos, id) in [(0, 0), (1, 1), (2, 2)] {
        let (socket, _) = stage.accepted(&stage.connect3("x").will(qos, b"state", b"gone")).await;
        socket.break_off();
        watcher.expect(&publish3(qos, "state", id, b"gone")).await;
    }
    stage.said(&stage.connect3("x").will(3, b"state", b"gone").bytes()).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_15_retain_without_a_will_closes_the_connection() {
    let stage = Stage::start().await;
    stage.said(&stage.connect3("x").flip(0x20).bytes()).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_16_a_will_without_retain_is_not_kept() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 0)]).await;
    let (socket, _) = stage.accepted(&stage.connect3("x").will(0, b"state", b"gone")).await;
    socket.break_off();
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
    let mut late = stage.subscriber3("l", &[("state", 0)]).await;
    late.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_3_1_2_17_a_will_with_retain_is_kept() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 0)]).await;
    let (socket, _) = stage.accepted(&stage.connect3("x").retained_will(1, b"state", b"gone")).await;
    socket.break_off();
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
    let mut late = stage.subscriber3("l", &[("state", 1)]).await;
    late.expect(&retained(publish3(1, "state", 1, b"gone"))).await;
}

#[tokio::test]
async fn mqtt_3_1_3_1_the_fields_come_in_their_order() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 0)]).await;
    let credentials = [field(stage.device.id.to_string().as_bytes()), field(stage.device.token.as_bytes())].concat();
    let head = b"\0\x04MQTT\x04\xc6\0\0".to_vec();
    let ordered = [head, field(b"client"), field(b"state"), field(b"gone"), credentials].concat();
    let mut socket = stage.said(&packet(0x10, &ordered)).await;
    socket.expect(b"\x20\x02\0\0").await;
    socket.break_off();
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
}

#[tokio::test]
async fn mqtt_3_14_4_3_disconnect_takes_the_will_back() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 0)]).await;
    let (mut socket, _) = stage.accepted(&stage.connect3("x").will(0, b"state", b"gone")).await;
    socket.send(b"\xe0\0").await;
    socket.expect_closed().await;
    stage.platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    watcher.expect_nothing().await;
}
