//! Section 3.14: DISCONNECT.

use crate::packets::publish5;
use crate::stage::{Stage, text};

#[tokio::test]
async fn mqtt5_3_14_0_1_there_is_no_disconnect_without_a_connack() {
    let stage = Stage::start().await;
    // No packet of the server fits into what the client accepts.
    let connect = stage.connect5("x").property(b"\x27\0\0\0\x01").bytes();
    stage.said(&connect).await.expect_closed().await;
    // Nor after a CONNACK that refuses.
    stage.refuses5(&stage.connect5("x").flip(0x01).bytes(), 0x81).await;
    // Nor before one.
    stage.said(b"\xe1\0").await.expect_closed().await;
}

#[tokio::test]
async fn mqtt5_3_14_1_1_reserved_bits_are_malformed() {
    let stage = Stage::start().await;
    for flags in 1..16 {
        stage.closes5(&[0xe0 | flags, 0], 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_3_14_2_1_a_disconnect_that_is_not_well_formed_is_answered_by_its_reason() {
    let stage = Stage::start().await;
    for (bytes, reason) in [
        // A code that does not exist, a property of another packet, bytes after the end, properties that are cut off.
        (b"\xe0\x01\x33".as_slice(), 0x81),
        (b"\xe0\x05\0\x03\x21\0\x01", 0x81),
        (b"\xe0\x03\0\0\0", 0x81),
        (b"\xe0\x02\0\x05", 0x81),
        // The same property twice.
        (b"\xe0\x0c\0\x0a\x11\0\0\0\0\x11\0\0\0\0", 0x82),
    ] {
        stage.closes5(bytes, reason).await;
    }
}

#[tokio::test]
async fn mqtt5_3_14_2_2_the_server_says_a_reason_and_nothing_else() {
    let stage = Stage::start().await;
    let (mut first, _) = stage.accepted(&stage.connect5("x").property(b"\x11\0\0\0\x3c")).await;
    let _second = stage.kept5("x").await;
    // Neither session expiry nor words.
    first.expect(b"\xe0\x01\x8e").await;
    first.expect_closed().await;
}

#[tokio::test]
async fn mqtt5_3_14_4_1_nothing_follows_a_disconnect() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("#", 1)]).await;
    // What comes after the packet that is refused is not answered.
    let all = [b"\0\0".to_vec(), b"\xc0\0".to_vec(), publish5(1, "t", 1, b"", b"1")].concat();
    socket.send(&all).await;
    socket.expect_disconnect(0x81).await;
    assert_eq!(stage.platform.broker.stats().messages_in, [0, 0, 0]);
}

#[tokio::test]
async fn mqtt5_3_14_4_3_a_normal_disconnect_takes_the_will_back_and_every_other_does_not() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 0)]).await;
    let words = [vec![0x80, 6], text(0x1f, b"why")].concat();
    for (rest, is_published) in [
        (b"".to_vec(), false),
        (b"\0".to_vec(), false),
        (b"\0\0".to_vec(), false),
        (b"\x04".to_vec(), true),
        (b"\x81".to_vec(), true),
        (words, true),
    ] {
        let (mut socket, _) = stage.accepted(&stage.connect5("x").will(0, b"state", b"gone")).await;
        socket.send(&[vec![0xe0, u8::try_from(rest.len()).unwrap()], rest].concat()).await;
        socket.expect_closed().await;
        stage.platform.eventually(|platform| platform.broker.stats().connections == 1).await;
        if is_published {
            watcher.expect(&publish5(0, "state", 0, b"", b"gone")).await;
        }
        watcher.expect_nothing().await;
    }
}
