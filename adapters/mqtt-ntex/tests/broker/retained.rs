//! Retained messages.

use crate::packets::{connect3_with, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Platform, Socket};

fn retained(mut packet: Vec<u8>) -> Vec<u8> {
    packet[0] |= 1;
    packet
}

/// A client of 3.1.1 that publishes these to be kept.
async fn keep(platform: &Platform, device: &crate::platform::Device, messages: &[(&str, &str)]) -> Socket {
    let mut publisher = platform.v3(device, "keeper").await;
    for (topic, payload) in messages {
        publisher.send(&retained(publish3(1, topic, 1, payload.as_bytes()))).await;
        publisher.expect(b"\x40\x02\0\x01").await;
    }
    publisher
}

#[tokio::test]
async fn a_new_subscriber_gets_the_last_message_of_each_topic() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    keep(&platform, &device, &[("a/1", "1"), ("a/2", "2"), ("a/1", "3"), ("b", "4")]).await;
    let mut socket = platform.v3(&device, "s").await;
    socket.send(&subscribe3(1, &[("a/+", 1)])).await;
    socket.expect(b"\x90\x03\0\x01\x01").await;
    let mut received = [socket.packet().await, socket.packet().await];
    for packet in &mut received {
        packet[7..9].fill(0);
    }
    received.sort();
    assert_eq!(received, [retained(publish3(1, "a/1", 0, b"3")), retained(publish3(1, "a/2", 0, b"2"))]);
    assert_eq!(platform.broker.stats().retained_messages, 3);
    platform.stored(&device, 4).await;
}

#[tokio::test]
async fn an_empty_payload_clears_the_message_and_is_not_telemetry() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut publisher = keep(&platform, &device, &[("t", "1")]).await;
    let mut watcher = platform.v3(&device, "w").await;
    watcher.send(&subscribe3(1, &[("#", 0)])).await;
    watcher.packet().await;
    watcher.expect(&retained(publish3(0, "t", 0, b"1"))).await;
    publisher.send(&retained(publish3(1, "t", 1, b""))).await;
    publisher.expect(b"\x40\x02\0\x01").await;
    // Those who are already subscribed see it as a message like any other.
    watcher.expect(&publish3(0, "t", 0, b"")).await;
    watcher.send(&subscribe3(2, &[("t", 0)])).await;
    watcher.packet().await;
    watcher.expect_nothing().await;
    assert_eq!(platform.broker.stats().retained_messages, 0);
    assert_eq!(platform.broker.stats().rejected, 0);
    platform.stored(&device, 1).await;
}

#[tokio::test]
async fn what_is_refused_is_not_kept() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    keep(&platform, &device, &[("t", "{")]).await;
    assert_eq!(platform.broker.stats().retained_messages, 0);
}

#[tokio::test]
async fn a_subscription_says_which_retained_messages_it_wants() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    keep(&platform, &device, &[("t", "1")]).await;
    let mut socket = platform.v5(&device, "s").await;
    let message = retained(publish5(0, "t", 0, b"", b"1"));
    // Retain handling 2: never; 1: when it is new; 0: always.
    for (options, is_sent) in [(0x20, false), (0x10, false), (0x00, true)] {
        socket.send(&subscribe5(1, b"", &[("t", options)])).await;
        socket.packet().await;
        if is_sent {
            socket.expect(&message).await;
        }
        socket.expect_nothing().await;
    }
    socket.send(&subscribe5(1, b"", &[("+", 0x10)])).await;
    socket.packet().await;
    socket.expect(&message).await;
}

#[tokio::test]
async fn the_retain_flag_is_seen_as_published_by_those_who_ask_for_it() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut asking, mut other) = (platform.v5(&device, "r").await, platform.v5(&device, "s").await);
    asking.send(&subscribe5(1, b"", &[("t", 0x08)])).await;
    asking.packet().await;
    other.send(&subscribe5(1, b"", &[("t", 0)])).await;
    other.packet().await;
    keep(&platform, &device, &[("t", "1")]).await;
    asking.expect(&retained(publish5(0, "t", 0, b"", b"1"))).await;
    other.expect(&publish5(0, "t", 0, b"", b"1")).await;
}

#[tokio::test]
async fn tenants_do_not_see_each_others_retained_messages() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    keep(&platform, &device, &[("t", "1")]).await;
    let other = platform.tenant("other", pocket_domain::PayloadPolicy::Json).await;
    let stranger = platform.device_in(Some(other), "a").await;
    let mut socket = platform.v3(&stranger, "s").await;
    socket.send(&subscribe3(1, &[("#", 0)])).await;
    socket.packet().await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn a_will_may_be_kept() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut leaving = platform.socket().await;
    let id = device.id.to_string();
    leaving.send(&connect3_with(0xe6, 0, "w", &[b"state", b"gone", id.as_bytes(), device.token.as_bytes()])).await;
    leaving.packet().await;
    leaving.break_off();
    platform.eventually(|platform| platform.broker.stats().retained_messages == 1).await;
    let mut socket = platform.v3(&device, "s").await;
    socket.send(&subscribe3(1, &[("state", 0)])).await;
    socket.packet().await;
    socket.expect(&retained(publish3(0, "state", 0, b"gone"))).await;
}

#[tokio::test]
async fn retained_messages_of_a_tenant_are_bounded() {
    let platform = Platform::start_with(|config| config.limits.retained_messages = 1).await;
    let device = platform.device("a").await;
    keep(&platform, &device, &[("a", "1"), ("b", "2"), ("a", "3")]).await;
    let stats = platform.broker.stats();
    assert_eq!((stats.retained_messages, stats.dropped_retained_full), (1, 1));
    platform.stored(&device, 3).await;
}

#[tokio::test]
async fn a_new_subscriber_gets_more_messages_than_its_socket_takes_at_once() {
    let platform = Platform::start_with(|config| {
        config.limits.unsent_bytes = 16 * 1024;
        config.limits.queued_messages = 10;
    })
    .await;
    let device = platform.device("a").await;
    let count = 400;
    let payload = format!("\"{}\"", "x".repeat(1_000));
    let mut publisher = platform.v3(&device, "p").await;
    for number in 0..count {
        publisher.send(&retained(publish3(0, &format!("t/{number}"), 0, payload.as_bytes()))).await;
    }
    publisher.expect_nothing().await;
    for qos in [0, 1] {
        let mut socket = platform.v3(&device, "s").await;
        socket.send(&subscribe3(1, &[("#", qos)])).await;
        socket.packet().await;
        for _ in 0..count {
            let packet = socket.packet().await;
            assert_eq!(packet[0], 0x31);
        }
        socket.expect_nothing().await;
    }
    assert_eq!(platform.broker.stats().dropped_unsent, 0);
}
