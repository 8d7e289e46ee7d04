//! Clients of different workers.

use crate::packets::{publish3, publish5, subscribe3, subscribe5};
use crate::platform::Platform;

#[tokio::test]
async fn every_subscriber_gets_every_message_whichever_worker_it_is_on() {
    let platform = Platform::start_with(|config| config.workers = 3).await;
    let device = platform.device("a").await;
    let mut subscribers = Vec::new();
    for number in 0..12 {
        let mut socket = platform.v3(&device, &format!("s{number}")).await;
        socket.send(&subscribe3(1, &[("t/#", u8::from(number % 2 == 0))])).await;
        socket.packet().await;
        subscribers.push(socket);
    }
    let mut publisher = platform.v5(&device, "p").await;
    let all: Vec<u8> = (1..=50u16).flat_map(|id| publish5(1, "t/x", id, b"", id.to_string().as_bytes())).collect();
    publisher.send(&all).await;
    for _ in 1..=50 {
        publisher.packet().await;
    }
    for (number, socket) in subscribers.iter_mut().enumerate() {
        for id in 1..=50u16 {
            let qos = u8::from(number % 2 == 0);
            socket.expect(&publish3(qos, "t/x", id, id.to_string().as_bytes())).await;
        }
    }
    platform.stored(&device, 50).await;
}

#[tokio::test]
async fn both_versions_get_the_same_message() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut three, mut five) = (platform.v3(&device, "3").await, platform.v5(&device, "5").await);
    three.send(&subscribe3(1, &[("t", 0)])).await;
    three.packet().await;
    five.send(&subscribe5(1, b"", &[("t", 0)])).await;
    five.packet().await;
    five.send(&publish5(0, "t", 0, b"\x03\0\x04json", b"1")).await;
    five.expect(&publish5(0, "t", 0, b"\x03\0\x04json", b"1")).await;
    three.expect(&publish3(0, "t", 0, b"1")).await;
}
