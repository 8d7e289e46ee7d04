//! What PostgreSQL alone does: it refuses U+0000, goes away and comes back, and is shared by several processes.

use std::sync::Arc;
use std::time::Duration;

use pocket_domain::{
    Device, DeviceId, DeviceName, NewTelemetry, Payload, PayloadPolicy, Retention, SortOrder, TelemetryQuery, Tenant,
    TenantId, TenantName, Timestamp, TokenHash, TopicName,
};
use pocket_ports::{Storage, StorageError};
use pocket_storage_sea_orm::{OpenError, Options, Sealing, migrate, open};
use pocket_tests::{PostgresDatabase, PostgresServer};
use sea_orm::{ConnectionTrait, Database};

async fn open_pool(database: &PostgresDatabase) -> Storage {
    open(Options { pool: 4, ..Options::new(database.url()) }).await.unwrap()
}

async fn execute(database: &PostgresDatabase, sql: &str) {
    let connection = Database::connect(database.url()).await.unwrap();
    connection.execute_unprepared(sql).await.unwrap();
    connection.close().await.unwrap();
}

async fn tenant(storage: &Storage) -> TenantId {
    let id = TenantId::new(Timestamp::MIN, [1; 10]);
    let name = TenantName::default_tenant();
    let tenant = Tenant {
        id,
        name,
        payload_policy: PayloadPolicy::Json,
        retention: Retention::default(),
        created_at: Timestamp::MIN,
    };
    storage.tenants.create(&tenant).await.unwrap();
    id
}

async fn device(storage: &Storage, tenant: TenantId, n: u8) -> DeviceId {
    let name = DeviceName::parse(&format!("device {n}")).unwrap();
    let device = Device::new(DeviceId::new(Timestamp::MIN, [n; 10]), tenant, name, Timestamp::MIN);
    storage.devices.create(&device, TokenHash::from_bytes([n; 32])).await.unwrap();
    device.id
}

fn message(tenant_id: TenantId, device_id: DeviceId, payload: &str) -> NewTelemetry {
    NewTelemetry {
        tenant_id,
        device_id,
        topic: TopicName::parse("a/b").unwrap(),
        payload: Payload::from_stored(payload),
        timestamp: Timestamp::MIN,
        received_at: Timestamp::MIN,
    }
}

async fn payloads(storage: &Storage, tenant: TenantId) -> Vec<String> {
    let query = TelemetryQuery { order: SortOrder::Ascending, ..TelemetryQuery::default() };
    let page = storage.telemetry.range(tenant, &query).await.unwrap();
    page.rows.iter().map(|row| row.payload.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_message_that_postgres_refuses_is_told_from_an_outage() {
    let database = PostgresDatabase::create().await;
    let storage = open_pool(&database).await;
    let tenant = tenant(&storage).await;
    let device = device(&storage, tenant, 1).await;
    let (good, poison) = (message(tenant, device, "1"), message(tenant, device, "\"\0\""));
    let refused = storage.telemetry.append(Arc::from([good.clone(), poison.clone()])).await;
    assert!(matches!(refused, Err(StorageError::Backend(_))), "{refused:?}");
    assert!(payloads(&storage, tenant).await.is_empty(), "none of a batch that fails is stored");
    storage.telemetry.set_aside(&poison, "invalid \0", Timestamp::MIN).await.unwrap();
    storage.telemetry.append(Arc::from([good])).await.unwrap();
    assert_eq!(payloads(&storage, tenant).await, ["1"]);
}

/// From the second batch of a device on, rows go another way, as nothing of them has to be looked up.
#[tokio::test]
async fn messages_of_devices_that_are_known_are_stored_as_they_came() {
    let database = PostgresDatabase::create().await;
    let storage = open_pool(&database).await;
    let tenant = tenant(&storage).await;
    let devices = [device(&storage, tenant, 1).await, device(&storage, tenant, 2).await];
    let long = format!("\"{}\"", "é😀".repeat(40_000));
    let texts = ["1", "", "\\.", "\\N", "\"a\\tb\\n\"", "{\"a\":\n\t\"\u{1}\"}", "'; --", &long];
    let batch = || -> Arc<[NewTelemetry]> {
        texts.iter().enumerate().map(|(n, text)| message(tenant, devices[n % 2], text)).collect()
    };
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(storage.telemetry.append(batch()).await.unwrap().into_iter().flatten());
    }
    let query = TelemetryQuery { order: SortOrder::Ascending, ..TelemetryQuery::default() };
    let found = storage.telemetry.range(tenant, &query).await.unwrap().rows;
    assert!(ids.is_sorted() && found.iter().map(|row| row.id).eq(ids), "{found:?}");
    for (row, sent) in found.iter().zip([batch(), batch(), batch()].iter().flat_map(|batch| batch.iter())) {
        assert_eq!((row.device_id, &row.payload, &row.topic), (sent.device_id, &sent.payload, &sent.topic));
    }
    let refused = storage.telemetry.append(Arc::from([message(tenant, devices[0], "\"\0\"")])).await;
    assert!(matches!(refused, Err(StorageError::Backend(_))), "{refused:?}");
    storage.telemetry.append(batch()).await.unwrap();
    assert_eq!(payloads(&storage, tenant).await.len(), 4 * texts.len());
}

#[tokio::test]
async fn a_server_that_drops_its_connections_is_used_again() {
    let database = PostgresDatabase::create().await;
    let storage = open_pool(&database).await;
    let tenant = tenant(&storage).await;
    let device = device(&storage, tenant, 1).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE application_name = 'pocket-iot' AND datname = current_database()";
    execute(&database, kill).await;
    let batch: Arc<[NewTelemetry]> = Arc::from([message(tenant, device, "1")]);
    // Each attempt may meet one connection that is gone; after as many as the pool has, all are new.
    for _ in 0..=4 {
        match storage.telemetry.append(Arc::clone(&batch)).await {
            Ok(ids) => {
                assert!(ids[0].is_some());
                break;
            }
            Err(error) => assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}"),
        }
    }
    assert_eq!(payloads(&storage, tenant).await, ["1"]);
    assert_eq!(storage.health.check().await, Ok(()));
}

#[tokio::test]
async fn a_check_that_a_server_did_not_answer_in_time_leaves_nothing_behind() {
    let server = PostgresServer::start().await;
    // One connection, which nothing else uses.
    let sealing = Sealing { every: Duration::from_secs(86_400), ..Sealing::default() };
    let storage = open(Options { pool: 1, sealing, ..Options::new(server.url()) }).await.unwrap();
    let tenant = tenant(&storage).await;
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    assert!(payloads(&storage, tenant).await.is_empty());
    // It takes longer than the connection needs to go back to its pool.
    assert_eq!(server.number(idle).await, 0);
    server.freeze();
    for _ in 0..2 {
        let unready = storage.health.check().await;
        assert!(
            matches!(&unready, Err(StorageError::Unavailable(why)) if why.contains("does not answer")),
            "{unready:?}"
        );
    }
    server.thaw();
    // A statement that is no transaction, and one that begins what only a new transaction may be.
    assert!(storage.tenants.get(tenant).await.unwrap().is_some());
    assert!(payloads(&storage, tenant).await.is_empty());
    assert_eq!(storage.health.check().await, Ok(()));
    assert_eq!(server.number(idle).await, 0);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_ready() {
    let database = PostgresDatabase::create().await;
    open_pool(&database).await.health.close().await;
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let storage = open_pool(&database).await;
    let tenant = tenant(&storage).await;
    let device = device(&storage, tenant, 1).await;
    storage.health.close().await;
    execute(&database, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let storage = open_pool(&database).await;
    assert!(matches!(storage.health.check().await, Err(StorageError::Unavailable(_))));
    let refused = storage.telemetry.append(Arc::from([message(tenant, device, "1")])).await;
    assert!(matches!(refused, Err(StorageError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_device_that_another_process_deleted_is_noticed() {
    let database = PostgresDatabase::create().await;
    let (one, other) = (open_pool(&database).await, open_pool(&database).await);
    let tenant = tenant(&one).await;
    let (gone, stays) = (device(&one, tenant, 1).await, device(&one, tenant, 2).await);
    let batch: Arc<[NewTelemetry]> = Arc::from([message(tenant, gone, "1"), message(tenant, stays, "2")]);
    assert!(one.telemetry.append(Arc::clone(&batch)).await.unwrap().iter().all(Option::is_some));
    assert!(other.devices.delete(tenant, gone).await.unwrap());
    let ids = one.telemetry.append(batch).await.unwrap();
    assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert_eq!(payloads(&one, tenant).await, ["2", "2"]);
}

#[tokio::test]
async fn no_row_outlives_a_device_that_is_deleted_while_messages_arrive() {
    let database = PostgresDatabase::create().await;
    let (one, other) = (open_pool(&database).await, open_pool(&database).await);
    let tenant = tenant(&one).await;
    for n in 1..20 {
        let device = device(&one, tenant, n).await;
        let batch: Arc<[NewTelemetry]> = (0..50).map(|_| message(tenant, device, "1")).collect();
        let append = async {
            for _ in 0..5 {
                one.telemetry.append(Arc::clone(&batch)).await.unwrap();
            }
        };
        let (deleted, ()) = tokio::join!(other.devices.delete(tenant, device), append);
        assert_eq!(deleted, Ok(true));
    }
    assert!(payloads(&one, tenant).await.is_empty());
    let connection = Database::connect(database.url()).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM telemetry) + (SELECT count(*) FROM devices) AS left";
    loop {
        let query = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, left);
        let row = connection.query_one_raw(query).await.unwrap().unwrap();
        if row.try_get::<i64>("", "left").unwrap() == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let database = PostgresDatabase::create().await;
    let options = || Options::new(database.url());
    let (one, two, three) = tokio::join!(migrate(options()), migrate(options()), migrate(options()));
    for report in [one, two, three] {
        assert!(report.is_ok(), "{report:?}");
    }
    assert!(migrate(options()).await.unwrap().applied.is_empty());
}

#[tokio::test]
async fn a_database_that_is_newer_is_refused_by_name() {
    let database = PostgresDatabase::create().await;
    migrate(Options::new(database.url())).await.unwrap();
    execute(&database, "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)").await;
    let refused = open(Options::new(database.url())).await.err();
    assert_eq!(refused, Some(OpenError::Newer("m9999_later".to_owned())));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_the_password() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = open(Options::new(format!("postgres://user:hunter2@127.0.0.1:{port}/pocket"))).await.err().unwrap();
    assert!(matches!(refused, OpenError::Unavailable(_)), "{refused:?}");
    assert!(
        refused.to_string().contains(&format!("127.0.0.1:{port} cannot be reached: Connection refused")),
        "{refused}"
    );
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
}
