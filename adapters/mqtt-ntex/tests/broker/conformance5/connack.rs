//! Section 3.2: CONNACK.

use std::collections::HashSet;

use crate::packets::{field, publish5};
use crate::stage::{Stage, retained, subscribe_5, told};

#[tokio::test]
async fn mqtt5_3_2_0_1_connack_is_the_first_packet_whatever_waits_for_the_client() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 1)]).await;
    stage.lose(socket).await;
    for _ in 0..20 {
        stage.publish(1, "t", b"1").await;
    }
    let connect = stage.connect5("s").kept().bytes();
    let mut socket = stage.said(&[connect, b"\xc0\0".to_vec()].concat()).await;
    assert_eq!(socket.packet().await[0], 0x20);
}

#[tokio::test]
async fn mqtt5_3_2_0_2_there_is_never_a_second_connack() {
    let stage = Stage::start().await;
    let connect = stage.connect5("closing");
    let (mut socket, _) = stage.accepted(&connect).await;
    socket.send(&connect.bytes()).await;
    socket.expect_closed().await;
}

#[tokio::test]
async fn mqtt5_3_2_2_1_of_the_flags_only_session_present_is_ever_set() {
    let stage = Stage::start().await;
    let (socket, ack) = stage.accepted(&stage.connect5("s").kept().property(b"\x11\0\0\0\x3c")).await;
    assert_eq!(ack[2], 0);
    stage.lose(socket).await;
    let (_socket, ack) = stage.accepted(&stage.connect5("s").kept().property(b"\x11\0\0\0\x3c")).await;
    assert_eq!(ack[2], 1);
}

#[tokio::test]
async fn mqtt5_3_2_2_2_with_a_clean_start_no_session_is_present() {
    let stage = Stage::start().await;
    stage.lose(stage.kept5("s").await).await;
    assert_eq!(stage.platform.broker.stats().sleeping_sessions, 1);
    let (_socket, ack) = stage.accepted(&stage.connect5("s")).await;
    assert_eq!((ack[2], ack[3]), (0, 0));
}

#[tokio::test]
async fn mqtt5_3_2_2_6_a_client_that_is_refused_has_no_session_present() {
    let stage = Stage::start().await;
    stage.lose(stage.kept5("s").await).await;
    let wrong = [field(stage.device.id.to_string().as_bytes()), field(b"0000-0000-0000")].concat();
    let mut socket = stage.said(&stage.connect5("s").kept().raw_credentials(&wrong).bytes()).await;
    let ack = socket.packet().await;
    assert_eq!((ack[2], ack[3]), (0, 0x86));
    // [MQTT-3.2.2-7]
    socket.expect_closed().await;
}

#[tokio::test]
async fn mqtt5_3_2_2_8_a_platform_that_stops_says_a_code_that_connack_has() {
    let stage = Stage::start().await;
    let waiting = stage.platform.socket().await;
    // A socket that was accepted before, of a client that speaks after.
    stage.platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    stage.platform.running.stop_accepting().await;
    let mut socket = waiting;
    socket.send(&stage.connect5("x").bytes()).await;
    assert_eq!(socket.packet().await[3], 0x88);
    socket.expect_closed().await;
}

#[tokio::test]
async fn mqtt5_3_2_2_9_everything_is_supported_so_nothing_is_said_to_be_missing() {
    let stage = Stage::start().await;
    let (_socket, ack) = stage.accepted(&stage.connect5("x")).await;
    // Maximum QoS, retain, wildcards, subscription identifiers, shared subscriptions.
    for property in [0x24, 0x25, 0x28, 0x29, 0x2a] {
        assert!(told(&ack, property).is_none_or(|value| value == [1]), "{ack:02x?}");
    }
    // And it is so.
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"\x0b\x01", &[("t/+", 2), ("$share/g/u", 2)]).await;
    stage.retain(2, "t/1", b"1").await;
    socket.expect(&publish5(2, "t/1", 1, b"\x0b\x01", b"1")).await;
    subscribe_5(&mut socket, b"", &[("t/#", 0)]).await;
    socket.expect(&retained(publish5(0, "t/1", 0, b"", b"1"))).await;
}

#[tokio::test]
async fn mqtt5_3_2_2_16_assigned_identifiers_are_all_different_and_name_the_session() {
    let stage = Stage::start().await;
    let mut assigned = HashSet::new();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let (socket, ack) = stage.accepted(&stage.connect5("").property(b"\x11\0\0\0\x3c")).await;
        let id = told(&ack, 0x12).unwrap();
        assert!(id.len() > 2 && assigned.insert(id));
        sockets.push(socket);
    }
    // [MQTT-3.1.3-7] as if the client had chosen it
    let id = assigned.into_iter().next().unwrap();
    let (_socket, ack) = stage.accepted(&stage.connect5("").raw_client_id(&id).kept()).await;
    assert_eq!((ack[2], told(&ack, 0x12)), (1, None));
}

#[tokio::test]
async fn mqtt5_3_2_2_19_words_are_left_out_where_they_make_connack_too_large() {
    let stage = Stage::start().await;
    let refused =
        |maximum: u8| stage.connect5("x").property(&[0x27, 0, 0, 0, maximum]).property(b"\x15\0\x01m").bytes();
    let with_words = |ack: &[u8]| told(ack, 0x1f).is_some();
    let mut socket = stage.said(&refused(0xff)).await;
    let ack = socket.packet().await;
    assert!(ack[3] == 0x8c && with_words(&ack));
    let mut socket = stage.said(&refused(u8::try_from(ack.len() - 1).unwrap())).await;
    let shorter = socket.packet().await;
    assert!(shorter[3] == 0x8c && !with_words(&shorter), "{shorter:02x?}");
    socket.expect_closed().await;
}

#[tokio::test]
async fn mqtt5_3_2_2_3_session_expiry_is_told_where_it_is_not_what_was_asked_for() {
    let stage = Stage::start_with(|config| config.limits.session_expiry_seconds = 60).await;
    for (asked, expected) in [(0u32, None), (60, None), (61, Some(60u32)), (u32::MAX, Some(60))] {
        let connect = stage.connect5("x").property(&[&[0x11], &asked.to_be_bytes()[..]].concat());
        let (_socket, ack) = stage.accepted(&connect).await;
        assert_eq!(told(&ack, 0x11), expected.map(|seconds| seconds.to_be_bytes().to_vec()));
    }
}
