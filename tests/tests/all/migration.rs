//! PostgreSQL databases of earlier schemas, with rows: all of it is there after the migration.

use std::time::Duration;

use pocket_domain::{
    Aggregate, AggregateQuery, DeviceFilter, DeviceId, LeafPath, MaxBytes, PageRequest, RetentionUpdate, SortOrder,
    TelemetryQuery, TenantId, Timestamp, TokenHash,
};
use pocket_ports::{Storage, TenantUpdate};
use pocket_storage_sea_orm::{Options, Sealing, migrate, open};
use pocket_tests::PostgresDatabase;
use sea_orm::{ConnectionTrait, Database};

/// Rows of each of two devices.
const ROWS: i64 = 1_500;
const HOUR: i64 = 3_600_000;

macro_rules! schema {
    ($name:literal) => {
        include_str!(concat!("../../../adapters/storage-sea-orm/src/migration/", $name, ".postgres.sql"))
    };
}

/// Each schema as the program of its time made it.
const SCHEMAS: [(&str, &str); 6] = [
    ("m0001_first", schema!("m0001_first")),
    ("m0002_access_rules", schema!("m0002_access_rules")),
    ("m0003_presence", schema!("m0003_presence")),
    ("m0004_access_of_people", "ALTER TABLE access_changes ADD COLUMN person UUID"),
    ("m0005_broker_state", schema!("m0005_broker_state")),
    ("m0006_chunks", schema!("m0006_chunks")),
];

fn uuid(n: u8) -> sea_orm::prelude::Uuid {
    sea_orm::prelude::Uuid::from_bytes([n; 16])
}

/// A tenant of the id 1 with two devices of the ids 2 and 3, whose rows take turns.
fn rows() -> String {
    let [tenant, boiler, pump, user, rule] = [1, 2, 3, 4, 5].map(uuid);
    format!(
        "INSERT INTO tenants (id, name, payload_policy, created_at) VALUES ('{tenant}', 'default', 'json', 0);
        INSERT INTO users (id, tenant, username, role, password, credential_version, created_at)
            VALUES ('{user}', 1, 'admin', 'platform_admin', '$argon2id$x', 1, 0);
        INSERT INTO devices (id, tenant, name, labels, notes, enabled, created_at, updated_at)
            VALUES ('{boiler}', 1, 'boiler', '[\"a\"]', '', TRUE, 0, 0), ('{pump}', 1, 'pump', '[]', 'n', TRUE, 0, 0);
        INSERT INTO device_tokens (hash, device, present) VALUES (decode(repeat('02', 32), 'hex'), 1, TRUE);
        INSERT INTO access_rules (id, tenant, device, effect, action, topic, created_at)
            VALUES ('{rule}', 1, '{pump}', 'deny', 'publish', 'x/#', 0);
        INSERT INTO topics (tenant, name) VALUES (1, 'a/b'), (1, 'a/c');
        INSERT INTO telemetry (device, topic, tenant, timestamp, received_at, payload)
            SELECT 1 + n % 2, 1 + n / 2 % 2, 1, 1000 * n, 1000 * n + 5, '{{\"n\":' || n || ',\"state\":\"on\"}}'
            FROM generate_series(0, {}) AS n",
        2 * ROWS - 1
    )
}

async fn execute(database: &PostgresDatabase, statements: &[&str]) {
    let connection = Database::connect(database.url()).await.unwrap();
    for sql in statements {
        connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    connection.close().await.unwrap();
}

/// A database as it was with the first migrations, with rows.
async fn with_schemas(count: usize) -> PostgresDatabase {
    let database = PostgresDatabase::create().await;
    execute(&database, &["CREATE TABLE seaql_migrations (version VARCHAR PRIMARY KEY, applied_at BIGINT NOT NULL)"])
        .await;
    for (name, schema) in &SCHEMAS[..count] {
        execute(&database, &[schema, &format!("INSERT INTO seaql_migrations VALUES ('{name}', 0)")]).await;
    }
    execute(&database, &[&rows()]).await;
    database
}

fn options(database: &PostgresDatabase) -> Options {
    // Ten times as many rows are sealed before anything else is done.
    let sealing = Sealing { rows: 100, every: Duration::from_millis(5), ..Sealing::default() };
    Options { pool: 4, sealing, ..Options::new(database.url()) }
}

async fn number(database: &PostgresDatabase, sql: &str) -> i64 {
    let connection = Database::connect(database.url()).await.unwrap();
    let statement = sea_orm::Statement::from_string(connection.get_database_backend(), sql);
    let number = connection.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    connection.close().await.unwrap();
    number
}

async fn everything_is_readable(storage: &Storage) {
    let (tenant, boiler, pump) =
        (TenantId::from_uuid(uuid(1)), DeviceId::from_uuid(uuid(2)), DeviceId::from_uuid(uuid(3)));
    let found = storage.tenants.get(tenant).await.unwrap().unwrap();
    assert!(found.retention.keeps_everything());
    assert!(storage.users.any().await.unwrap());
    let devices = storage.devices.list(tenant, &DeviceFilter::default(), PageRequest::default()).await.unwrap();
    assert_eq!(devices.items.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["boiler", "pump"]);
    let credential = storage.devices.credential(TokenHash::from_bytes([2; 32])).await.unwrap().unwrap();
    assert_eq!((credential.tenant_id, credential.device_id), (tenant, boiler));
    assert_eq!(storage.access_rules.of_device(tenant, pump).await.unwrap().len(), 1);

    for (n, device) in [(0, boiler), (1, pump)] {
        let mut query = TelemetryQuery { device_id: Some(device), order: SortOrder::Ascending, ..Default::default() };
        query = query.with_limit(Some(1_000)).unwrap();
        let mut next = n;
        loop {
            let page = storage.telemetry.range(tenant, &query).await.unwrap();
            for row in &page.rows {
                assert_eq!(row.payload.as_str(), format!(r#"{{"n":{next},"state":"on"}}"#));
                assert_eq!((row.timestamp.as_millis(), row.received_at.as_millis()), (1_000 * next, 1_000 * next + 5));
                assert_eq!(row.topic.as_str(), ["a/b", "a/c"][usize::try_from(next / 2 % 2).unwrap()]);
                next += 2;
            }
            match page.next {
                Some(cursor) => query.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!(next, 2 * ROWS + n);
        let latest =
            storage.telemetry.latest(tenant, device, &pocket_domain::LatestQuery::default()).await.unwrap().values;
        let mut latest: Vec<_> = latest.iter().map(|value| (value.key.as_str(), &*value.value)).collect();
        latest.dedup_by_key(|(key, _)| *key);
        assert_eq!(latest, [("n", (2 * ROWS - 2 + n).to_string().as_str()), ("state", "\"on\"")]);
    }
    let query = AggregateQuery {
        devices: vec![boiler, pump],
        keys: vec![LeafPath::parse("n").unwrap()],
        aggregate: Aggregate::Count,
        interval: "1h".parse().unwrap(),
        from: Timestamp::MIN,
        to: Timestamp::from_millis(HOUR).unwrap(),
        topic: None,
        group_by: pocket_domain::GroupBy::Device,
        rules: pocket_domain::TopicRules::default(),
    };
    let series = storage.telemetry.aggregate(tenant, &query).await.unwrap();
    assert!(series.iter().all(|series| series.buckets[0].count == ROWS.unsigned_abs()), "{series:?}");
    assert_eq!(storage.telemetry.usage(tenant).await.unwrap().total().rows, 2 * ROWS.unsigned_abs());
}

#[tokio::test]
async fn a_database_with_plain_rows_only_is_migrated_with_everything_in_it() {
    let database = with_schemas(5).await;
    migrate(options(&database)).await.unwrap();
    assert!(number(&database, "SELECT count(*) FROM telemetry_chunks").await > 0);
    let storage = open(options(&database)).await.unwrap();
    everything_is_readable(&storage).await;
    let applied = number(&database, "SELECT count(*) FROM seaql_migrations").await;
    assert!(migrate(options(&database)).await.unwrap().applied.is_empty());
    assert!(applied >= 8);
    // That of the key, and one more.
    assert_eq!(number(&database, "SELECT count(*) FROM pg_indexes WHERE tablename = 'telemetry'").await, 2);
}

#[tokio::test]
async fn a_database_with_chunks_from_before_there_were_limits_is_migrated_with_everything_in_it() {
    let database = with_schemas(6).await;
    // The program of that time has sealed a part; this one seals in the same way.
    migrate(options(&database)).await.unwrap();
    let chunks = number(&database, "SELECT count(*) FROM telemetry_chunks").await;
    assert!(chunks > 0);
    execute(
        &database,
        &[
            "DELETE FROM seaql_migrations WHERE version >= 'm0007'",
            "DROP TABLE ended_logins",
            "ALTER TABLE tenants DROP COLUMN max_age_seconds, DROP COLUMN max_bytes",
            "CREATE INDEX telemetry_of_tenant ON telemetry (tenant, timestamp, id)",
            "DROP INDEX telemetry_chunks_of_tenant",
            "CREATE INDEX telemetry_chunks_of_tenant ON telemetry_chunks (tenant, last_at, first_at, batch, device)",
        ],
    )
    .await;
    let report = migrate(options(&database)).await.unwrap();
    assert_eq!(report.applied.first().map(String::as_str), Some("m0007_retention"));
    let storage = open(options(&database)).await.unwrap();
    everything_is_readable(&storage).await;
    // The limits that came with it work on what was there before.
    let tenant = TenantId::from_uuid(uuid(1));
    let max_bytes = Some(MaxBytes::parse(MaxBytes::MIN).unwrap());
    let update = TenantUpdate {
        retention: RetentionUpdate { max_bytes: Some(max_bytes), ..Default::default() },
        ..Default::default()
    };
    assert_eq!(storage.tenants.update(tenant, update).await.unwrap().retention.max_bytes, max_bytes);
}
