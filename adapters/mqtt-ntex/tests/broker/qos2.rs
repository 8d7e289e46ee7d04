//! QoS 2 in both directions.

use crate::packets::{publish3, publish5, subscribe3};
use crate::platform::Platform;

#[tokio::test]
async fn a_message_of_qos_2_is_stored_once_however_often_it_is_sent() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "x").await;
    let publish = publish3(2, "t", 9, b"1");
    let mut again = publish.clone();
    again[0] |= 8;
    socket.send(&publish).await;
    socket.expect(b"\x50\x02\0\x09").await;
    socket.send(&again).await;
    socket.expect(b"\x50\x02\0\x09").await;
    socket.send(b"\x62\x02\0\x09").await;
    socket.expect(b"\x70\x02\0\x09").await;
    socket.send(b"\x62\x02\0\x09").await;
    socket.expect(b"\x70\x02\0\x09").await;
    platform.stored(&device, 1).await;
    socket.send(&publish).await;
    socket.expect(b"\x50\x02\0\x09").await;
    platform.stored(&device, 2).await;
}

#[tokio::test]
async fn a_refused_message_of_qos_2_ends_with_its_pubrec() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "x").await;
    for _ in 0..2 {
        socket.send(&publish5(2, "t", 9, b"", b"{")).await;
        assert_eq!(socket.packet().await[2..5], *b"\0\x09\x99");
    }
    socket.send(b"\x62\x02\0\x09").await;
    socket.expect(b"\x70\x03\0\x09\x92").await;
}

#[tokio::test]
async fn a_subscriber_of_qos_2_gets_a_message_in_four_packets() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut subscriber = platform.v3(&device, "s").await;
    subscriber.send(&subscribe3(1, &[("t", 2)])).await;
    subscriber.expect(b"\x90\x03\0\x01\x02").await;
    let mut publisher = platform.v3(&device, "p").await;
    publisher.send(&publish3(2, "t", 5, b"1")).await;
    publisher.expect(b"\x50\x02\0\x05").await;
    subscriber.expect(&publish3(2, "t", 1, b"1")).await;
    subscriber.send(b"\x50\x02\0\x01").await;
    subscriber.expect(b"\x62\x02\0\x01").await;
    subscriber.send(b"\x50\x02\0\x01").await;
    subscriber.expect(b"\x62\x02\0\x01").await;
    subscriber.send(b"\x70\x02\0\x01").await;
    subscriber.expect_nothing().await;
}
