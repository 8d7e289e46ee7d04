//! Removes what was deleted, in the background and in steps that do not hold up ingest.
//!
//! A deleted device or tenant is invisible from the transaction on that marks it, and no rows are added to it after that.
//! Its rows go first and its own row last, so that a process that ends in between leaves the rest to the next start.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, Statement};

use crate::database::{Database, LIMIT};
use crate::entity::{device, tenant};
use crate::error::Error;

/// Rows in one transaction: about 50 ms on a small machine.
const STEP: u64 = 5_000;
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
        let transaction = db.begin().await?;
        for table in ["device_presence", "device_events"] {
            // A device has few of these.
            transaction.execute_unprepared(&format!("DELETE FROM {table} WHERE device = {}", device.key)).await?;
        }
        // A chunk has up to thousands of rows.
        for table in ["telemetry_chunks", "telemetry_keys"] {
            transaction.execute_unprepared(&format!("DELETE FROM {table} WHERE device = {}", device.key)).await?;
        }
        if delete_some(&transaction, "telemetry", "id", "device", device.key).await? < STEP {
            device::Entity::delete_by_id(device.key).exec(&transaction).await?;
        }
        transaction.commit().await?;
        return Ok(true);
    }
    let tenant = tenant::Entity::find().filter(tenant::Column::Deleted.into_expr()).limit(1).one(db.reader()).await?;
    if let Some(tenant) = tenant {
        let transaction = db.begin().await?;
        if delete_some(&transaction, "topics", "key", "tenant", tenant.key).await? < STEP {
            tenant::Entity::delete_by_id(tenant.key).exec(&transaction).await?;
        }
        transaction.commit().await?;
        return Ok(true);
    }
    Ok(false)
}

async fn delete_some(
    transaction: &DatabaseTransaction,
    table: &str,
    key: &str,
    owner: &str,
    owner_key: i64,
) -> Result<u64, Error> {
    let sql = format!(
        "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {owner} = {owner_key} LIMIT {STEP})"
    );
    let backend = transaction.get_database_backend();
    Ok(transaction.execute_raw(Statement::from_string(backend, sql)).await?.rows_affected())
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn a_deleted_device_goes_in_steps_and_others_stay() {
        let sample = Sample::new().await;
        let other = sample.register(2).await;
        sample.append(sample.device, STEP.cast_signed() + 1).await;
        sample.append(other, 3).await;
        sample.storage.devices.delete(sample.tenant, sample.device).await.unwrap();
        assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, STEP.cast_signed() + 4);
        assert!(step(&sample.database).await.unwrap());
        assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 4);
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
            "device_presence",
            "device_events",
            "topics",
            "telemetry",
            "telemetry_chunks",
            "telemetry_keys",
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
