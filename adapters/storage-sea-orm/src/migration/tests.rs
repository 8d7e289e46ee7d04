//! Migrations of SQLite files: new, with rows, broken, newer, and by two processes at once.
#![allow(clippy::unwrap_used, reason = "a test may fail at once")]

use std::path::Path;

use async_trait::async_trait;
use pocket_domain::{DeviceId, NodeName, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};

use super::Migrator;
use crate::sample::{Sample, new_file};
use crate::sqlite::migrate;
use crate::{OpenError, Options};

/// A migration that exists in these tests only.
struct Later(&'static str);

impl MigrationName for Later {
    fn name(&self) -> &str {
        "m9999_later"
    }
}

#[allow(elided_lifetimes_in_paths)]
#[async_trait]
impl MigrationTrait for Later {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.0).await.map(|_| ())
    }
}

/// The migrations of this version and one more.
fn all_and(later: Later) -> Vec<Box<dyn MigrationTrait>> {
    let mut all = Migrator::migrations();
    all.push(Box::new(later));
    all
}

fn count() -> i64 {
    i64::try_from(Migrator::migrations().len()).unwrap()
}

/// Re-creates the table that all others refer to, the way SQLite's manual has it.
struct Recreating;

impl MigratorTrait for Recreating {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let later = Later(
            "CREATE TABLE new_tenants (key INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,
                name TEXT NOT NULL, payload_policy TEXT NOT NULL, created_at INTEGER NOT NULL,
                deleted INTEGER NOT NULL DEFAULT FALSE, max_age_seconds INTEGER, max_bytes INTEGER,
                note TEXT) STRICT;
            INSERT INTO new_tenants SELECT *, NULL FROM tenants;
            DROP TABLE tenants;
            ALTER TABLE new_tenants RENAME TO tenants;",
        );
        all_and(later)
    }
}

/// Loses rows that others refer to.
struct Losing;

impl MigratorTrait for Losing {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        all_and(Later("DELETE FROM tenants"))
    }
}

/// Fails half way.
struct Failing;

impl MigratorTrait for Failing {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let later = Later("DELETE FROM telemetry; SELECT * FROM nowhere;");
        all_and(later)
    }
}

/// The migrations before presence was told by node.
struct BeforePresence;

impl MigratorTrait for BeforePresence {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Migrator::migrations().into_iter().take_while(|migration| migration.name() != "m0003_presence").collect()
    }
}

/// The migrations before tenants had limits.
struct BeforeRetention;

impl MigratorTrait for BeforeRetention {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Migrator::migrations().into_iter().take_while(|migration| migration.name() != "m0007_retention").collect()
    }
}

/// The migrations before keys went with their last row.
struct BeforeKeysInUse;

impl MigratorTrait for BeforeKeysInUse {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Migrator::migrations().into_iter().take_while(|migration| migration.name() != "m0019_keys_in_use").collect()
    }
}

fn copies(options: &Options) -> Vec<String> {
    let file = options.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc");
    let names = std::fs::read_dir(Path::new(file).parent().unwrap()).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".before-"))
        .collect()
}

#[tokio::test]
async fn a_new_file_is_migrated_once_and_not_copied() {
    let (_directory, options) = new_file();
    let report = migrate::<Migrator>(&options).await.unwrap();
    let all: Vec<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    assert!(all.is_sorted() && all.len() >= 7, "{all:?}");
    assert_eq!(report.applied, all);
    assert_eq!(report.snapshot, None);
    assert_eq!(migrate::<Migrator>(&options).await.unwrap(), Default::default());
    assert!(copies(&options).is_empty());
}

#[tokio::test]
async fn rows_survive_a_migration_and_a_copy_is_kept() {
    let sample = Sample::new().await;
    sample.append(sample.device, 20).await;
    let report = migrate::<Recreating>(&sample.options).await.unwrap();
    assert_eq!(report.applied, ["m9999_later"]);
    assert_eq!(copies(&sample.options), ["pocket.db.before-m9999_later"]);
    for (table, rows) in [("tenants", 1), ("devices", 1), ("device_tokens", 1), ("topics", 1), ("telemetry", 20)] {
        assert_eq!(sample.number(&format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
    // The copy is a whole database of the version before.
    let copy = Options::new(format!("sqlite://{}", report.snapshot.unwrap().display()));
    assert_eq!(migrate::<Migrator>(&copy).await.unwrap(), Default::default());
}

#[tokio::test]
async fn a_device_that_was_online_before_presence_was_told_by_node_is_not_any_more() {
    let (_directory, options) = new_file();
    migrate::<BeforePresence>(&options).await.unwrap();
    let connections = crate::open::connect(&options).await.unwrap();
    let rows = "
        INSERT INTO tenants (id, name, payload_policy, created_at) VALUES (zeroblob(16), 'default', 'json', 0);
        INSERT INTO devices (id, tenant, name, labels, notes, enabled, created_at, updated_at, online, last_seen_at)
            VALUES (zeroblob(16), 1, 'boiler', '[]', '', TRUE, 0, 0, TRUE, 5);
        INSERT INTO device_tokens (hash, device, present) VALUES (zeroblob(32), 1, TRUE);";
    connections.writer.execute_unprepared(rows).await.unwrap();
    connections.reader.close().await.unwrap();
    connections.writer.close().await.unwrap();

    let storage = crate::open(options.clone()).await.unwrap();
    assert_eq!(copies(&options), ["pocket.db.before-m0003_presence"]);
    let (tenant, device) = (TenantId::from_uuid(Default::default()), DeviceId::from_uuid(Default::default()));
    let found = storage.devices.get(tenant, device).await.unwrap().unwrap();
    assert_eq!((found.online, found.connection), (false, None));
    assert_eq!(found.last_seen_at.map(Timestamp::as_millis), Some(5));
    storage.presence.restart(&NodeName::default(), Timestamp::MIN, 100).await.unwrap();
    assert!(storage.presence.events(tenant, device, &Default::default()).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn a_tenant_from_before_there_were_limits_keeps_everything() {
    let (_directory, options) = new_file();
    migrate::<BeforeRetention>(&options).await.unwrap();
    let connections = crate::open::connect(&options).await.unwrap();
    let row = "INSERT INTO tenants (id, name, payload_policy, created_at) VALUES (zeroblob(16), 'default', 'json', 0)";
    connections.writer.execute_unprepared(row).await.unwrap();
    connections.reader.close().await.unwrap();
    connections.writer.close().await.unwrap();

    let storage = crate::open(options.clone()).await.unwrap();
    assert_eq!(copies(&options), ["pocket.db.before-m0007_retention"]);
    let tenant = storage.tenants.get(TenantId::from_uuid(Default::default())).await.unwrap().unwrap();
    assert!(tenant.retention.keeps_everything());
    assert!(storage.telemetry.prune(Timestamp::MAX).await.unwrap().is_done);
}

#[tokio::test]
async fn keys_that_no_row_has_go_and_keys_that_were_named_anew_are_read_again() {
    let (_directory, options) = new_file();
    migrate::<BeforeKeysInUse>(&options).await.unwrap();
    let connections = crate::open::connect(&options).await.unwrap();
    let rows = "
        INSERT INTO telemetry_keys (device, path) VALUES (1, 'used'), (1, 'left'), (2, 't'), (2, 'left'), (3, 'due'), (4, 'left');
        INSERT INTO telemetry_latest (device, path, topic, timestamp, id, value)
            VALUES (1, CAST('used' AS BLOB), 1, 1, 1, '1'), (2, CAST('values.t' AS BLOB), 1, 1, 1, '1');
        INSERT INTO telemetry_latest_due VALUES (3);";
    connections.writer.execute_unprepared(rows).await.unwrap();
    migrate::<Migrator>(&options).await.unwrap();
    let number = async |sql: &str| -> i64 {
        let row = connections.reader.query_one_raw(super::sqlite_statement(sql)).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    };
    assert_eq!(number("SELECT count(*) FROM telemetry_keys WHERE device IN (1, 4) AND path = 'left'").await, 0);
    assert_eq!(number("SELECT count(*) FROM telemetry_keys").await, 4);
    assert_eq!(number("SELECT count(*) FROM telemetry_latest").await, 1);
    assert_eq!(number("SELECT sum(device) FROM telemetry_latest_due").await, 2 + 3);
    connections.reader.close().await.unwrap();
    connections.writer.close().await.unwrap();
}

#[tokio::test]
async fn a_migration_that_fails_leaves_everything_as_it_was() {
    let sample = Sample::new().await;
    sample.append(sample.device, 20).await;
    assert!(matches!(migrate::<Failing>(&sample.options).await, Err(OpenError::Migration(_))));
    assert!(matches!(migrate::<Losing>(&sample.options).await, Err(OpenError::Migration(_))));
    assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 20);
    assert_eq!(sample.number("SELECT count(*) FROM tenants").await, 1);
    assert_eq!(sample.number("SELECT count(*) FROM seaql_migrations").await, count());
}

#[tokio::test]
async fn a_database_that_is_newer_is_refused_by_name() {
    let sample = Sample::new().await;
    migrate::<Recreating>(&sample.options).await.unwrap();
    let refused = migrate::<Migrator>(&sample.options).await.unwrap_err();
    assert_eq!(refused, OpenError::Newer("m9999_later".to_owned()));
    assert!(refused.to_string().contains("newer than this program"));
    assert!(matches!(crate::open(sample.options.clone()).await, Err(OpenError::Newer(_))));
}

#[tokio::test]
async fn two_processes_that_start_at_once_migrate_once() {
    // Which of the steps they meet at is chance.
    for _ in 0..20 {
        let (_directory, options) = new_file();
        let (first, second) = tokio::join!(migrate::<Migrator>(&options), migrate::<Migrator>(&options));
        assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    }
}
