//! Chunks on their way into the table.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, FromQueryResult, QueryFilter};
use sea_orm::{QuerySelect, Statement, Value};

use super::pack::NewChunk;
use super::topics;
use crate::broker::insert;
use crate::entity::device;
use crate::error::Error;
use crate::locks::{self, Lock};

/// Bytes of chunks that one transaction writes.
const MOST_BYTES: usize = 1_000_000;

/// How many chunks one transaction takes, from the beginning.
pub(crate) fn portion(chunks: &[NewChunk], most: usize) -> usize {
    let mut bytes = 0;
    let fits = |chunk: &&NewChunk| {
        bytes += chunk.content.len();
        bytes <= MOST_BYTES
    };
    chunks.iter().take(most).take_while(fits).count().max(1).min(chunks.len())
}

/// Writes chunks of devices that are there. What is deleted later is found by whoever removes it.
pub(crate) async fn write(transaction: &DatabaseTransaction, batch: i64, chunks: &[NewChunk]) -> Result<(), Error> {
    let present = present(transaction, chunks.iter().map(|chunk| chunk.device)).await?;
    let chunks: Vec<&NewChunk> = chunks.iter().filter(|chunk| present.contains(&chunk.device)).collect();
    if chunks.is_empty() {
        return Ok(());
    }
    let before = keys_after(transaction, "SELECT coalesce(max(key), 0) AS key FROM telemetry_chunks").await?;
    let before = before.first().copied().unwrap_or(0);
    let values = chunks.iter().flat_map(|chunk| {
        [
            chunk.tenant.into(),
            chunk.device.into(),
            batch.into(),
            chunk.first_at.into(),
            chunk.last_at.into(),
            chunk.rows.into(),
            i64::try_from(chunk.content.len()).unwrap_or(i64::MAX).into(),
            chunk.content.clone().into(),
            i64::try_from(chunk.weight).unwrap_or(i64::MAX).into(),
            chunk.received.0.into(),
            chunk.received.1.into(),
        ]
    });
    let values: Vec<Value> = values.collect();
    let target = "telemetry_chunks (tenant, device, batch, first_at, last_at, row_count, bytes, content, weight,
        received_first, received_last)";
    insert(transaction, target, 11, "", values).await?;
    // Nobody else writes chunks meanwhile, so the keys are in the order of the chunks.
    let sql = format!("SELECT key FROM telemetry_chunks WHERE key > {before} ORDER BY key");
    let keys = keys_after(transaction, &sql).await?;
    if keys.len() != chunks.len() {
        return Err(DbErr::RecordNotInserted.into());
    }
    let topics = keys.into_iter().zip(chunks.iter().map(|chunk| chunk.topics.as_slice()));
    Ok(topics::add(transaction, topics).await?)
}

/// Those of some devices that are there, until the transaction ends.
pub(super) async fn present(
    transaction: &DatabaseTransaction,
    devices: impl Iterator<Item = i64>,
) -> Result<HashSet<i64>, DbErr> {
    // From here on no device is deleted; see `access_log::write`.
    locks::share(transaction, Lock::Access).await?;
    let devices: HashSet<i64> = devices.collect();
    let present: Vec<i64> = device::Entity::find()
        .select_only()
        .column(device::Column::Key)
        .filter(device::Column::Key.is_in(devices))
        .filter(device::Column::Deleted.eq(false))
        .into_tuple()
        .all(transaction)
        .await?;
    Ok(present.into_iter().collect())
}

async fn keys_after(transaction: &DatabaseTransaction, sql: &str) -> Result<Vec<i64>, DbErr> {
    #[derive(FromQueryResult)]
    struct Key {
        key: i64,
    }
    let statement = Statement::from_string(transaction.get_database_backend(), sql);
    Ok(Key::find_by_statement(statement).all(transaction).await?.into_iter().map(|row| row.key).collect())
}

/// Runs a statement whose numbers are our own.
pub(crate) async fn run(transaction: &DatabaseTransaction, sql: &str) -> Result<u64, Error> {
    Ok(transaction.execute_unprepared(sql).await?.rows_affected())
}
