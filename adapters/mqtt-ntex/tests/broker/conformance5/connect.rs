//! Section 3.1: CONNECT, but for the will.

use crate::packets::{field, packet, publish5};
use crate::stage::{Stage, retained, subscribe_5, text, told, user_property};

#[tokio::test]
async fn mqtt5_3_1_2_3_a_reserved_flag_that_is_set_is_malformed() {
    let stage = Stage::start().await;
    stage.refuses5(&stage.connect5("x").flip(0x01).bytes(), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_4_a_clean_start_discards_the_session() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"", &[("t", 1)]).await;
    stage.lose(socket).await;
    stage.publish(1, "t", b"1").await;
    let (mut socket, ack) = stage.accepted(&stage.connect5("s").property(b"\x11\0\0\0\x3c")).await;
    assert_eq!(ack[2], 0);
    stage.publish(1, "t", b"2").await;
    socket.expect_nothing().await;
    assert_eq!(stage.platform.broker.stats().subscriptions, 0);
}

#[tokio::test]
async fn mqtt5_3_1_2_5_without_a_clean_start_the_session_goes_on() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("s").await;
    subscribe_5(&mut socket, b"\x0b\x07", &[("t", 1)]).await;
    stage.lose(socket).await;
    stage.publish(1, "t", b"1").await;
    let (mut socket, ack) = stage.accepted(&stage.connect5("s").kept()).await;
    assert_eq!(ack[2], 1);
    socket.expect(&publish5(1, "t", 1, b"\x0b\x07", b"1")).await;
    stage.publish(1, "t", b"2").await;
    socket.expect(&publish5(1, "t", 2, b"\x0b\x07", b"2")).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_6_without_a_session_a_new_one_begins() {
    let stage = Stage::start().await;
    let (mut socket, ack) = stage.accepted(&stage.connect5("s").kept()).await;
    assert_eq!(ack[2], 0);
    socket.expect_nothing().await;
}

/// CONNECT with these flags and exactly these fields after the client id.
fn connect(stage: &Stage, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|bytes| field(bytes)).collect();
    stage.connect5("x").flip(0xc2 ^ flags).raw_credentials(&fields).bytes()
}

#[tokio::test]
async fn mqtt5_3_1_2_16_a_user_name_without_its_flag_is_malformed() {
    let stage = Stage::start().await;
    stage.refuses5(&connect(&stage, 0x02, &[stage.device.id.to_string().as_bytes()]), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_17_a_flag_without_its_user_name_is_malformed() {
    let stage = Stage::start().await;
    stage.refuses5(&connect(&stage, 0x82, &[]), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_18_a_password_without_its_flag_is_malformed() {
    let stage = Stage::start().await;
    let id = stage.device.id.to_string();
    stage.refuses5(&connect(&stage, 0x82, &[id.as_bytes(), stage.device.token.as_bytes()]), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_19_a_flag_without_its_password_is_malformed() {
    let stage = Stage::start().await;
    stage.refuses5(&connect(&stage, 0xc2, &[stage.device.id.to_string().as_bytes()]), 0x81).await;
    // A password alone is well-formed in 5.0; one that is nobody's is another matter.
    stage.refuses5(&connect(&stage, 0x42, &[b"nobody's"]), 0x86).await;
    let mut socket = stage.said(&connect(&stage, 0x42, &[stage.device.token.as_bytes()])).await;
    assert_eq!(socket.packet().await[..4][3], 0);
}

#[tokio::test]
async fn mqtt5_3_1_2_21_a_server_keep_alive_is_told_and_holds() {
    let stage = Stage::start_with(|config| config.limits.keep_alive_seconds = 1).await;
    for asked in [0, 2, 60] {
        let (mut socket, ack) = stage.accepted(&stage.connect5(&asked.to_string()).keep_alive(asked)).await;
        assert_eq!(told(&ack, 0x13), Some(b"\0\x01".to_vec()));
        socket.expect_disconnect(0x8d).await;
    }
    let (_, ack) = stage.accepted(&stage.connect5("x").keep_alive(1)).await;
    assert_eq!(told(&ack, 0x13), None);
}

#[tokio::test]
async fn mqtt5_3_1_2_28_no_response_information_is_returned() {
    let stage = Stage::start().await;
    for wish in [b"".as_slice(), b"\x19\0", b"\x19\x01"] {
        let (_, ack) = stage.accepted(&stage.connect5("x").property(wish)).await;
        assert_eq!(told(&ack, 0x1a), None);
    }
}

#[tokio::test]
async fn mqtt5_3_1_2_29_a_client_that_wants_no_problem_information_gets_codes_without_words() {
    let stage = Stage::start().await;
    // Refused, because it is not the UTF-8 that it is said to be.
    let refused = |qos| publish5(qos, "t", 1, b"\x01\x01", b"\xff");
    let mut socket = stage.v5("with").await;
    for qos in [1, 2] {
        socket.send(&refused(qos)).await;
        let ack = socket.packet().await;
        assert_eq!((ack[4], ack[6]), (0x99, 0x1f), "{ack:02x?}");
    }
    let (mut socket, _) = stage.accepted(&stage.connect5("without").property(b"\x17\0")).await;
    socket.send(&refused(1)).await;
    socket.expect(b"\x40\x03\0\x01\x99").await;
    socket.send(&refused(2)).await;
    socket.expect(b"\x50\x03\0\x01\x99").await;
}

#[tokio::test]
async fn mqtt5_3_1_3_3_a_connect_without_a_client_identifier_is_malformed() {
    let stage = Stage::start().await;
    let connect = stage.connect5("x").flip(0xc0).raw_client_id(b"").raw_credentials(b"");
    stage.refuses5(&connect.bytes(), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_3_5_client_identifiers_of_1_to_23_letters_and_digits_are_allowed() {
    let stage = Stage::start().await;
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for len in 1..=23 {
        let (_, ack) = stage.accepted(&stage.connect5(&all[len..2 * len])).await;
        assert_eq!(told(&ack, 0x12), None);
    }
    for start in [0, 23, 39] {
        stage.v5(&all[start..start + 23]).await.expect_nothing().await;
    }
}

#[tokio::test]
async fn mqtt5_3_1_3_8_an_identifier_that_is_not_allowed_is_refused() {
    let stage = Stage::start().await;
    stage.v5(&"x".repeat(1_024)).await.expect_nothing().await;
    stage.refuses5(&stage.connect5(&"x".repeat(1_025)).bytes(), 0x85).await;
}

#[tokio::test]
async fn mqtt5_3_1_4_1_a_connect_that_does_not_conform_is_refused_with_its_reason() {
    let stage = Stage::start().await;
    let good = stage.connect5("x").will(1, b"t", b"1");
    let whole = good.bytes();
    let body = &whole[2..];
    // Bytes after the end, and every place at which it may be cut off after the protocol level.
    let mut cases = vec![(packet(0x10, &[body, b"\0"].concat()), 0x81)];
    cases.extend((7..body.len()).map(|len| (packet(0x10, &body[..len]), 0x81)));
    let with = |property: &[u8]| stage.connect5("x").property(property).bytes();
    for property in [
        // Twice the same.
        b"\x11\0\0\0\x01\x11\0\0\0\x01".as_slice(),
        b"\x21\0\x01\x21\0\x01",
        b"\x22\0\x01\x22\0\x01",
        b"\x27\0\0\x01\0\x27\0\0\x01\0",
        b"\x17\x01\x17\x01",
        b"\x19\x01\x19\x01",
        // Values that are not allowed: receive maximum 0, maximum packet size 0, flags that are neither 0 nor 1.
        b"\x21\0\0",
        b"\x27\0\0\0\0",
        b"\x17\x02",
        b"\x19\x02",
        // Data of an authentication without its method.
        b"\x16\0\x01x",
    ] {
        cases.push((with(property), 0x82));
    }
    // Properties of other packets, and one that does not exist.
    for property in [b"\x01\x01".as_slice(), b"\x23\0\x01", b"\x0b\x01", b"\x1f\0\x01x", b"\x12\0\x01x", b"\x7e\0"] {
        cases.push((with(property), 0x81));
    }
    for (bytes, reason) in cases {
        stage.refuses5(&bytes, reason).await;
    }
    assert_eq!(stage.platform.broker.stats().connects_accepted, 0);
}

#[tokio::test]
async fn mqtt5_3_1_4_6_what_follows_a_connect_that_is_refused_is_not_processed() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("#", 0)]).await;
    let wrong = [field(stage.device.id.to_string().as_bytes()), field(b"0000-0000-0000")].concat();
    let connect = stage.connect5("x").raw_credentials(&wrong).bytes();
    stage.refuses5(&[connect, retained(publish5(0, "t", 0, b"", b"1"))].concat(), 0x86).await;
    watcher.expect_nothing().await;
    assert_eq!(stage.platform.broker.stats().retained_messages, 0);
}

#[tokio::test]
async fn mqtt5_a_connect_may_have_all_its_properties() {
    let stage = Stage::start().await;
    let connect = stage
        .connect5("x")
        .property(b"\x11\0\0\0\x3c\x21\0\x0a\x27\0\x01\0\0\x22\0\x05\x19\x01\x17\x01")
        .property(&user_property(b"name", b"value"))
        .property(&user_property(b"name", b"another value"))
        .will_with(1, &[b"\x18\0\0\0\x01\x01\x01\x02\0\0\0\x05".to_vec(), text(0x03, b"plain")].concat(), b"t", b"1");
    stage.accepted(&connect).await.0.expect_nothing().await;
}
