//! Publishing and subscribing without a socket.

use std::time::Duration;

use bytes::Bytes;
use pocket_application::{IngestOptions, NewAccessRule};
use pocket_domain::{DeviceUpdate, Effect, PayloadPolicy, TenantId, Timestamp, TopicAction, TopicPattern};
use pocket_mqtt_ntex::{LocalClient, LocalError, LocalMessage, LocalSubscription, MessageProperties, Publication, QoS};

use crate::backpressure::gated;
use crate::packets::{publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Device, Platform, Socket};

const PATIENCE: Duration = Duration::from_secs(10);

async fn client(platform: &Platform) -> LocalClient {
    platform.broker.client(platform.admin.tenant_id()).await.unwrap()
}

fn publication(topic: &str, payload: &'static str) -> Publication {
    Publication::new(topic, payload).unwrap()
}

async fn next(subscription: &mut LocalSubscription) -> LocalMessage {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("a message comes").expect("the broker is there")
}

/// The topic and the payload of the next message.
async fn next_text(subscription: &mut LocalSubscription) -> (String, String) {
    let message = next(subscription).await;
    (message.topic.to_string(), String::from_utf8(message.payload.to_vec()).unwrap())
}

async fn subscribed(platform: &Platform, device: &Device, client_id: &str, filter: &str, qos: u8) -> Socket {
    let mut socket = platform.v3(device, client_id).await;
    socket.send(&subscribe3(1, &[(filter, qos)])).await;
    socket.expect(&[0x90, 3, 0, 1, qos]).await;
    socket
}

#[tokio::test]
async fn what_the_program_publishes_is_routed_and_is_not_telemetry() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let client = client(&platform).await;
    // On all workers, whichever takes them.
    let mut sockets = Vec::new();
    for name in ["s1", "s2", "s3", "s4"] {
        sockets.push(subscribed(&platform, &device, name, "t/#", 1).await);
    }
    for qos in QoS::ALL {
        client.publish(publication("t/x", "1").at(qos)).await.unwrap();
    }
    for socket in &mut sockets {
        socket.expect(&publish3(0, "t/x", 0, b"1")).await;
        socket.expect(&publish3(1, "t/x", 1, b"1")).await;
        socket.expect(&publish3(1, "t/x", 2, b"1")).await;
    }
    platform.stored(&device, 0).await;
    assert_eq!(platform.broker.stats().messages_in, [1, 1, 1]);
}

#[tokio::test]
async fn what_it_publishes_for_a_device_is_telemetry_when_publish_returns() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let local = client(&platform).await.device(device.id).await.unwrap();
    let before = Timestamp::from_millis(1_764_000_000_000).unwrap();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        local.publish(publication("t", r#"{"ts":1764000000000,"values":{"c":1}}"#).at(qos)).await.unwrap();
    }
    let rows = platform.application.storage.telemetry.range(device.tenant, &Default::default()).await.unwrap().rows;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.device_id == device.id && row.timestamp == before));
    local.publish(publication("t", "3")).await.unwrap();
    platform.stored(&device, 3).await;
    let seen = async || platform.application.devices.get(&platform.admin, None, device.id).await.unwrap();
    for _ in 0..1_000 {
        if seen().await.last_seen_at.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let device = seen().await;
    assert!(device.last_seen_at.is_some() && !device.online);
}

#[tokio::test]
async fn nothing_is_reported_as_published_before_the_commit() {
    let (platform, gate) = gated(IngestOptions::default()).await;
    let device = platform.device("a").await;
    let client = client(&platform).await;
    let local = client.device(device.id).await.unwrap();
    let mut subscription = client.subscribe("t", QoS::AtMostOnce).unwrap();
    let publishing = tokio::spawn(async move { local.publish(publication("t", "1").at(QoS::AtLeastOnce)).await });
    // Subscribers are served at once.
    next(&mut subscription).await;
    client.publish(publication("other", "2").at(QoS::AtLeastOnce)).await.unwrap();
    assert!(!publishing.is_finished());
    gate.add_permits(1);
    publishing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_ingest_holds_the_program_back() {
    let (platform, gate) = gated(IngestOptions { queue: 1, batch: 1, ..Default::default() }).await;
    let device = platform.device("a").await;
    let local = client(&platform).await.device(device.id).await.unwrap();
    let publishing = tokio::spawn(async move {
        for number in 1..=5 {
            local.publish(Publication::new("t", number.to_string()).unwrap()).await.unwrap();
        }
    });
    platform.eventually(|platform| platform.broker.stats().messages_in[0] == 2).await;
    assert!(!publishing.is_finished());
    gate.add_permits(100);
    publishing.await.unwrap();
    let rows = platform.stored(&device, 5).await;
    assert_eq!(rows.iter().map(|row| row.payload.as_str()).collect::<Vec<_>>(), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_subscription_gets_what_is_retained_and_then_what_comes() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let client = client(&platform).await;
    client.publish(publication("t/kept", "1").retained()).await.unwrap();
    client.publish(publication("u/kept", "2").retained()).await.unwrap();
    let mut subscription = client.subscribe("t/#", QoS::AtLeastOnce).unwrap();
    let mut socket = platform.v5(&device, "p").await;
    let properties = b"\x02\0\0\0\x3c\x03\0\x01j\x26\0\x01a\0\x01b";
    socket.send(&publish5(2, "t/x", 1, properties, b"3")).await;
    socket.expect(b"\x50\x02\0\x01").await;
    client.publish(publication("t/y", "4")).await.unwrap();
    let first = next(&mut subscription).await;
    assert_eq!((first.topic.as_str(), first.retain, &first.payload[..]), ("t/kept", true, &b"1"[..]));
    let second = next(&mut subscription).await;
    let expected = MessageProperties {
        content_type: Some("j".into()),
        user_properties: vec![("a".into(), "b".into())],
        ..Default::default()
    };
    assert_eq!((second.qos, second.retain, second.expiry), (QoS::AtLeastOnce, false, Some(60)));
    assert_eq!(second.properties.as_deref(), Some(&expected));
    assert_eq!(next_text(&mut subscription).await, ("t/y".to_owned(), "4".to_owned()));
    // An empty one removes what is kept.
    client.publish(publication("t/kept", "").retained()).await.unwrap();
    assert_eq!(platform.broker.stats().retained_messages, 1);
}

#[tokio::test]
async fn what_mqtt_5_says_about_a_message_is_passed_on() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut socket = platform.v5(&device, "s").await;
    socket.send(&subscribe5(1, b"", &[("t", 0)])).await;
    socket.packet().await;
    let properties = MessageProperties {
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::from_static(b"\x01")),
        ..Default::default()
    };
    let request = publication("t", "1").with(properties).unwrap();
    client(&platform).await.publish(request.clone()).await.unwrap();
    socket.expect(&publish5(0, "t", 0, b"\x09\0\x01\x01\x08\0\x01r", b"1")).await;
    for wrong in [
        MessageProperties { response_topic: Some("a/#".into()), ..Default::default() },
        MessageProperties { content_type: Some("\0".into()), ..Default::default() },
        MessageProperties { user_properties: vec![("x".repeat(65_536).into(), "".into())], ..Default::default() },
        MessageProperties { correlation_data: Some(vec![0; 65_536].into()), ..Default::default() },
    ] {
        assert!(request.clone().with(wrong).is_err());
    }
}

#[tokio::test]
async fn a_message_that_expired_in_the_queue_is_not_given() {
    let platform = Platform::start().await;
    let client = client(&platform).await;
    let mut subscription = client.subscribe("t", QoS::AtLeastOnce).unwrap();
    client.publish(publication("t", "1").expiring_after(1).at(QoS::AtLeastOnce)).await.unwrap();
    client.publish(publication("t", "2")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(next_text(&mut subscription).await.1, "2");
}

#[tokio::test]
async fn a_session_that_is_away_gets_what_the_program_published() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let (mut socket, _) = platform.v3_kept(&device, "s").await;
    socket.send(&subscribe3(1, &[("t", 1)])).await;
    socket.packet().await;
    socket.break_off();
    platform.eventually(|platform| platform.broker.stats().sleeping_sessions == 1).await;
    client(&platform).await.publish(publication("t", "1").at(QoS::AtLeastOnce)).await.unwrap();
    let (mut socket, was_there) = platform.v3_kept(&device, "s").await;
    assert!(was_there);
    socket.expect(&publish3(1, "t", 1, b"1")).await;
}

#[tokio::test]
async fn the_program_stays_within_the_tenant_it_named() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let other = platform.tenant("other", PayloadPolicy::Json).await;
    let foreign = platform.device_in(Some(other), "a").await;
    let (here, there) = (client(&platform).await, platform.broker.client(other).await.unwrap());
    let mut subscription = here.subscribe("#", QoS::AtMostOnce).unwrap();
    let mut theirs = subscribed(&platform, &foreign, "s", "#", 0).await;
    there.publish(publication("t", "1")).await.unwrap();
    theirs.expect(&publish3(0, "t", 0, b"1")).await;
    here.publish(publication("t", "2")).await.unwrap();
    assert_eq!(next_text(&mut subscription).await.1, "2");
    theirs.expect_nothing().await;
    assert_eq!(there.device(device.id).await.unwrap_err(), LocalError::NotFound);
    let nobody = TenantId::new(Timestamp::MIN, [9; 10]);
    assert_eq!(platform.broker.client(nobody).await.unwrap_err(), LocalError::NotFound);
}

#[tokio::test]
async fn for_a_device_its_rules_and_its_switch_hold_and_for_the_program_none() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let client = client(&platform).await;
    let local = client.device(device.id).await.unwrap();
    local.publish(publication("secret/x", "1")).await.unwrap();
    let topic = TopicPattern::parse("secret/#").unwrap();
    let new = NewAccessRule { device_id: None, effect: Effect::Deny, action: TopicAction::Publish, topic };
    platform.application.access_rules.create(&platform.admin, None, new).await.unwrap();
    assert_eq!(local.publish(publication("secret/x", "2")).await, Err(LocalError::NotAuthorized));
    client.publish(publication("secret/x", "3")).await.unwrap();
    let switch = async |enabled| {
        let update = DeviceUpdate { enabled: Some(enabled), ..Default::default() };
        platform.application.devices.update(&platform.admin, None, device.id, update).await.unwrap();
    };
    switch(false).await;
    assert_eq!(local.publish(publication("t", "4")).await, Err(LocalError::Disabled));
    switch(true).await;
    local.publish(publication("t", "5")).await.unwrap();
    platform.application.devices.delete(&platform.admin, None, device.id).await.unwrap();
    assert_eq!(local.publish(publication("t", "6")).await, Err(LocalError::NotFound));
}

#[tokio::test]
async fn a_payload_that_is_not_accepted_is_neither_routed_nor_stored() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let client = client(&platform).await;
    let mut subscription = client.subscribe("#", QoS::AtMostOnce).unwrap();
    let refused = client.device(device.id).await.unwrap().publish(publication("t", "{not json")).await;
    assert!(matches!(refused, Err(LocalError::Payload(_))), "{refused:?}");
    assert!(matches!(client.publish(publication("t", "{not json")).await, Err(LocalError::Payload(_))));
    client.publish(publication("t", "1")).await.unwrap();
    assert_eq!(next_text(&mut subscription).await.1, "1");
    assert_eq!(platform.broker.stats().rejected, 2);
    for _ in 0..1_000 {
        let device = platform.application.devices.get(&platform.admin, None, device.id).await.unwrap();
        if device.last_rejection.is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the rejection was not noted");
}

#[tokio::test]
async fn the_brokers_own_topics_are_closed_to_the_program() {
    let platform = Platform::start().await;
    let client = client(&platform).await;
    for filter in ["$SYS/#", "$x", "$share/g/$SYS/#"] {
        assert_eq!(client.subscribe(filter, QoS::AtMostOnce).unwrap_err(), LocalError::NotAuthorized, "{filter}");
    }
    assert_eq!(client.publish(publication("$SYS/x", "1")).await, Err(LocalError::NotAuthorized));
    assert!(matches!(client.subscribe("a/#/b", QoS::AtMostOnce), Err(LocalError::Invalid(_))));
    assert!(Publication::new("a/+", "1").is_err());
}

#[tokio::test]
async fn subscriptions_are_bounded_and_their_places_are_free_again() {
    let platform = Platform::start_with(|config| {
        config.limits.subscriptions = 1;
        config.limits.filter_levels = 2;
    })
    .await;
    let client = client(&platform).await;
    assert!(matches!(client.subscribe("a/b/c", QoS::AtMostOnce), Err(LocalError::Invalid(_))));
    let held = client.subscribe("a", QoS::AtMostOnce).unwrap();
    let other = client.clone();
    assert_eq!(other.subscribe("b", QoS::AtMostOnce).unwrap_err(), LocalError::TooManySubscriptions(1));
    held.unsubscribe();
    assert_eq!(platform.broker.stats().subscriptions, 0);
    client.subscribe("b", QoS::AtMostOnce).unwrap();
}

/// What a message of ten bytes with its topic weighs.
const WEIGHT: usize = 330;

#[tokio::test]
async fn a_slow_reader_loses_qos_0_first_and_slows_nobody() {
    let platform = Platform::start_with(|config| {
        config.limits.unsent_bytes = 10 * WEIGHT;
        config.limits.queued_bytes = 30 * WEIGHT;
    })
    .await;
    let device = platform.device("a").await;
    let client = client(&platform).await;
    let mut subscription = client.subscribe("t", QoS::AtLeastOnce).unwrap();
    let mut socket = platform.v3(&device, "p").await;
    for qos in [0, 1] {
        for id in 1..=50 {
            socket.send(&publish3(qos, "t", id, b"123456789")).await;
            if qos == 1 {
                socket.expect(&[0x40, 2, 0, u8::try_from(id).unwrap()]).await;
            }
        }
    }
    let stats = platform.broker.stats();
    assert_eq!((stats.dropped_unsent, stats.dropped_queue_full, subscription.dropped()), (40, 30, 70));
    for place in 0..30 {
        let expected = if place < 10 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        assert_eq!(next(&mut subscription).await.qos, expected);
    }
    client.publish(publication("t", "1")).await.unwrap();
    assert_eq!(next_text(&mut subscription).await.1, "1");
}

#[tokio::test]
async fn a_shared_subscription_is_shared_with_clients_that_have_sockets() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let client = client(&platform).await;
    let mut mine = client.subscribe("$share/g/t", QoS::AtMostOnce).unwrap();
    let mut socket = subscribed(&platform, &device, "s", "$share/g/t", 0).await;
    for _ in 0..4 {
        client.publish(publication("t", "1")).await.unwrap();
    }
    for _ in 0..2 {
        next(&mut mine).await;
        socket.expect(&publish3(0, "t", 0, b"1")).await;
    }
    socket.expect_nothing().await;
}

#[tokio::test]
async fn it_works_on_any_runtime_and_thread() {
    let platform = Platform::start().await;
    let client = client(&platform).await;
    let mut subscription = client.subscribe("t", QoS::AtLeastOnce).unwrap();
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            client.publish(publication("t", "1").at(QoS::AtLeastOnce)).await.unwrap();
            subscription.next().await.unwrap()
        })
    });
    let message = tokio::task::spawn_blocking(move || elsewhere.join().unwrap()).await.unwrap();
    assert_eq!(&message.payload[..], b"1");
}

#[tokio::test]
async fn a_deleted_tenant_ends_its_subscriptions() {
    let platform = Platform::start().await;
    let tenant = platform.tenant("gone", PayloadPolicy::Json).await;
    let client = platform.broker.client(tenant).await.unwrap();
    let mut subscription = client.subscribe("#", QoS::AtMostOnce).unwrap();
    let ended = tokio::spawn(async move { subscription.next().await });
    platform.application.tenants.delete(&platform.admin, tenant, Some("gone")).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap(), None);
    assert_eq!(client.publish(publication("t", "1")).await, Err(LocalError::NotFound));
}

#[tokio::test]
async fn the_end_of_the_broker_ends_subscriptions_and_refuses_messages() {
    let Platform { broker, running, admin, .. } = Platform::start().await;
    let client = broker.client(admin.tenant_id()).await.unwrap();
    let mut subscription = client.subscribe("#", QoS::AtMostOnce).unwrap();
    client.publish(publication("t", "1")).await.unwrap();
    running.stop_accepting().await;
    assert_eq!(client.publish(publication("t", "2")).await, Err(LocalError::Stopping));
    running.stop().await;
    assert_eq!(next_text(&mut subscription).await.1, "1");
    assert_eq!(subscription.next().await, None);
    assert_eq!(client.subscribe("t", QoS::AtMostOnce).unwrap_err(), LocalError::Stopping);
}
