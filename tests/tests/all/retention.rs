//! What tenants keep and how much they use, asked of the real binary over HTTP.

use std::time::{Duration, SystemTime};

use pocket_tests::{Api, Launch, Platform, PostgresDatabase};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const HOUR: u64 = 3_600;

fn launch() -> Launch {
    // Rows that were received long ago would be sealed at once, old and young ones together.
    Launch::default().set("POCKET_PRUNE_EVERY", "1").set("POCKET_SEAL_AFTER", "100000")
}

#[tokio::test]
async fn telemetry_goes_with_its_age_in_sqlite() {
    telemetry_goes_with_its_age(launch().start().await).await;
}

#[tokio::test]
async fn telemetry_goes_with_its_age_in_postgresql() {
    let database = PostgresDatabase::create().await;
    telemetry_goes_with_its_age(launch().env("DATABASE_URL", &database.url()).start().await).await;
}

/// Imports ten messages of so many seconds ago, in milliseconds 0 to 9, which were received then.
async fn post(api: &Api, device: &str, ago: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let from = (now.as_secs() - ago) * 1_000;
    let line = |n: u64| {
        let at = from + n;
        let row = json!({ "deviceId": device, "topic": "a", "payload": n, "timestamp": at, "receivedAt": at });
        format!("{row}\n")
    };
    let import = api.request(Method::POST, "/api/v1/telemetry/import").header("content-type", "application/x-ndjson");
    let answer = import.body((0..10).map(line).collect::<String>()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    from
}

fn time(millis: u64) -> String {
    pocket_domain::Timestamp::from_millis(millis.cast_signed()).unwrap().to_string()
}

async fn usage(api: &Api, tenant: &str) -> Value {
    api.get(&format!("/api/v1/tenants/{tenant}/usage")).await.expect(200)
}

async fn telemetry_goes_with_its_age(platform: Platform) {
    let api = platform.admin().await;
    let tenant = api.get("/api/v1/auth/me").await.expect(200)["tenantId"].as_str().unwrap().to_owned();
    let (device, _) = api.register_device("boiler").await;
    let empty = json!({ "rows": 0, "bytes": 0, "bytesPerRow": null, "oldest": null, "newest": null });
    assert_eq!(usage(&api, &tenant).await["chunks"], empty);
    let old = post(&api, &device, 2 * HOUR).await;
    let young = post(&api, &device, HOUR / 2).await;
    let log = |rows: u64, from: u64| {
        let (oldest, newest) = (time(from), time(young + 9));
        json!({ "rows": rows, "bytes": rows * 33, "bytesPerRow": 33.0, "oldest": oldest, "newest": newest })
    };
    let mut all = log(20, old);
    (all["log"], all["chunks"]) = (all.clone(), empty.clone());
    assert_eq!(usage(&api, &tenant).await, all);
    let body = json!({ "retention": { "maxAgeSeconds": HOUR } });
    let changed = api.patch(&format!("/api/v1/tenants/{tenant}"), body).await.expect(200);
    assert_eq!(changed["retention"], json!({ "maxAgeSeconds": HOUR, "maxBytes": null }));
    let gone = async {
        while usage(&api, &tenant).await["rows"] != 10 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("what is too old goes");
    assert_eq!(usage(&api, &tenant).await["log"], log(10, young));
    assert_eq!(api.telemetry("limit=100").await.len(), 10);
}

#[tokio::test]
async fn a_retention_is_told_and_its_limits_are_named() {
    let platform = launch().start().await;
    let api = platform.admin().await;
    let limits = json!({ "maxAgeSeconds": 3_153_600_000_u64, "maxBytes": 1 << 20 });
    let tenant = api.post("/api/v1/tenants", json!({ "name": "acme", "retention": limits })).await.expect(201);
    assert_eq!(tenant["retention"], limits);
    let path = format!("/api/v1/tenants/{}", tenant["id"].as_str().unwrap());
    // What is absent stays, and null takes a limit away.
    for (body, max_bytes) in [
        (json!({ "name": "acme-2" }), json!(1 << 20)),
        (json!({ "retention": {} }), json!(1 << 20)),
        (json!({ "retention": { "maxBytes": null } }), Value::Null),
    ] {
        let changed = api.patch(&path, body).await.expect(200);
        assert_eq!(changed["retention"], json!({ "maxAgeSeconds": 3_153_600_000_u64, "maxBytes": max_bytes }));
    }
    for (field, value, limit) in [
        ("maxAgeSeconds", json!(3_599), "3600"),
        ("maxAgeSeconds", json!(3_153_600_001_u64), "3153600000"),
        ("maxBytes", json!((1 << 20) - 1), "1048576"),
        ("maxBytes", json!((1_u64 << 50) + 1), "1125899906842624"),
        ("maxBytes", json!("1 GB"), "expected u64"),
        ("maxDays", json!(1), "unknown field"),
    ] {
        let problem = api.patch(&path, json!({ "retention": { field: value } })).await.expect(422);
        assert_eq!(problem["errors"][0]["field"], format!("retention.{field}"), "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(limit), "{problem}");
    }
    let plain = api.post("/api/v1/tenants", json!({ "name": "plain" })).await.expect(201);
    assert_eq!(plain["retention"], json!({ "maxAgeSeconds": null, "maxBytes": null }));
}

#[tokio::test]
async fn administrators_see_the_usage_of_their_tenant_only() {
    let platform = launch().start().await;
    let root = platform.admin().await;
    let tenant = root.post("/api/v1/tenants", json!({ "name": "acme" })).await.expect(201)["id"].clone();
    let tenant = tenant.as_str().unwrap();
    let own = root.get("/api/v1/auth/me").await.expect(200)["tenantId"].as_str().unwrap().to_owned();
    let (of_tenant, of_default) = (format!("/api/v1/tenants/{tenant}/usage"), format!("/api/v1/tenants/{own}/usage"));
    for (role, status) in [("admin", 200), ("operator", 403), ("viewer", 403)] {
        let body = json!({ "username": role, "password": "correct horse battery", "role": role });
        root.post(&format!("/api/v1/users?tenantId={tenant}"), body).await.expect(201);
        let user = platform.api().log_in_to("acme", role, "correct horse battery").await;
        user.get(&of_tenant).await.expect(status);
        user.get(&of_default).await.expect(403);
    }
    root.get(&of_tenant).await.expect(200);
    root.get(&of_default).await.expect(200);
    root.get("/api/v1/tenants/01a20850-abd4-72b8-a2e1-79af2e8c47c1/usage").await.expect(404);
}
