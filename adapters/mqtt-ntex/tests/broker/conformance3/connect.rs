//! Section 3.1: CONNECT.

use std::time::{Duration, Instant};

use crate::packets::{field, packet, publish3};
use crate::platform::Socket;
use crate::stage::{Stage, retained};

#[tokio::test]
async fn mqtt_3_1_2_3_a_reserved_flag_that_is_set_closes_the_connection() {
    let stage = Stage::start().await;
    let connect = stage.connect3("x").flip(0x01);
    stage.said(&connect.bytes()).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_7_a_retained_message_outlives_the_session_of_its_publisher() {
    let stage = Stage::start().await;
    let mut publisher = stage.kept3("p").await;
    publisher.send(&retained(publish3(1, "t", 1, b"1"))).await;
    publisher.expect(b"\x40\x02\0\x01").await;
    // A clean session ends the one that published.
    let clean = stage.v3("p").await;
    publisher.expect_closed().await;
    stage.lose(clean).await;
    let mut socket = stage.subscriber3("s", &[("t", 0)]).await;
    socket.expect(&retained(publish3(0, "t", 0, b"1"))).await;
}

/// CONNECT with these flags and exactly these fields after the client id.
fn connect(stage: &Stage, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|bytes| field(bytes)).collect();
    stage.connect3("x").flip(0xc2 ^ flags).raw_credentials(&fields).bytes()
}

#[tokio::test]
async fn mqtt_3_1_2_18_a_user_name_without_its_flag_closes_the_connection() {
    let stage = Stage::start().await;
    let id = stage.device.id.to_string();
    stage.said(&connect(&stage, 0x02, &[id.as_bytes()])).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_19_a_flag_without_its_user_name_closes_the_connection() {
    let stage = Stage::start().await;
    stage.said(&connect(&stage, 0x82, &[])).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_20_a_password_without_its_flag_closes_the_connection() {
    let stage = Stage::start().await;
    let id = stage.device.id.to_string();
    stage.said(&connect(&stage, 0x82, &[id.as_bytes(), stage.device.token.as_bytes()])).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_21_a_flag_without_its_password_closes_the_connection() {
    let stage = Stage::start().await;
    stage.said(&connect(&stage, 0xc2, &[stage.device.id.to_string().as_bytes()])).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_22_a_password_without_a_user_name_closes_the_connection() {
    let stage = Stage::start().await;
    stage.said(&connect(&stage, 0x42, &[stage.device.token.as_bytes()])).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_2_24_a_client_silent_for_one_and_a_half_keep_alives_is_disconnected() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("state", 0)]).await;
    let began = Instant::now();
    let connect = stage.connect3("x").keep_alive(1).will(0, b"state", b"gone");
    let (mut socket, _) = stage.accepted(&connect).await;
    // Any packet counts.
    tokio::time::sleep(Duration::from_millis(900)).await;
    socket.send(&publish3(0, "t", 0, b"1")).await;
    socket.expect_closed().await;
    assert!((Duration::from_millis(2_400)..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // As if the network had failed.
    watcher.expect(&publish3(0, "state", 0, b"gone")).await;
}

#[tokio::test]
async fn mqtt_3_1_3_3_a_connect_without_a_client_identifier_closes_the_connection() {
    let stage = Stage::start().await;
    let connect = stage.connect3("x").flip(0xc0).raw_client_id(b"").raw_credentials(b"");
    stage.said(&connect.bytes()).await.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_3_5_client_identifiers_of_1_to_23_letters_and_digits_are_allowed() {
    let stage = Stage::start().await;
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for len in 1..=23 {
        stage.v3(&all[len..2 * len]).await.expect_nothing().await;
    }
    for start in [0, 23, 39] {
        stage.v3(&all[start..start + 23]).await.expect_nothing().await;
    }
}

#[tokio::test]
async fn mqtt_3_1_3_6_clients_without_an_identifier_are_given_different_ones() {
    let stage = Stage::start().await;
    let mut sockets: Vec<Socket> = Vec::new();
    for _ in 0..3 {
        sockets.push(stage.v3("").await);
    }
    for socket in &mut sockets {
        socket.expect_nothing().await;
    }
}

#[tokio::test]
async fn mqtt_3_1_3_8_no_identifier_and_no_clean_session_are_refused_with_2() {
    let stage = Stage::start().await;
    let mut socket = stage.said(&stage.connect3("").kept().bytes()).await;
    socket.expect(b"\x20\x02\0\x02").await;
    socket.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_3_9_an_identifier_that_is_not_allowed_is_refused_with_2() {
    let stage = Stage::start().await;
    stage.v3(&"x".repeat(1_024)).await.expect_nothing().await;
    let mut socket = stage.said(&stage.connect3(&"x".repeat(1_025)).bytes()).await;
    socket.expect(b"\x20\x02\0\x02").await;
    socket.expect_closed().await;
}

#[tokio::test]
async fn mqtt_3_1_4_1_a_connect_that_is_malformed_is_closed_without_connack() {
    let stage = Stage::start().await;
    let good = stage.connect3("x").will(1, b"t", b"1");
    let whole = good.bytes();
    let body = &whole[2..];
    // Bytes after the end, and every place at which it may be cut off after the protocol level.
    let mut cases = vec![packet(0x10, &[body, b"\0"].concat())];
    cases.extend((7..body.len()).map(|len| packet(0x10, &body[..len])));
    cases.push(good.flip(0x10).bytes());
    for bytes in cases {
        stage.said(&bytes).await.expect_closed().await;
    }
    assert_eq!(stage.platform.broker.stats().connects_accepted, 0);
}

#[tokio::test]
async fn mqtt_3_1_4_5_what_follows_a_connect_that_is_refused_is_not_processed() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber3("w", &[("#", 0)]).await;
    let wrong = [field(stage.device.id.to_string().as_bytes()), field(b"0000-0000-0000")].concat();
    let connect = stage.connect3("x").raw_credentials(&wrong).bytes();
    let mut socket = stage.said(&[connect, retained(publish3(0, "t", 0, b"1"))].concat()).await;
    socket.expect(b"\x20\x02\0\x04").await;
    socket.expect_closed().await;
    watcher.expect_nothing().await;
    assert_eq!(stage.platform.broker.stats().retained_messages, 0);
}
