//! Storage in a SQLite file of its own, and sensors that write to it.

use std::time::{Duration, Instant};

use pocket_domain::{
    Device, DeviceId, DeviceName, NewTelemetry, Payload, PayloadPolicy, Retention, Tenant, TenantId, TenantName,
    Timestamp, TokenHash, TopicName,
};
use pocket_ports::Storage;
use pocket_storage_sea_orm::{Options, Sealing, open};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use tempfile::TempDir;

pub(super) const DAY: i64 = 86_400_000;
const START: i64 = 1_700_000_000_000;

/// Rows stay in the log.
pub(super) fn never() -> Sealing {
    Sealing { rows: u32::MAX, after: Duration::from_secs(1 << 36), ..Sealing::default() }
}

/// All rows become chunks, whatever their number.
pub(super) fn always() -> Sealing {
    // What is appended here was received long ago.
    Sealing { every: Duration::from_millis(1), ..Sealing::default() }
}

/// So many milliseconds after the first message.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis).expect("a time")
}

/// The id of a device by its number.
pub(super) fn device(number: u32) -> DeviceId {
    let mut bytes = [0; 10];
    bytes[6..].copy_from_slice(&number.to_be_bytes());
    DeviceId::new(at(0), bytes)
}

/// An open file. It is removed with this value.
pub(super) struct Store {
    pub(super) storage: Storage,
    pub(super) tenant: TenantId,
    directory: TempDir,
}

impl Store {
    /// A new file with so many devices.
    pub(super) async fn create(devices: u32, sealing: Sealing) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Self::open(directory, sealing).await;
        let tenant = Tenant {
            id: store.tenant,
            name: TenantName::default_tenant(),
            payload_policy: PayloadPolicy::Json,
            retention: Retention::default(),
            created_at: at(0),
        };
        store.storage.tenants.create(&tenant).await.expect("a tenant");
        for number in 0..devices {
            let mut token = [0; 32];
            token[..4].copy_from_slice(&number.to_be_bytes());
            let device = store.device(number);
            store.storage.devices.create(&device, TokenHash::from_bytes(token)).await.expect("a device");
        }
        store
    }

    async fn open(directory: TempDir, sealing: Sealing) -> Self {
        let storage = open(Options { sealing, ..Options::new(url(&directory)) }).await.expect("storage");
        Self { storage, tenant: TenantId::new(at(0), [1; 10]), directory }
    }

    /// The same file, sealed in another way.
    pub(super) async fn open_again(self, sealing: Sealing) -> Self {
        self.storage.health.close().await;
        Self::open(self.directory, sealing).await
    }

    pub(super) async fn close(self) {
        self.storage.health.close().await;
    }

    fn device(&self, number: u32) -> Device {
        let name = DeviceName::parse(&format!("d{number}")).expect("a name");
        Device::new(device(number), self.tenant, name, at(0))
    }

    /// What sensors say: five keys, 80 bytes.
    pub(super) fn message(&self, number: u32, count: i64, millis: i64) -> NewTelemetry {
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
            topic: TopicName::parse("sensors/all").expect("a topic"),
            payload: Payload::from_stored(payload),
            timestamp: at(millis + noise),
            received_at: at(millis + noise + 3),
        }
    }

    /// Appends batches that were made before. Returns rows a second.
    pub(super) async fn append(&self, batches: Vec<Vec<NewTelemetry>>) -> f64 {
        let rows: usize = batches.iter().map(Vec::len).sum();
        let begun = Instant::now();
        for batch in batches {
            self.storage.telemetry.append(batch.into()).await.expect("rows are stored");
        }
        rows as f64 / begun.elapsed().as_secs_f64()
    }

    /// Waits until the log is empty.
    pub(super) async fn sealed(&self) {
        let raw = self.raw().await;
        while number(&raw, "SELECT EXISTS (SELECT 1 FROM telemetry)").await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        raw.close().await.expect("a connection");
    }

    /// Gives the log the index by device that it does without.
    pub(super) async fn index(&self) {
        let raw = self.raw().await;
        raw.execute_unprepared("CREATE INDEX by_device ON telemetry (device, timestamp)").await.expect("an index");
        raw.close().await.expect("a connection");
    }

    /// One number out of the file.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        let raw = self.raw().await;
        let number = number(&raw, sql).await;
        raw.close().await.expect("a connection");
        number
    }

    async fn raw(&self) -> DatabaseConnection {
        Database::connect(url(&self.directory)).await.expect("a connection")
    }
}

async fn number(raw: &DatabaseConnection, sql: &str) -> i64 {
    let row = raw.query_one_raw(Statement::from_string(raw.get_database_backend(), sql)).await;
    row.expect("an answer").expect("a row").try_get_by_index(0).expect("a number")
}

fn url(directory: &TempDir) -> String {
    format!("sqlite://{}?mode=rwc", directory.path().join("pocket.db").display())
}
