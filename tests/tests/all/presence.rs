//! Who is online, and what is told of connections, across crashes and several brokers.

use std::time::Duration;

use pocket_tests::{Api, Launch, Platform, PostgresDatabase};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

/// Connects as a device and waits for the CONNACK. The connection lasts as long as what is returned.
async fn connect(platform: &Platform, client_id: &str, (id, token): &(String, String)) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(client_id, platform.mqtt().ip().to_string(), platform.mqtt().port());
    options.set_credentials(id, token);
    let (client, mut events) = AsyncClient::new(options, 10);
    let connected = async { while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::ConnAck(_))) {} };
    tokio::time::timeout(PATIENCE, connected).await.expect("the device is connected");
    (client, events)
}

async fn show(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/devices/{id}")).await.expect(200)
}

/// The events of a device, the oldest first: client id, type and reason.
async fn events(api: &Api, id: &str) -> Vec<(String, String, Option<String>)> {
    let page = api.get(&format!("/api/v1/devices/{id}/events")).await.expect(200);
    let text = |event: &Value, field: &str| event[field].as_str().map(str::to_owned);
    let told = |event: &Value| {
        let [client, kind] = ["clientId", "type"].map(|field| text(event, field).unwrap());
        (client, kind, text(event, "reason"))
    };
    page["data"].as_array().unwrap().iter().rev().map(told).collect()
}

/// Waits until so many events of a device are recorded.
async fn wait_for_events(api: &Api, id: &str, count: usize) -> Vec<(String, String, Option<String>)> {
    let began = Instant::now();
    loop {
        let all = events(api, id).await;
        if all.len() >= count {
            return all;
        }
        assert!(began.elapsed() < PATIENCE, "only {all:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn event(client: &str, kind: &str, reason: Option<&str>) -> (String, String, Option<String>) {
    (client.to_owned(), kind.to_owned(), reason.map(str::to_owned))
}

async fn online(api: &Api, wanted: bool) -> Vec<String> {
    let list = api.get(&format!("/api/v1/devices?online={wanted}")).await.expect(200);
    list["data"].as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn after_a_crash_nobody_is_online_who_is_not_connected() {
    let mut platform = Launch::default().start().await;
    let api = platform.admin().await;
    let boiler = api.register_device("boiler").await;
    let pump = api.register_device("pump").await;
    let _first = connect(&platform, "first", &boiler).await;
    let _second = connect(&platform, "second", &boiler).await;
    wait_for_events(&api, &boiler.0, 2).await;
    let before = show(&api, &boiler.0).await;
    assert_eq!((&before["online"], &before["protocol"]), (&json!(true), &json!("MQTT 3.1.1")));
    assert!(before["remoteAddress"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{before}");
    assert!(before["connectedAt"].is_string() && before["lastSeenAt"].is_string(), "{before}");
    assert_eq!((online(&api, true).await, online(&api, false).await), (vec!["boiler".into()], vec!["pump".into()]));
    platform.kill().await;

    platform.start_again().await;
    let api = platform.admin().await;
    assert_eq!((online(&api, true).await.len(), online(&api, false).await.len()), (0, 2));
    let after = show(&api, &boiler.0).await;
    let expected = ["connectedAt", "remoteAddress", "protocol", "updatedAt"].map(|field| before[field].clone());
    assert_eq!(["connectedAt", "remoteAddress", "protocol", "updatedAt"].map(|field| after[field].clone()), expected);
    let crash = event("second", "disconnected", Some("broker_restart"));
    let connected = [event("first", "connected", None), event("second", "connected", None)];
    assert_eq!(events(&api, &boiler.0).await, [connected[0].clone(), connected[1].clone(), crash]);
    assert!(events(&api, &pump.0).await.is_empty());

    // It goes on where it was, and an orderly stop leaves nothing to be told.
    let _third = connect(&platform, "third", &boiler).await;
    wait_for_events(&api, &boiler.0, 4).await;
    assert_eq!(online(&api, true).await, ["boiler"]);
    platform.stop().await;
    platform.start_again().await;
    let api = platform.admin().await;
    assert!(online(&api, true).await.is_empty());
    let told = events(&api, &boiler.0).await;
    assert_eq!(told[3..], [event("third", "connected", None), event("third", "disconnected", Some("server_shutdown"))]);
}

#[tokio::test]
async fn a_broker_that_starts_leaves_the_devices_of_another_online() {
    let database = PostgresDatabase::create().await;
    let shared = |mode: &str| {
        Launch::default()
            .set("mode", mode)
            .set("database.url", &database.url())
            .set("auth.token_key", "0123456789abcdef0123456789abcdef")
    };
    let api = shared("api").start().await;
    let mut left = shared("broker").set("node", "left").start().await;
    let right = shared("broker").set("node", "right").start().await;
    let admin = api.admin().await;
    let (here, there) = (admin.register_device("here").await, admin.register_device("there").await);
    let both = admin.register_device("both").await;
    let _here = connect(&left, "x", &here).await;
    let _there = connect(&right, "x", &there).await;
    let _both = (connect(&left, "l", &both).await, connect(&right, "r", &both).await);
    for (device, count) in [(&here, 1), (&there, 1), (&both, 2)] {
        wait_for_events(&admin, &device.0, count).await;
    }
    assert_eq!(online(&admin, true).await, ["here", "there", "both"]);
    left.kill().await;
    left.start_again().await;
    assert_eq!(online(&admin, true).await, ["there", "both"]);
    let of_both = events(&admin, &both.0).await;
    assert_eq!(of_both.last(), Some(&event("l", "disconnected", Some("broker_restart"))));
    // The device moves to the broker that started.
    let _there = connect(&left, "x", &there).await;
    wait_for_events(&admin, &there.0, 2).await;
    drop(right);
    let _right = shared("broker").set("node", "right").start().await;
    wait_for_events(&admin, &there.0, 3).await;
    assert_eq!(online(&admin, true).await, ["there"]);
}

/// Waits until so many devices are online.
async fn wait_for_online(api: &Api, count: usize) {
    let began = Instant::now();
    while online(api, true).await.len() != count {
        assert!(began.elapsed() < 2 * PATIENCE, "online are {:?}", online(api, true).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn devices_of_a_broker_that_was_killed_are_offline_though_nobody_starts_it_again() {
    let database = PostgresDatabase::create().await;
    let shared = |mode: &str| {
        Launch::default()
            .set("mode", mode)
            .set("database.url", &database.url())
            .set("auth.token_key", "0123456789abcdef0123456789abcdef")
    };
    let api = shared("api").start().await;
    let mut left = shared("broker").set("node", "left").start().await;
    let right = shared("broker").set("node", "right").start().await;
    let admin = api.admin().await;
    let (here, there) = (admin.register_device("here").await, admin.register_device("there").await);
    let both = admin.register_device("both").await;
    let _here = connect(&left, "x", &here).await;
    let _there = connect(&right, "x", &there).await;
    let _both = (connect(&left, "l", &both).await, connect(&right, "r", &both).await);
    wait_for_online(&admin, 3).await;
    let before = show(&admin, &here.0).await;
    left.kill().await;
    wait_for_online(&admin, 2).await;
    assert_eq!(online(&admin, false).await, ["here"]);
    let after = show(&admin, &here.0).await;
    assert_eq!((&after["online"], &after["lastSeenAt"]), (&json!(false), &before["lastSeenAt"]));
    // The server forgets the locks of those that live, and they take them again: nobody else goes offline.
    let server = Database::connect(database.url()).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    server.execute_unprepared(end).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(25) {
        assert_eq!(online(&admin, true).await, ["there", "both"]);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    left.start_again().await;
    let _here = connect(&left, "again", &here).await;
    wait_for_online(&admin, 3).await;
    let told = events(&admin, &here.0).await;
    assert_eq!(told[1], event("x", "disconnected", Some("broker_restart")));
}

#[tokio::test]
async fn as_many_events_are_kept_as_the_setting_says() {
    for (kept, expected) in [("2", 2), ("0", 0)] {
        let platform = Launch::default().set("mqtt.device_events", kept).start().await;
        let api = platform.admin().await;
        let device = api.register_device("boiler").await;
        for client in ["a", "b", "c"] {
            let last = connect(&platform, client, &device).await;
            let began = Instant::now();
            while online(&api, true).await.is_empty() {
                assert!(began.elapsed() < PATIENCE, "the device is online");
            }
            drop(last);
            while !online(&api, true).await.is_empty() {
                assert!(began.elapsed() < PATIENCE, "the device is offline");
            }
        }
        let all = events(&api, &device.0).await;
        assert_eq!(all.len(), expected, "{all:?}");
        assert!(all.iter().all(|(client, _, _)| client == "c"), "{all:?}");
        let text = platform.api().request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        assert!(text.contains("pocket_device_activity_dropped_total{kind=\"event\"} 0"), "{text}");
    }
}
