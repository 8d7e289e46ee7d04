//! The oldest rows of the log become chunks.
//!
//! Chunks are written first, a few in each transaction, as a batch that does not count yet. One short transaction then says
//! that it counts and that the rows up to some id do not; they are removed after it. A process that ends in between leaves
//! chunks that never count, or rows that do not count any more: both are removed by whoever comes next. A process that was held up
//! for longer than its lease, and finds that another had it meanwhile, gives up what it began: both would count with one batch.
//!
//! What is in memory is bounded: a batch by its bytes, and a part of it at a time becomes chunks, which are written before the
//! next part does. A batch that fails, whatever it fails of, is tried again with half as many rows (`halvings.rs`); a row that no
//! chunk takes is put among the dead letters. So no row keeps the others from being sealed.
//!
//! While rows are packed, which takes a processor, rows of the batch before are removed; while chunks are written, which
//! waits for the disk, the next rows are read.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Instant;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement};

use super::LogState;
use super::batch::Batch;
use super::halvings::Halvings;
use super::keys;
use super::lease::Lease;
use super::pace::Pace;
use super::pack::{NewChunk, Packed, Packer, Portion, Refused};
use super::values;
use super::write::{portion, run, write};
use crate::database::Database;
use crate::error::{Error, is_unavailable};
use crate::locks::{self, Lock};
use crate::options::Sealing;
use crate::telemetry::{Met, Sealed};
use crate::{database_time, dead_letters};

/// What sealing remembers from one batch to the next.
pub(super) struct Sealer {
    /// Keys that are stored.
    pub(super) met: Met,
    /// How many chunks are written at a time.
    writing: Pace,
    /// The batch that comes next.
    ahead: Option<Ahead>,
    /// How many rows are removed at a time.
    removal: Pace,
    /// How large batches are, after failures.
    pub(super) halvings: Halvings,
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
pub(super) struct Start {
    sealed: Sealed,
    /// The last id that may be sealed; no row appears at or before it any more.
    last: i64,
    leased: Instant,
}

impl Default for Sealer {
    fn default() -> Self {
        let (writing, removal) = (Pace::CHUNKS, Pace::ROWS);
        let (met, halvings) = (Met::default(), Halvings::default());
        Self { met, writing, ahead: None, removal, halvings, removed: 0, devices: 0 }
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
        let Some(start) = begin(&mut self.halvings, db, lease).await? else { return Ok(false) };
        self.met.of_term(lease.count());
        let sealed = self.seal_from(db, lease, sealing, &start).await;
        match &sealed {
            Ok(true) => self.halvings.succeeded(),
            Ok(false) => self.halvings.take_back(db).await?,
            Err(Error::Database(error)) if is_unavailable(error) => self.halvings.given_up(),
            Err(_) => {}
        }
        sealed
    }

    async fn seal_from(
        &mut self,
        db: &Database,
        lease: &Lease,
        sealing: Sealing,
        start: &Start,
    ) -> Result<bool, Error> {
        let halvings = self.halvings.now();
        let (batch, up_to) = match self.read_ahead(start, sealing) {
            Some(ahead) => (ahead.batch, ahead.up_to),
            None => Batch::read(db, start.sealed.sealed, start.last, sealing, halvings).await?,
        };
        let rows = batch.len();
        if rows == 0 {
            return Ok(false);
        }
        let mut packer = Packer::new(batch, Portion::halved(halvings));
        let mut done = Done { up_to, next: self.halvings.next(), ..Done::default() };
        let mut devices = HashSet::new();
        let is_written = loop {
            let packed;
            (packer, packed) = self.pack(db, lease, packer).await?;
            let most = sealing.keys_per_device as usize;
            let chunks = keys::within_limit(db, &self.met, packed.chunks, most).await?;
            devices.extend(chunks.iter().map(|chunk| chunk.device));
            done.refused.extend(packed.refused);
            done.count(&chunks);
            let leased = Instant::now();
            if packer.is_done() {
                self.devices = devices.len();
                drop(packer);
                let write = async {
                    let is_written =
                        write_portion(&self.met, &mut self.writing, db, lease, start, &chunks, &mut done).await?;
                    Ok::<_, Error>(is_written && finish(db, lease, start, &done).await?)
                };
                let (is_written, ahead) =
                    tokio::join!(write, read_on(db, start, up_to, devices.len(), sealing, halvings));
                self.ahead = ahead?.map(|(batch, end)| Ahead { batch, after: up_to, up_to: end, leased });
                break is_written?;
            }
            if !write_portion(&self.met, &mut self.writing, db, lease, start, &chunks, &mut done).await? {
                break false;
            }
        };
        if is_written {
            self.note(db, sealing, done);
            tracing::debug!(rows, devices = self.devices, halvings, "sealed a part of the log");
        }
        Ok(is_written)
    }

    /// Packs a portion, and meanwhile removes rows of the batch before.
    async fn pack(&mut self, db: &Database, lease: &Lease, mut packer: Packer) -> Result<(Packer, Packed), Error> {
        let packing = tokio::task::spawn_blocking(move || {
            let packed = packer.pack();
            (packer, packed)
        });
        while !packing.is_finished()
            && let Some(rows) = self.to_remove(db).await?
            && let Some(transaction) = lease.go_on(db).await?
        {
            self.remove(transaction, rows).await?;
        }
        Ok(packing.await.map_err(|error| DbErr::Custom(error.to_string()))?)
    }

    /// Notes what is in the database now, and what could not be kept as it should be.
    fn note(&mut self, db: &Database, sealing: Sealing, done: Done) {
        let Done { up_to, keys, refused, without_leaves, .. } = done;
        self.met.note(keys);
        // Otherwise the index would grow until somebody asks for something.
        db.log_index.forget_up_to(up_to);
        for (device, rows) in without_leaves {
            db.shortfall.lacks_leaves(device, rows, sealing.keys_per_device as usize);
        }
        for Refused { id, error } in refused {
            db.shortfall.sets_aside(id, &error.to_string());
        }
    }

    /// What was read ahead, if it is what comes next and if no other process can have removed any of it.
    fn read_ahead(&mut self, start: &Start, sealing: Sealing) -> Option<Ahead> {
        let is_right = |ahead: &Ahead| {
            ahead.after == start.sealed.sealed && start.leased.duration_since(ahead.leased) < sealing.lease
        };
        self.ahead.take().filter(is_right)
    }
}

/// Removes what an earlier process left unfinished, and notes that a batch begins, if there are rows for one.
pub(super) async fn begin(halvings: &mut Halvings, db: &Database, lease: &Lease) -> Result<Option<Start>, Error> {
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
    let start = last.filter(|last| *last > sealed.sealed).map(|last| Start { sealed, last, leased });
    if start.is_some() {
        halvings.begin(&transaction).await?;
    }
    transaction.commit().await?;
    if start.is_some() {
        halvings.is_begun();
    }
    Ok(start)
}

/// Reads the batch behind an id when it is due as well.
async fn read_on(
    db: &Database,
    start: &Start,
    up_to: i64,
    devices: usize,
    sealing: Sealing,
    halvings: u32,
) -> Result<Option<(Batch, i64)>, Error> {
    // After a failure each batch is read when it is its turn, so that there is one at a time.
    if halvings > 0 || start.last - up_to < sealing.enough(devices) {
        return Ok(None);
    }
    Ok(Some(Batch::read(db, up_to, start.last, sealing, halvings).await?))
}

/// What became of a batch.
#[derive(Default)]
struct Done {
    up_to: i64,
    /// How often the next batch is halved.
    next: u32,
    /// Keys that were written, by their hashes.
    keys: Vec<u64>,
    refused: Vec<Refused>,
    /// Rows without leaves, by device.
    without_leaves: HashMap<i64, usize>,
}

impl Done {
    fn count(&mut self, chunks: &[NewChunk]) {
        for chunk in chunks.iter().filter(|chunk| chunk.without_leaves > 0) {
            *self.without_leaves.entry(chunk.device).or_default() += chunk.without_leaves;
        }
    }
}

/// Writes keys and chunks of a batch that does not count yet; `false` when another process keeps the history.
async fn write_portion(
    met: &Met,
    pace: &mut Pace,
    db: &Database,
    lease: &Lease,
    start: &Start,
    packed: &[NewChunk],
    done: &mut Done,
) -> Result<bool, Error> {
    if !values::write(db, lease, packed).await? {
        return Ok(false);
    }
    // After the values: a key without a value would have nothing to go with.
    let Some(keys) = keys::write(met, db, lease, packed).await? else { return Ok(false) };
    if done.keys.len() + keys.len() <= Met::MOST {
        done.keys.extend(keys);
    }
    let mut rest = packed;
    while !rest.is_empty() {
        let (part, others) = rest.split_at(portion(rest, pace.count()));
        let Some(transaction) = lease.go_on(db).await? else { return Ok(false) };
        let begun = Instant::now();
        write(&transaction, start.sealed.batch + 1, part).await?;
        transaction.commit().await?;
        pace.took(begun.elapsed());
        rest = others;
    }
    Ok(true)
}

/// Makes the batch count, and puts rows that no chunk takes aside; `false` when another process keeps the history.
async fn finish(db: &Database, lease: &Lease, start: &Start, done: &Done) -> Result<bool, Error> {
    let Sealed { sealed: before, batch: batch_before } = start.sealed;
    let Done { up_to, next, refused, .. } = done;
    let Some(transaction) = lease.finish(db).await? else { return Ok(false) };
    if !refused.is_empty() {
        let now = database_time::read(&transaction).await?;
        for Refused { id, error } in refused {
            dead_letters::set_row_aside(&transaction, *id, &format!("cannot be sealed: {error}"), now).await?;
        }
    }
    let sql = format!(
        "UPDATE telemetry_log SET sealed = {up_to}, batch = {}, halvings = {next}
        WHERE sealed = {before} AND batch = {batch_before}",
        batch_before + 1
    );
    if run(&transaction, &sql).await? != 1 {
        // Another process had the lease meanwhile.
        return Ok(false);
    }
    // Not before: until here a server that crashes may forget them.
    transaction.commit().await?;
    Ok(true)
}
