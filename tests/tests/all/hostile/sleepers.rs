//! Sessions that nobody comes back to and that want everything.

use std::time::{Duration, Instant};

use pocket_tests::wire::{RawClient, connect_with, packet, publish, subscribe};
use pocket_tests::{Device, Launch, MIB, Platform, many};
use reqwest::Method;

/// Sessions of one device: what it may leave behind by default.
const OF_DEVICE: usize = 100;
/// How long an acknowledgement, and a start, may take with a debug build on a machine that has other things to do. The figures
/// are printed; a release build alone is to stay below 50 ms and 1 s.
const MOST: Duration = Duration::from_secs(2);
const START: Duration = Duration::from_secs(60);

/// A session that is kept, for all messages, of a client that leaves.
async fn left(platform: &Platform, device: &Device, client_id: &str) {
    let mut client = RawClient::open(platform.mqtt()).await;
    client.send(&connect_with(4, 0xc0, &[], client_id, &device.id, &device.token)).await;
    client.until(0x20).await;
    client.send(&subscribe(4, 1, &["#"], 1)).await;
    client.until(0x90).await;
    client.send(&packet(0xe0, &[])).await;
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn sessions_that_nobody_comes_back_to_bound_the_latency_of_others_and_the_memory() {
    let devices = many(3);
    let mut platform = Launch::default().set("log.filter", "warn").start().await;
    let admin = platform.admin().await;
    let publisher = Device::register(&admin, "publisher").await;
    for number in 0..devices {
        let device = Device::register(&admin, &format!("restless-{number}")).await;
        for session in 0..OF_DEVICE {
            left(&platform, &device, &format!("start-{session}")).await;
        }
    }
    let before = platform.memory().now;
    let mut client = RawClient::connect(platform.mqtt(), 4, "publisher", &publisher).await;
    let mut times = Vec::new();
    let began = Instant::now();
    for number in 0..500_u16 {
        let sent = Instant::now();
        client.send(&publish(4, 0x32, "home/temp", number + 1, &[], b"{\"celsius\":21.5}")).await;
        client.until(0x40).await;
        times.push(sent.elapsed());
    }
    let took = began.elapsed();
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    let grown = platform.memory().now.saturating_sub(before) / MIB;
    drop(client);
    platform.kill().await;
    let began = Instant::now();
    platform.start_again().await;
    while platform.api().request(Method::GET, "/ready").send().await.map_or(true, |ready| !ready.status().is_success())
    {
        assert!(began.elapsed() < START, "the platform starts");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let start = began.elapsed();
    println!(
        "{} sessions: 500 messages in {took:.1?}, PUBACK p50 {:.1?}, p99 {p99:.1?}, max {:.1?}; {grown} MiB more; start {start:.1?}, then {} MiB",
        devices * OF_DEVICE,
        times[times.len() / 2],
        times[times.len() - 1],
        platform.memory().now / MIB
    );
    assert!(p99 < MOST, "{p99:?}");
    assert!(start < START, "{start:?}");
}
