//! Sections 3.3.4 and 4.9: receive maximum and send quota.

use crate::packets::{publish5, subscribe5};
use crate::platform::Socket;
use crate::stage::{Stage, subscribe_5};

/// A subscriber of `t` and `zero` whose receive maximum is 2, with both places taken.
async fn full(stage: &Stage) -> Socket {
    let (mut socket, _) = stage.accepted(&stage.connect5("s").property(b"\x21\0\x02")).await;
    subscribe_5(&mut socket, b"", &[("t", 2), ("zero", 0)]).await;
    stage.publish(1, "t", b"1").await;
    stage.publish(2, "t", b"2").await;
    stage.publish(1, "t", b"3").await;
    stage.publish(1, "t", b"4").await;
    socket.expect(&publish5(1, "t", 1, b"", b"1")).await;
    socket.expect(&publish5(2, "t", 2, b"", b"2")).await;
    socket.expect_nothing().await;
    socket
}

#[tokio::test]
async fn mqtt5_4_9_0_2_each_acknowledgement_lets_one_message_more_pass() {
    let stage = Stage::start().await;
    let mut socket = full(&stage).await;
    // [MQTT-3.3.4-9] PUBREC of success is none
    socket.send(b"\x50\x02\0\x02").await;
    socket.expect(b"\x62\x02\0\x02").await;
    socket.expect_nothing().await;
    socket.send(b"\x70\x02\0\x02").await;
    socket.expect(&publish5(1, "t", 3, b"", b"3")).await;
    socket.expect_nothing().await;
    socket.send(b"\x40\x02\0\x01").await;
    socket.expect(&publish5(1, "t", 4, b"", b"4")).await;
}

#[tokio::test]
async fn mqtt5_4_9_0_2_a_pubrec_of_failure_lets_one_message_more_pass() {
    let stage = Stage::start().await;
    let mut socket = full(&stage).await;
    socket.send(b"\x50\x03\0\x02\x80").await;
    socket.expect(&publish5(1, "t", 3, b"", b"3")).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_3_4_10_a_full_window_delays_nothing_but_messages_of_qos_1_and_2() {
    let stage = Stage::start().await;
    let mut socket = full(&stage).await;
    // [MQTT-4.9.0-3]
    socket.expect_nothing().await;
    socket.send(&subscribe5(7, b"", &[("u", 1)])).await;
    socket.expect(b"\x90\x04\0\x07\0\x01").await;
    socket.send(b"\xa2\x06\0\x08\0\0\x01u").await;
    socket.expect(b"\xb0\x04\0\x08\0\0").await;
    socket.send(&publish5(1, "v", 5, b"", b"1")).await;
    socket.expect(b"\x40\x02\0\x05").await;
    stage.publish(2, "zero", b"1").await;
    socket.expect(&publish5(0, "zero", 0, b"", b"1")).await;
}

#[tokio::test]
async fn mqtt5_4_9_0_1_the_window_is_what_the_client_says_on_each_connection() {
    let stage = Stage::start().await;
    let kept = stage.connect5("s").kept().property(b"\x11\0\0\0\x3c");
    let (mut socket, _) = stage.accepted(&kept).await;
    subscribe_5(&mut socket, b"", &[("t", 1)]).await;
    stage.lose(socket).await;
    for _ in 0..5 {
        stage.publish(1, "t", b"1").await;
    }
    for maximum in [1u8, 3] {
        let (mut socket, _) = stage.accepted(&kept.clone().property(&[0x21, 0, maximum])).await;
        for _ in 0..maximum {
            assert_eq!(socket.packet().await[0] & 0xf6, 0x32);
        }
        socket.expect_nothing().await;
        stage.lose(socket).await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_4_7_a_client_beyond_the_receive_maximum_of_the_server_is_disconnected() {
    let stage = Stage::start_with(|config| config.limits.receive_maximum = 3).await;
    let (mut socket, ack) = stage.accepted(&stage.connect5("p")).await;
    assert_eq!(crate::stage::told(&ack, 0x21), Some(vec![0, 3]));
    for id in 1..=3 {
        socket.send(&publish5(2, "t", id, b"", b"1")).await;
        socket.expect(&[0x50, 2, 0, u8::try_from(id).unwrap()]).await;
    }
    // The same again is no message more, and PUBREL makes room.
    socket.send(&publish5(2, "t", 3, b"", b"1")).await;
    socket.expect(b"\x50\x02\0\x03").await;
    socket.send(b"\x62\x02\0\x01").await;
    socket.expect(b"\x70\x02\0\x01").await;
    socket.send(&publish5(2, "t", 4, b"", b"1")).await;
    socket.expect(b"\x50\x02\0\x04").await;
    socket.send(&publish5(1, "t", 5, b"", b"1")).await;
    socket.expect_disconnect(0x93).await;
}
