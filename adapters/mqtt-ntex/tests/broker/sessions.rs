//! Persistent sessions.

use std::time::Duration;

use crate::packets::{connect3_with, connect5_with, field, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Device, Platform, Socket};

/// Publishes at QoS 1 or 2 and waits until it is done.
async fn publish(platform: &Platform, device: &Device, messages: &[(&str, &str)]) {
    let mut publisher = platform.v3(device, "publisher").await;
    for (number, (topic, payload)) in messages.iter().enumerate() {
        publisher.send(&publish3(1, topic, u16::try_from(number + 1).unwrap(), payload.as_bytes())).await;
        publisher.packet().await;
    }
    publisher.send(b"\xe0\0").await;
    publisher.expect_closed().await;
}

async fn leave(platform: &Platform, socket: Socket) {
    let before = platform.broker.stats().connections;
    socket.break_off();
    platform.eventually(|platform| platform.broker.stats().connections < before).await;
}

fn again(mut packet: Vec<u8>) -> Vec<u8> {
    packet[0] |= 8;
    packet
}

#[tokio::test]
async fn a_session_that_is_kept_gets_what_came_while_it_was_away() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, present) = platform.v3_kept(&device, "s").await;
    assert!(!present);
    socket.send(&subscribe3(1, &[("one", 1), ("zero", 0)])).await;
    socket.packet().await;
    leave(&platform, socket).await;
    assert_eq!(platform.broker.stats().sleeping_sessions, 1);
    publish(&platform, &device, &[("one", "1"), ("zero", "2"), ("one", "3")]).await;
    let (mut socket, present) = platform.v3_kept(&device, "s").await;
    assert!(present);
    socket.expect(&publish3(1, "one", 1, b"1")).await;
    socket.expect(&publish3(1, "one", 2, b"3")).await;
    socket.send(b"\x40\x02\0\x01\x40\x02\0\x02").await;
    socket.expect_nothing().await;
    assert_eq!(platform.broker.stats().sleeping_sessions, 0);
    // The subscriptions are still there, at whichever worker the session is now.
    publish(&platform, &device, &[("one", "4")]).await;
    socket.expect(&publish3(1, "one", 3, b"4")).await;
}

#[tokio::test]
async fn a_clean_session_begins_anew_and_ends_with_its_connection() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 1)])).await;
    socket.packet().await;
    leave(&platform, socket).await;
    publish(&platform, &device, &[("t", "1")]).await;
    let mut socket = platform.v3(&device, "s").await;
    socket.expect_nothing().await;
    assert_eq!(platform.broker.stats().subscriptions, 0);
    leave(&platform, socket).await;
    let (_socket, present) = platform.v3_kept(&device, "s").await;
    assert!(!present);
}

#[tokio::test]
async fn a_session_of_5_0_lives_as_long_as_it_asked_for() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut open = Vec::new();
    for (expiry, expected) in [(0, false), (60, true)] {
        let client_id = format!("s{expiry}");
        let (socket, _) = platform.v5_kept(&device, &client_id, expiry).await;
        leave(&platform, socket).await;
        let (socket, present) = platform.v5_kept(&device, &client_id, expiry).await;
        assert_eq!(present, expected);
        open.push(socket);
    }
    let (socket, _) = platform.v5_kept(&device, "short", 1).await;
    leave(&platform, socket).await;
    platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 0).await;
    let (_socket, present) = platform.v5_kept(&device, "short", 1).await;
    assert!(!present);
}

#[tokio::test]
async fn a_client_of_5_0_may_change_its_mind_when_it_leaves() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    socket.send(b"\xe0\x07\0\x05\x11\0\0\0\0").await;
    socket.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
    assert_eq!(platform.broker.stats().sleeping_sessions, 0);
    let (mut socket, _) = platform.v5_kept(&device, "s", 0).await;
    socket.send(b"\xe0\x07\0\x05\x11\0\0\0\x3c").await;
    socket.expect_disconnect(0x82).await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_with_its_id() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    socket.send(&subscribe5(1, b"", &[("t", 1)])).await;
    socket.packet().await;
    publish(&platform, &device, &[("t", "1"), ("t", "2"), ("t", "3")]).await;
    for id in 1..=3 {
        socket.expect(&publish5(1, "t", id, b"", id.to_string().as_bytes())).await;
    }
    socket.send(b"\x40\x02\0\x02").await;
    socket.expect_nothing().await;
    leave(&platform, socket).await;
    for _ in 0..3 {
        // Each time at another worker, perhaps.
        let (mut socket, present) = platform.v5_kept(&device, "s", 60).await;
        assert!(present);
        socket.expect(&again(publish5(1, "t", 1, b"", b"1"))).await;
        socket.expect(&again(publish5(1, "t", 3, b"", b"3"))).await;
        socket.expect_nothing().await;
    }
}

#[tokio::test]
async fn qos_2_to_a_client_goes_on_where_it_was() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 2)])).await;
    socket.packet().await;
    let mut publisher = platform.v3(&device, "p").await;
    for id in [1, 2] {
        publisher.send(&publish3(2, "t", id, b"1")).await;
        publisher.packet().await;
        socket.expect(&publish3(2, "t", id, b"1")).await;
    }
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x01").await;
    leave(&platform, socket).await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.expect(b"\x62\x02\0\x01").await;
    socket.expect(&again(publish3(2, "t", 2, b"1"))).await;
    socket.send(b"\x70\x02\0\x01\x50\x02\0\x02").await;
    socket.expect(b"\x62\x02\0\x02").await;
    socket.send(b"\x70\x02\0\x02").await;
    leave(&platform, socket).await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn qos_2_from_a_client_is_stored_once_across_connections() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v3_kept(&device, "p").await;
    socket.send(&publish3(2, "t", 7, b"1")).await;
    socket.expect(b"\x50\x02\0\x07").await;
    leave(&platform, socket).await;
    let (mut socket, present) = platform.v3_kept(&device, "p").await;
    assert!(present);
    socket.send(&again(publish3(2, "t", 7, b"1"))).await;
    socket.expect(b"\x50\x02\0\x07").await;
    socket.send(b"\x62\x02\0\x07").await;
    socket.expect(b"\x70\x02\0\x07").await;
    platform.stored(&device, 1).await;
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_a_client_keeps_taking_over() {
    let platform = Platform::start_with(|config| config.workers = 3).await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 2)])).await;
    socket.packet().await;
    let count = 300u16;
    let mut publisher = platform.v3(&device, "p").await;
    let all: Vec<u8> = (1..=count).flat_map(|id| publish3(2, "t", id, id.to_string().as_bytes())).collect();
    publisher.send(&all).await;
    let mut complete = Vec::new();
    let mut unreleased = std::collections::HashMap::new();
    while complete.len() < usize::from(count) {
        // A few packets on each connection, then another connection takes over.
        for _ in 0..40 {
            if complete.len() == usize::from(count) {
                break;
            }
            let packet = socket.packet().await;
            match packet[0] >> 4 {
                3 => {
                    let id = [packet[5], packet[6]];
                    unreleased.insert(id, packet[7..].to_vec());
                    socket.send(&[0x50, 2, id[0], id[1]]).await;
                }
                6 => {
                    let id = [packet[2], packet[3]];
                    complete.extend(unreleased.remove(&id));
                    socket.send(&[0x70, 2, id[0], id[1]]).await;
                }
                _ => panic!("{packet:02x?}"),
            }
        }
        let (next, present) = platform.v3_kept(&device, "s").await;
        assert!(present);
        socket = next;
    }
    let mut numbers: Vec<u16> =
        complete.iter().map(|payload| std::str::from_utf8(payload).unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    assert!(unreleased.is_empty(), "{unreleased:?}");
}

#[tokio::test]
async fn where_no_place_is_left_the_oldest_session_of_the_same_device_makes_room() {
    let platform = Platform::start_with(|config| config.limits.sessions = 1).await;
    let device = platform.device("a").await;
    for client_id in ["s", "t"] {
        let (socket, _) = platform.v3_kept(&device, client_id).await;
        leave(&platform, socket).await;
        assert_eq!(platform.broker.stats().sleeping_sessions, 1);
    }
    let (first, present) = platform.v3_kept(&device, "t").await;
    assert!(present);
    leave(&platform, first).await;
    let (_second, present) = platform.v3_kept(&device, "s").await;
    assert!(!present, "it made room for the other");
}

#[tokio::test]
async fn a_client_is_told_when_its_session_will_not_be_kept() {
    let platform = Platform::start_with(|config| config.limits.sessions = 1).await;
    let (device, other) = (platform.device("a").await, platform.device("b").await);
    let (_held, _) = platform.v3_kept(&device, "s").await;
    let credentials = [other.id.to_string(), other.token.clone()];
    let fields = credentials.each_ref().map(|text| field(text.as_bytes()));
    let connect5 = connect5_with(0xc0, 0, b"\x11\0\0\0\x3c", "t", &fields[0], &fields[1]);
    let mut socket = platform.socket().await;
    socket.send(&connect5).await;
    let ack = socket.packet().await;
    assert!(ack[3] == 0 && ack.windows(5).any(|bytes| bytes == b"\x11\0\0\0\0"), "{ack:02x?}");
    leave(&platform, socket).await;
    let stats = platform.broker.stats();
    assert_eq!((stats.sleeping_sessions, stats.sessions_not_kept, stats.kept_sessions), (0, 1, 1));
    // 3.1.1 has no word for it but a refusal; who wants no session is let in.
    let mut socket = platform.socket().await;
    socket.send(&connect3_with(0xc0, 0, "t", &credentials.each_ref().map(|text| text.as_bytes()))).await;
    socket.expect(b"\x20\x02\0\x03").await;
    platform.v3(&other, "t").await;
}

#[tokio::test]
async fn the_queue_of_a_client_that_is_away_is_bounded() {
    let platform = Platform::start_with(|config| config.limits.queued_messages = 2).await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 1)])).await;
    socket.packet().await;
    leave(&platform, socket).await;
    publish(&platform, &device, &[("t", "1"), ("t", "2"), ("t", "3")]).await;
    platform.eventually(|platform| platform.broker.stats().dropped_queue_full == 1).await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.expect(&publish3(1, "t", 1, b"1")).await;
    socket.expect(&publish3(1, "t", 2, b"2")).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn a_deleted_device_leaves_no_session() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 1)])).await;
    socket.packet().await;
    leave(&platform, socket).await;
    platform.application.devices.delete(&platform.admin, None, device.id).await.unwrap();
    platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 0).await;
    assert_eq!(platform.broker.stats().subscriptions, 0);
}

#[tokio::test]
async fn a_takeover_with_a_clean_session_ends_the_old_one() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut first, _) = platform.v3_kept(&device, "s").await;
    first.send(&subscribe3(1, &[("t", 1)])).await;
    first.packet().await;
    let mut second = platform.socket().await;
    let credentials = [device.id.to_string(), device.token.clone()];
    let fields = [credentials[0].as_bytes(), credentials[1].as_bytes()];
    second.send(&connect3_with(0xc2, 0, "s", &fields)).await;
    second.expect(b"\x20\x02\0\0").await;
    first.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().connections == 1).await;
    assert_eq!(platform.broker.stats().subscriptions, 0);
    publish(&platform, &device, &[("t", "1")]).await;
    second.expect_nothing().await;
}

#[tokio::test]
async fn a_session_that_ends_with_its_connection_does_not_survive_a_takeover() {
    let platform = Platform::start_with(|config| config.workers = 2).await;
    let device = platform.device("a").await;
    for is_v5 in [false, true] {
        let mut first = if is_v5 { platform.v5(&device, "s").await } else { platform.v3(&device, "s").await };
        first.send(&if is_v5 { subscribe5(1, b"", &[("t", 1)]) } else { subscribe3(1, &[("t", 1)]) }).await;
        first.packet().await;
        let (mut second, present) = platform.v3_kept(&device, "s").await;
        assert!(!present);
        assert_eq!(platform.broker.stats().subscriptions, 0);
        publish(&platform, &device, &[("t", "1")]).await;
        second.expect_nothing().await;
        // The new session is one that is kept.
        leave(&platform, second).await;
        let (_third, present) = platform.v3_kept(&device, "s").await;
        assert!(present);
    }
}

#[tokio::test]
async fn a_session_is_over_at_its_second_and_not_at_the_next_sweep() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut left = Vec::new();
    for number in 0..8 {
        let client_id = format!("s{number}");
        let (mut socket, _) = platform.v5_kept(&device, &client_id, 1).await;
        socket.send(&subscribe5(1, b"", &[("t", 1)])).await;
        socket.packet().await;
        leave(&platform, socket).await;
        left.push((client_id, tokio::time::Instant::now()));
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    let mut open = Vec::new();
    for (client_id, at) in left {
        tokio::time::sleep_until(at + Duration::from_millis(1_005)).await;
        let (socket, present) = platform.v5_kept(&device, &client_id, 1).await;
        assert!(!present, "{client_id}");
        open.push(socket);
    }
    let stats = platform.broker.stats();
    assert_eq!((stats.sessions_expired, stats.sleeping_sessions, stats.subscriptions), (8, 0, 0));
}

#[tokio::test]
async fn a_message_that_expired_meanwhile_is_not_delivered() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    socket.send(&subscribe5(1, b"", &[("t", 1)])).await;
    socket.packet().await;
    leave(&platform, socket).await;
    let mut publisher = platform.v5(&device, "p").await;
    publisher.send(&publish5(1, "t", 1, b"\x02\0\0\0\x01", b"1")).await;
    publisher.packet().await;
    publisher.send(&publish5(1, "t", 2, b"\x02\0\0\0\x64", b"2")).await;
    publisher.packet().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    // What is left of the hundred seconds.
    socket.expect(&publish5(1, "t", 1, b"\x02\0\0\0\x63", b"2")).await;
    socket.expect_nothing().await;
}
