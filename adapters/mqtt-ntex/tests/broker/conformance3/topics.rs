//! Section 4.7: topic names and topic filters.

use crate::packets::{publish3, subscribe3, unsubscribe3};
use crate::stage::{Stage, subscribe_3};

#[tokio::test]
async fn mqtt_4_7_1_2_a_number_sign_is_a_whole_last_level() {
    let stage = Stage::start().await;
    let mut socket = stage.v3("s").await;
    subscribe_3(&mut socket, &[("#", 0), ("a/#", 0)]).await;
    for wrong in ["a#", "a/#/b", "#/a", "a/b#"] {
        stage.closes3(&subscribe3(1, &[("t", 0), (wrong, 0)])).await;
        stage.closes3(&unsubscribe3(1, wrong)).await;
    }
}

#[tokio::test]
async fn mqtt_4_7_1_3_a_plus_sign_is_a_whole_level() {
    let stage = Stage::start().await;
    let mut socket = stage.v3("s").await;
    subscribe_3(&mut socket, &[("+", 0), ("+/a/#", 0), ("a/+/b", 0)]).await;
    for wrong in ["a+", "a/+b/c"] {
        stage.closes3(&subscribe3(1, &[("t", 0), (wrong, 0)])).await;
        stage.closes3(&unsubscribe3(1, wrong)).await;
    }
}

#[tokio::test]
async fn mqtt_4_7_2_1_a_wildcard_at_the_beginning_does_not_match_a_dollar_topic() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber3("s", &[("#", 0), ("+/x", 0)]).await;
    // Devices may not publish there; 3.1.1 acknowledges all the same.
    stage.publish(1, "$other/x", b"1").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_4_7_3_1_names_and_filters_have_at_least_one_character() {
    let stage = Stage::start().await;
    stage.closes3(&publish3(0, "", 0, b"1")).await;
    stage.closes3(&subscribe3(1, &[("", 0)])).await;
    stage.closes3(&unsubscribe3(1, "")).await;
    let mut socket = stage.subscriber3("s", &[("/", 0)]).await;
    stage.publish(0, "/", b"1").await;
    socket.expect(&publish3(0, "/", 0, b"1")).await;
}

#[tokio::test]
async fn mqtt_4_7_3_4_topics_are_neither_normalised_nor_changed() {
    let stage = Stage::start().await;
    // Composed and decomposed, upper and lower case, blanks, empty levels.
    let topics = ["é", "e\u{301}", "t", "T", " t", "t/", "/t", "t//u", "t/u", "\u{200b}t"];
    for topic in topics {
        let mut socket = stage.subscriber3("s", &[(topic, 0)]).await;
        for other in topics {
            stage.publish(0, other, b"1").await;
        }
        stage.publish(1, "the end", b"1").await;
        socket.expect(&publish3(0, topic, 0, b"1")).await;
        socket.expect_nothing().await;
    }
}
