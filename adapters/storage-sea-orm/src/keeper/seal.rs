//! The oldest rows of the log become chunks.
//!
//! Chunks are written first, a few in each transaction, as a batch that does not count yet. One short transaction then says
//! that it counts and that the rows up to some id do not; they are removed after it. A process that ends in between leaves
//! chunks that never count, or rows that do not count any more: both are removed by whoever comes next. A process that was held up
//! for longer than its lease, and finds that another had it meanwhile, gives up what it began: both would count with one batch.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, FromQueryResult, Statement};

use super::LogState;
use super::lease::Lease;
use super::pack::{NewChunk, pack_all};
use super::write::{portion, run, write};
use crate::database::Database;
use crate::error::Error;
use crate::locks::{self, Lock};
use crate::options::Sealing;
use crate::telemetry::{Found, Log, Met, Sealed, add_keys};

/// Rows that are read, or removed, at a time.
const STEP: i64 = 5_000;
/// Bytes of payloads in one batch.
const MOST_BYTES: usize = 48_000_000;

/// Removes some rows that are in chunks; `false` when there were none.
pub(super) async fn remove_sealed(db: &Database, lease: &Lease, log: &LogState) -> Result<bool, Error> {
    let Some(first) = log.first.filter(|first| *first <= log.sealed) else { return Ok(false) };
    let Some(transaction) = lease.begin(db).await? else { return Ok(false) };
    // The step is cut at what is sealed: rows behind that came later.
    let up_to = log.sealed.min(first + STEP - 1);
    run(&transaction, &format!("DELETE FROM telemetry WHERE id <= {up_to}")).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Seals the oldest rows, as many as make a batch. Returns of how many devices
/// they are; `None` when there are none, or when another process keeps the history.
pub(super) async fn seal(
    db: &Database,
    lease: &Lease,
    sealing: Sealing,
    met: &mut Met,
) -> Result<Option<usize>, Error> {
    let Some((sealed, last)) = begin(db, lease).await? else { return Ok(None) };
    let most = usize::try_from(sealing.batch).unwrap_or(usize::MAX);
    let (rows, up_to) = read(db, sealed.sealed, last, most).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let count = rows.len();
    // What was met is kept only if its keys are: when this ends early from here on, they are met anew.
    let taken = std::mem::take(met);
    let work = move || {
        let mut met = taken;
        let keys = met.meet(&rows);
        (met, keys, pack_all(rows))
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (now_met, keys, packed) = done.map_err(|error| sea_orm::DbErr::Custom(error.to_string()))?;
    let packed = packed.map_err(|error| sea_orm::DbErr::Custom(format!("rows cannot be packed: {error}")))?;
    let batch = sealed.batch + 1;
    if !write_all(db, lease, batch, &packed).await? {
        return Ok(None);
    }
    let Some(transaction) = lease.go_on(db).await? else { return Ok(None) };
    let sql = format!(
        "UPDATE telemetry_log SET sealed = {up_to}, batch = {batch} WHERE sealed = {} AND batch = {}",
        sealed.sealed, sealed.batch
    );
    if run(&transaction, &sql).await? != 1 {
        // Another process had the lease meanwhile.
        return Ok(None);
    }
    add_keys(&transaction, &keys).await?;
    transaction.commit().await?;
    // Otherwise the index would grow until somebody asks for something.
    db.log_index.forget_up_to(up_to);
    *met = now_met;
    let devices = packed.iter().map(|chunk| chunk.device).collect::<HashSet<_>>().len();
    tracing::debug!(rows = count, devices, chunks = packed.len(), "sealed a part of the log");
    Ok(Some(devices))
}

/// Removes what an earlier process left unfinished. Returns how far the log is sealed and the last id that is to be; no row
/// appears at or before it any more.
async fn begin(db: &Database, lease: &Lease) -> Result<Option<(Sealed, i64)>, Error> {
    #[derive(FromQueryResult)]
    struct Last {
        last: Option<i64>,
    }
    let Some(transaction) = lease.begin(db).await? else { return Ok(None) };
    // An append takes its ids while it shares this lock.
    locks::take(&transaction, Lock::Access).await?;
    let sealed = Sealed::read(&transaction).await?;
    run(&transaction, &format!("DELETE FROM telemetry_chunks WHERE batch > {}", sealed.batch)).await?;
    let statement = Statement::from_string(transaction.get_database_backend(), "SELECT max(id) AS last FROM telemetry");
    let last = Last::find_by_statement(statement).one(&transaction).await?.and_then(|row| row.last);
    transaction.commit().await?;
    Ok(last.filter(|last| *last > sealed.sealed).map(|last| (sealed, last)))
}

/// The oldest rows with their tenants, and the last id among those that were read.
async fn read(db: &Database, after: i64, last: i64, most: usize) -> Result<(Vec<(i64, Found)>, i64), Error> {
    let (mut rows, mut up_to, mut bytes) = (Vec::new(), after, 0);
    while rows.len() < most && bytes < MOST_BYTES {
        let limit = usize::try_from(STEP).unwrap_or(usize::MAX).min(most - rows.len());
        let page = Log::oldest(db.reader(), up_to, last, limit).await?;
        bytes += page.iter().map(|(_, found)| found.row.payload.len()).sum::<usize>();
        let Some((_, newest)) = page.last() else {
            // All is read: ids that are missing were never used, or their rows are removed.
            return Ok((rows, last));
        };
        up_to = newest.row.id.cast_signed();
        rows.extend(page);
    }
    Ok((rows, up_to))
}

async fn write_all(db: &Database, lease: &Lease, batch: i64, mut rest: &[NewChunk]) -> Result<bool, Error> {
    while !rest.is_empty() {
        let (part, others) = rest.split_at(portion(rest));
        let Some(transaction) = lease.go_on(db).await? else { return Ok(false) };
        write(&transaction, batch, part).await?;
        transaction.commit().await?;
        rest = others;
    }
    Ok(true)
}
