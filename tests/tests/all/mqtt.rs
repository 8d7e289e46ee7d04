//! MQTT on the real binary with a stock client library, in both versions: what devices publish comes back from REST.

use std::time::Duration;

pub(crate) use pocket_tests::{Client, Device};
use pocket_tests::{Launch, Platform, PostgresDatabase};
use rumqttc::v5;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, Packet, QoS};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "another horse battery";

/// The topic and payload of the next message.
async fn message(client: &mut Client) -> (String, String) {
    match client.until(|packet| matches!(packet, Packet::Publish(_))).await {
        Packet::Publish(publish) => {
            (publish.topic, String::from_utf8(publish.payload.to_vec()).expect("the payload is text"))
        }
        other => panic!("not a message: {other:?}"),
    }
}

fn messages(count: usize) -> impl Iterator<Item = (String, String)> {
    (0..count).map(|number| (format!("boiler/{}", number % 3), json!({ "number": number }).to_string()))
}

fn numbers(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["payload"]["number"].as_u64().expect("a row has its number")).collect()
}

async fn a_thousand_messages_come_back_in_order(launch: Launch) {
    let mut platform = launch.start().await;
    let device = Device::register(&platform.admin().await, "boiler").await;
    device.connect(&platform, "x").await.publish(messages(1_000)).await;
    let query = format!("deviceId={}&order=asc&limit=300", device.id);
    let rows = platform.admin().await.telemetry(&query).await;
    assert_eq!(numbers(&rows), (0..1_000).collect::<Vec<u64>>());
    assert_eq!(rows[4]["topic"], "boiler/1");
    platform.stop().await;
    platform.start_again().await;
    assert_eq!(platform.admin().await.telemetry(&query).await, rows);
    device.connect(&platform, "x").await.publish(messages(1)).await;
}

#[tokio::test]
async fn a_thousand_messages_at_qos_1_come_back_from_rest_in_order() {
    a_thousand_messages_come_back_in_order(Launch::default()).await;
}

#[tokio::test]
async fn a_thousand_messages_at_qos_1_come_back_from_postgresql_in_order() {
    let database = PostgresDatabase::create().await;
    a_thousand_messages_come_back_in_order(Launch::default().set("database.url", &database.url())).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut() {
    let mut platform = Launch::default().start().await;
    let device = Device::register(&platform.admin().await, "boiler").await;
    let mut client = device.connect(&platform, "x").await;
    for (topic, payload) in messages(2_000) {
        client.client.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("the request is queued");
    }
    let mut acknowledged = 0;
    while acknowledged < 500 {
        client.until(|packet| matches!(packet, Packet::PubAck(_))).await;
        acknowledged += 1;
    }
    platform.kill().await;
    while let Ok(event) = client.events.poll().await {
        acknowledged += usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
    }
    platform.start_again().await;
    let rows = platform.admin().await.telemetry("order=asc&limit=1000").await;
    assert!(rows.len() >= acknowledged, "{} rows for {acknowledged} acknowledgements", rows.len());
    assert_eq!(numbers(&rows), (0..rows.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_tenants_on_the_same_topics_and_client_ids_never_meet() {
    let platform = Launch::default().start().await;
    let root = platform.admin().await;
    let mut tenants = Vec::new();
    for name in ["north", "south"] {
        let tenant = root.post("/api/v1/tenants", json!({ "name": name })).await.expect(201);
        let id = tenant["id"].as_str().expect("a tenant has an id").to_owned();
        let user = json!({ "username": "operator", "password": PASSWORD, "role": "operator" });
        root.post(&format!("/api/v1/users?tenantId={id}"), user).await.expect(201);
        let api = platform.api().log_in_to(name, "operator", PASSWORD).await;
        let device = Device::register(&api, "boiler").await;
        let mut client = device.connect(&platform, "same").await;
        client.subscribe("#", QoS::AtLeastOnce).await;
        tenants.push((name, api, client));
    }
    for (name, _, client) in &mut tenants {
        client.publish([("same/topic".to_owned(), json!({ "from": name }).to_string())]).await;
    }
    for (name, api, client) in &mut tenants {
        // What another tenant published would have come before this.
        client.publish([("the/end".to_owned(), "1".to_owned())]).await;
        let rows = api.telemetry("topic=same/%23").await;
        assert_eq!(rows.iter().map(|row| &row["payload"]["from"]).collect::<Vec<_>>(), [*name]);
    }
}

#[tokio::test]
async fn a_subscriber_sees_what_another_device_publishes() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let (sensor, display) = (Device::register(&api, "sensor").await, Device::register(&api, "display").await);
    let mut subscriber = display.connect(&platform, "d").await;
    subscriber.subscribe("room/+/temperature", QoS::AtLeastOnce).await;
    let mut publisher = sensor.connect(&platform, "s").await;
    for topic in ["room/1/humidity", "room/1/temperature", "room/2/temperature"] {
        publisher.publish([(topic.to_owned(), "21.5".to_owned())]).await;
    }
    assert_eq!(message(&mut subscriber).await, ("room/1/temperature".to_owned(), "21.5".to_owned()));
    assert_eq!(message(&mut subscriber).await, ("room/2/temperature".to_owned(), "21.5".to_owned()));
}

#[tokio::test]
async fn a_device_that_may_not_stay_is_disconnected_and_refused() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = Device::register(&api, "boiler").await;
    let path = format!("/api/v1/devices/{}", device.id);
    let mut client = device.connect(&platform, "x").await;
    api.patch(&path, json!({ "enabled": false })).await.expect(200);
    client.closed().await;
    assert_eq!(refusal(&platform, &device).await, ConnectReturnCode::NotAuthorized);
    api.patch(&path, json!({ "enabled": true })).await.expect(200);
    let mut client = device.connect(&platform, "x").await;
    api.post(&format!("{path}/regenerate-token"), Value::Null).await.expect(201);
    client.closed().await;
    assert_eq!(refusal(&platform, &device).await, ConnectReturnCode::BadUserNamePassword);
}

async fn refusal(platform: &Platform, device: &Device) -> ConnectReturnCode {
    let (_client, mut events) = AsyncClient::new(device.options(platform, "x"), 10);
    match events.poll().await {
        Err(ConnectionError::ConnectionRefused(code)) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_malformed_payload_is_shown_at_its_device() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = Device::register(&api, "boiler").await;
    let mut client = device.connect(&platform, "x").await;
    client.publish([("t".to_owned(), "{21.5 C".to_owned()), ("t".to_owned(), "21.5".to_owned())]).await;
    let rows = api.telemetry("").await;
    assert_eq!(rows.len(), 1);
    let path = format!("/api/v1/devices/{}", device.id);
    let began = tokio::time::Instant::now();
    loop {
        let seen = api.get(&path).await.expect(200);
        if seen["online"] == true && seen["lastRejection"]["topic"] == "t" {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_of_5_0_is_told_why_a_message_was_refused() {
    let platform = Launch::default().start().await;
    let device = Device::register(&platform.admin().await, "boiler").await;
    let address = platform.mqtt();
    let mut options = v5::MqttOptions::new("x", address.ip().to_string(), address.port());
    options.set_credentials(&device.id, &device.token);
    let (client, mut events) = v5::AsyncClient::new(options, 10);
    for payload in ["{", "{}"] {
        client.publish("t", v5::mqttbytes::QoS::AtLeastOnce, false, payload).await.expect("the request is queued");
    }
    let mut reasons = Vec::new();
    while reasons.len() < 2 {
        let event = tokio::time::timeout(PATIENCE, events.poll()).await.expect("an answer comes");
        if let v5::Event::Incoming(v5::Incoming::PubAck(ack)) = event.expect("the connection holds") {
            reasons.push(ack.reason);
        }
    }
    assert_eq!(reasons, [PubAckReason::PayloadFormatInvalid, PubAckReason::Success]);
}
