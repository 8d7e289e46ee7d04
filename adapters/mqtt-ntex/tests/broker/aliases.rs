//! Topic aliases in messages to clients of 5.0.

use crate::packets::{connect5, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Device, Platform, Socket};

/// A subscriber of `boiler/#` that announces these properties.
async fn subscriber(platform: &Platform, device: &Device, properties: &[u8], qos: u8) -> Socket {
    let mut socket = platform.socket().await;
    socket.send(&connect5(device, "s", properties)).await;
    socket.packet().await;
    socket.send(&subscribe5(1, b"", &[("boiler/#", qos)])).await;
    socket.expect(&[0x90, 4, 0, 1, 0, qos]).await;
    socket
}

#[tokio::test]
async fn a_topic_is_written_out_once_to_a_client_that_accepts_aliases() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    // Topic alias maximum 1.
    let mut socket = subscriber(&platform, &device, b"\x22\0\x01", 1).await;
    let mut publisher = platform.v3(&device, "p").await;
    for (qos, topic, payload) in
        [(0, "boiler/1", b"1"), (1, "boiler/1", b"2"), (0, "boiler/2", b"3"), (0, "boiler/1", b"4")]
    {
        publisher.send(&publish3(qos, topic, 7, payload)).await;
    }
    socket.expect(&publish5(0, "boiler/1", 0, b"\x23\0\x01", b"1")).await;
    socket.expect(&publish5(1, "", 1, b"\x23\0\x01", b"2")).await;
    socket.expect(&publish5(0, "boiler/2", 0, b"", b"3")).await;
    socket.expect(&publish5(0, "", 0, b"\x23\0\x01", b"4")).await;
}

#[tokio::test]
async fn the_broker_has_a_limit_of_its_own_for_aliases() {
    let platform = Platform::start_with(|config| config.limits.outgoing_topic_aliases = 1).await;
    let device = platform.device("a").await;
    let mut socket = subscriber(&platform, &device, b"\x22\xff\xff", 0).await;
    let mut publisher = platform.v3(&device, "p").await;
    for topic in ["boiler/1", "boiler/2", "boiler/1"] {
        publisher.send(&publish3(0, topic, 0, b"1")).await;
    }
    socket.expect(&publish5(0, "boiler/1", 0, b"\x23\0\x01", b"1")).await;
    socket.expect(&publish5(0, "boiler/2", 0, b"", b"1")).await;
    socket.expect(&publish5(0, "", 0, b"\x23\0\x01", b"1")).await;
}

#[tokio::test]
async fn an_alias_that_makes_a_packet_too_large_is_left_out() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    // Maximum packet size 23: the size of this message without an alias.
    let mut socket = subscriber(&platform, &device, b"\x22\0\x01\x27\0\0\0\x17", 0).await;
    let mut publisher = platform.v3(&device, "p").await;
    publisher.send(&publish3(0, "boiler/1", 0, b"1234567890")).await;
    socket.expect(&publish5(0, "boiler/1", 0, b"", b"1234567890")).await;
    publisher.send(&publish3(0, "boiler/1", 0, b"1")).await;
    socket.expect(&publish5(0, "boiler/1", 0, b"\x23\0\x01", b"1")).await;
    publisher.send(&publish3(0, "boiler/1", 0, b"1234567890")).await;
    socket.expect(&publish5(0, "", 0, b"\x23\0\x01", b"1234567890")).await;
}

#[tokio::test]
async fn what_many_subscribers_share_has_no_alias() {
    let platform = Platform::start_with(|config| config.workers = 1).await;
    let device = platform.device("a").await;
    let mut socket = subscriber(&platform, &device, b"\x22\0\x01", 0).await;
    let mut other = platform.v3(&device, "other").await;
    other.send(&subscribe3(1, &[("boiler/#", 0)])).await;
    other.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    for _ in 0..2 {
        publisher.send(&publish3(0, "boiler/1", 0, b"1")).await;
        socket.expect(&publish5(0, "boiler/1", 0, b"", b"1")).await;
    }
}

#[tokio::test]
async fn aliases_end_with_the_connection() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut publisher = platform.v3(&device, "p").await;
    for _ in 0..2 {
        let mut socket = subscriber(&platform, &device, b"\x22\0\x01", 0).await;
        publisher.send(&publish3(0, "boiler/1", 0, b"1")).await;
        socket.expect(&publish5(0, "boiler/1", 0, b"\x23\0\x01", b"1")).await;
    }
}
