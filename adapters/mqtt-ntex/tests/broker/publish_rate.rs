//! Devices that publish faster than they may.

use std::time::{Duration, Instant};

use crate::packets::publish3;
use crate::platform::Platform;

async fn platform(publish_rate: u32) -> Platform {
    Platform::start_with(|config| config.limits.publish_rate = publish_rate).await
}

#[tokio::test]
async fn a_device_that_publishes_too_fast_is_held_back_and_loses_nothing() {
    let platform = platform(10).await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    let start = Instant::now();
    // All in one read: ten at once, and ten at their times.
    let all: Vec<u8> = (1..=20).flat_map(|id| publish3(1, "t", id, b"1")).collect();
    socket.send(&all).await;
    for id in 1..=20 {
        socket.expect(&[0x40, 2, 0, id]).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(platform.broker.stats().held_for_rate > 0);
    platform.stored(&device, 20).await;
}

#[tokio::test]
async fn a_device_within_its_rate_is_not_held_back() {
    let platform = platform(10).await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    for id in 1..=9 {
        socket.send(&publish3(1, "t", id, b"1")).await;
        socket.expect(&[0x40, 2, 0, u8::try_from(id).unwrap()]).await;
    }
    assert_eq!(platform.broker.stats().held_for_rate, 0);
}

#[tokio::test]
async fn the_rate_holds_for_all_connections_of_a_device_and_for_no_other_device() {
    let platform = platform(2).await;
    let (device, other) = (platform.device("a").await, platform.device("b").await);
    let mut first = platform.v3(&device, "1").await;
    let mut second = platform.v3(&device, "2").await;
    let mut third = platform.v3(&other, "1").await;
    for socket in [&mut first, &mut second, &mut third] {
        socket.send(&publish3(1, "t", 1, b"1")).await;
        socket.expect(b"\x40\x02\0\x01").await;
    }
    platform.eventually(|platform| platform.broker.stats().held_for_rate == 1).await;
    third.expect_nothing().await;
    assert_eq!(platform.broker.stats().held_for_rate, 1);
}

#[tokio::test]
async fn a_device_that_is_held_back_can_still_be_taken_over() {
    let platform = platform(1).await;
    let device = platform.device("a").await;
    let mut first = platform.v3(&device, "x").await;
    let many: Vec<u8> = (0..1_000).flat_map(|_| publish3(0, "t", 0, b"1")).collect();
    first.send(&many).await;
    platform.eventually(|platform| platform.broker.stats().held_for_rate > 0).await;
    let _second = platform.v3(&device, "x").await;
    first.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
}
