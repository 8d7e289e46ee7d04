//! Measures the history in a SQLite file: how fast rows are appended and sealed, what they take, and how long questions take.
//!
//! `cargo run --release -p pocket-storage-sea-orm --example history`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement fails at once and prints")]

use std::path::Path;
use std::time::{Duration, Instant};

use pocket_domain::{
    Aggregate, AggregateQuery, Device, DeviceId, DeviceName, LeafPath, NewTelemetry, Payload, PayloadPolicy, SortOrder,
    TelemetryQuery, Tenant, TenantId, TenantName, Timestamp, TokenHash, TopicName,
};
use pocket_ports::Storage;
use pocket_storage_sea_orm::{Options, Sealing, open};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};

const DAY: i64 = 86_400_000;
const START: i64 = 1_700_000_000_000;

fn never() -> Sealing {
    Sealing { rows: u32::MAX, after: Duration::from_secs(1 << 36), ..Sealing::default() }
}

fn always() -> Sealing {
    Sealing { rows: 1, per_device: 0, every: Duration::from_millis(1), ..Sealing::default() }
}

struct Store {
    storage: Storage,
    url: String,
    tenant: TenantId,
}

impl Store {
    async fn open(directory: &Path, sealing: Sealing) -> Self {
        let url = format!("sqlite://{}?mode=rwc", directory.join("pocket.db").display());
        let storage = open(Options { sealing, ..Options::new(&url) }).await.unwrap();
        Self { storage, url, tenant: TenantId::new(at(0), [1; 10]) }
    }

    async fn create(&self, devices: u32) {
        let tenant = Tenant {
            id: self.tenant,
            name: TenantName::default_tenant(),
            payload_policy: PayloadPolicy::Json,
            retention: pocket_domain::Retention::default(),
            created_at: at(0),
        };
        self.storage.tenants.create(&tenant).await.unwrap();
        for number in 0..devices {
            let name = DeviceName::parse(&format!("d{number}")).unwrap();
            let device = Device::new(device(number), self.tenant, name, at(0));
            let mut token = [0; 32];
            token[..4].copy_from_slice(&number.to_be_bytes());
            self.storage.devices.create(&device, TokenHash::from_bytes(token)).await.unwrap();
        }
    }

    async fn raw(&self) -> DatabaseConnection {
        Database::connect(&self.url).await.unwrap()
    }

    async fn number(&self, sql: &str) -> i64 {
        let raw = self.raw().await;
        let row = raw.query_one_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap().unwrap();
        let number = row.try_get_by_index(0).unwrap();
        raw.close().await.unwrap();
        number
    }

    fn message(&self, number: u32, count: i64, millis: i64) -> NewTelemetry {
        let noise = (count.wrapping_mul(7_919) + i64::from(number) * 104_729) % 97;
        let status = if noise == 13 { "warn" } else { "ok" };
        let payload = format!(
            r#"{{"temperature":{}.{},"humidity":{}.{},"voltage":3.{},"count":{count},"status":"{status}"}}"#,
            20 + noise % 5,
            noise % 10,
            40 + noise % 9,
            (noise / 3) % 10,
            noise % 10,
        );
        NewTelemetry {
            tenant_id: self.tenant,
            device_id: device(number),
            topic: TopicName::parse("sensors/all").unwrap(),
            payload: Payload::from_stored(payload),
            timestamp: at(millis + noise),
            received_at: at(millis + noise + 3),
        }
    }

    /// Appends batches that were made before. Returns rows a second.
    async fn append(&self, batches: Vec<Vec<NewTelemetry>>) -> f64 {
        let rows: usize = batches.iter().map(Vec::len).sum();
        let begun = Instant::now();
        for batch in batches {
            self.storage.telemetry.append(batch.into()).await.unwrap();
        }
        rows as f64 / begun.elapsed().as_secs_f64()
    }

    async fn sealed(&self) {
        while self.number("SELECT count(*) FROM telemetry").await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The shortest of some runs, in milliseconds.
    async fn timed<T>(&self, work: impl AsyncFn() -> T) -> f64 {
        let mut best = f64::MAX;
        for _ in 0..7 {
            let begun = Instant::now();
            work().await;
            best = best.min(begun.elapsed().as_secs_f64() * 1e3);
        }
        best
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis).unwrap()
}

fn device(number: u32) -> DeviceId {
    let mut bytes = [0; 10];
    bytes[6..].copy_from_slice(&number.to_be_bytes());
    DeviceId::new(at(0), bytes)
}

async fn many_devices(devices: u32, batch: i64, rows: i64) {
    let with_index = |is_indexed: bool, sealing: Sealing| async move {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), sealing).await;
        store.create(devices).await;
        if is_indexed {
            let raw = store.raw().await;
            raw.execute_unprepared("CREATE INDEX by_device ON telemetry (device, timestamp)").await.unwrap();
            raw.close().await.unwrap();
        }
        let message = |n: i64| store.message((n % i64::from(devices)) as u32, n, n / i64::from(devices) * 10_000);
        let batches = (0..rows / batch).map(|b| (b * batch..(b + 1) * batch).map(message).collect()).collect();
        let rate = store.append(batches).await;
        (rate, store, directory)
    };
    let (plain, store, directory) = with_index(false, never()).await;
    let (indexed, other, _other_directory) = with_index(true, never()).await;
    other.storage.health.close().await;
    let (sealing, third, _third_directory) =
        with_index(false, Sealing { every: Duration::from_millis(10), ..Sealing::default() }).await;
    third.storage.health.close().await;
    println!(
        "append, {devices} devices, batches of {batch}: {:.0} k rows/s; with an index by device {:.0} k ({:.1} times); while sealing {:.0} k ({:.2})",
        plain / 1e3,
        indexed / 1e3,
        plain / indexed,
        sealing / 1e3,
        sealing / plain
    );
    store.storage.health.close().await;
    let begun = Instant::now();
    let store = Store::open(directory.path(), always()).await;
    store.sealed().await;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = store.number("SELECT sum(bytes) FROM telemetry_chunks").await;
    let pages =
        store.number("SELECT (SELECT * FROM pragma_page_count()) - (SELECT * FROM pragma_freelist_count())").await;
    let chunks = store.number("SELECT count(*) FROM telemetry_chunks").await;
    println!(
        "sealing: {:.0} k rows/s; {chunks} chunks; {:.1} bytes a row in chunks, {:.1} with all that is in the file",
        rows as f64 / seconds / 1e3,
        bytes as f64 / rows as f64,
        (pages * 4_096) as f64 / rows as f64
    );
    store.storage.health.close().await;
}

async fn one_device() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), never()).await;
    store.create(1).await;
    let rows = 1_000_000;
    let every = 365 * DAY / rows;
    let batches = (0..100).map(|b| (b * 10_000..(b + 1) * 10_000).map(|n| store.message(0, n, n * every)).collect());
    store.append(batches.collect()).await;
    store.storage.health.close().await;
    let store = Store::open(directory.path(), always()).await;
    store.sealed().await;
    let query = AggregateQuery {
        devices: vec![device(0)],
        keys: vec![LeafPath::parse("temperature").unwrap()],
        aggregate: Aggregate::Avg,
        interval: "1h".parse().unwrap(),
        from: at(0),
        to: at(366 * DAY),
        topic: None,
    };
    let points: u64 =
        store.storage.telemetry.aggregate(store.tenant, &query).await.unwrap()[0].buckets.iter().map(|b| b.count).sum();
    let hourly = store.timed(async || store.storage.telemetry.aggregate(store.tenant, &query).await.unwrap()).await;
    println!("hourly means over {points} points of one device: {hourly:.1} ms");
    let latest = store.timed(async || store.storage.telemetry.latest(store.tenant, device(0)).await.unwrap()).await;
    let page = |from| TelemetryQuery {
        device_id: Some(device(0)),
        from,
        order: if from.is_some() { SortOrder::Ascending } else { SortOrder::Descending },
        ..TelemetryQuery::default()
    };
    let first = store.timed(async || store.storage.telemetry.range(store.tenant, &page(None)).await.unwrap()).await;
    let back =
        store.timed(async || store.storage.telemetry.range(store.tenant, &page(Some(at(DAY)))).await.unwrap()).await;
    println!("latest {latest:.1} ms; first 100 rows {first:.1} ms; 100 rows a year back {back:.1} ms");
    store.storage.health.close().await;
}

async fn hundred_devices() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), never()).await;
    store.create(100).await;
    let message = |n: i64| store.message((n % 100) as u32, n / 100, n / 100 * 10_000);
    let batches = (0..108).map(|b| (b * 8_000..(b + 1) * 8_000).map(message).collect());
    store.append(batches.collect()).await;
    store.storage.health.close().await;
    let store = Store::open(directory.path(), always()).await;
    store.sealed().await;
    let query = AggregateQuery {
        devices: (0..100).map(device).collect(),
        keys: vec![LeafPath::parse("temperature").unwrap()],
        aggregate: Aggregate::Avg,
        interval: "5m".parse().unwrap(),
        from: at(0),
        to: at(DAY),
        topic: None,
    };
    let means = store.timed(async || store.storage.telemetry.aggregate(store.tenant, &query).await.unwrap()).await;
    println!("five-minute means of 100 devices for a day, 864000 points: {means:.1} ms");
    store.storage.health.close().await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    many_devices(5_000, 10_000, 2_000_000).await;
    one_device().await;
    hundred_devices().await;
}
