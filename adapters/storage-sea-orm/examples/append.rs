//! Measures appends: rows per second by number of devices and batch, into the database of the URL given or, for `sqlite`,
//! into a new file in the working directory.
//!
//! `cargo run --release -p pocket-storage-sea-orm --example append [sqlite|URL [DEVICES BATCH]]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a person who measures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_domain::{
    Device, DeviceId, DeviceName, NewTelemetry, Payload, PayloadPolicy, Retention, Tenant, TenantId, TenantName,
    TokenHash, TopicName,
};
use pocket_ports::{Clock, Storage, SystemClock};
use pocket_storage_sea_orm::{Options, open};

const RUN: Duration = Duration::from_secs(3);
const CASES: [(usize, usize); 7] =
    [(50, 100), (50, 1_000), (50, 5_000), (50, 10_000), (500, 1_000), (500, 10_000), (5_000, 10_000)];

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1);
    let number = |place| std::env::args().nth(place).map(|text| text.parse::<usize>().unwrap());
    let cases = match (number(2), number(3)) {
        (Some(devices), Some(batch)) => vec![(devices, batch)],
        _ => CASES.to_vec(),
    };
    for (devices, batch) in cases {
        let directory = tempfile::tempdir_in(".").unwrap();
        let file = || format!("sqlite://{}/pocket.db?mode=rwc", directory.path().display());
        let url = url.clone().filter(|url| url != "sqlite").unwrap_or_else(file);
        let storage = open(Options::new(url)).await.unwrap();
        let rate = measure(&storage, devices, batch).await;
        println!("{devices:>6} devices, batches of {batch:>6}: {rate:>9.0} rows/s");
        storage.health.close().await;
    }
}

async fn measure(storage: &Storage, devices: usize, batch: usize) -> f64 {
    let devices = register(storage, devices).await;
    let (mut stored, mut next, mut spent) = (0, 0, Duration::ZERO);
    while spent < RUN {
        let messages: Arc<[NewTelemetry]> = (0..batch).map(|n| message(&devices, next + n)).collect();
        next += batch;
        let begin = Instant::now();
        stored += storage.telemetry.append(messages).await.unwrap().iter().flatten().count();
        spent += begin.elapsed();
    }
    stored as f64 / spent.as_secs_f64()
}

fn message(devices: &[(TenantId, DeviceId, TopicName)], n: usize) -> NewTelemetry {
    let (tenant_id, device_id, topic) = devices[n % devices.len()].clone();
    let now = SystemClock.now();
    let payload = format!("{{\"temperature\":{}.5,\"humidity\":{},\"sequence\":{n}}}", n % 40, n % 100);
    NewTelemetry {
        tenant_id,
        device_id,
        topic,
        payload: Payload::from_stored(payload),
        timestamp: now,
        received_at: now,
    }
}

async fn register(storage: &Storage, count: usize) -> Vec<(TenantId, DeviceId, TopicName)> {
    let now = SystemClock.now();
    let unique = |n: usize| {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&(n as u64 ^ u64::from(std::process::id()) << 32).to_be_bytes());
        random
    };
    let id = TenantId::new(now, unique(count));
    let name = TenantName::parse(&format!("bench-{}-{}", now.as_millis(), count)).unwrap();
    let tenant =
        Tenant { id, name, payload_policy: PayloadPolicy::Json, retention: Retention::default(), created_at: now };
    storage.tenants.create(&tenant).await.unwrap();
    let mut devices = Vec::with_capacity(count);
    for n in 0..count {
        let name = DeviceName::parse(&format!("device {n}")).unwrap();
        let device = Device::new(DeviceId::new(now, unique(n)), tenant.id, name, now);
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(device.id.as_bytes());
        storage.devices.create(&device, TokenHash::from_bytes(hash)).await.unwrap();
        devices.push((tenant.id, device.id, TopicName::parse(&format!("plant/{n}/state")).unwrap()));
    }
    devices
}
