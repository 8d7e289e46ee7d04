//! Shared subscriptions.

use crate::packets::{publish3, publish5, subscribe3, subscribe5, unsubscribe3};
use crate::platform::{Device, Platform, Socket};

async fn members(platform: &Platform, device: &Device, count: usize) -> Vec<Socket> {
    let mut members = Vec::new();
    for number in 0..count {
        let mut socket = platform.v3(device, &format!("m{number}")).await;
        socket.send(&subscribe3(1, &[("$share/g/t/#", 1)])).await;
        socket.expect(b"\x90\x03\0\x01\x01").await;
        members.push(socket);
    }
    members
}

async fn publish(platform: &Platform, device: &Device, range: std::ops::RangeInclusive<u16>) {
    let mut publisher = platform.v3(device, "publisher").await;
    for number in range {
        publisher.send(&publish3(1, "t/x", number, number.to_string().as_bytes())).await;
        publisher.packet().await;
    }
    publisher.expect_nothing().await;
}

/// The payloads that came before the answer to a ping, each acknowledged.
async fn received(socket: &mut Socket) -> Vec<u16> {
    let mut numbers = Vec::new();
    socket.send(b"\xc0\0").await;
    loop {
        let packet = socket.packet().await;
        if packet[0] == 0xd0 {
            return numbers;
        }
        assert_eq!(packet[0] & 0xf6, 0x32, "{packet:02x?}");
        numbers.push(std::str::from_utf8(&packet[9..]).unwrap().parse().unwrap());
        socket.send(&[0x40, 2, packet[7], packet[8]]).await;
    }
}

#[tokio::test]
async fn each_message_goes_to_one_member_in_turn_whichever_worker_it_is_on() {
    let platform = Platform::start_with(|config| config.workers = 3).await;
    let device = platform.device("a").await;
    let mut members = members(&platform, &device, 6).await;
    publish(&platform, &device, 1..=60).await;
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 60).await;
    let mut all = Vec::new();
    for member in &mut members {
        let got = received(member).await;
        assert_eq!(got.len(), 10);
        all.extend(got);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn members_take_turns_in_the_order_in_which_they_came_whichever_worker_they_are_on() {
    let platform = Platform::start_with(|config| config.workers = 3).await;
    let device = platform.device("a").await;
    // Connections of others, so that the workers are not equally far.
    for number in 0..4 {
        platform.v3(&device, &format!("other{number}")).await;
    }
    let mut members = members(&platform, &device, 6).await;
    publish(&platform, &device, 1..=12).await;
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 12).await;
    for (number, member) in (1..).zip(&mut members) {
        assert_eq!(received(member).await, [number, number + 6]);
    }
}

#[tokio::test]
async fn direct_subscribers_get_their_own_copies() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut members = members(&platform, &device, 2).await;
    let mut direct = platform.v3(&device, "d").await;
    direct.send(&subscribe3(1, &[("t/x", 1), ("$share/other/t/x", 1)])).await;
    direct.packet().await;
    publish(&platform, &device, 1..=4).await;
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 12).await;
    assert_eq!(received(&mut direct).await.len(), 8);
    assert_eq!(received(&mut members[0]).await.len() + received(&mut members[1]).await.len(), 4);
}

#[tokio::test]
async fn a_member_that_leaves_gets_no_more() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut members = members(&platform, &device, 2).await;
    members[0].send(&unsubscribe3(2, "$share/g/t/#")).await;
    members[0].expect(b"\xb0\x02\0\x02").await;
    publish(&platform, &device, 1..=4).await;
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 4).await;
    assert_eq!(received(&mut members[1]).await, [1, 2, 3, 4]);
    assert!(received(&mut members[0]).await.is_empty());
    assert_eq!(platform.broker.stats().subscriptions, 1);
}

#[tokio::test]
async fn what_a_member_did_not_acknowledge_goes_to_another_when_its_session_ends() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut members = members(&platform, &device, 2).await;
    publish(&platform, &device, 1..=10).await;
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 10).await;
    let first = received(&mut members[0]).await;
    members.remove(1).break_off();
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 15).await;
    let mut all = received(&mut members[0]).await;
    all.extend(first);
    all.sort_unstable();
    assert_eq!(all, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_member_that_is_away_is_passed_over() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut away, _) = platform.v3_kept(&device, "away").await;
    away.send(&subscribe3(1, &[("$share/g/t/#", 1)])).await;
    away.packet().await;
    let mut members = members(&platform, &device, 1).await;
    away.break_off();
    platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 1).await;
    publish(&platform, &device, 1..=4).await;
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 4).await;
    assert_eq!(received(&mut members[0]).await, [1, 2, 3, 4]);
    // When nobody else is there, messages wait for it.
    members.remove(0).break_off();
    platform.eventually(|platform| platform.broker.stats().subscriptions == 1).await;
    publish(&platform, &device, 5..=6).await;
    let (mut back, _) = platform.v3_kept(&device, "away").await;
    assert_eq!(received(&mut back).await, [5, 6]);
}

#[tokio::test]
async fn a_shared_subscription_gets_no_retained_messages() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "s").await;
    socket.send(b"\x31\x05\0\x01t\x001").await;
    socket.send(&subscribe5(1, b"", &[("$share/g/t", 0)])).await;
    socket.expect(b"\x90\x04\0\x01\0\0").await;
    socket.expect_nothing().await;
    socket.send(&publish5(0, "t", 0, b"", b"2")).await;
    socket.expect(&publish5(0, "t", 0, b"", b"2")).await;
}

#[tokio::test]
async fn groups_of_different_tenants_never_meet() {
    let platform = Platform::start().await;
    let other = platform.tenant("other", pocket_domain::PayloadPolicy::Json).await;
    let (ours, theirs) = (platform.device("a").await, platform.device_in(Some(other), "a").await);
    let mut own = members(&platform, &ours, 1).await;
    let mut strangers = members(&platform, &theirs, 1).await;
    publish(&platform, &ours, 1..=4).await;
    platform.eventually(|platform| platform.broker.stats().messages_out[1] == 4).await;
    assert_eq!(received(&mut own[0]).await.len(), 4);
    assert!(received(&mut strangers[0]).await.is_empty());
}
