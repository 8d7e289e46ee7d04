//! Sessions and retained messages after the end of the process. The storage is the reference implementation, which lives on.

use std::time::Duration;

use pocket_domain::TopicName;

use crate::packets::{connect3_with, connect5_with, field, publish3, publish5, subscribe3, subscribe5, unsubscribe5};
use crate::platform::{Device, Platform, Socket};

async fn publish(platform: &Platform, device: &Device, qos: u8, messages: &[(&str, &str)]) {
    let mut publisher = platform.v3(device, "publisher").await;
    for (number, (topic, payload)) in (1..).zip(messages) {
        publisher.send(&publish3(qos, topic, number, payload.as_bytes())).await;
        let answer = publisher.packet().await;
        if qos == 2 {
            publisher.send(&[0x62, 2, answer[2], answer[3]]).await;
            publisher.packet().await;
        }
    }
    publisher.send(b"\xe0\0").await;
    publisher.expect_closed().await;
}

/// A client of 3.1.1 with a kept session and these subscriptions.
async fn subscribed(platform: &Platform, device: &Device, client_id: &str, filters: &[(&str, u8)]) -> Socket {
    let (mut socket, _) = platform.v3_kept(device, client_id).await;
    socket.send(&subscribe3(1, filters)).await;
    assert_eq!(socket.packet().await[0], 0x90);
    socket
}

async fn leave(platform: &Platform, mut socket: Socket) {
    let connections = platform.broker.stats().connections;
    socket.send(b"\xe0\0").await;
    socket.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().connections < connections).await;
}

/// The session goes on. Returns the socket.
async fn back(platform: &Platform, device: &Device, client_id: &str) -> Socket {
    let (socket, present) = platform.v3_kept(device, client_id).await;
    assert!(present, "the session of {client_id} is gone");
    socket
}

#[tokio::test]
async fn messages_for_a_client_that_is_away_survive_a_crash() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let socket = subscribed(&platform, &device, "s", &[("t/#", 2)]).await;
    leave(&platform, socket).await;
    publish(&platform, &device, 1, &[("t/1", "1"), ("u", "2"), ("t/2", "3")]).await;
    publish(&platform, &device, 2, &[("t/3", "4")]).await;
    let platform = platform.crash().await;
    let mut socket = back(&platform, &device, "s").await;
    socket.expect(&publish3(1, "t/1", 1, b"1")).await;
    socket.expect(&publish3(1, "t/2", 2, b"3")).await;
    socket.expect(&publish3(2, "t/3", 3, b"4")).await;
}

#[tokio::test]
async fn subscriptions_with_their_options_survive_a_crash() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    // Identifier 7; QoS 1, no local, retain as published.
    socket.send(&subscribe5(1, b"\x0b\x07", &[("t", 0b1101)])).await;
    socket.packet().await;
    socket.send(&subscribe5(2, b"", &[("gone", 1)])).await;
    socket.packet().await;
    socket.send(&unsubscribe5(3, &["gone"])).await;
    socket.packet().await;
    let platform = platform.crash().await;
    let (mut socket, present) = platform.v5_kept(&device, "s", 60).await;
    assert!(present);
    socket.send(&publish5(0, "t", 0, b"", b"1")).await;
    publish(&platform, &device, 1, &[("gone", "2"), ("t", "3")]).await;
    socket.expect(&publish5(1, "t", 1, b"\x0b\x07", b"3")).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn what_was_sent_and_not_acknowledged_keeps_its_packet_id_through_an_orderly_stop() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = subscribed(&platform, &device, "s", &[("t", 2)]).await;
    publish(&platform, &device, 1, &[("t", "1"), ("t", "2")]).await;
    publish(&platform, &device, 2, &[("t", "3")]).await;
    for _ in 0..3 {
        socket.packet().await;
    }
    socket.send(b"\x40\x02\0\x01").await;
    socket.send(b"\x50\x02\0\x03").await;
    socket.expect(b"\x62\x02\0\x03").await;
    let platform = platform.restart().await;
    let mut socket = back(&platform, &device, "s").await;
    let mut again = publish3(1, "t", 2, b"2");
    again[0] |= 0x08;
    socket.expect(&again).await;
    socket.expect(b"\x62\x02\0\x03").await;
    socket.send(b"\x70\x02\0\x03").await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn an_exchange_of_qos_2_goes_on_where_it_was() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = subscribed(&platform, &device, "s", &[("t", 2)]).await;
    let (mut publisher, _) = platform.v3_kept(&device, "p").await;
    publisher.send(&publish3(2, "t", 9, b"1")).await;
    publisher.expect(b"\x50\x02\0\x09").await;
    socket.expect(&publish3(2, "t", 1, b"1")).await;
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x01").await;
    let platform = platform.crash().await;
    let mut publisher = back(&platform, &device, "p").await;
    let mut again = publish3(2, "t", 9, b"1");
    again[0] |= 0x08;
    publisher.send(&again).await;
    publisher.expect(b"\x50\x02\0\x09").await;
    publisher.send(b"\x62\x02\0\x09").await;
    publisher.expect(b"\x70\x02\0\x09").await;
    let mut socket = back(&platform, &device, "s").await;
    socket.expect(b"\x62\x02\0\x01").await;
    socket.send(b"\x70\x02\0\x01").await;
    socket.expect_nothing().await;
    assert_eq!(platform.stored(&device, 1).await.len(), 1);
}

#[tokio::test]
async fn nothing_is_left_of_what_was_delivered() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = subscribed(&platform, &device, "s", &[("t", 2)]).await;
    publish(&platform, &device, 1, &[("t", "1")]).await;
    publish(&platform, &device, 2, &[("t", "2")]).await;
    socket.packet().await;
    socket.packet().await;
    socket.send(b"\x40\x02\0\x01\x50\x02\0\x02").await;
    socket.expect(b"\x62\x02\0\x02").await;
    socket.send(b"\x70\x02\0\x02").await;
    leave(&platform, socket).await;
    let platform = platform.restart().await;
    let state = platform.stored_state().await;
    assert_eq!(state.sessions.len(), 1);
    assert!(state.sessions[0].deliveries.is_empty() && state.sessions[0].received.is_empty());
}

#[tokio::test]
async fn what_is_dropped_is_not_stored_either() {
    let platform = Platform::start_with(|config| config.limits.queued_messages = 2).await;
    let device = platform.device("a").await;
    let socket = subscribed(&platform, &device, "s", &[("t", 1)]).await;
    leave(&platform, socket).await;
    publish(&platform, &device, 1, &[("t", "1"), ("t", "2"), ("t", "3"), ("t", "4")]).await;
    platform.eventually(|platform| platform.broker.stats().dropped_queue_full == 2).await;
    let platform = platform.restart().await;
    assert_eq!(platform.stored_state().await.sessions[0].deliveries.len(), 2);
}

#[tokio::test]
async fn a_session_that_ends_with_its_connection_is_not_stored() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v3(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 1)])).await;
    socket.packet().await;
    publish(&platform, &device, 1, &[("t", "1")]).await;
    assert!(platform.stored_state().await.sessions.is_empty());
}

#[tokio::test]
async fn a_clean_start_ends_the_stored_session() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let socket = subscribed(&platform, &device, "s", &[("t", 1)]).await;
    leave(&platform, socket).await;
    publish(&platform, &device, 1, &[("t", "1")]).await;
    let platform = platform.crash().await;
    let _clean = platform.v3(&device, "s").await;
    platform.eventually_stored(|state| state.sessions.is_empty()).await;
    let platform = platform.crash().await;
    let (_, present) = platform.v3_kept(&device, "s").await;
    assert!(!present);
}

#[tokio::test]
async fn time_passes_while_the_broker_is_down() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 1).await;
    socket.send(&subscribe5(1, b"", &[("t", 1)])).await;
    socket.packet().await;
    leave(&platform, socket).await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let platform = platform.crash().await;
    platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 0).await;
    let (_, present) = platform.v5_kept(&device, "s", 1).await;
    assert!(!present);
}

#[tokio::test]
async fn the_session_of_a_device_that_was_deleted_meanwhile_is_gone() {
    let platform = Platform::start().await;
    let (gone, stays) = (platform.device("a").await, platform.device("b").await);
    for device in [&gone, &stays] {
        let socket = subscribed(&platform, device, "s", &[("t", 1)]).await;
        leave(&platform, socket).await;
    }
    let storage = platform.application.storage.clone();
    storage.devices.delete(gone.tenant, gone.id).await.unwrap();
    let platform = platform.crash().await;
    assert_eq!(platform.broker.stats().sleeping_sessions, 1);
    back(&platform, &stays, "s").await;
}

#[tokio::test]
async fn a_new_token_goes_on_with_the_session() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let socket = subscribed(&platform, &device, "s", &[("t", 1)]).await;
    leave(&platform, socket).await;
    let devices = &platform.application.devices;
    let renewed = devices.regenerate_token(&platform.admin, None, device.id, None, Duration::ZERO).await.unwrap();
    let device = Device { token: renewed.token.expose().to_owned(), ..device };
    publish(&platform, &device, 1, &[("t", "1")]).await;
    let mut socket = back(&platform, &device, "s").await;
    socket.expect(&publish3(1, "t", 1, b"1")).await;
}

#[tokio::test]
async fn the_will_of_a_client_that_a_crash_cut_off_is_published() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.socket().await;
    let id = device.id.to_string();
    // A kept session, and a retained will of QoS 1.
    let connect = connect3_with(0xec, 0, "w", &[b"state", b"gone", id.as_bytes(), device.token.as_bytes()]);
    socket.send(&connect).await;
    socket.expect(b"\x20\x02\0\0").await;
    platform.eventually_stored(|state| state.sessions.len() == 1).await;
    let platform = platform.crash().await;
    platform.eventually(|platform| platform.broker.stats().retained_messages == 1).await;
    let mut watcher = platform.v3(&device, "watcher").await;
    watcher.send(&subscribe3(1, &[("state", 0)])).await;
    watcher.packet().await;
    let mut will = publish3(0, "state", 0, b"gone");
    will[0] |= 1;
    watcher.expect(&will).await;
    // Once.
    platform.eventually_stored(|state| state.sessions[0].session.will.is_none()).await;
}

#[tokio::test]
async fn a_client_that_comes_back_in_time_takes_its_delayed_will_back() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let id = device.id.to_string();
    // Session expiry of 60 s and a will delay of 30 s.
    let rest = [b"\x05\x18\0\0\0\x1e".to_vec(), field(b"state"), field(b"gone"), field(id.as_bytes())].concat();
    let connect = connect5_with(0xc4, 0, b"\x11\0\0\0\x3c", "w", &rest, &field(device.token.as_bytes()));
    let mut socket = platform.socket().await;
    socket.send(&connect).await;
    assert_eq!(socket.packet().await[3], 0);
    platform.eventually_stored(|state| state.sessions.len() == 1).await;
    let platform = platform.crash().await;
    assert!(platform.stored_state().await.sessions[0].session.will.is_some());
    let (mut socket, present) = platform.v5_kept(&device, "w", 60).await;
    assert!(present);
    socket.expect_nothing().await;
    platform.eventually_stored(|state| state.sessions[0].session.will.is_none()).await;
}

#[tokio::test]
async fn retained_messages_reach_a_stored_session_after_a_crash() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut publisher = platform.v3(&device, "p").await;
    let mut keep = publish3(1, "t", 1, b"1");
    keep[0] |= 1;
    publisher.send(&keep).await;
    publisher.packet().await;
    let mut socket = subscribed(&platform, &device, "s", &[("t", 1)]).await;
    keep[0] = 0x33;
    socket.expect(&keep).await;
    platform.eventually_stored(|state| state.sessions[0].deliveries.len() == 1).await;
    let platform = platform.crash().await;
    let mut socket = back(&platform, &device, "s").await;
    socket.expect(&keep).await;
    let topic = TopicName::parse("t").unwrap();
    assert!(platform.stored_state().await.retained.iter().any(|(_, message)| message.topic == topic));
}

#[tokio::test]
async fn what_a_group_shares_goes_on_to_another_stored_member() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    for client_id in ["one", "two"] {
        let socket = subscribed(&platform, &device, client_id, &[("$share/g/t", 1)]).await;
        leave(&platform, socket).await;
    }
    publish(&platform, &device, 1, &[("t", "1"), ("t", "2"), ("t", "3"), ("t", "4")]).await;
    let platform = platform.crash().await;
    drop(platform.v3(&device, "one").await);
    platform.eventually_stored(|state| state.sessions.len() == 1).await;
    let platform = platform.crash().await;
    let state = platform.stored_state().await;
    assert_eq!(state.sessions.iter().map(|session| session.deliveries.len()).collect::<Vec<_>>(), [4]);
    let mut socket = back(&platform, &device, "two").await;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.push(*socket.packet().await.last().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, b"1234");
}

#[tokio::test]
async fn a_stored_session_that_is_to_end_with_its_connection_ends_when_it_is_taken_over() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v5_kept(&device, "s", 60).await;
    socket.send(&subscribe5(1, b"", &[("t", 1)])).await;
    socket.packet().await;
    let (_brief, present) = platform.v5_kept(&device, "s", 0).await;
    assert!(present);
    assert_eq!(platform.stored_state().await.sessions.len(), 1);
    let (_anew, present) = platform.v5_kept(&device, "s", 60).await;
    assert!(!present);
    platform
        .eventually_stored(|state| matches!(&state.sessions[..], [session] if session.subscriptions.is_empty()))
        .await;
    let platform = platform.crash().await;
    let (mut socket, present) = platform.v5_kept(&device, "s", 60).await;
    assert!(present);
    publish(&platform, &device, 1, &[("t", "1")]).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn acknowledging_on_arrival_works_with_stored_sessions() {
    let platform = Platform::start_with(|config| config.ack_on_receipt = true).await;
    let device = platform.device("a").await;
    let mut socket = subscribed(&platform, &device, "s", &[("t", 2)]).await;
    publish(&platform, &device, 2, &[("t", "1")]).await;
    socket.expect(&publish3(2, "t", 1, b"1")).await;
    socket.send(b"\x50\x02\0\x01").await;
    socket.expect(b"\x62\x02\0\x01").await;
    socket.send(b"\x70\x02\0\x01").await;
    leave(&platform, socket).await;
    let platform = platform.restart().await;
    assert!(platform.stored_state().await.sessions[0].deliveries.is_empty());
}
