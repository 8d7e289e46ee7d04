//! Sections 3.8 and 3.9: SUBSCRIBE and SUBACK.

use crate::packets::{packet, publish5, subscribe5};
use crate::stage::{Stage, retained, subscribe_5};

#[tokio::test]
async fn mqtt5_3_8_3_2_a_subscribe_without_a_filter_is_a_protocol_error() {
    let stage = Stage::start().await;
    stage.closes5(b"\x82\x03\0\x01\0", 0x82).await;
}

#[tokio::test]
async fn mqtt5_3_8_3_3_no_local_holds_for_all_that_the_client_publishes() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 0x06)]).await;
    for (qos, ack) in [(0, None), (1, Some(b"\x40\x02\0\x01")), (2, Some(b"\x50\x02\0\x01"))] {
        socket.send(&publish5(qos, "t", 1, b"", b"1")).await;
        if let Some(ack) = ack {
            socket.expect(ack).await;
        }
        socket.expect_nothing().await;
    }
    stage.publish(1, "t", b"2").await;
    socket.expect(&publish5(1, "t", 1, b"", b"2")).await;
}

#[tokio::test]
async fn mqtt5_3_8_3_3_no_local_is_a_matter_of_each_subscription() {
    let stage = Stage::start().await;
    for kept in [false, true] {
        let connect = stage.connect5(&format!("s{kept}"));
        let (mut socket, _) = stage.accepted(&if kept { connect.property(b"\x11\0\0\0\x3c") } else { connect }).await;
        // Identifier 1, QoS 2 without own messages; identifier 2, QoS 1; identifier 3, QoS 0.
        subscribe_5(&mut socket, b"\x0b\x01", &[("t", 0x06)]).await;
        subscribe_5(&mut socket, b"\x0b\x02", &[("+", 0x01)]).await;
        socket.send(&publish5(2, "t", 1, b"", b"1")).await;
        let mut came = [socket.packet().await, socket.packet().await];
        came.sort();
        assert_eq!(came[0], publish5(1, "t", 1, b"\x0b\x02", b"1"));
        socket.send(b"\x40\x02\0\x01").await;
        subscribe_5(&mut socket, b"\x0b\x03", &[("+", 0)]).await;
        socket.send(&publish5(1, "t", 2, b"", b"2")).await;
        let mut came = [socket.packet().await, socket.packet().await];
        came.sort();
        assert_eq!(came[0], publish5(0, "t", 0, b"\x0b\x03", b"2"));
        // What others publish is found by both.
        stage.publish(2, "t", b"3").await;
        let came = socket.packet().await;
        assert_eq!(came[0], 0x34, "{came:02x?}");
        socket.expect_nothing().await;
        socket.send(b"\xe0\0").await;
        socket.expect_closed().await;
        if kept {
            // Only what was not acknowledged: the second message went out at QoS 0.
            stage
                .platform
                .eventually_stored(|state| state.sessions.iter().map(|left| left.deliveries.len()).eq([1]))
                .await;
        }
    }
}

#[tokio::test]
async fn mqtt5_3_8_3_3_no_local_holds_for_retained_messages() {
    let mut stage = Stage::start().await;
    for restart in [false, true] {
        let mut socket = stage.v5("own").await;
        socket.send(&retained(publish5(1, "t/own", 1, b"", b"1"))).await;
        socket.packet().await;
        stage.retain(1, "t/other", b"2").await;
        if restart {
            stage.platform = stage.platform.crash().await;
            socket = stage.v5("own").await;
        }
        subscribe_5(&mut socket, b"", &[("t/#", 0x04)]).await;
        socket.expect(&retained(publish5(0, "t/other", 0, b"", b"2"))).await;
        socket.expect_nothing().await;
        subscribe_5(&mut socket, b"", &[("t/own", 0)]).await;
        socket.expect(&retained(publish5(0, "t/own", 0, b"", b"1"))).await;
        // The same name of another device is another client.
        let other = stage.platform.device_in(Some(stage.device.tenant), &format!("other-{restart}")).await;
        let mut other = stage.platform.v5(&other, "own").await;
        subscribe_5(&mut other, b"", &[("t/own", 0x04)]).await;
        other.expect(&retained(publish5(0, "t/own", 0, b"", b"1"))).await;
        socket.send(b"\xe0\0").await;
        socket.expect_closed().await;
    }
}

#[tokio::test]
async fn mqtt5_3_8_3_5_reserved_bits_are_malformed() {
    let stage = Stage::start().await;
    for options in [0x40, 0x80, 0xc0] {
        stage.closes5(&subscribe5(1, b"", &[("t", options)]), 0x81).await;
        stage.closes5(&subscribe5(1, b"", &[("t", 0), ("u", options)]), 0x81).await;
    }
    // QoS 3 is another matter.
    stage.closes5(&subscribe5(1, b"", &[("t", 3)]), 0x82).await;
}

#[tokio::test]
async fn mqtt5_3_8_4_3_the_same_filter_replaces_the_subscription_with_all_its_options() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    subscribe_5(&mut socket, b"\x0b\x01", &[("t", 0x0a)]).await;
    stage.retain(2, "t", b"1").await;
    socket.expect(&retained(publish5(2, "t", 1, b"\x0b\x01", b"1"))).await;
    subscribe_5(&mut socket, b"\x0b\x02", &[("t", 0x21)]).await;
    stage.retain(2, "t", b"2").await;
    socket.expect(&publish5(1, "t", 2, b"\x0b\x02", b"2")).await;
    assert_eq!(stage.platform.broker.stats().subscriptions, 1);
}

#[tokio::test]
async fn mqtt5_3_8_4_4_no_message_is_lost_while_a_subscription_is_replaced() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("t", 1)]).await;
    let mut publisher = stage.v5("p").await;
    let count = 300u16;
    for id in 1..=count {
        publisher.send(&publish5(1, "t", id, b"", &id.to_be_bytes())).await;
        if id % 10 == 0 {
            socket.send(&subscribe5(id, b"", &[("t", 0x21)])).await;
        }
    }
    let mut numbers = Vec::new();
    let mut acknowledged = 0;
    while numbers.len() < count.into() || acknowledged < count / 10 {
        let packet = socket.packet().await;
        match packet[0] {
            0x32 => {
                socket.send(&[0x40, 2, packet[5], packet[6]]).await;
                numbers.push(u16::from_be_bytes([packet[8], packet[9]]));
            }
            0x90 => acknowledged += 1,
            _ => panic!("{packet:02x?}"),
        }
    }
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
}

#[tokio::test]
async fn mqtt5_3_8_4_5_many_filters_are_as_many_subscriptions_with_one_suback() {
    let stage = Stage::start().await;
    let mut socket = stage.v5("s").await;
    // [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] a code for each, in their order, the QoS or why not
    socket.send(&subscribe5(7, b"", &[("a", 2), (&"b/".repeat(200), 1), ("$SYS/x", 1), ("c", 0), ("a", 1)])).await;
    socket.expect(b"\x90\x08\0\x07\0\x02\x8f\x87\0\x01").await;
    assert_eq!(stage.platform.broker.stats().subscriptions, 2);
    stage.publish(2, "a", b"1").await;
    socket.expect(&publish5(1, "a", 1, b"", b"1")).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn mqtt5_3_8_4_8_a_message_comes_at_the_lower_qos_of_publisher_and_subscription() {
    let stage = Stage::start().await;
    let mut socket = stage.subscriber5("s", &[("0", 0), ("1", 1), ("2", 2)]).await;
    let mut id = 0u16;
    for granted in 0..=2u8 {
        for published in 0..=2 {
            stage.publish(published, &granted.to_string(), b"1").await;
            let qos = granted.min(published);
            id += u16::from(qos > 0);
            socket.expect(&publish5(qos, &granted.to_string(), id, b"", b"1")).await;
        }
    }
}

#[tokio::test]
async fn mqtt5_a_subscribe_whose_properties_are_wrong_closes_the_connection() {
    let stage = Stage::start().await;
    for properties in [b"\x11\0\0\0\x01".as_slice(), b"\x01\0", b"\x26\0\x01a"] {
        stage.closes5(&subscribe5(1, properties, &[("t", 0)]), 0x81).await;
    }
    // A filter without options, and one that is cut off.
    stage.closes5(&packet(0x82, b"\0\x01\0\0\x01t"), 0x81).await;
    stage.closes5(&packet(0x82, b"\0\x01\0\0\x05t\0"), 0x81).await;
}
