//! What a batch of telemetry costs in a SQLite file with `synchronous=FULL`, by its rows and devices: `just bench-micro`.
#![allow(clippy::unwrap_used, reason = "a measurement fails at once")]

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use pocket_domain::{
    Device, DeviceId, DeviceName, Labels, NewTelemetry, Notes, Payload, PayloadPolicy, Retention, Tenant, TenantId,
    TenantName, Timestamp, TokenHash, TopicName,
};
use pocket_ports::Storage;
use pocket_storage_sea_orm::{Options, Sealing, open};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

#[divan::bench(args = [100, 1_000, 10_000], max_time = 2)]
fn of_one_device(bencher: Bencher<'_, '_>, rows: usize) {
    append(bencher, 1, rows);
}

#[divan::bench(args = [100, 1_000, 10_000], max_time = 2)]
fn of_5000_devices(bencher: Bencher<'_, '_>, rows: usize) {
    append(bencher, 5_000, rows);
}

fn append(bencher: Bencher<'_, '_>, devices: usize, rows: usize) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("pocket.db").display());
    // All rows stay in the log: sealing would take turns with what is measured.
    let sealing = Sealing { rows: u32::MAX, after: Duration::from_secs(1 << 36), ..Sealing::default() };
    let storage = runtime.block_on(async {
        let storage = open(Options { sealing, ..Options::new(url) }).await.unwrap();
        register(&storage, devices).await;
        storage
    });
    let mut next = 0;
    let batch = || -> Arc<[NewTelemetry]> {
        next += rows;
        (next - rows..next).map(|number| message(number, devices)).collect()
    };
    let bencher = bencher.counter(ItemsCount::new(rows)).with_inputs(batch);
    bencher.bench_local_values(|batch| runtime.block_on(storage.telemetry.append(batch)).unwrap());
    runtime.block_on(storage.health.close());
}

async fn register(storage: &Storage, devices: usize) {
    let tenant = Tenant {
        id: tenant(),
        name: TenantName::default_tenant(),
        payload_policy: PayloadPolicy::Json,
        retention: Retention::default(),
        created_at: Timestamp::MIN,
    };
    storage.tenants.create(&tenant).await.unwrap();
    for number in 0..devices {
        let device = Device {
            id: device(number),
            tenant_id: tenant.id,
            name: DeviceName::parse(&format!("device {number}")).unwrap(),
            labels: Labels::default(),
            notes: Notes::default(),
            username: None,
            enabled: true,
            token_expires_at: None,
            created_at: Timestamp::MIN,
            updated_at: Timestamp::MIN,
            online: false,
            connection: None,
            last_seen_at: None,
            last_rejection: None,
        };
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(device.id.as_bytes());
        storage.devices.create(&device, TokenHash::from_bytes(hash)).await.unwrap();
    }
}

fn message(number: usize, devices: usize) -> NewTelemetry {
    let time = Timestamp::from_millis(1_780_000_000_000 + number as i64).unwrap();
    NewTelemetry {
        tenant_id: tenant(),
        device_id: device(number % devices),
        topic: TopicName::parse("sensors/all").unwrap(),
        payload: Payload::from_stored(format!(
            r#"{{"temperature":2{}.5,"humidity":4{},"sequence":{number}}}"#,
            number % 7,
            number % 9
        )),
        timestamp: time,
        received_at: time,
    }
}

fn tenant() -> TenantId {
    TenantId::new(Timestamp::MIN, [1; 10])
}

fn device(number: usize) -> DeviceId {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&(number as u64).to_be_bytes());
    DeviceId::new(Timestamp::MIN, bytes)
}
