//! The database goes back in time under a running platform, and two processes take themselves for the same node: what is
//! acknowledged is stored, and no tenant gets what is another's.

use std::time::Duration;

use pocket_domain::NodeName;
use pocket_ports::{Conflict, StorageError, WriteBatch};
use pocket_storage_sea_orm::{Options, open};
use pocket_tests::{Api, Launch, Platform, PostgresServer, StrictClient};
use reqwest::Method;
use rumqttc::QoS;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

/// Rows of the log whose device or topic is not one of their tenant.
const STRANGERS: &str = "SELECT count(*) FROM telemetry
    LEFT JOIN devices ON devices.key = telemetry.device AND devices.tenant = telemetry.tenant
    LEFT JOIN topics ON topics.key = telemetry.topic AND topics.tenant = telemetry.tenant
    WHERE devices.key IS NULL OR topics.key IS NULL";

async fn tenant(admin: &Api, name: &str) -> String {
    let tenant = admin.post("/api/v1/tenants", json!({ "name": name })).await.expect(201);
    tenant["id"].as_str().unwrap().to_owned()
}

/// A device of a tenant: its id and its token.
async fn device(admin: &Api, tenant: &str, name: &str) -> (String, String) {
    let began = Instant::now();
    let device = loop {
        let answer = admin.post(&format!("/api/v1/devices?tenantId={tenant}"), json!({ "name": name })).await;
        // Each connection of the pool may be one of the server that is gone.
        if answer.status.as_u16() != 503 || began.elapsed() > PATIENCE {
            break answer.expect(201);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    (device["id"].as_str().unwrap().to_owned(), device["token"].as_str().unwrap().to_owned())
}

async fn until_ready(platform: &Platform) {
    let began = Instant::now();
    while platform.api().get("/ready").await.status.as_u16() != 200 {
        assert!(began.elapsed() < PATIENCE, "the platform does not go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes a message and waits for its acknowledgement; `false` when the connection is closed instead.
async fn publish(client: &mut StrictClient, topic: &str, payload: &str) -> bool {
    if client.publish(topic, QoS::AtLeastOnce, payload.to_owned()).await.is_err() {
        return false;
    }
    while client.unacknowledged() > 0 {
        if timeout(PATIENCE, client.take_one()).await.expect("an acknowledgement comes, or an end").is_err() {
            return false;
        }
    }
    true
}

async fn telemetry(admin: &Api, tenant: &str) -> Vec<Value> {
    let answer = admin.request(Method::GET, &format!("/api/v1/telemetry?tenantId={tenant}&limit=1000"));
    let answer: Value = answer.send().await.unwrap().json().await.unwrap();
    answer["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_older_copy_of_the_database_gives_no_tenant_what_is_anothers() {
    let server = PostgresServer::start().await;
    let platform = Launch::default().set("database.url", &server.url()).start().await;
    let admin = platform.admin().await;
    let (acme, umbrella) = (tenant(&admin, "acme").await, tenant(&admin, "umbrella").await);
    device(&admin, &acme, "zero").await;
    server.stop_at_once();
    server.keep_copy();
    server.start_again().await;
    until_ready(&platform).await;
    // These are in no copy.
    let (spy_id, spy_token) = device(&admin, &acme, "spy").await;
    let mut spy = StrictClient::new("spy", &spy_id, &spy_token);
    spy.connect(platform.mqtt()).await.unwrap();
    for n in 0..3 {
        assert!(publish(&mut spy, "acme/secret", &json!({ "acme": n }).to_string()).await);
    }
    assert_eq!(telemetry(&admin, &acme).await.len(), 3);
    server.stop_at_once();
    server.take_over_from_copy();
    server.start_again().await;
    until_ready(&platform).await;
    let (pump_id, pump_token) = device(&admin, &umbrella, "pump").await;
    let mut pump = StrictClient::new("pump", &pump_id, &pump_token);
    pump.connect(platform.mqtt()).await.unwrap();
    assert!(publish(&mut pump, "umbrella/flow", "{\"u\":1}").await);
    // Its device is in no database any more: it is ended, at once or when that is noticed, and what it says goes nowhere.
    let began = Instant::now();
    while publish(&mut spy, "acme/secret", "{\"acme\":\"SECRET\"}").await {
        assert!(began.elapsed() < PATIENCE, "a device that is not there stays connected");
    }
    spy.break_off();
    let began = Instant::now();
    while StrictClient::new("spy", &spy_id, &spy_token).connect(platform.mqtt()).await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "a device that is not there is let in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(publish(&mut pump, "umbrella/flow", "{\"u\":2}").await);
    let (of_acme, of_umbrella) = (telemetry(&admin, &acme).await, telemetry(&admin, &umbrella).await);
    assert!(of_acme.is_empty(), "{of_acme:?}");
    assert_eq!(of_umbrella.len(), 2, "{of_umbrella:?}");
    assert!(of_umbrella.iter().all(|row| row["topic"] == "umbrella/flow" && row["deviceId"] == *pump_id));
    let latest = admin.get(&format!("/api/v1/devices/{pump_id}/latest?tenantId={umbrella}")).await.expect(200);
    assert!(!latest.to_string().contains("acme"), "{latest}");
    assert_eq!(server.number(STRANGERS).await, 0);
}

#[tokio::test]
async fn of_two_processes_of_one_node_only_one_commits() {
    let server = PostgresServer::start().await;
    let (one, two) = (open(Options::new(server.url())).await.unwrap(), open(Options::new(server.url())).await.unwrap());
    let node = NodeName::default();
    let commit = async |storage: &pocket_ports::Storage| {
        storage.write.commit(Some(&node), WriteBatch::default()).await.map(|batch| batch.number.get())
    };
    assert_eq!(commit(&one).await, Ok(1));
    assert_eq!(commit(&two).await, Err(StorageError::Conflict(Conflict::Node)), "the name is held");
    // The connection that holds the name breaks, which its process does not notice.
    let holders =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1852793957";
    assert_eq!(server.number(holders).await, 1);
    let began = Instant::now();
    while commit(&two).await != Ok(2) {
        assert!(began.elapsed() < PATIENCE, "the name is never free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..3 {
        assert_eq!(commit(&one).await, Err(StorageError::Conflict(Conflict::Node)));
        assert!(commit(&two).await.is_ok());
    }
    assert_eq!(commit(&two).await, Ok(6));
    assert_eq!(server.number("SELECT number FROM writers WHERE name = 'main'").await, 6);
}

#[tokio::test]
async fn a_process_without_a_broker_shares_a_database_with_the_broker_and_leaves_no_row_behind() {
    let server = PostgresServer::start().await;
    let broker = Launch::default().set("database.url", &server.url()).start().await;
    let secrets = broker.data_dir();
    let key = std::fs::read_to_string(secrets.join("token-key")).unwrap_or_default();
    let mut api = Launch::default()
        .set("database.url", &server.url())
        .set("mode", "api")
        .env("POCKET_TOKEN_KEY", key.trim())
        .start()
        .await;
    let (device, _) = broker.admin().await.register_device("boiler").await;
    let body = json!({ "deviceId": device, "topic": "t", "payload": 1 });
    for platform in [&broker, &api, &broker, &api] {
        platform.admin().await.post("/api/v1/telemetry", body.clone()).await.expect(201);
    }
    let of_processes = "SELECT count(*) FROM writers WHERE NOT lasts";
    assert_eq!(server.number(of_processes).await, 1);
    assert!(api.stop().await.success());
    assert_eq!(server.number(of_processes).await, 0);
    assert_eq!(server.number("SELECT number FROM writers WHERE name = 'main'").await, 2);
}
