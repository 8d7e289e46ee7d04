//! Keeps the history in shape, in the background: seals the log into chunks, makes small chunks larger, and removes what
//! tenants do not keep any more.
//!
//! Of the processes that share a database one does this at a time, the one that has the lease. Nothing here holds the
//! database for long: what takes time, reading and compressing, is done outside of transactions that write, and these take
//! a small part at a time.

mod batch;
mod compact;
mod lease;
mod pace;
mod pack;
mod prune;
mod seal;
mod trim;
mod vacuum;
mod write;

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pocket_domain::Timestamp;
use pocket_ports::{Clock, Pruned, SystemClock};
use sea_orm::{DbErr, FromQueryResult, Statement};
use tokio::sync::Mutex;

use crate::database::Database;
use crate::error::Error;
use crate::options::Sealing;
use lease::Lease;
use seal::Sealer;

/// A log that is so many times as long as it is meant to be is of an earlier version, or of a burst: sealing it takes so long
/// that its progress is told.
const LONG: i64 = 10;
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// How long a step may take. One that is given up is taken again.
const STEP: Duration = Duration::from_secs(600);
/// How long the database may take to hear that this process keeps the history no more. It hears it from the end of the
/// lease otherwise.
const FAREWELL: Duration = Duration::from_secs(1);

/// Starts the keeper of a database.
pub(crate) fn start(db: &Arc<Database>, keeper: Arc<Mutex<Keeper>>, every: Duration) {
    // The task alone must not keep the database open.
    let weak = Arc::downgrade(db);
    db.start_task(async move {
        loop {
            match turn(&weak, &keeper).await {
                None => return,
                Some(Ok(())) => tokio::time::sleep(every).await,
                Some(Err(error)) => {
                    tracing::warn!(?error, "the history could not be kept in shape; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
}

/// Does what is due; `None` when the database is gone.
async fn turn(db: &Weak<Database>, keeper: &Mutex<Keeper>) -> Option<Result<(), Error>> {
    loop {
        let db = db.upgrade()?;
        let mut keeper = keeper.lock().await;
        match db.in_time(STEP, keeper.step(&db)).await {
            Ok(true) => {}
            Ok(false) => return Some(Ok(())),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Leaves the history to other processes, which need not wait for the end of the lease then.
pub(crate) async fn end(db: &Database, keeper: &Mutex<Keeper>) {
    let ended = async { keeper.lock().await.lease.give_back(db).await };
    match tokio::time::timeout(FAREWELL, ended).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the lease of the history was not given back"),
        Err(_) => tracing::debug!("the lease of the history was not given back in time"),
    }
}

/// What one process does for the history.
pub(crate) struct Keeper {
    sealing: Sealing,
    lease: Lease,
    /// Chunks that cannot be read, which are left alone.
    damaged: HashSet<i64>,
    sealer: Sealer,
    pruning: Pruning,
    /// Whether pages of a SQLite file may be free.
    is_loose: bool,
    /// Whether some were given back since the file was last cut.
    was_loose: bool,
    backlog: Backlog,
}

/// How far it is with a log that was long when this process came.
enum Backlog {
    Unknown,
    ToldAt(Instant),
    Done,
}

/// How far it is with what tenants do not keep.
#[derive(Clone, Copy)]
enum Pruning {
    /// It was looked after at this moment.
    Done(Instant),
    /// It is being removed, as of this time: in a history that grows there is always something new.
    AsOf(Timestamp),
}

impl Keeper {
    pub(crate) fn new(sealing: Sealing) -> Self {
        let lease = Lease::new(sealing.lease);
        let pruning = Pruning::Done(Instant::now());
        Self {
            sealing,
            lease,
            damaged: HashSet::new(),
            sealer: Sealer::default(),
            pruning,
            is_loose: true,
            was_loose: false,
            backlog: Backlog::Unknown,
        }
    }

    /// Does a part of the work; `false` when there is nothing to do.
    pub(crate) async fn step(&mut self, db: &Database) -> Result<bool, Error> {
        let log = LogState::read(db, self.sealer.removed).await?;
        self.tell_backlog(&log);
        // Rows are removed while the next are packed; only when these pile up, removing them comes first.
        let is_behind = log.sealed_rows() > i64::from(self.sealing.batch);
        if !is_behind
            && log.is_due(self.sealing, self.sealer.devices)
            && self.sealer.seal(db, &self.lease, self.sealing).await?
        {
            compact::compact(db, &self.lease, &mut self.damaged).await?;
            return Ok(true);
        }
        if self.sealer.remove_sealed(db, &self.lease).await? {
            self.is_loose = true;
            return Ok(true);
        }
        Ok(self.prune_in_turn(db).await? || self.give_back(db).await?)
    }

    /// Removes a part of what tenants do not keep, as of a time.
    pub(crate) async fn prune(&mut self, db: &Database, now: Timestamp) -> Result<Pruned, Error> {
        self.sealer.forget();
        let pruned = prune::prune(db, &self.lease, &mut self.damaged, now).await?;
        self.is_loose |= pruned.rows > 0;
        Ok(pruned)
    }

    /// Removes a part of it when it is time; `false` when there is nothing to do.
    async fn prune_in_turn(&mut self, db: &Database) -> Result<bool, Error> {
        let now = match self.pruning {
            Pruning::Done(at) if at.elapsed() < self.sealing.prune_every => return Ok(false),
            Pruning::Done(_) => {
                // A server that crashed has forgotten the last that was not on its disk.
                self.sealer.removed = 0;
                SystemClock.now()
            }
            Pruning::AsOf(now) => now,
        };
        self.pruning = Pruning::AsOf(now);
        let pruned = self.prune(db, now).await?;
        // A little that is left is left for the next time, and what another process is at is left to it.
        let is_over = pruned.is_done || pruned.rows < Pruned::MOST_LEFT;
        if is_over {
            self.pruning = Pruning::Done(Instant::now());
            self.is_loose = true;
        }
        Ok(!is_over)
    }

    /// Gives some of a file's free pages back; `false` when there is nothing to do.
    async fn give_back(&mut self, db: &Database) -> Result<bool, Error> {
        if !self.is_loose {
            return Ok(false);
        }
        let is_more = vacuum::step(db).await?;
        self.is_loose = is_more;
        if is_more {
            self.was_loose = true;
        } else if std::mem::take(&mut self.was_loose) {
            vacuum::checkpoint(db).await?;
        }
        Ok(is_more)
    }

    /// Seals what an earlier version left as rows, until the log is as short as it is meant to be. Goes on where it was when
    /// the process ended in between.
    pub(crate) async fn catch_up(&mut self, db: &Database) -> Result<(), Error> {
        while self.is_long(&LogState::read(db, self.sealer.removed).await?) {
            if !self.step(db).await? {
                // Another process is at it.
                tokio::time::sleep(RETRY).await;
            }
        }
        Ok(())
    }

    fn is_long(&self, log: &LogState) -> bool {
        log.rows() > i64::from(self.sealing.rows).saturating_mul(LONG)
    }

    fn tell_backlog(&mut self, log: &LogState) {
        let is_over = !self.is_long(log);
        match self.backlog {
            Backlog::Done => {}
            Backlog::ToldAt(at) if !is_over && at.elapsed() < TELL_EVERY => {}
            Backlog::Unknown if is_over => self.backlog = Backlog::Done,
            Backlog::ToldAt(_) if is_over => {
                tracing::info!("rows of telemetry are compressed");
                self.backlog = Backlog::Done;
            }
            Backlog::Unknown | Backlog::ToldAt(_) => {
                tracing::info!(rows_left = log.rows(), "compressing rows of telemetry");
                self.backlog = Backlog::ToldAt(Instant::now());
            }
        }
    }
}

/// What is in the log.
#[derive(Clone, Copy, Debug, FromQueryResult)]
struct LogState {
    /// Rows up to here are in chunks.
    sealed: i64,
    /// The id of the first row that is there.
    first: Option<i64>,
    /// The id of the last.
    last: Option<i64>,
    /// When the first row that is not sealed was received.
    received_at: Option<i64>,
}

impl LogState {
    /// What is in it behind an id up to which all rows were removed: PostgreSQL would walk past each of these until it has
    /// cleared them away.
    async fn read(db: &Database, removed: i64) -> Result<Self, DbErr> {
        let sql = format!(
            "SELECT sealed, (SELECT min(id) FROM telemetry WHERE id > {removed}) AS first,
                (SELECT max(id) FROM telemetry WHERE id > {removed}) AS last,
                (SELECT received_at FROM telemetry WHERE id > telemetry_log.sealed ORDER BY id LIMIT 1) AS received_at
            FROM telemetry_log"
        );
        let statement = Statement::from_string(db.backend(), sql);
        Self::find_by_statement(statement).one(db.reader()).await?.ok_or(DbErr::RecordNotFound("telemetry_log".into()))
    }

    /// How many rows are not sealed, at most.
    fn rows(&self) -> i64 {
        self.last.map_or(0, |last| last - self.sealed.max(self.first.map_or(0, |first| first - 1)))
    }

    /// How many rows are sealed and not yet removed, at most.
    fn sealed_rows(&self) -> i64 {
        self.first.map_or(0, |first| self.sealed - first + 1).max(0)
    }

    /// Whether there are enough rows, or one that is old enough.
    fn is_due(&self, sealing: Sealing, devices: usize) -> bool {
        let due_before = SystemClock.now().minus(sealing.after).as_millis();
        self.rows() >= sealing.enough(devices) || self.received_at.is_some_and(|at| at < due_before)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod retention_tests;
#[cfg(all(test, feature = "sqlite"))]
mod tests;
