//! Payloads that are made to take memory where they are compressed, and rows that no chunk takes.

use std::time::Duration;

use pocket_tests::wire::{self, RawClient};
use pocket_tests::{AckProbe, Device, Launch, MIB, Platform, TwoTenants, many};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// How long sealing may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(240);

fn launch() -> Launch {
    Launch::default().set("database.seal_rows", "100").set("database.seal_after", "1")
}

/// The database of a platform, to be looked at.
async fn database(platform: &Platform) -> DatabaseConnection {
    let file = platform.data_dir().join("pocket.db");
    sea_orm::Database::connect(format!("sqlite://{}?mode=ro", file.display())).await.expect("the database is a file")
}

async fn number(database: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(database.get_database_backend(), sql);
    database.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Waits until the log has no rows.
async fn until_sealed(platform: &mut Platform) {
    let (began, database) = (Instant::now(), database(platform).await);
    while number(&database, "SELECT count(*) FROM telemetry").await > 0 {
        assert!(platform.is_running(), "the process ended:\n{}", platform.log());
        assert!(began.elapsed() < PATIENCE, "rows stay in the log:\n{}", platform.log());
        sleep(Duration::from_millis(100)).await;
    }
}

/// Publishes payloads at QoS 1, at most 50 ahead of their acknowledgements.
async fn publish(platform: &Platform, device: &Device, payloads: impl Iterator<Item = String>) {
    let mut client = RawClient::connect(platform.mqtt(), 4, "hostile", device).await;
    let mut open = 0;
    for (n, payload) in payloads.enumerate() {
        let id = u16::try_from(n % 60_000).unwrap() + 1;
        client.send(&wire::publish(4, 0x32, "hostile", id, &[], payload.as_bytes())).await;
        open += 1;
        if open == 50 {
            client.until(0x40).await;
            open -= 1;
        }
    }
    for _ in 0..open {
        client.until(0x40).await;
    }
}

/// An object of so many keys that nobody used before.
fn new_keys(n: usize, keys: usize) -> String {
    let members: Vec<String> = (n * keys..(n + 1) * keys).map(|key| format!(r#""{key:x}":1"#)).collect();
    format!("{{{}}}", members.join(","))
}

/// Makes a payload by a number.
type Shape = fn(usize) -> String;

/// A payload of each kind that takes memory.
const SHAPES: [(&str, Shape); 7] = [
    ("new keys in each message", |n| new_keys(n, 2_000)),
    ("long keys", |n| {
        let members: Vec<String> = (0..60).map(|key| format!(r#""{:k<250}":{n}"#, n * 60 + key)).collect();
        format!("{{{}}}", members.join(","))
    }),
    ("deep objects of new keys", |n| {
        let open: String = (0..98).map(|level| format!(r#"{{"{}":"#, n * 98 + level)).collect();
        format!("{open}1{}", "}".repeat(98))
    }),
    ("arrays of small numbers", |n| format!("[{}]", vec![(n % 10).to_string(); 8_000].join(","))),
    ("texts that differ", |n| {
        let members: Vec<String> = (0..100).map(|key| format!(r#""t{key}":"{}""#, n * 7_919 + key)).collect();
        format!("{{{}}}", members.join(","))
    }),
    ("kinds that change", |n| {
        let value = |key: usize| ["1", "\"x\"", "null", "[1]", "1.5e300", "-0.0"][(n + key) % 6];
        let members: Vec<String> = (0..500).map(|key| format!(r#""{key}":{}"#, value(key))).collect();
        format!("{{{}}}", members.join(","))
    }),
    ("one long text", |n| format!("\"{}\"", n.to_string().repeat(60_000 / n.to_string().len()))),
];

#[tokio::test]
async fn memory_stays_bounded_while_payloads_of_any_shape_are_sealed() {
    for (name, shape) in SHAPES {
        let mut platform = launch().start().await;
        let device = Device::register(&platform.admin().await, "hostile").await;
        let bytes = many(3) * 1_000_000;
        let count = bytes / shape(0).len();
        publish(&platform, &device, (0..count).map(shape)).await;
        until_sealed(&mut platform).await;
        let memory = platform.memory();
        println!("{name}: {count} messages, at most {} MiB, then {} MiB", memory.peak / MIB, memory.now / MIB);
        assert!(memory.peak <= 200 * MIB, "{name}: {} MiB were taken", memory.peak / MIB);
        let database = database(&platform).await;
        assert_eq!(number(&database, "SELECT sum(row_count) FROM telemetry_chunks").await, count as i64, "{name}");
        assert!(number(&database, "SELECT count(*) FROM telemetry_keys").await <= 10_000, "{name}");
    }
}

#[tokio::test]
async fn sealing_does_not_end_a_process_that_has_little_memory() {
    let mut platform = launch().start().await;
    let device = Device::register(&platform.admin().await, "hostile").await;
    let space = platform.memory().space;
    platform.stop().await;
    platform.limit_address_space(space + 400 * MIB);
    platform.start_again().await;
    publish(&platform, &device, (0..many(300)).map(|n| new_keys(n, 2_000))).await;
    until_sealed(&mut platform).await;
    assert!(platform.is_running());
}

#[tokio::test]
async fn a_payload_with_too_many_keys_is_refused_with_its_reason() {
    let platform = launch().set("ingest.max_payload_keys", "10").start().await;
    let api = platform.admin().await;
    let device = Device::register(&api, "hostile").await;
    let mut client = RawClient::connect(platform.mqtt(), 5, "hostile", &device).await;
    for (keys, reason) in [(10, 0), (11, 0x99)] {
        client.send(&wire::publish(5, 0x32, "t", 1, &[], new_keys(1, keys).as_bytes())).await;
        let ack = client.until(0x40).await;
        assert_eq!(ack.get(2).copied().unwrap_or(0), reason, "{keys} keys: {ack:?}");
        let message = json!([{ "deviceId": device.id, "topic": "t", "payload": serde_json::from_str::<serde_json::Value>(&new_keys(1, keys)).unwrap() }]);
        let answer = api.post("/api/v1/telemetry", message).await;
        assert_eq!(answer.status, if reason == 0 { 201 } else { 422 });
        if reason != 0 {
            assert!(
                answer.body.to_string().contains("payload has 11 keys, more than the 10 allowed"),
                "{}",
                answer.body
            );
        }
    }
    let began = Instant::now();
    loop {
        let rejection =
            api.get(&format!("/api/v1/devices/{}", device.id)).await.expect(200)["lastRejection"].to_string();
        if rejection.contains("more than the 10 allowed") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{rejection}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_device_with_more_keys_than_it_may_have_is_kept_and_read() {
    let mut platform = launch().set("database.max_device_keys", "50").start().await;
    let api = platform.admin().await;
    let device = Device::register(&api, "gateway").await;
    publish(&platform, &device, (0..200).map(|n| new_keys(n, 1))).await;
    until_sealed(&mut platform).await;
    assert_eq!(number(&database(&platform).await, "SELECT count(*) FROM telemetry_keys").await, 50);
    assert_eq!(api.telemetry(&format!("deviceId={}&limit=1000", device.id)).await.len(), 200);
    assert_eq!(api.metric("pocket_telemetry_without_leaves_total").await, Some(150.0));
}

#[tokio::test]
async fn a_payload_limit_beyond_what_a_chunk_takes_is_refused_at_the_start() {
    let output = tokio::process::Command::new(pocket_tests::binary())
        .args(["config", "check", "--set", "ingest.max_payload=33554433"])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("POCKET_MAX_PAYLOAD") || told.contains("ingest.max_payload"), "{told}");
}

#[tokio::test]
async fn the_latency_of_others_is_their_own_while_hostile_payloads_are_sealed() {
    let TwoTenants { mut platform, a, b, .. } = TwoTenants::start(launch()).await;
    let flood = async {
        publish(&platform, &a.device, (0..many(100)).map(|n| new_keys(n, 2_000))).await;
    };
    let (times, ()) = AckProbe::during(platform.mqtt(), &b.device, flood).await;
    times.none_took_longer_than(Duration::from_secs(3));
    until_sealed(&mut platform).await;
}
