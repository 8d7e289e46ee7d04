//! Section 4.7: topic names and topic filters.

use crate::packets::{publish5, subscribe5, unsubscribe5};
use crate::stage::{Stage, subscribe_5};

#[tokio::test]
async fn mqtt5_4_7_1_1_a_number_sign_is_a_whole_last_level() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"", &[("#", 0), ("a/#", 0)]).await;
    for wrong in ["a#", "a/#/b", "#/a", "a/b#"] {
        stage.closes5(&subscribe5(1, b"", &[("t", 0), (wrong, 0)]), 0x81).await;
        stage.closes5(&unsubscribe5(1, &["t", wrong]), 0x81).await;
    }
    assert_eq!(stage.platform.broker.stats().subscriptions, 2);
}

#[tokio::test]
async fn mqtt5_4_7_1_2_a_plus_sign_is_a_whole_level() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"", &[("+", 0), ("+/a/#", 0), ("a/+/b", 0)]).await;
    for wrong in ["a+", "a/+b/c"] {
        stage.closes5(&subscribe5(1, b"", &[(wrong, 0)]), 0x81).await;
        stage.closes5(&unsubscribe5(1, &[wrong]), 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_4_7_1_wildcards_match_as_the_examples_say() {
    let stage = Stage::start().await;
    let cases: &[(&str, &[&str])] = &[
        ("sport/tennis/player1/#", &["sport/tennis/player1", "sport/tennis/player1/ranking"]),
        ("sport/#", &["sport", "sport/", "sport/tennis/player1", "sport/tennis/player1/ranking"]),
        ("sport/tennis/+", &["sport/tennis/player1"]),
        ("sport/+", &["sport/"]),
        ("+/+", &["/finance", "sport/"]),
        ("/+", &["/finance"]),
        ("+", &["sport"]),
    ];
    let topics = ["sport", "sport/", "/finance", "sport/tennis/player1", "sport/tennis/player1/ranking"];
    for (filter, expected) in cases {
        let mut socket = stage.subscriber5("s", &[(filter, 0)]).await;
        for topic in topics {
            stage.publish(0, topic, b"1").await;
        }
        let mut expected = expected.to_vec();
        expected.sort_by_key(|topic| topics.iter().position(|other| other == topic));
        for topic in expected {
            socket.expect(&publish5(0, topic, 0, b"", b"1")).await;
        }
        socket.expect_nothing().await;
    }
}

#[tokio::test]
async fn mqtt5_4_7_2_1_a_wildcard_at_the_beginning_does_not_match_a_dollar_topic() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("#", 0), ("+/x", 0)]).await;
    let mut publisher = stage.v5("p").await;
    // Devices may not publish there anyway.
    publisher.send(&publish5(1, "$other/x", 1, b"", b"1")).await;
    publisher.expect(b"\x40\x03\0\x01\x87").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_7_3_1_names_and_filters_have_at_least_one_character() {
    let stage = Stage::start().await;
    stage.closes5(&publish5(0, "", 0, b"", b"1"), 0x82).await;
    stage.closes5(&subscribe5(1, b"", &[("", 0)]), 0x81).await;
    stage.closes5(&unsubscribe5(1, &[""]), 0x81).await;
    let mut socket = stage.subscriber5("s", &[("/", 0)]).await;
    stage.publish(0, "/", b"1").await;
    socket.expect(&publish5(0, "/", 0, b"", b"1")).await;
}

#[tokio::test]
async fn mqtt5_4_7_3_4_topics_are_neither_normalised_nor_changed() {
    let stage = Stage::start().await;
    let topics = ["é", "e\u{301}", "t", "T", " t", "t/", "/t", "t//u", "t/u", "\u{200b}t"];
    for topic in topics {
        let mut socket = stage.subscriber5("s", &[(topic, 0)]).await;
        for other in topics {
            stage.publish(0, other, b"1").await;
        }
        stage.publish(1, "the end", b"1").await;
        socket.expect(&publish5(0, topic, 0, b"", b"1")).await;
        socket.expect_nothing().await;
    }
}
