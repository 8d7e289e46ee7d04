//! Clients that do not take what is sent to them: they lose QoS 0 first, and then their connection.

use std::time::Duration;

use crate::packets::{publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Platform, Socket};

/// Where one message is in flight, one waits, and a client may be behind for this long.
async fn platform(slow_consumer_seconds: u16) -> Platform {
    Platform::start_with(|config| {
        config.limits.inflight = 1;
        config.limits.queued_messages = 1;
        config.limits.slow_consumer_seconds = slow_consumer_seconds;
    })
    .await
}

async fn publish(publisher: &mut Socket, times: u8) {
    for id in 1..=times {
        publisher.send(&publish3(1, "t", id.into(), b"1")).await;
        publisher.expect(&[0x40, 2, 0, id]).await;
    }
}

#[tokio::test]
async fn a_client_whose_queue_overflows_for_too_long_is_disconnected() {
    let platform = platform(1).await;
    let device = platform.device("a").await;
    let mut v5 = platform.v5(&device, "5").await;
    v5.send(&subscribe5(1, b"", &[("t", 1)])).await;
    v5.packet().await;
    let mut v3 = platform.v3(&device, "3").await;
    v3.send(&subscribe3(1, &[("t", 1)])).await;
    v3.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    publish(&mut publisher, 3).await;
    v5.expect(&publish5(1, "t", 1, b"", b"1")).await;
    v5.expect_disconnect(0x97).await;
    v3.expect(&publish3(1, "t", 1, b"1")).await;
    v3.expect_closed().await;
    assert_eq!(platform.broker.stats().slow_consumers, 2);
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn a_full_queue_that_does_not_overflow_ends_nothing() {
    let platform = platform(1).await;
    let device = platform.device("a").await;
    let mut subscriber = platform.v5(&device, "s").await;
    subscriber.send(&subscribe5(1, b"", &[("t", 1)])).await;
    subscriber.packet().await;
    publish(&mut platform.v3(&device, "p").await, 2).await;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    subscriber.expect(&publish5(1, "t", 1, b"", b"1")).await;
    subscriber.expect_nothing().await;
}

#[tokio::test]
async fn a_client_whose_queue_recovers_in_time_stays() {
    let platform = platform(3).await;
    let device = platform.device("a").await;
    let mut subscriber = platform.v5(&device, "s").await;
    subscriber.send(&subscribe5(1, b"", &[("t", 1)])).await;
    subscriber.packet().await;
    publish(&mut platform.v3(&device, "p").await, 3).await;
    for id in 1..=2 {
        subscriber.expect(&publish5(1, "t", id, b"", b"1")).await;
        subscriber.send(&[0x40, 2, 0, u8::try_from(id).unwrap()]).await;
    }
    tokio::time::sleep(Duration::from_millis(4_000)).await;
    subscriber.expect_nothing().await;
    assert_eq!(platform.broker.stats().slow_consumers, 0);
}

#[tokio::test]
async fn a_client_that_takes_nothing_from_its_socket_is_disconnected_and_slows_nobody() {
    let platform = Platform::start_with(|config| {
        config.limits.unsent_bytes = 64 * 1024;
        config.limits.slow_consumer_seconds = 1;
    })
    .await;
    let device = platform.device("a").await;
    let mut stuck = platform.v3(&device, "s").await;
    stuck.send(&subscribe3(1, &[("t", 0)])).await;
    stuck.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    let payload = format!("\"{}\"", "x".repeat(32 * 1024));
    // The sockets' own buffers take some megabytes first.
    while platform.broker.stats().dropped_unsent == 0 {
        publisher.send(&publish3(1, "t", 1, payload.as_bytes())).await;
        publisher.expect(b"\x40\x02\0\x01").await;
        assert!(platform.broker.stats().messages_in[1] < 5_000, "nothing was dropped");
    }
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    assert_eq!(platform.broker.stats().slow_consumers, 1);
    publisher.expect_nothing().await;
}
