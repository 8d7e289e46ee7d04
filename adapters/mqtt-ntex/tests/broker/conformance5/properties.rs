//! Section 3.3.2.3: the properties of PUBLISH.

use crate::packets::{connect5, packet, publish5};
use crate::platform::Socket;
use crate::stage::{Stage, properties, text, user_property};

/// Publishes with properties, and returns those that a subscriber of both connections sees.
async fn passed_on(publisher: &mut Socket, subscriber: &mut Socket, sent: &[u8]) -> Vec<(u8, Vec<u8>)> {
    publisher.send(&publish5(0, "t", 0, sent, b"payload")).await;
    let publish = subscriber.packet().await;
    assert_eq!((publish[0], &publish[2..5]), (0x30, b"\0\x01t".as_slice()), "{publish:02x?}");
    properties(&publish[5..])
}

#[tokio::test]
async fn mqtt5_3_3_2_4_the_payload_format_indicator_is_passed_on_as_it_came() {
    let stage = Stage::start().await;
    let (mut publisher, mut subscriber) = (stage.v5("p").await, stage.subscriber5("s", &[("t", 0)]).await);
    for (sent, seen) in
        [(b"".as_slice(), vec![]), (b"\x01\0", vec![(0x01, vec![0])]), (b"\x01\x01", vec![(0x01, vec![1])])]
    {
        assert_eq!(passed_on(&mut publisher, &mut subscriber, sent).await, seen);
    }
}

#[tokio::test]
async fn mqtt5_a_payload_that_is_not_the_utf_8_it_is_said_to_be_is_refused() {
    let stage = Stage::start().await;
    let mut subscriber = stage.subscriber5("s", &[("t", 0)]).await;
    let mut publisher = stage.v5("p").await;
    for (qos, ack) in [(1, 0x40), (2, 0x50)] {
        publisher.send(&publish5(qos, "t", 1, b"\x01\x01", b"\xc3")).await;
        let answer = publisher.packet().await;
        assert_eq!((answer[0], answer[4]), (ack, 0x99), "{answer:02x?}");
    }
    publisher.send(&publish5(0, "t", 0, b"\x01\x01", b"\xc3")).await;
    publisher.expect_nothing().await;
    subscriber.expect_nothing().await;
    // Unspecified bytes may be anything.
    publisher.send(&publish5(0, "t", 0, b"\x01\0", b"\xc3")).await;
    subscriber.expect(&publish5(0, "t", 0, b"\x01\0", b"\xc3")).await;
    assert_eq!(stage.platform.broker.stats().rejected, 3);
}

#[tokio::test]
async fn mqtt5_3_3_2_15_response_topic_correlation_data_and_content_type_are_passed_on_as_they_came() {
    let stage = Stage::start().await;
    let (mut publisher, mut subscriber) = (stage.v5("p").await, stage.subscriber5("s", &[("t", 0)]).await);
    for sent in [
        text(0x08, "answers/für/é".as_bytes()),
        // [MQTT-3.3.2-16] any bytes, or none
        text(0x09, &[0, 0xff, 0x80, b'a']),
        text(0x09, b""),
        // [MQTT-3.3.2-20]
        text(0x03, b"application/json; charset=utf-8"),
        text(0x03, b""),
    ] {
        assert_eq!(passed_on(&mut publisher, &mut subscriber, &sent).await, [(sent[0], sent[1..].to_vec())]);
    }
}

#[tokio::test]
async fn mqtt5_3_3_2_17_all_user_properties_are_passed_on_in_their_order() {
    let stage = Stage::start().await;
    let (mut publisher, mut subscriber) = (stage.v5("p").await, stage.subscriber5("s", &[("t", 0)]).await);
    let pairs = [("b", "2"), ("a", "1"), ("b", "2"), ("", ""), ("a", "0"), ("é", "\u{feff}")];
    let sent: Vec<Vec<u8>> = pairs.map(|(name, value)| user_property(name.as_bytes(), value.as_bytes())).to_vec();
    let seen = passed_on(&mut publisher, &mut subscriber, &sent.concat()).await;
    let expected: Vec<(u8, Vec<u8>)> = sent.iter().map(|pair| (0x26, pair[1..].to_vec())).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn mqtt5_properties_are_kept_with_retained_and_with_queued_messages() {
    let stage = Stage::start().await;
    let mut queued = stage.kept5("s").await;
    crate::stage::subscribe_5(&mut queued, b"", &[("t", 1)]).await;
    stage.lose(queued).await;
    let sent = [b"\x01\0".to_vec(), text(0x08, b"answers"), text(0x09, b"\x01"), user_property(b"a", b"b")].concat();
    let mut publisher = stage.v5("p").await;
    publisher.send(&crate::stage::retained(publish5(1, "t", 1, &sent, b"1"))).await;
    publisher.expect(b"\x40\x02\0\x01").await;
    let mut expected = properties(&[&[u8::try_from(sent.len()).unwrap()], &sent[..]].concat());
    expected.sort_unstable();
    for mut socket in [stage.kept5("s").await, stage.subscriber5("late", &[("t", 1)]).await] {
        let publish = socket.packet().await;
        let mut seen = properties(&publish[7..]);
        seen.sort_unstable();
        assert_eq!(seen, expected, "{publish:02x?}");
    }
}

#[tokio::test]
async fn mqtt5_3_3_2_7_aliases_of_a_client_end_with_its_connection() {
    let stage = Stage::start().await;
    let mut socket = stage.kept5("p").await;
    socket.send(&publish5(1, "t", 1, b"\x23\0\x01", b"1")).await;
    socket.expect(b"\x40\x02\0\x01").await;
    stage.lose(socket).await;
    let mut socket = stage.kept5("p").await;
    socket.send(&publish5(1, "", 1, b"\x23\0\x01", b"1")).await;
    socket.expect_disconnect(0x82).await;
}

#[tokio::test]
async fn mqtt5_3_3_2_8_an_alias_of_0_or_above_the_maximum_is_invalid() {
    let stage = Stage::start().await;
    for bytes in [
        publish5(0, "t", 0, b"\x23\0\0", b"1"),
        publish5(0, "", 0, b"\x23\0\0", b"1"),
        // [MQTT-3.3.2-9]
        publish5(0, "t", 0, b"\x23\0\x41", b"1"),
        publish5(0, "t", 0, b"\x23\xff\xff", b"1"),
        publish5(0, "", 0, b"\x23\0\x41", b"1"),
    ] {
        stage.closes5(&bytes, 0x94).await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_2_12_every_alias_up_to_the_maximum_is_accepted_and_may_change() {
    let stage = Stage::start().await;
    let mut subscriber = stage.subscriber5("s", &[("#", 0)]).await;
    let mut publisher = stage.v5("p").await;
    for round in ["a", "b"] {
        for alias in 1..=64u8 {
            let topic = format!("{round}/{alias}");
            publisher.send(&publish5(0, &topic, 0, &[0x23, 0, alias], b"1")).await;
            subscriber.expect(&publish5(0, &topic, 0, b"", b"1")).await;
        }
    }
    for alias in (1..=64u8).rev() {
        publisher.send(&publish5(0, "", 0, &[0x23, 0, alias], b"2")).await;
        subscriber.expect(&publish5(0, &format!("b/{alias}"), 0, b"", b"2")).await;
    }
}

#[tokio::test]
async fn mqtt5_3_3_2_14_a_response_topic_with_a_wildcard_or_without_a_character_is_a_protocol_error() {
    let stage = Stage::start().await;
    for topic in [b"a/#".as_slice(), b"+", b"a+b", b""] {
        stage.closes5(&publish5(0, "t", 0, &text(0x08, topic), b"1"), 0x82).await;
    }
}

#[tokio::test]
async fn mqtt5_properties_that_are_wrong_close_the_connection_with_their_reason() {
    let stage = Stage::start().await;
    for (property, reason) in [
        // Twice the same.
        (b"\x01\0\x01\0".as_slice(), 0x82),
        (b"\x02\0\0\0\x01\x02\0\0\0\x01", 0x82),
        (b"\x03\0\0\x03\0\0", 0x82),
        (b"\x08\0\x01a\x08\0\x01a", 0x82),
        (b"\x09\0\0\x09\0\0", 0x82),
        (b"\x23\0\x01\x23\0\x01", 0x82),
        // A value that is not allowed; [MQTT-3.3.4-6] what only a server sends.
        (b"\x01\x02", 0x82),
        (b"\x0b\x01", 0x82),
        (b"\x0b\0", 0x82),
        // Of other packets, of none, and cut off.
        (b"\x11\0\0\0\x01", 0x81),
        (b"\x1f\0\0", 0x81),
        (b"\x00", 0x81),
        (b"\x02\0\0\0", 0x81),
        (b"\x26\0\x01a", 0x81),
    ] {
        stage.closes5(&publish5(0, "t", 0, property, b"1"), reason).await;
    }
    // A length of properties that is longer than the packet.
    stage.closes5(&packet(0x30, b"\0\x01t\x7f"), 0x81).await;
}

#[tokio::test]
async fn mqtt5_3_1_2_26_no_alias_is_above_the_maximum_of_the_client() {
    let stage = Stage::start().await;
    let mut socket = stage.said(&connect5(&stage.device, "s", b"\x22\0\x02")).await;
    socket.packet().await;
    crate::stage::subscribe_5(&mut socket, b"", &[("#", 0)]).await;
    let mut publisher = stage.v5("p").await;
    for number in 0..4 {
        let topic = format!("long/topic/{number}");
        publisher.send(&publish5(0, &topic, 0, b"", b"1")).await;
        let alias = [0x23, 0, number + 1];
        // [MQTT-3.3.2-11]
        let expected: &[u8] = if number < 2 { &alias } else { b"" };
        socket.expect(&publish5(0, &topic, 0, expected, b"1")).await;
    }
}
