//! What tests start from: a SQLite file with a tenant and a device, open but without the purge.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::sync::Arc;

use pocket_domain::{
    Device, DeviceConnection, DeviceEventKind, DeviceId, DeviceName, NewDeviceEvent, NewTelemetry, NodeName, Payload,
    PayloadPolicy, Peer, Retention, Tenant, TenantId, TenantName, Timestamp, TokenHash, TopicName,
};
use pocket_ports::{DeviceActivity, Storage};
use sea_orm::{ConnectionTrait, Statement};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::database::Database;
use crate::keeper::Keeper;
use crate::open::{connect, migrate, ports_of, room};
use crate::options::Options;

pub(crate) struct Sample {
    pub(crate) options: Options,
    pub(crate) database: Arc<Database>,
    pub(crate) storage: Storage,
    pub(crate) tenant: TenantId,
    pub(crate) device: DeviceId,
    directory: TempDir,
}

/// Options for a file that is not there yet.
pub(crate) fn new_file() -> (TempDir, Options) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(format!("sqlite://{}?mode=rwc", directory.path().join("pocket.db").display()));
    (directory, options)
}

impl Sample {
    pub(crate) async fn new() -> Self {
        let (directory, options) = new_file();
        migrate(options.clone()).await.unwrap();
        let database = Database::new(connect(&options).await.unwrap(), &options.url).with_room(room(&options));
        let database = Arc::new(database);
        let keeper = Arc::new(Mutex::new(Keeper::new(options.sealing)));
        let storage = ports_of(Arc::clone(&database), keeper);
        let now = Timestamp::MIN;
        let tenant = Tenant {
            id: TenantId::new(now, [1; 10]),
            name: TenantName::default_tenant(),
            payload_policy: PayloadPolicy::Json,
            retention: Retention::default(),
            created_at: now,
        };
        storage.tenants.create(&tenant).await.unwrap();
        let mut sample =
            Self { options, database, storage, tenant: tenant.id, device: DeviceId::new(now, [0; 10]), directory };
        sample.device = sample.register(1).await;
        sample
    }

    pub(crate) async fn register(&self, n: u8) -> DeviceId {
        let now = Timestamp::MIN;
        let name = DeviceName::parse(&format!("device {n}")).unwrap();
        let device = Device::new(DeviceId::new(now, [n; 10]), self.tenant, name, now);
        self.storage.devices.create(&device, TokenHash::from_bytes([n; 32])).await.unwrap();
        device.id
    }

    pub(crate) fn message(&self, device: DeviceId, millis: i64) -> NewTelemetry {
        let at = Timestamp::from_millis(millis).unwrap();
        NewTelemetry {
            tenant_id: self.tenant,
            device_id: device,
            topic: TopicName::parse("a/b").unwrap(),
            payload: Payload::from_stored("1"),
            timestamp: at,
            received_at: at,
        }
    }

    pub(crate) async fn append(&self, device: DeviceId, count: i64) {
        let messages = (0..count).map(|millis| self.message(device, millis)).collect();
        self.storage.telemetry.append(messages).await.unwrap();
    }

    /// The device connects to a broker process, which is an event.
    pub(crate) async fn connect(&self, device: DeviceId, node: &str) {
        let peer = Peer { client_id: "x".into(), address: None, protocol: "MQTT 5.0".into() };
        let connected_at = Timestamp::MIN;
        let event = NewDeviceEvent { at: connected_at, kind: DeviceEventKind::Connected, peer: peer.clone() };
        let activity = DeviceActivity {
            connection: Some(DeviceConnection { connected_at, peer }),
            events: vec![event],
            ..DeviceActivity::nothing(self.tenant, device)
        };
        self.storage.presence.record(&NodeName::parse(node).unwrap(), &[activity], 100).await.unwrap();
    }

    /// The size of the file, without its write-ahead log.
    pub(crate) fn file_bytes(&self) -> u64 {
        std::fs::metadata(self.directory.path().join("pocket.db")).unwrap().len()
    }

    /// The number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let query = Statement::from_string(self.database.backend(), sql);
        let row = self.database.reader().query_one_raw(query).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// Runs a statement that no port has.
    pub(crate) async fn execute(&self, sql: &str) {
        let transaction = self.database.begin().await.unwrap();
        transaction.execute_unprepared(sql).await.unwrap();
        transaction.commit().await.unwrap();
    }
}
