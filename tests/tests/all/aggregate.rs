//! Numbers over time, last values and keys, asked of the real binary over HTTP.

use std::collections::BTreeMap;

use pocket_tests::{Api, Launch, Platform, PostgresDatabase};
use serde_json::{Value, json};

/// 2026-01-15T08:00:00Z, and how many messages there are from then on, one every 10 s.
const BEGIN: i64 = 1_768_464_000_000;
const MESSAGES: i64 = 2_400;

/// What the device says at a moment; every tenth time something that is no number.
fn payload(n: i64) -> Value {
    if n % 10 == 3 {
        json!({ "celsius": "warm" })
    } else {
        json!({ "celsius": n as f64 / 4.0, "of": { "room": n % 7 } })
    }
}

/// Posts all messages of a device: the even ones first, so that the odd ones are late.
async fn post_all(api: &Api, device: &str) {
    let order: Vec<i64> = (0..MESSAGES).filter(|n| n % 2 == 0).chain((0..MESSAGES).filter(|n| n % 2 == 1)).collect();
    for part in order.chunks(1_000) {
        let entry = |n: &i64| {
            let timestamp = BEGIN + n * 10_000;
            json!({ "deviceId": device, "topic": "plant/hall", "payload": payload(*n), "timestamp": timestamp })
        };
        api.post("/api/v1/telemetry", part.iter().map(entry).collect()).await.expect(201);
    }
}

/// Value and count of each bucket of a quarter of an hour, by plain addition.
fn expected(agg: &str) -> Vec<(i64, f64, u64)> {
    let mut points: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for n in 0..MESSAGES {
        if let Some(point) = payload(n)["celsius"].as_f64() {
            points.entry((BEGIN + n * 10_000) / 900_000 * 900_000).or_default().push(point);
        }
    }
    let value = |points: &[f64]| match agg {
        "avg" => points.iter().sum::<f64>() / points.len() as f64,
        "min" | "first" => points[0],
        "max" | "last" => points[points.len() - 1],
        "sum" => points.iter().sum(),
        _ => points.len() as f64,
    };
    points.into_iter().map(|(start, points)| (start, value(&points), points.len() as u64)).collect()
}

#[tokio::test]
async fn numbers_over_time_are_those_that_were_posted_in_sqlite() {
    numbers_over_time_are_those_that_were_posted(Launch::default().start().await).await;
}

#[tokio::test]
async fn numbers_over_time_are_those_that_were_posted_in_postgresql() {
    let database = PostgresDatabase::create().await;
    numbers_over_time_are_those_that_were_posted(Launch::default().env("DATABASE_URL", &database.url()).start().await)
        .await;
}

async fn numbers_over_time_are_those_that_were_posted(mut platform: Platform) {
    let api = platform.admin().await;
    let (boiler, _) = api.register_device("boiler").await;
    let (silent, _) = api.register_device("silent").await;
    post_all(&api, &boiler).await;
    assert_answers(&api, &boiler, &silent).await;
    platform.stop().await;
    platform.start_again().await;
    let api = platform.admin().await;
    assert_answers(&api, &boiler, &silent).await;
    api.delete(&format!("/api/v1/devices/{boiler}")).await.expect(204);
    api.get(&format!("/api/v1/devices/{boiler}/latest")).await.expect(404);
    let query = "topic=plant/%23&key=celsius&agg=count&interval=1h&from=0&to=1";
    assert_eq!(api.get(&format!("/api/v1/telemetry/aggregate?{query}")).await.expect(200)["data"], json!([]));
}

async fn assert_answers(api: &Api, boiler: &str, silent: &str) {
    let end = BEGIN + MESSAGES * 10_000;
    for agg in ["avg", "min", "max", "sum", "count", "first", "last"] {
        let query = format!(
            "deviceId={silent},{boiler}&key=celsius&agg={agg}&interval=15m&from={BEGIN}&to={end}&topic=plant/%2B"
        );
        let data = api.get(&format!("/api/v1/telemetry/aggregate?{query}")).await.expect(200)["data"].clone();
        assert_eq!(data[0], json!({ "deviceId": silent, "key": "celsius", "buckets": [] }));
        let buckets = data[1]["buckets"].as_array().expect("a series has buckets");
        let expected = expected(agg);
        assert_eq!(buckets.len(), expected.len());
        for (bucket, (start, value, count)) in buckets.iter().zip(expected) {
            let at = pocket_domain::Timestamp::from_millis(start).unwrap();
            assert_eq!((&bucket["start"], &bucket["count"]), (&json!(at.to_string()), &json!(count)));
            let found = bucket["value"].as_f64().expect("a bucket has a value");
            assert!((found - value).abs() <= value.abs() * 1e-9, "{agg} {bucket} {value}");
        }
    }
    let last = MESSAGES - 1;
    let at = pocket_domain::Timestamp::from_millis(BEGIN + last * 10_000).unwrap().to_string();
    assert_eq!(
        api.get(&format!("/api/v1/devices/{boiler}/latest")).await.expect(200)["data"],
        json!([
            { "key": "celsius", "topic": "plant/hall", "value": last as f64 / 4.0, "timestamp": at },
            { "key": "of.room", "topic": "plant/hall", "value": last % 7, "timestamp": at },
        ])
    );
    let keys = api.get(&format!("/api/v1/devices/{boiler}/keys")).await.expect(200);
    assert_eq!(keys["data"], json!(["celsius", "of.room"]));
    assert_eq!(api.get(&format!("/api/v1/devices/{silent}/keys")).await.expect(200), json!({ "data": [] }));
}

#[tokio::test]
async fn a_question_that_gives_too_many_buckets_names_the_limit() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let (device, _) = api.register_device("boiler").await;
    let query = format!("deviceId={device}&key=celsius&agg=avg&interval=1s&from=0&to=10000001");
    let problem = api.get(&format!("/api/v1/telemetry/aggregate?{query}")).await.expect(422);
    assert_eq!(problem["errors"][0]["field"], "interval");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("10000 ")), "{problem}");
}
