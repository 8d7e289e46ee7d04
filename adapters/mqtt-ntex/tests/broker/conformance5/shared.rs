//! Section 4.8.2: shared subscriptions.

use crate::packets::{publish5, subscribe5, unsubscribe5};
use crate::stage::{Stage, again, subscribe_5};

#[tokio::test]
async fn mqtt5_4_8_2_1_a_shared_filter_names_a_group_and_a_filter() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    let right =
        ["$share/g/t", "$share/g/#", "$share/g/+/t", "$share/g//", "$share/a group/t", "$share/$g/t", "$share/g/é"];
    subscribe_5(&mut socket, b"", &right.map(|filter| (filter, 0))).await;
    // No group, no filter, nothing at all.
    for wrong in ["$share/g", "$share/g/", "$share//t", "$share/", "$share/g/a#"] {
        stage.closes5(&subscribe5(1, b"", &[(wrong, 0)]), 0x81).await;
        stage.closes5(&unsubscribe5(1, &[wrong]), 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_4_8_2_2_the_name_of_a_group_has_no_wildcard() {
    let stage = Stage::start().await;
    for wrong in ["$share/+/t", "$share/#/t", "$share/a+/t", "$share/#"] {
        stage.closes5(&subscribe5(1, b"", &[(wrong, 0)]), 0x81).await;
    }
}

#[tokio::test]
async fn mqtt5_4_8_2_3_each_member_gets_messages_at_its_own_qos() {
    let stage = Stage::start().await;
    let mut members = Vec::new();
    for qos in 0..=2 {
        members.push((qos, stage.subscriber5(&qos.to_string(), &[("$share/g/t", qos)]).await));
    }
    for _ in 0..3 {
        stage.publish(2, "t", b"1").await;
    }
    for (qos, socket) in &mut members {
        socket.expect(&publish5(*qos, "t", 1, b"", b"1")).await;
    }
}

#[tokio::test]
async fn mqtt5_4_8_2_4_a_message_of_qos_2_is_completed_with_the_member_that_began() {
    let stage = Stage::start().await;
    let mut first = stage.kept5("first").await;
    subscribe_5(&mut first, b"", &[("$share/g/t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    first.expect(&publish5(2, "t", 1, b"", b"1")).await;
    let mut second = stage.subscriber5("second", &[("$share/g/t", 2)]).await;
    stage.lose(first).await;
    second.expect_nothing().await;
    let mut first = stage.kept5("first").await;
    first.expect(&again(publish5(2, "t", 1, b"", b"1"))).await;
    first.send(b"\x50\x02\0\x01").await;
    first.expect(b"\x62\x02\0\x01").await;
}

#[tokio::test]
async fn mqtt5_4_8_2_5_a_message_of_qos_2_goes_to_nobody_else_when_its_session_ends() {
    let stage = Stage::start().await;
    let mut first = stage.subscriber5("first", &[("$share/g/t", 2)]).await;
    stage.publish(2, "t", b"1").await;
    first.expect(&publish5(2, "t", 1, b"", b"1")).await;
    let mut second = stage.subscriber5("second", &[("$share/g/t", 2)]).await;
    // Its session ends with its connection.
    stage.lose(first).await;
    stage.publish(2, "t", b"2").await;
    second.expect(&publish5(2, "t", 1, b"", b"2")).await;
    second.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_4_8_2_6_a_message_that_a_member_refuses_goes_to_nobody_else() {
    let stage = Stage::start().await;
    let mut first = stage.subscriber5("first", &[("$share/g/t", 2)]).await;
    stage.publish(1, "t", b"1").await;
    stage.publish(2, "t", b"2").await;
    first.expect(&publish5(1, "t", 1, b"", b"1")).await;
    first.expect(&publish5(2, "t", 2, b"", b"2")).await;
    let mut second = stage.subscriber5("second", &[("$share/g/t", 2)]).await;
    first.send(b"\x40\x03\0\x01\x97\x50\x03\0\x02\x97").await;
    first.expect_nothing().await;
    stage.lose(first).await;
    second.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_8_3_4_no_local_of_a_shared_subscription_is_a_protocol_error() {
    let stage = Stage::start().await;
    stage.closes5(&subscribe5(1, b"", &[("$share/g/t", 4)]), 0x82).await;
    stage.closes5(&subscribe5(1, b"", &[("t", 4), ("$share/g/t", 5)]), 0x82).await;
}

#[tokio::test]
async fn mqtt5_a_shared_subscription_is_another_than_the_one_that_is_not() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 0), ("$share/g/t", 0), ("$share/h/t", 0)]).await;
    assert_eq!(stage.platform.broker.stats().subscriptions, 3);
    for (filter, left) in [("$share/g/t", 2), ("t", 1), ("$share/h/t", 0)] {
        let len = u8::try_from(filter.len()).unwrap();
        socket.send(&[&[0xa2, 5 + len, 0, 1, 0, 0, len], filter.as_bytes()].concat()).await;
        socket.expect(b"\xb0\x04\0\x01\0\0").await;
        stage.publish(0, "t", b"1").await;
        for _ in 0..left {
            socket.expect(&publish5(0, "t", 0, b"", b"1")).await;
        }
        socket.expect_nothing().await;
    }
}
