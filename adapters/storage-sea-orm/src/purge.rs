//! Removes what was deleted, in the background and in steps that do not hold up ingest.
//!
//! A deleted device or tenant is invisible from the transaction on that marks it, and no rows are added to it after that.
//! Its rows go first and its own row last, so that a process that ends in between leaves the rest to the next start.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, Statement};

use crate::database::{Database, LIMIT};
use crate::entity::{device, tenant};
use crate::error::Error;
use crate::key_list::list;

/// Rows in one transaction: about 10 ms on a small machine.
const STEP: u64 = 1_000;
/// Chunks in one transaction.
const CHUNKS: u64 = 32;
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Starts the purge. It goes on with what an earlier process left, then waits for deletions.
pub(crate) fn start(db: &Arc<Database>) {
    let deleted = Arc::clone(&db.deleted);
    // The task alone must not keep the database open.
    let db_of_task = Arc::downgrade(db);
    db.start_task(async move {
        while let Some(result) = all(&db_of_task).await {
            match result {
                Ok(()) => deleted.notified().await,
                Err(error) => {
                    tracing::warn!(?error, "deleted rows could not be removed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
}

/// Removes all there is; `None` when the database is gone.
async fn all(db: &Weak<Database>) -> Option<Result<(), Error>> {
    loop {
        let db = db.upgrade()?;
        match db.in_time(LIMIT, step(&db)).await {
            Ok(true) => {}
            Ok(false) => return Some(Ok(())),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Removes some rows; `false` when nothing was left.
async fn step(db: &Database) -> Result<bool, Error> {
    let device = device::Entity::find().filter(device::Column::Deleted.into_expr()).one(db.reader()).await?;
    if let Some(device) = device {
        remove_device(db, device.key).await?;
        return Ok(true);
    }
    let tenant = tenant::Entity::find().filter(tenant::Column::Deleted.into_expr()).limit(1).one(db.reader()).await?;
    if let Some(tenant) = tenant {
        remove_tenant(db, &tenant).await?;
        return Ok(true);
    }
    Ok(false)
}

/// Removes a device, its own row last.
async fn remove_device(db: &Database, device: i64) -> Result<(), Error> {
    let of_device = format!("device = {device}");
    // Large, so there are few in a transaction.
    while delete_some(db, "telemetry_chunks", "key", &of_device, CHUNKS).await? == CHUNKS {}
    while delete_some(db, "telemetry_keys", "path", &of_device, STEP).await? == STEP {}
    // A path may have a value on each of several topics.
    while delete_some(db, "telemetry_latest", "path", &of_device, STEP).await? >= STEP {}
    remove_from_log(db, device).await?;
    let transaction = db.begin().await?;
    for table in ["device_presence", "device_events", "telemetry_latest_due"] {
        // A device has few of these.
        transaction.execute_unprepared(&format!("DELETE FROM {table} WHERE {of_device}")).await?;
    }
    device::Entity::delete_by_id(device).exec(&transaction).await?;
    transaction.commit().await?;
    db.topics_loose.store(true, Ordering::Relaxed);
    Ok(())
}

/// Removes what is left of a tenant whose devices are gone, its own row last.
async fn remove_tenant(db: &Database, tenant: &tenant::Model) -> Result<(), Error> {
    while delete_some(db, "topics", "key", &format!("tenant = {}", tenant.key), STEP).await? == STEP {}
    let transaction = db.begin().await?;
    tenant::Entity::delete_by_id(tenant.key).exec(&transaction).await?;
    Ok(transaction.commit().await?)
}

/// Removes the rows that a device has in the log. The log of a SQLite file has no index of them, so they are looked for by a
/// connection that reads, once from the beginning to the end, and not in the transactions that remove them. No row of the
/// device is added meanwhile.
async fn remove_from_log(db: &Database, device: i64) -> Result<(), Error> {
    #[derive(FromQueryResult)]
    struct Row {
        id: i64,
    }
    let mut after = 0;
    loop {
        let sql = format!("SELECT id FROM telemetry WHERE id > {after} AND device = {device} ORDER BY id LIMIT {STEP}");
        let rows = Row::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.id;
        let transaction = db.begin().await?;
        let ids = list(rows.iter().map(|row| row.id));
        transaction.execute_unprepared(&format!("DELETE FROM telemetry WHERE id IN ({ids})")).await?;
        transaction.commit().await?;
    }
}

/// Removes the first rows that meet a condition, in a transaction of its own; tells how many.
async fn delete_some(db: &Database, table: &str, key: &str, condition: &str, most: u64) -> Result<u64, Error> {
    let sql = format!(
        "DELETE FROM {table} WHERE {condition} AND {key} IN (SELECT {key} FROM {table} WHERE {condition} LIMIT {most})"
    );
    let transaction = db.begin().await?;
    let removed = transaction.execute_unprepared(&sql).await?.rows_affected();
    transaction.commit().await?;
    Ok(removed)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn a_deleted_device_goes_in_steps_and_others_stay() {
        let sample = Sample::new().await;
        let other = sample.register(2).await;
        sample.append(sample.device, STEP.cast_signed()).await;
        sample.append(other, 3).await;
        sample.append(sample.device, STEP.cast_signed() + 1).await;
        sample.storage.devices.delete(sample.tenant, sample.device).await.unwrap();
        assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 2 * STEP.cast_signed() + 4);
        let of_device = format!("tenant = {}", sample.number("SELECT key FROM tenants").await);
        assert_eq!(delete_some(&sample.database, "telemetry", "id", &of_device, 2).await.unwrap(), 2);
        assert_eq!(sample.number("SELECT count(*) FROM devices").await, 2);
        assert!(step(&sample.database).await.unwrap());
        assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 3);
        assert_eq!(sample.number("SELECT count(*) FROM devices").await, 1);
        assert!(!step(&sample.database).await.unwrap());
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_deleted_tenant() {
        let sample = Sample::new().await;
        sample.register(2).await;
        sample.append(sample.device, 10).await;
        let message = sample.message(sample.device, 1);
        sample.storage.telemetry.set_aside(&message, "test", pocket_domain::Timestamp::MIN).await.unwrap();
        sample.connect(sample.device, "a").await;
        assert_eq!(sample.number("SELECT count(*) FROM device_presence").await, 1);
        sample.storage.tenants.delete(sample.tenant).await.unwrap();
        while step(&sample.database).await.unwrap() {}
        for table in [
            "tenants",
            "users",
            "devices",
            "device_tokens",
            "device_logins",
            "topic_rules",
            "device_presence",
            "device_events",
            "topics",
            "telemetry",
            "telemetry_chunks",
            "telemetry_keys",
            "telemetry_latest",
            "telemetry_latest_due",
            "dead_letters",
        ] {
            assert_eq!(sample.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
        }
    }

    #[tokio::test]
    async fn what_an_earlier_process_left_goes_after_the_next_start() {
        let sample = Sample::new().await;
        sample.append(sample.device, 10).await;
        sample.storage.devices.delete(sample.tenant, sample.device).await.unwrap();
        start(&sample.database);
        while sample.number("SELECT count(*) FROM devices").await > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 0);
        // Then it waits, and a deletion wakes it.
        let next = sample.register(2).await;
        sample.storage.devices.delete(sample.tenant, next).await.unwrap();
        while sample.number("SELECT count(*) FROM devices").await > 0 {
            tokio::task::yield_now().await;
        }
    }
}
