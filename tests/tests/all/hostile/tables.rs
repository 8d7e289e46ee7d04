//! Tables of topics and keys have an end.

use std::time::Duration;

use pocket_tests::wire::{self, RawClient};
use pocket_tests::{Api, Device, Launch, Platform, PostgresDatabase, many};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(120);

async fn number(database: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(database.get_database_backend(), sql);
    database.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

async fn usage(api: &Api) -> Value {
    let tenant = api.get("/api/v1/auth/me").await.expect(200)["tenantId"].as_str().unwrap().to_owned();
    api.get(&format!("/api/v1/tenants/{tenant}/usage")).await.expect(200)
}

/// Each message has a topic of its own, as a gateway makes one of each address that it hears.
async fn a_topic_for_each(platform: &Platform, device: &Device, prefix: &str, count: usize) {
    let mut client = device.connect(platform, prefix).await;
    let filler = "x".repeat(200);
    for from in (0..count).step_by(1_000) {
        let part = (from..count.min(from + 1_000)).map(|n| (format!("{prefix}/{n}/{filler}"), n.to_string()));
        client.publish(part).await;
    }
}

async fn topics_go_with_their_device(launch: Launch, database: impl AsyncFn(&Platform) -> DatabaseConnection) {
    let launch = launch.set("database.seal_rows", "2000");
    let platform = launch.start().await;
    let api = platform.admin().await;
    let (gateway, other) = (Device::register(&api, "gateway").await, Device::register(&api, "other").await);
    let count = many(20_000);
    a_topic_for_each(&platform, &gateway, "heard", count).await;
    a_topic_for_each(&platform, &other, "kept", 10).await;
    let database = database(&platform).await;
    assert_eq!(number(&database, "SELECT count(*) FROM topics").await, count as i64 + 10);
    assert!(usage(&api).await["bytes"].as_u64().unwrap() > 200 * count as u64, "names are counted");
    // Nobody waits for all of them.
    for query in ["topic=%23&limit=1", "topic=kept/%23&limit=1", "topic=kept/%2B/%2B&limit=1", "topic=kept/3/%23"] {
        let began = Instant::now();
        let page = api.get(&format!("/api/v1/telemetry?{query}")).await.expect(200);
        assert_eq!(page["data"].as_array().unwrap().len(), 1, "{query}");
        assert!(began.elapsed() < Duration::from_secs(2), "{query} took {:?}", began.elapsed());
    }
    api.delete(&format!("/api/v1/devices/{}", gateway.id)).await.expect(204);
    let began = Instant::now();
    while number(&database, "SELECT count(*) FROM topics").await > 10 {
        assert!(began.elapsed() < PATIENCE, "topics stay: {}", number(&database, "SELECT count(*) FROM topics").await);
        sleep(Duration::from_millis(200)).await;
    }
    let left = usage(&api).await;
    assert!(left["bytes"].as_u64().unwrap() < 10_000, "{left}");
    assert_eq!(api.telemetry("topic=kept/%23").await.len(), 10);
    assert!(api.metric("pocket_topics_removed_total").await >= Some(count as f64));
    // Names that went can be used again, by a platform that knew their keys.
    let again = Device::register(&api, "again").await;
    a_topic_for_each(&platform, &again, "heard", 10).await;
    assert_eq!(api.telemetry("topic=heard/%23").await.len(), 10);
    database.close().await.unwrap();
}

#[tokio::test]
async fn topics_of_a_device_go_with_it_and_those_of_others_stay() {
    topics_go_with_their_device(Launch::default(), async |platform| {
        let file = platform.data_dir().join("pocket.db");
        sea_orm::Database::connect(format!("sqlite://{}?mode=ro", file.display())).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn topics_of_a_device_go_with_it_and_those_of_others_stay_in_postgresql() {
    let server = PostgresDatabase::create().await;
    let url = server.url();
    topics_go_with_their_device(Launch::default().env("DATABASE_URL", &url), async |_| {
        sea_orm::Database::connect(url.clone()).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_device_that_makes_a_topic_of_each_message_comes_to_an_end_and_others_go_on() {
    let launch = Launch::default().set("ingest.max_device_topics", "50").set("ingest.max_tenant_topics", "80");
    let platform = launch.start().await;
    let api = platform.admin().await;
    let (gateway, other) = (Device::register(&api, "gateway").await, Device::register(&api, "other").await);
    let mut client = RawClient::connect(platform.mqtt(), 5, "gateway", &gateway).await;
    let mut codes = Vec::new();
    for n in 0..60_u16 {
        client.send(&wire::publish(5, 0x32, &format!("heard/{n}"), n + 1, &[], b"1")).await;
        let answer = client.until(0x40).await;
        codes.push(answer.get(2).copied().unwrap_or(0));
    }
    assert_eq!(codes.iter().filter(|code| **code == 0x97).count(), 10, "{codes:?}");
    assert!(codes[..50].iter().all(|code| *code < 0x80));
    // Of 3.1.1 they are acknowledged, as all that is refused.
    a_topic_for_each(&platform, &gateway, "more", 5).await;
    let shown = async || api.get(&format!("/api/v1/devices/{}", gateway.id)).await.expect(200);
    let began = Instant::now();
    while !shown().await["lastRejection"]["reason"].as_str().is_some_and(|reason| reason.contains("50 topics")) {
        assert!(began.elapsed() < PATIENCE, "{}", shown().await["lastRejection"]);
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(api.telemetry("limit=1000").await.len(), 50);
    // Topics that it has are still its own; another device has its own share.
    client.send(&wire::publish(5, 0x32, "heard/7", 100, &[], b"2")).await;
    assert!(client.until(0x40).await.get(2).copied().unwrap_or(0) < 0x80);
    a_topic_for_each(&platform, &other, "own", 20).await;
    assert_eq!(api.telemetry("topic=own/%23&limit=1000").await.len(), 20);
    let body = serde_json::json!({ "deviceId": gateway.id, "topic": "posted", "payload": 1 });
    let problem = api.post("/api/v1/telemetry", body).await.expect(422).to_string();
    assert!(problem.contains("50 topics"), "{problem}");
    assert_eq!(api.metric("pocket_messages_refused_topics_total").await, Some(16.0));
}
