//! PUBLISH: what is stored, what is acknowledged, what is refused.

use std::time::Duration;

use pocket_application::IngestOptions;
use pocket_domain::PayloadPolicy;

use crate::packets::{packet, publish3, publish5};
use crate::platform::{Platform, rules};

#[tokio::test]
async fn a_message_of_qos_1_is_acknowledged_when_it_is_stored() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    socket.send(&publish3(1, "boiler/1", 7, b"{\"t\":21.5}")).await;
    socket.expect(b"\x40\x02\0\x07").await;
    let rows = platform.stored(&device, 1).await;
    assert_eq!((rows[0].topic.as_str(), rows[0].payload.as_str()), ("boiler/1", "{\"t\":21.5}"));
}

#[tokio::test]
async fn many_messages_are_acknowledged_and_stored_in_order() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    let all: Vec<u8> = (1..=90u16).flat_map(|id| publish3(1, "t", id, id.to_string().as_bytes())).collect();
    socket.send(&all).await;
    for id in 1..=90u16 {
        socket.expect(&packet(0x40, &id.to_be_bytes())).await;
    }
    let rows = platform.stored(&device, 90).await;
    assert!(rows.iter().map(|row| row.payload.as_str().to_owned()).eq((1..=90).map(|id| id.to_string())));
}

#[tokio::test]
async fn a_message_of_qos_0_is_stored_too() {
    let platform = Platform::start_with_rules(
        |_| {},
        rules(&["#"]),
        IngestOptions { flush: Duration::from_millis(50), ..Default::default() },
    )
    .await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&publish5(0, "t", 0, b"", b"1")).await;
    assert_eq!(platform.stored(&device, 1).await[0].payload.as_str(), "1");
}

#[tokio::test]
async fn acknowledgement_on_receipt_is_a_setting() {
    // The writer waits for a full batch or an hour, and nobody waits for it.
    let ingest = IngestOptions { flush: Duration::from_secs(3_600), ..Default::default() };
    let platform = Platform::start_with_rules(|config| config.ack_on_receipt = true, rules(&["#"]), ingest).await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    socket.send(&publish3(1, "t", 1, b"1")).await;
    socket.expect(b"\x40\x02\0\x01").await;
    platform.stored(&device, 0).await;
}

#[tokio::test]
async fn a_topic_that_is_not_stored_is_acknowledged_in_its_turn() {
    let platform = Platform::start_with_rules(|_| {}, rules(&["kept/#"]), IngestOptions::default()).await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    let all = [publish3(1, "kept/1", 1, b"1"), publish3(1, "other", 2, b"not json"), publish3(1, "kept/2", 3, b"3")];
    socket.send(&all.concat()).await;
    for id in 1..=3 {
        socket.expect(&[0x40, 2, 0, id]).await;
    }
    platform.stored(&device, 2).await;
}

#[tokio::test]
async fn a_malformed_payload_is_refused_and_noted_on_the_device() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&[publish5(1, "t", 1, b"", b"{"), publish5(1, "t", 2, b"", b"{}")].concat()).await;
    let refused = socket.packet().await;
    assert_eq!((refused[0], &refused[2..5]), (0x40, b"\0\x01\x99".as_slice()));
    assert!(String::from_utf8_lossy(&refused).contains("payload is not JSON"));
    socket.expect(b"\x40\x02\0\x02").await;
    platform.stored(&device, 1).await;
    let mut seen = None;
    for _ in 0..200 {
        seen = platform.application.devices.get(&platform.admin, None, device.id).await.unwrap().last_rejection;
        if seen.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen.unwrap().topic.as_str(), "t");
    assert_eq!(platform.broker.stats().rejected, 1);
}

#[tokio::test]
async fn a_client_of_3_1_1_is_not_told_of_a_malformed_payload() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    socket.send(&[publish3(1, "t", 1, b"{"), publish3(0, "t", 0, b"{")].concat()).await;
    socket.expect(b"\x40\x02\0\x01").await;
    socket.expect_nothing().await;
    platform.stored(&device, 0).await;
}

#[tokio::test]
async fn a_tenant_may_accept_any_payload() {
    let platform = Platform::start().await;
    let tenant = platform.tenant("anything", PayloadPolicy::Any).await;
    let device = platform.device_in(Some(tenant), "a").await;
    let mut socket = platform.v3(&device, "x").await;
    socket.send(&publish3(1, "t", 1, b"21.5 C")).await;
    socket.expect(b"\x40\x02\0\x01").await;
    assert_eq!(platform.stored(&device, 1).await[0].payload.as_str(), "{\"raw\":\"21.5 C\"}");
}

#[tokio::test]
async fn topics_of_the_broker_are_not_for_devices() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&publish5(1, "$SYS/x", 1, b"", b"1")).await;
    socket.expect(b"\x40\x03\0\x01\x87").await;
    let mut socket = platform.v3(&device, "y").await;
    socket.send(&publish3(1, "$SYS/x", 1, b"1")).await;
    socket.expect(b"\x40\x02\0\x01").await;
    platform.stored(&device, 0).await;
    assert_eq!(platform.broker.stats().denied, 2);
}

#[tokio::test]
async fn a_topic_alias_stands_for_its_topic() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    let all = [publish5(1, "long/topic", 1, b"\x23\0\x05", b"1"), publish5(1, "", 2, b"\x23\0\x05", b"2")];
    socket.send(&all.concat()).await;
    socket.expect(b"\x40\x02\0\x01").await;
    socket.expect(b"\x40\x02\0\x02").await;
    let rows = platform.stored(&device, 2).await;
    assert!(rows.iter().all(|row| row.topic.as_str() == "long/topic"));
}

#[tokio::test]
async fn a_topic_alias_that_was_never_set_or_is_too_large_closes_the_connection() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    for (topic, alias, reason) in [("", 5, 0x82), ("", 0x40, 0x82), ("", 0x41, 0x94), ("t", 0x41, 0x94)] {
        let mut socket = platform.v5(&device, "x").await;
        socket.send(&publish5(0, topic, 0, &[0x23, 0, alias], b"1")).await;
        socket.expect_disconnect(reason).await;
    }
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&publish5(0, "t", 0, b"\x23\0\x40", b"1")).await;
    socket.expect_nothing().await;
}
