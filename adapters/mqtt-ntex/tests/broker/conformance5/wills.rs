//! Sections 3.1.2.5 to 3.1.2.7 and 3.1.3.2: the will.

use std::time::{Duration, Instant};

use crate::packets::{field, publish5};
use crate::stage::{Stage, properties, retained, text, user_property};

#[tokio::test]
async fn mqtt5_3_1_2_7_a_will_belongs_to_the_session_and_waits_for_its_delay() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 0)]).await;
    let connect = stage.connect5("x").property(b"\x11\0\0\0\x3c").will_with(0, b"\x18\0\0\0\x01", b"state", b"gone");
    let (socket, _) = stage.accepted(&connect).await;
    let began = Instant::now();
    socket.break_off();
    watcher.expect(&publish5(0, "state", 0, b"", b"gone")).await;
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn mqtt5_3_1_2_8_the_will_is_published_when_the_session_ends_before_its_delay() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 0)]).await;
    let delayed = stage.connect5("x").will_with(0, b"\x18\0\0\0\x3c", b"state", b"gone");
    // No session expiry: the session ends with its connection. One second: it ends then.
    for expiry in [0u8, 1] {
        let began = Instant::now();
        let connect = delayed.clone().property(&[0x11, 0, 0, 0, expiry]);
        stage.accepted(&connect).await.0.break_off();
        watcher.expect(&publish5(0, "state", 0, b"", b"gone")).await;
        assert!(began.elapsed() >= Duration::from_millis(900) * expiry.into());
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    // DISCONNECT may end the session, too, and still want the will.
    let (mut socket, _) = stage.accepted(&delayed.property(b"\x11\0\0\0\x3c")).await;
    socket.send(b"\xe0\x07\x04\x05\x11\0\0\0\0").await;
    watcher.expect(&publish5(0, "state", 0, b"", b"gone")).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_9_a_will_flag_without_what_belongs_to_it_is_malformed() {
    let stage = Stage::start().await;
    let with = |fields: &[u8]| stage.connect5("x").flip(0xc4).raw_credentials(fields).bytes();
    stage.refuses5(&with(b""), 0x81).await;
    stage.refuses5(&with(b"\0"), 0x81).await;
    stage.refuses5(&with(&[b"\0", &field(b"state")[..]].concat()), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_10_a_will_is_published_once() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 0)]).await;
    let connect = stage.connect5("x").kept().property(b"\x11\0\0\0\x3c");
    let (socket, _) = stage.accepted(&connect.clone().will(0, b"state", b"gone")).await;
    stage.lose(socket).await;
    watcher.expect(&publish5(0, "state", 0, b"", b"gone")).await;
    let (socket, ack) = stage.accepted(&connect).await;
    assert_eq!(ack[2], 1);
    stage.lose(socket).await;
    watcher.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_1_2_11_a_qos_without_a_will_is_malformed() {
    let stage = Stage::start().await;
    for qos in [0x08, 0x10, 0x18] {
        stage.refuses5(&stage.connect5("x").flip(qos).bytes(), 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_3_1_2_12_a_will_has_qos_0_1_or_2_and_3_is_malformed() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 2)]).await;
    for (qos, id) in [(0, 0), (1, 1), (2, 2)] {
        stage.accepted(&stage.connect5("x").will(qos, b"state", b"gone")).await.0.break_off();
        watcher.expect(&publish5(qos, "state", id, b"", b"gone")).await;
    }
    stage.refuses5(&stage.connect5("x").will(3, b"state", b"gone").bytes(), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_13_retain_without_a_will_is_malformed() {
    let stage = Stage::start().await;
    stage.refuses5(&stage.connect5("x").flip(0x20).bytes(), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_14_a_will_without_retain_is_not_kept() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 0x08)]).await;
    stage.accepted(&stage.connect5("x").will(0, b"state", b"gone")).await.0.break_off();
    watcher.expect(&publish5(0, "state", 0, b"", b"gone")).await;
    assert_eq!(stage.platform.broker.stats().retained_messages, 0);
}

#[tokio::test]
async fn mqtt5_3_1_2_15_a_will_with_retain_is_kept() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 0x08)]).await;
    stage.accepted(&stage.connect5("x").retained_will(1, b"state", b"gone")).await.0.break_off();
    watcher.expect(&retained(publish5(0, "state", 0, b"", b"gone"))).await;
    let mut late = stage.subscriber5("l", &[("state", 1)]).await;
    late.expect(&retained(publish5(1, "state", 1, b"", b"gone"))).await;
}

#[tokio::test]
async fn mqtt5_3_1_3_10_a_will_is_published_with_all_its_properties_in_order() {
    let stage = Stage::start().await;
    let mut watcher = stage.subscriber5("w", &[("state", 0)]).await;
    let sent = [
        b"\x01\x01".to_vec(),
        text(0x03, b"text/plain"),
        text(0x08, b"answers"),
        text(0x09, b"\0\xff"),
        user_property(b"b", b"1"),
        user_property(b"a", b"2"),
        user_property(b"b", b"3"),
    ];
    let connect = stage.connect5("x").will_with(0, &sent.concat(), b"state", b"gone");
    stage.accepted(&connect).await.0.break_off();
    let publish = watcher.packet().await;
    let found: Vec<Vec<u8>> =
        properties(&publish[9..]).into_iter().map(|(id, value)| [vec![id], value].concat()).collect();
    assert!(sent.iter().all(|property| found.contains(property)), "{publish:02x?}");
    let pairs: Vec<&Vec<u8>> = found.iter().filter(|property| property[0] == 0x26).collect();
    assert_eq!(pairs, sent[4..].iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn mqtt5_a_will_that_is_not_acceptable_is_refused_with_its_reason() {
    let stage = Stage::start().await;
    let with = |properties: &[u8], topic: &[u8], payload: &[u8]| {
        stage.connect5("x").will_with(0, properties, topic, payload).bytes()
    };
    // A topic that is none, one that is not allowed, a payload that is not what it is said to be.
    stage.refuses5(&with(b"", b"a/#", b"gone"), 0x90).await;
    stage.refuses5(&with(b"", b"", b"gone"), 0x90).await;
    stage.refuses5(&with(b"", b"$SYS/x", b"gone"), 0x87).await;
    stage.refuses5(&with(b"\x01\x01", b"state", b"\xff"), 0x99).await;
    // A delay twice, a property that no will has, a response topic with a wildcard.
    stage.refuses5(&with(b"\x18\0\0\0\x01\x18\0\0\0\x01", b"state", b"gone"), 0x82).await;
    stage.refuses5(&with(b"\x23\0\x01", b"state", b"gone"), 0x81).await;
    stage.refuses5(&with(b"\x08\0\x01+", b"state", b"gone"), 0x82).await;
}
