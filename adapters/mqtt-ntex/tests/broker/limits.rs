//! What happens at the bounds.

use std::time::{Duration, Instant};

use pocket_domain::PayloadPolicy;
use tokio::io::AsyncWriteExt;

use crate::packets::{connect3, connect5, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Platform, tcp};

#[tokio::test]
async fn the_limits_are_announced() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    socket.send(&connect5(&device, "x", b"\x11\0\0\0\x3c")).await;
    let ack = socket.packet().await;
    // Receive maximum 1,024, topic alias maximum 64, maximum packet size 1,056,768.
    for property in [b"\x21\x04\0".as_slice(), b"\x22\0\x40", b"\x27\0\x10\x20\0"] {
        assert!(ack.windows(property.len()).any(|bytes| bytes == property), "{ack:02x?}");
    }
}

#[tokio::test]
async fn connections_of_a_tenant_are_bounded_and_a_client_may_always_come_back() {
    let platform = Platform::start_with(|config| config.limits.tenant_connections = 1).await;
    let device = platform.device("a").await;
    let tenant = platform.tenant("other", PayloadPolicy::Json).await;
    let elsewhere = platform.device_in(Some(tenant), "a").await;
    let mut first = platform.v3(&device, "x").await;
    let mut refused = platform.socket().await;
    refused.send(&connect3(&device, "y")).await;
    refused.expect(b"\x20\x02\0\x03").await;
    let mut refused = platform.socket().await;
    refused.send(&connect5(&device, "y", b"")).await;
    assert_eq!(refused.packet().await[3], 0x97);
    let _other_tenant = platform.v3(&elsewhere, "y").await;
    let second = platform.v3(&device, "x").await;
    first.expect_closed().await;
    second.break_off();
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    platform.v3(&device, "y").await;
}

#[tokio::test]
async fn more_than_the_receive_maximum_closes_the_connection() {
    let platform = Platform::start_with(|config| config.limits.receive_maximum = 2).await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    let two: Vec<u8> = [1, 2].iter().flat_map(|id| publish5(2, "t", *id, b"", b"1")).collect();
    socket.send(&two).await;
    socket.expect(b"\x50\x02\0\x01").await;
    socket.expect(b"\x50\x02\0\x02").await;
    socket.send(&publish5(2, "t", 3, b"", b"1")).await;
    socket.expect_disconnect(0x93).await;
}

#[tokio::test]
async fn a_client_that_goes_on_sending_can_still_read_why_it_is_closed() {
    let platform = Platform::start_with(|config| config.limits.receive_maximum = 2).await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    for id in 1..=20 {
        socket.send(&publish5(2, "t", id, b"", b"1")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    socket.expect(b"\x50\x02\0\x01").await;
    socket.expect(b"\x50\x02\0\x02").await;
    socket.expect_disconnect(0x93).await;
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut_off_all_the_same() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut stream = tcp(platform.running.local_addr()).await;
    stream.write_all(&connect5(&device, "x", b"")).await.unwrap();
    // Neither allowed, nor little: more than is read of it.
    let began = Instant::now();
    while stream.write_all(&[0; 64 * 1024]).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    let mut stream = tcp(platform.running.local_addr()).await;
    stream.write_all(&connect5(&device, "y", b"")).await.unwrap();
    let began = Instant::now();
    while stream.write_all(&[0; 8]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&began.elapsed()));
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
}

#[tokio::test]
async fn a_client_of_3_1_1_is_not_read_while_too_much_is_unacknowledged() {
    let platform = Platform::start_with(|config| config.limits.receive_maximum = 1).await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    for id in 1..=5 {
        socket.send(&publish3(1, "t", id, b"1")).await;
    }
    for id in 1..=5 {
        socket.expect(&[0x40, 2, 0, id]).await;
    }
}

#[tokio::test]
async fn a_client_of_3_1_1_may_have_any_number_of_messages_unreleased() {
    let platform = Platform::start_with(|config| config.limits.receive_maximum = 2).await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    for id in 1..=5 {
        socket.send(&publish3(2, "t", id, b"1")).await;
        socket.expect(&[0x50, 2, 0, u8::try_from(id).unwrap()]).await;
    }
    for id in 1..=5 {
        socket.send(&[0x62, 2, 0, id]).await;
        socket.expect(&[0x70, 2, 0, id]).await;
    }
}

#[tokio::test]
async fn subscriptions_of_a_session_are_bounded() {
    let platform = Platform::start_with(|config| config.limits.subscriptions = 2).await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&subscribe5(1, b"", &[("a", 0), ("b", 0), ("c", 0), ("a", 1)])).await;
    socket.expect(b"\x90\x07\0\x01\0\0\0\x97\x01").await;
}

#[tokio::test]
async fn levels_of_a_filter_are_bounded() {
    let platform = Platform::start_with(|config| config.limits.filter_levels = 3).await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    socket.send(&subscribe5(1, b"", &[("a/b/c", 0), ("a/b/c/d", 0)])).await;
    socket.expect(b"\x90\x05\0\x01\0\0\x8f").await;
}

#[tokio::test]
async fn no_more_is_sent_than_the_client_accepts_unacknowledged() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut subscriber = platform.socket().await;
    // Receive maximum 2.
    subscriber.send(&connect5(&device, "s", b"\x21\0\x02")).await;
    subscriber.packet().await;
    subscriber.send(&subscribe5(1, b"", &[("t", 1)])).await;
    subscriber.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    for id in 1..=4 {
        publisher.send(&publish3(1, "t", id, id.to_string().as_bytes())).await;
        publisher.packet().await;
    }
    subscriber.expect(&publish5(1, "t", 1, b"", b"1")).await;
    subscriber.expect(&publish5(1, "t", 2, b"", b"2")).await;
    subscriber.expect_nothing().await;
    // Out of order.
    subscriber.send(b"\x40\x02\0\x02").await;
    subscriber.expect(&publish5(1, "t", 3, b"", b"3")).await;
    subscriber.expect_nothing().await;
    subscriber.send(b"\x40\x02\0\x01").await;
    subscriber.expect(&publish5(1, "t", 4, b"", b"4")).await;
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let platform = Platform::start_with(|config| {
        config.limits.inflight = 1;
        config.limits.queued_messages = 1;
    })
    .await;
    let device = platform.device("a").await;
    let mut subscriber = platform.v3(&device, "s").await;
    subscriber.send(&subscribe3(1, &[("t", 1)])).await;
    subscriber.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    for id in 1..=3 {
        publisher.send(&publish3(1, "t", id, id.to_string().as_bytes())).await;
        publisher.packet().await;
    }
    platform.eventually(|platform| platform.broker.stats().dropped_queue_full == 1).await;
    subscriber.expect(&publish3(1, "t", 1, b"1")).await;
    subscriber.send(b"\x40\x02\0\x01").await;
    subscriber.expect(&publish3(1, "t", 2, b"2")).await;
    subscriber.send(b"\x40\x02\0\x02").await;
    subscriber.expect_nothing().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_qos_0_and_slows_nobody() {
    let platform = Platform::start_with(|config| config.limits.unsent_bytes = 64 * 1024).await;
    let device = platform.device("a").await;
    let mut sleeper = platform.v3(&device, "s").await;
    sleeper.send(&subscribe3(1, &[("t", 0)])).await;
    sleeper.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    let payload = format!("\"{}\"", "x".repeat(32 * 1024));
    // The sockets' own buffers take some megabytes first.
    while platform.broker.stats().dropped_unsent == 0 {
        publisher.send(&publish3(1, "t", 1, payload.as_bytes())).await;
        publisher.expect(b"\x40\x02\0\x01").await;
        assert!(platform.broker.stats().messages_in[1] < 5_000, "nothing was dropped");
    }
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn a_message_that_is_larger_than_the_client_accepts_is_not_sent() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    // Maximum packet size 50.
    socket.send(&connect5(&device, "s", b"\x27\0\0\0\x32")).await;
    socket.packet().await;
    socket.send(&subscribe5(1, b"", &[("t", 1)])).await;
    socket.expect(b"\x90\x04\0\x01\0\x01").await;
    let mut publisher = platform.v3(&device, "p").await;
    for payload in [[b'1'; 60].as_slice(), b"2"] {
        publisher.send(&publish3(0, "t", 0, payload)).await;
        publisher.send(&publish3(1, "t", 7, payload)).await;
        publisher.expect(b"\x40\x02\0\x07").await;
    }
    socket.expect(&publish5(0, "t", 0, b"", b"2")).await;
    socket.expect(&publish5(1, "t", 2, b"", b"2")).await;
    assert_eq!(platform.broker.stats().dropped_too_large, 2);
}
