//! SUBSCRIBE, UNSUBSCRIBE and who gets what.

use pocket_domain::PayloadPolicy;

use crate::packets::{publish3, publish5, subscribe3, subscribe5, unsubscribe3, unsubscribe5};
use crate::platform::Platform;

#[tokio::test]
async fn a_subscriber_gets_what_matches_at_the_lower_qos() {
    let platform = Platform::start().await;
    let (a, b) = (platform.device("a").await, platform.device("b").await);
    let mut subscriber = platform.v3(&a, "s").await;
    subscriber.send(&subscribe3(1, &[("zero/+", 0), ("one/#", 1)])).await;
    subscriber.expect(b"\x90\x04\0\x01\0\x01").await;
    let mut publisher = platform.v5(&b, "p").await;
    for (topic, qos) in [("zero/x", 1), ("one", 0), ("one/x/y", 1), ("two", 1)] {
        publisher.send(&publish5(qos, topic, 1, b"", b"{}")).await;
        if qos > 0 {
            publisher.expect(b"\x40\x02\0\x01").await;
        }
    }
    subscriber.expect(&publish3(0, "zero/x", 0, b"{}")).await;
    subscriber.expect(&publish3(0, "one", 0, b"{}")).await;
    subscriber.expect(&publish3(1, "one/x/y", 1, b"{}")).await;
    subscriber.send(b"\x40\x02\0\x01").await;
    subscriber.expect_nothing().await;
}

#[tokio::test]
async fn after_unsubscribing_nothing_comes() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 0)])).await;
    socket.expect(b"\x90\x03\0\x01\0").await;
    socket.send(&publish3(0, "t", 0, b"1")).await;
    socket.expect(&publish3(0, "t", 0, b"1")).await;
    socket.send(&unsubscribe3(2, "t")).await;
    socket.expect(b"\xb0\x02\0\x02").await;
    socket.send(&publish3(0, "t", 0, b"2")).await;
    socket.expect_nothing().await;
    assert_eq!(platform.broker.stats().subscriptions, 0);
}

#[tokio::test]
async fn unsubscribing_from_nothing_is_told_in_5_0() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "s").await;
    socket.send(b"\xa2\x06\0\x02\0\0\x01t").await;
    socket.expect(b"\xb0\x04\0\x02\0\x11").await;
}

#[tokio::test]
async fn tenants_never_see_each_other() {
    let platform = Platform::start().await;
    let other = platform.tenant("other", PayloadPolicy::Json).await;
    let (ours, theirs) = (platform.device("a").await, platform.device_in(Some(other), "a").await);
    let (mut us, mut them) = (platform.v3(&ours, "x").await, platform.v3(&theirs, "x").await);
    for socket in [&mut us, &mut them] {
        socket.send(&subscribe3(1, &[("#", 1)])).await;
        socket.expect(b"\x90\x03\0\x01\x01").await;
    }
    us.send(&publish3(0, "same", 0, b"\"ours\"")).await;
    them.send(&publish3(0, "same", 0, b"\"theirs\"")).await;
    us.expect(&publish3(0, "same", 0, b"\"ours\"")).await;
    them.expect(&publish3(0, "same", 0, b"\"theirs\"")).await;
    us.expect_nothing().await;
    them.expect_nothing().await;
}

#[tokio::test]
async fn a_rejected_message_is_not_routed() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "s").await;
    socket.send(&subscribe3(1, &[("#", 0)])).await;
    socket.expect(b"\x90\x03\0\x01\0").await;
    socket.send(&publish3(0, "t", 0, b"{")).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn overlapping_subscriptions_give_one_copy_with_all_identifiers() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "s").await;
    socket.send(&subscribe5(1, b"\x0b\x05", &[("t/+", 0)])).await;
    socket.expect(b"\x90\x04\0\x01\0\0").await;
    socket.send(&subscribe5(2, b"\x0b\x06", &[("t/#", 1)])).await;
    socket.expect(b"\x90\x04\0\x02\0\x01").await;
    socket.send(&publish5(1, "t/x", 3, b"", b"1")).await;
    let mut received = [socket.packet().await, socket.packet().await];
    // The acknowledgement may come before the message or after it.
    received.sort_by_key(|packet| packet[0] & 0xf0 != 0x30);
    assert_eq!(received[1], b"\x40\x02\0\x03");
    let publish = &received[0];
    let either = [b"\x0b\x05\x0b\x06", b"\x0b\x06\x0b\x05"];
    assert!(either.iter().any(|ids| *publish == publish5(1, "t/x", 1, *ids, b"1")), "{publish:02x?}");
}

#[tokio::test]
async fn no_local_keeps_a_clients_own_messages_away() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut own, mut other) = (platform.v5(&device, "own").await, platform.v5(&device, "other").await);
    own.send(&subscribe5(1, b"", &[("t", 4)])).await;
    own.expect(b"\x90\x04\0\x01\0\0").await;
    own.send(&publish5(0, "t", 0, b"", b"1")).await;
    own.expect_nothing().await;
    other.send(&publish5(0, "t", 0, b"", b"2")).await;
    own.expect(&publish5(0, "t", 0, b"", b"2")).await;
}

#[tokio::test]
async fn what_5_0_says_about_a_payload_is_passed_on() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "s").await;
    socket.send(&subscribe5(1, b"", &[("t", 0)])).await;
    socket.expect(b"\x90\x04\0\x01\0\0").await;
    // Content type, response topic, correlation data, two user properties of one name.
    let properties = [
        b"\x03\0\x04json".as_slice(),
        b"\x08\0\x02re",
        b"\x09\0\x02\x01\x02",
        b"\x26\0\x01k\0\x01b",
        b"\x26\0\x01k\0\x01a",
    ]
    .concat();
    socket.send(&publish5(0, "t", 0, &properties, b"1")).await;
    let received = socket.packet().await;
    assert_eq!(received.len(), publish5(0, "t", 0, &properties, b"1").len());
    for part in
        [b"\x03\0\x04json".as_slice(), b"\x08\0\x02re", b"\x09\0\x02\x01\x02", b"\x26\0\x01k\0\x01b\x26\0\x01k\0\x01a"]
    {
        assert!(received.windows(part.len()).any(|bytes| bytes == part), "{received:02x?}");
    }
}

#[tokio::test]
async fn what_may_not_be_subscribed_to_is_refused_by_itself() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "s").await;
    socket.send(&subscribe5(1, b"", &[("ok", 0), ("$SYS/#", 0), (&"a".repeat(1_025), 0), ("b", 0)])).await;
    socket.expect(b"\x90\x07\0\x01\0\0\x87\x8f\0").await;
    let mut socket = platform.v3(&device, "t").await;
    socket.send(&subscribe3(1, &[("ok", 0), ("$SYS/#", 0), (&"a".repeat(1_025), 0)])).await;
    socket.expect(b"\x90\x05\0\x01\0\x80\x80").await;
}

#[tokio::test]
async fn a_filter_that_is_ill_formed_closes_the_connection_and_nothing_of_its_packet_is_done() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    socket.send(&subscribe5(1, b"", &[("held", 0)])).await;
    socket.packet().await;
    socket.send(&subscribe5(2, b"", &[("ok", 0), ("a#", 0)])).await;
    socket.expect_disconnect(0x81).await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    socket.send(&unsubscribe5(3, &["held", "$share/g"])).await;
    socket.expect_disconnect(0x81).await;
    assert_eq!(platform.broker.stats().subscriptions, 1);
    let mut socket = platform.v3(&device, "t").await;
    socket.send(&subscribe3(1, &[("ok", 0), ("a#", 0)])).await;
    socket.expect_closed().await;
}
