//! Chunks on their way into the table.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, Value};

use super::pack::NewChunk;
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
    // From here on no device is deleted; see `access_log::write`.
    locks::share(transaction, Lock::Access).await?;
    let keys: HashSet<i64> = chunks.iter().map(|chunk| chunk.device).collect();
    let present: Vec<i64> = device::Entity::find()
        .select_only()
        .column(device::Column::Key)
        .filter(device::Column::Key.is_in(keys))
        .filter(device::Column::Deleted.eq(false))
        .into_tuple()
        .all(transaction)
        .await?;
    let present: HashSet<i64> = present.into_iter().collect();
    let values = chunks.iter().filter(|chunk| present.contains(&chunk.device)).flat_map(|chunk| {
        [
            chunk.tenant.into(),
            chunk.device.into(),
            batch.into(),
            chunk.first_at.into(),
            chunk.last_at.into(),
            chunk.rows.into(),
            i64::try_from(chunk.content.len()).unwrap_or(i64::MAX).into(),
            chunk.content.clone().into(),
        ]
    });
    let values: Vec<Value> = values.collect();
    let target = "telemetry_chunks (tenant, device, batch, first_at, last_at, row_count, bytes, content)";
    Ok(insert(transaction, target, 8, "", values).await?)
}

/// Runs a statement whose numbers are our own.
pub(crate) async fn run(transaction: &DatabaseTransaction, sql: &str) -> Result<u64, Error> {
    Ok(transaction.execute_unprepared(sql).await?.rows_affected())
}
