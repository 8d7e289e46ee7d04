//! The oldest rows of the log become chunks.
//!
//! Chunks are written first, a few in each transaction, as a batch that does not count yet. One short transaction then says
//! that it counts and that the rows up to some id do not; they are removed after it. A process that ends in between leaves
//! chunks that never count, or rows that do not count any more: both are removed by whoever comes next. A process that was held up
//! for longer than its lease, and finds that another had it meanwhile, gives up what it began: both would count with one batch.
//!
//! While rows are packed, which takes a processor, rows of the batch before are removed; while chunks are written, which
//! waits for the disk, the next rows are read.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Instant;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement};

use super::LogState;
use super::batch::Batch;
use super::lease::Lease;
use super::pace::Pace;
use super::pack::{NewChunk, pack_all};
use super::write::{portion, run, write};
use crate::database::Database;
use crate::error::Error;
use crate::locks::{self, Lock};
use crate::options::Sealing;
use crate::telemetry::{Met, Sealed, add_keys};

/// Keys that one transaction writes.
const KEYS: usize = 1_000;

/// What sealing remembers from one batch to the next.
pub(super) struct Sealer {
    /// Keys that are stored.
    met: Met,
    /// How many chunks are written at a time.
    writing: Pace,
    /// The batch that comes next.
    ahead: Option<Ahead>,
    /// How many rows are removed at a time.
    removal: Pace,
    /// Rows up to this id are removed, as far as this process knows.
    pub(super) removed: i64,
    /// Whose rows the last batch had.
    pub(super) devices: usize,
}

/// Rows that were read before it was their turn.
struct Ahead {
    batch: Batch,
    /// The ids behind which they begin and with which they end.
    after: i64,
    up_to: i64,
    /// When this process had the lease for certain.
    leased: Instant,
}

/// Where a batch begins.
struct Start {
    sealed: Sealed,
    /// The last id that may be sealed; no row appears at or before it any more.
    last: i64,
    leased: Instant,
}

impl Default for Sealer {
    fn default() -> Self {
        let (writing, removal) = (Pace::CHUNKS, Pace::ROWS);
        Self { met: Met::default(), writing, ahead: None, removal, removed: 0, devices: 0 }
    }
}

impl Sealer {
    /// Forgets what it read ahead, because rows of the log are removed.
    pub(super) fn forget(&mut self) {
        self.ahead = None;
    }

    /// Removes some rows that are in chunks; `false` when there were none.
    pub(super) async fn remove_sealed(&mut self, db: &Database, lease: &Lease) -> Result<bool, Error> {
        let Some(rows) = self.to_remove(db).await? else { return Ok(false) };
        let Some(transaction) = lease.begin(db).await? else { return Ok(false) };
        self.remove(transaction, rows).await?;
        Ok(true)
    }

    /// The rows that are in chunks.
    async fn to_remove(&self, db: &Database) -> Result<Option<RangeInclusive<i64>>, Error> {
        let log = LogState::read(db, self.removed).await?;
        Ok(log.first.filter(|first| *first <= log.sealed).map(|first| first..=log.sealed))
    }

    /// Removes the first of these rows, as many as make a step.
    async fn remove(&mut self, transaction: DatabaseTransaction, rows: RangeInclusive<i64>) -> Result<(), Error> {
        let begun = Instant::now();
        let first = *rows.start();
        // The step is cut at what is sealed: rows behind that came later.
        let count = i64::try_from(self.removal.count()).unwrap_or(i64::MAX);
        let last = first.saturating_add(count - 1).min(*rows.end());
        run(&transaction, &format!("DELETE FROM telemetry WHERE id BETWEEN {first} AND {last}")).await?;
        transaction.commit().await?;
        self.removal.took(begun.elapsed());
        self.removed = last;
        Ok(())
    }

    /// Seals the oldest rows, as many as make a batch; `false` when there are none, or when another process keeps the history.
    pub(super) async fn seal(&mut self, db: &Database, lease: &Lease, sealing: Sealing) -> Result<bool, Error> {
        let Some(start) = begin(db, lease).await? else { return Ok(false) };
        let (batch, up_to) = match self.read_ahead(&start, sealing) {
            Some(ahead) => (ahead.batch, ahead.up_to),
            None => Batch::read(db, start.sealed.sealed, start.last, sealing).await?,
        };
        let rows = batch.len();
        if rows == 0 {
            return Ok(false);
        }
        let packing = tokio::task::spawn_blocking(move || pack_all(batch));
        while !packing.is_finished()
            && let Some(rows) = self.to_remove(db).await?
            && let Some(transaction) = lease.go_on(db).await?
        {
            self.remove(transaction, rows).await?;
        }
        let packed = packing.await.map_err(|error| DbErr::Custom(error.to_string()))?;
        let packed = packed.map_err(|error| DbErr::Custom(format!("rows cannot be packed: {error}")))?;
        self.devices = packed.iter().map(|chunk| chunk.device).collect::<HashSet<_>>().len();
        let leased = Instant::now();
        let (is_written, ahead) = tokio::join!(
            write_all(&mut self.met, &mut self.writing, db, lease, &start, up_to, &packed),
            read_on(db, &start, up_to, self.devices, sealing)
        );
        self.ahead = ahead?.map(|(batch, end)| Ahead { batch, after: up_to, up_to: end, leased });
        tracing::debug!(rows, devices = self.devices, chunks = packed.len(), "sealed a part of the log");
        is_written
    }

    /// What was read ahead, if it is what comes next and if no other process can have removed any of it.
    fn read_ahead(&mut self, start: &Start, sealing: Sealing) -> Option<Ahead> {
        let is_right = |ahead: &Ahead| {
            ahead.after == start.sealed.sealed && start.leased.duration_since(ahead.leased) < sealing.lease
        };
        self.ahead.take().filter(is_right)
    }
}

/// Removes what an earlier process left unfinished.
async fn begin(db: &Database, lease: &Lease) -> Result<Option<Start>, Error> {
    #[derive(FromQueryResult)]
    struct Last {
        last: Option<i64>,
    }
    let Some(transaction) = lease.begin(db).await? else { return Ok(None) };
    let leased = Instant::now();
    // An append takes its ids while it shares this lock.
    locks::take(&transaction, Lock::Access).await?;
    let sealed = Sealed::read(&transaction).await?;
    run(&transaction, &format!("DELETE FROM telemetry_chunks WHERE batch > {}", sealed.batch)).await?;
    let statement = Statement::from_string(transaction.get_database_backend(), "SELECT max(id) AS last FROM telemetry");
    let last = Last::find_by_statement(statement).one(&transaction).await?.and_then(|row| row.last);
    transaction.commit().await?;
    Ok(last.filter(|last| *last > sealed.sealed).map(|last| Start { sealed, last, leased }))
}

/// Reads the batch behind an id when it is due as well.
async fn read_on(
    db: &Database,
    start: &Start,
    up_to: i64,
    devices: usize,
    sealing: Sealing,
) -> Result<Option<(Batch, i64)>, Error> {
    if start.last - up_to < sealing.enough(devices) {
        return Ok(None);
    }
    Ok(Some(Batch::read(db, up_to, start.last, sealing).await?))
}

/// Writes chunks and makes them count; `false` when another process keeps the history.
async fn write_all(
    met: &mut Met,
    pace: &mut Pace,
    db: &Database,
    lease: &Lease,
    start: &Start,
    up_to: i64,
    packed: &[NewChunk],
) -> Result<bool, Error> {
    let Sealed { sealed: before, batch: batch_before } = start.sealed;
    let batch = batch_before + 1;
    let mut keys: Vec<(i64, &str)> =
        packed.iter().flat_map(|chunk| chunk.keys.iter().map(|key| (chunk.device, &**key))).collect();
    keys.retain(|(device, key)| met.is_new(*device, key));
    keys.sort_unstable();
    keys.dedup();
    for part in keys.chunks(KEYS) {
        let Some(transaction) = lease.go_on(db).await? else { return Ok(false) };
        add_keys(&transaction, part).await?;
        transaction.commit().await?;
    }
    let mut rest = packed;
    while !rest.is_empty() {
        let (part, others) = rest.split_at(portion(rest, pace.count()));
        let Some(transaction) = lease.go_on(db).await? else { return Ok(false) };
        let begun = Instant::now();
        write(&transaction, batch, part).await?;
        transaction.commit().await?;
        pace.took(begun.elapsed());
        rest = others;
    }
    let Some(transaction) = lease.finish(db).await? else { return Ok(false) };
    let sql = format!(
        "UPDATE telemetry_log SET sealed = {up_to}, batch = {batch} WHERE sealed = {before} AND batch = {batch_before}"
    );
    if run(&transaction, &sql).await? != 1 {
        // Another process had the lease meanwhile.
        return Ok(false);
    }
    transaction.commit().await?;
    // Not before: until here a server that crashes may forget them.
    met.note(keys.into_iter());
    // Otherwise the index would grow until somebody asks for something.
    db.log_index.forget_up_to(up_to);
    Ok(true)
}
