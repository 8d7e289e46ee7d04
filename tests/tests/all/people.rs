//! People on MQTT with a stock client library: what a log-in over REST opens, and how it ends through another process.

use std::net::SocketAddr;
use std::time::Duration;

use pocket_tests::{Api, Launch, Platform, PostgresDatabase};
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::json;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "another horse battery";

/// Logs in and gives the bearer token.
async fn token(api: &Api, username: &str, password: &str) -> String {
    let session =
        api.post("/api/v1/auth/login", json!({ "username": username, "password": password })).await.expect(200);
    session["token"].as_str().expect("a log-in answers a token").to_owned()
}

fn connect(address: SocketAddr, username: &str, token: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("desk", address.ip().to_string(), address.port());
    options.set_credentials(username, token);
    AsyncClient::new(options, 100)
}

/// The next packet for which something holds.
async fn until(events: &mut EventLoop, is_meant: impl Fn(&Packet) -> bool) -> Packet {
    let next = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.expect("the connection holds")
                && is_meant(&packet)
            {
                return packet;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("the packet comes")
}

async fn refusal(platform: &Platform, username: &str, token: &str) -> ConnectReturnCode {
    let (_client, mut events) = connect(platform.mqtt(), username, token);
    match events.poll().await {
        Err(ConnectionError::ConnectionRefused(code)) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_administrator_watches_the_broker_with_the_token_of_a_log_in() {
    let platform = Launch::default().set("mqtt.sys_interval", "1").start().await;
    let token = token(&platform.api(), "admin", Platform::ADMIN_PASSWORD).await;
    let (client, mut events) = connect(platform.mqtt(), "admin", &token);
    client.subscribe("$SYS/broker/clients/connected", QoS::AtMostOnce).await.expect("the request is queued");
    for place in 0..3 {
        match until(&mut events, |packet| matches!(packet, Packet::Publish(_))).await {
            Packet::Publish(publish) => assert_eq!((publish.retain, &publish.payload[..]), (place == 0, &b"1"[..])),
            other => panic!("not a message: {other:?}"),
        }
    }
    assert_eq!(refusal(&platform, "other", &token).await, ConnectReturnCode::BadUserNamePassword);
}

#[tokio::test]
async fn a_change_through_one_process_ends_a_persons_connection_to_another_within_five_seconds() {
    let database = PostgresDatabase::create().await;
    let launch = |mode: &str| {
        Launch::default()
            .set("mode", mode)
            .set("database.url", &database.url())
            .set("auth.jwt_secret", &"j".repeat(32))
            .set("auth.token_key", &"t".repeat(32))
    };
    let api = launch("api").start().await;
    let broker = launch("broker").start().await;
    let admin = api.admin().await;
    let user = json!({ "username": "ann", "password": PASSWORD, "role": "operator" });
    let id = admin.post("/api/v1/users", user).await.expect(201)["id"].as_str().expect("a user has an id").to_owned();
    let token = token(&api.api(), "ann", PASSWORD).await;
    for change in 0..2 {
        let (_client, mut events) = connect(broker.mqtt(), "ann", &token);
        until(&mut events, |packet| matches!(packet, Packet::ConnAck(_))).await;
        let path = format!("/api/v1/users/{id}");
        match change {
            0 => drop(admin.patch(&path, json!({ "role": "viewer" })).await.expect(200)),
            _ => drop(admin.delete(&path).await.expect(204)),
        }
        let began = Instant::now();
        let ended = async { while events.poll().await.is_ok() {} };
        timeout(Duration::from_secs(5), ended).await.expect("the connection ends");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(refusal(&broker, "ann", &token).await, ConnectReturnCode::BadUserNamePassword);
}
