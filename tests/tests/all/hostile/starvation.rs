//! Each limit, with one tenant at it and another unhurt. Limits of sessions, connections and topics stand with those who keep
//! them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pocket_tests::wire::{RawClient, publish, subscribe};
use pocket_tests::{AckProbe, Api, Attacker, Launch, Tenant, TwoTenants, Worst, many};
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long something may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than there are places of any kind for a tenant by default.
const CROWD: usize = 24;

#[tokio::test]
async fn exports_that_a_tenant_begins_and_does_not_read_leave_places_for_another() {
    let tenants = TwoTenants::start(Launch::default()).await;
    let TwoTenants { platform, a, b, .. } = &tenants;
    let row = json!({ "deviceId": a.device.id, "topic": "t", "payload": { "text": "x".repeat(2_000) } });
    for _ in 0..10 {
        a.operator.post("/api/v1/telemetry", vec![row.clone(); 1_000].into()).await.expect(201);
    }
    let row = json!({ "deviceId": b.device.id, "topic": "t", "payload": 1 });
    b.operator.post("/api/v1/telemetry", row).await.expect(201);
    let token = platform.api().token_of("a", "viewer", Tenant::PASSWORD).await;
    let mut held = Vec::new();
    for _ in 0..many(CROWD) {
        let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
        let request =
            format!("GET /api/v1/telemetry/export HTTP/1.1\r\nhost: pocket\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    for path in ["/api/v1/telemetry/export", "/api/v1/telemetry?limit=1000", "/api/v1/devices"] {
        let answer = timeout(PATIENCE, b.viewer.get(path)).await;
        answer.unwrap_or_else(|_| panic!("{path} of another tenant is not answered")).expect(200);
    }
    let query = format!("/api/v1/telemetry/aggregate?deviceId={}&key=x&agg=count&interval=60000", b.device.id);
    let answer = timeout(PATIENCE, b.viewer.get(&query)).await.expect("an aggregate of another tenant is answered");
    assert_ne!(answer.status.as_u16(), 429, "{}", answer.body);
}

#[tokio::test]
async fn imports_of_a_tenant_that_stand_still_leave_places_for_another() {
    let TwoTenants { platform, b, .. } = &TwoTenants::start(Launch::default()).await;
    let token = platform.api().token_of("a", "operator", Tenant::PASSWORD).await;
    let mut held = Vec::new();
    for _ in 0..many(CROWD) {
        let mut stream = TcpStream::connect(platform.api_address()).await.unwrap();
        let head = format!(
            "POST /api/v1/telemetry/import HTTP/1.1\r\nhost: pocket\r\nauthorization: Bearer {token}\r\n\
             content-type: application/x-ndjson\r\ncontent-length: 1000000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let line = json!({ "deviceId": b.device.id, "topic": "t", "payload": 1, "timestamp": 1 }).to_string();
    let import = b.operator.request(Method::POST, "/api/v1/telemetry/import");
    let import = import.header("content-type", "application/x-ndjson").body(line).send();
    let answer = timeout(PATIENCE, import).await.expect("an import of another tenant is answered").unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

#[tokio::test]
async fn guesses_at_passwords_of_a_tenant_leave_turns_for_the_log_ins_of_another() {
    let TwoTenants { platform, .. } = &TwoTenants::start(Launch::default()).await;
    let elsewhere = Api::from(platform.api_address(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66)));
    let mut guesses = JoinSet::new();
    for number in 0..many(150) {
        let elsewhere = elsewhere.clone();
        guesses.spawn(async move {
            let name = format!("nobody-{number}");
            let guess = json!({ "tenant": "a", "username": name, "password": "not the password" });
            elsewhere.post("/api/v1/auth/login", guess).await.status.as_u16()
        });
    }
    let credentials = json!({ "tenant": "b", "username": "viewer", "password": Tenant::PASSWORD });
    for _ in 0..3 {
        let log_in = platform.api().post("/api/v1/auth/login", credentials.clone()).await;
        assert_eq!(log_in.status.as_u16(), 200, "{}", log_in.body);
    }
    let answers = guesses.join_all().await;
    assert!(answers.iter().all(|status| matches!(status, 401 | 429 | 503)), "{answers:?}");
}

#[tokio::test]
async fn retained_messages_of_a_tenant_at_its_limit_leave_those_of_another() {
    let launch = Launch::default().set("mqtt.max_retained", "50");
    let TwoTenants { platform, a, b, .. } = &TwoTenants::start(launch).await;
    for (device, count) in [(&a.device, many(200)), (&b.device, 50)] {
        let mut client = RawClient::connect(platform.mqtt(), 4, "r", device).await;
        for number in 0..count {
            client.send(&publish(4, 0x33, &format!("r/{number}"), 1, &[], b"1")).await;
            client.until(0x40).await;
        }
    }
    let mut reader = RawClient::connect(platform.mqtt(), 4, "reader", &b.device).await;
    reader.send(&subscribe(4, 1, &["r/#"], 0)).await;
    for _ in 0..50 {
        reader.until(0x30).await;
    }
}

#[tokio::test]
async fn a_queue_that_a_tenant_keeps_full_has_room_for_the_messages_of_another() {
    let launch = Launch::default().set("ingest.queue", "500").set("log.filter", "warn");
    let tenants = TwoTenants::start(Worst::launch(launch)).await;
    let attacker = Attacker::prepare(&tenants).await;
    let flood = Worst::all().into_iter().find(|worst| worst.name == "PUBLISH, QoS 1, small").expect("it is there");
    let attack = attacker.does(flood, Duration::from_secs(3) * u32::try_from(many(1)).unwrap());
    let (times, ()) = AckProbe::during(tenants.platform.mqtt(), &tenants.b.device, attack).await;
    times.none_took_longer_than(Duration::from_secs(5));
}
