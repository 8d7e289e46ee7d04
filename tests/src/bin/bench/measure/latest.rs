//! `GET /devices/{id}/latest` by how many rows the device has, in the log and in chunks.

use std::time::{Duration, Instant};

use pocket_tests::{Api, Platform};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Bench;
use crate::figure::Figure;
use crate::load::{Requests, percentile};
use crate::ours::{Ours, launch};

/// Rows in one request.
const PART: usize = 1_000;
const TOPICS: usize = 3;
/// After which the log is not going to be sealed any more.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn latest(bench: &mut Bench) {
    let places = [("in the log", "86400"), ("in chunks", "1")];
    for (place, seal_after) in places {
        let launch = launch().set("database.seal_rows", "100000000").set("database.seal_after", seal_after);
        let ours = Ours::start_with(launch, bench.scale.last_values.len()).await;
        let admin = ours.platform.admin().await;
        let token = token(&ours.platform.api()).await;
        for (rows, (device, _)) in bench.scale.last_values.into_iter().zip(&*ours.devices) {
            store(&admin, device, rows).await;
            if seal_after == "1" {
                sealed(&admin).await;
            }
            let path = format!("/api/v1/devices/{device}/latest");
            let ask = async |each| {
                let paths = vec![path.clone()];
                let asked = Requests {
                    address: ours.platform.api_address(),
                    paths,
                    token: token.clone(),
                    connections: 1,
                    each,
                };
                asked.times().await.expect("the platform answers")
            };
            let first = percentile(&ask(1).await, 100) / 1e3;
            let times = ask(bench.scale.alone).await;
            let of = |share| vec![percentile(&times, share) / 1e3];
            let name = format!("GET latest, {rows} rows {place}");
            bench.table.add(
                Figure::new(format!("{name}, p50"), "ms", of(50)).goal("1").note(format!("the first {first:.2} ms")),
            );
            bench.table.add(Figure::new(format!("{name}, p99"), "ms", of(99)));
            assert_eq!(admin.get(&path).await.expect(200)["data"].as_array().map(Vec::len), Some(4 * rows.min(TOPICS)));
        }
    }
}

async fn token(api: &Api) -> String {
    let login = json!({ "username": "admin", "password": Platform::ADMIN_PASSWORD });
    let session = api.post("/api/v1/auth/login", login).await.expect(200);
    session["token"].as_str().expect("a log-in answers a token").to_owned()
}

/// Stores rows with four keys on a few topics; one key has another text each time.
async fn store(admin: &Api, device: &str, rows: usize) {
    let entry = |n: usize| {
        let payload = json!({ "temperature": n % 50, "humidity": n % 90, "state": { "ok": n.is_multiple_of(2), "at": format!("{n}") } });
        json!({ "deviceId": device, "topic": format!("room/{}", n % TOPICS), "payload": payload })
    };
    for part in (0..rows).collect::<Vec<_>>().chunks(PART) {
        let entries: Value = part.iter().map(|n| entry(*n)).collect();
        admin.post("/api/v1/telemetry", entries).await.expect(201);
    }
}

/// Waits until all rows are in chunks.
async fn sealed(admin: &Api) {
    let tenant = admin.get("/api/v1/auth/me").await.expect(200)["tenantId"].as_str().expect("a tenant").to_owned();
    let began = Instant::now();
    while admin.get(&format!("/api/v1/tenants/{tenant}/usage")).await.expect(200)["log"]["rows"] != 0 {
        assert!(began.elapsed() < PATIENCE, "the log is not sealed");
        sleep(Duration::from_millis(50)).await;
    }
}
