//! Keeps the history in shape, in the background: seals the log into chunks, and makes small chunks larger. When it is told,
//! it removes what tenants do not keep any more.
//!
//! Of the processes that share a database one does this at a time, the one that has the lease. Nothing here holds the
//! database for long: what takes time, reading and compressing, is done outside of transactions that write, and these take
//! a small part at a time.

mod batch;
mod compact;
mod halvings;
mod keys;
mod lease;
mod pace;
mod pack;
mod prune;
mod seal;
mod shortfall;
mod topics;
mod trim;
mod vacuum;
mod values;
mod write;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pocket_domain::Timestamp;
use pocket_ports::{Held, Pruned};
use sea_orm::{DbErr, FromQueryResult, Statement};
use tokio::sync::Mutex;

use crate::database::Database;
use crate::database_time::time_now;
use crate::error::Error;
use crate::options::Sealing;
use lease::Lease;
use seal::Sealer;
pub(crate) use shortfall::Shortfall;
use topics::Topics;

/// A log that is so many times as long as it is meant to be is of an earlier version, or of a burst: sealing it takes so long
/// that its progress is told.
const LONG: i64 = 10;
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Steps in which names that went are looked for before a removal; the rest of them follows.
const LOOKS: usize = 32;
/// How often it is told that the history is not kept in shape.
const TELL_BEHIND: Duration = Duration::from_secs(300);
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
                    tracing::warn!(?error, "compression and removal of telemetry failed; trying again");
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
    /// What was sealed when rows that wait were first seen.
    waiting: Option<(i64, Instant)>,
    /// Since when something is due, while nothing is sealed.
    behind: Option<Behind>,
    topics: Topics,
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

/// Something is due, and no process does it.
#[derive(Clone, Copy)]
struct Behind {
    /// What was sealed when it was first seen.
    sealed: i64,
    since: Instant,
    told: Instant,
}

impl Keeper {
    pub(crate) fn new(sealing: Sealing) -> Self {
        let lease = Lease::new(sealing.lease);
        Self {
            sealing,
            lease,
            damaged: HashSet::new(),
            sealer: Sealer::default(),
            waiting: None,
            behind: None,
            topics: Topics::default(),
            is_loose: true,
            was_loose: false,
            backlog: Backlog::Unknown,
        }
    }

    /// Does a part of the work; `false` when there is nothing to do.
    pub(crate) async fn step(&mut self, db: &Database) -> Result<bool, Error> {
        let log = LogState::read(db, self.sealer.removed).await?;
        self.tell_backlog(&log);
        let is_due = self.is_due(&log);
        self.tell_behind(db, &log, is_due);
        // Rows are removed while the next are packed; only when these pile up, removing them comes first.
        let is_behind = log.sealed_rows() > i64::from(self.sealing.batch);
        if !is_behind && is_due && self.sealer.seal(db, &self.lease, self.sealing).await? {
            compact::compact(db, &self.lease, &mut self.damaged).await?;
            return Ok(true);
        }
        if self.sealer.remove_sealed(db, &self.lease).await? {
            self.is_loose = true;
            return Ok(true);
        }
        Ok(values::fill(db, &self.lease, &mut self.sealer.met).await?
            || self.topics.step(db, &self.lease).await?
            || self.give_back(db).await?)
    }

    /// Removes a part of what tenants do not keep, as of a time. What is held back stays.
    pub(crate) async fn prune(&mut self, db: &Database, now: Timestamp, held: &Held) -> Result<Pruned, Error> {
        self.sealer.forget();
        // A server that crashed has forgotten the last that was not on its disk.
        self.sealer.removed = 0;
        // Names that went with their messages are not counted any more.
        self.topics.look_soon();
        for _ in 0..LOOKS {
            if !self.topics.step(db, &self.lease).await? {
                break;
            }
        }
        let (damaged, met) = (&mut self.damaged, &mut self.sealer.met);
        let pruned = prune::prune(db, &self.lease, damaged, met, (now, held)).await?;
        self.is_loose |= pruned.rows > 0;
        if pruned.rows > 0 {
            db.topics_loose.store(true, Ordering::Relaxed);
        }
        Ok(pruned)
    }

    /// Whether there are enough rows, or one that is old enough: by the clock of the database, or because it has been seen for
    /// so long, whatever that clock says.
    fn is_due(&mut self, log: &LogState) -> bool {
        let waiting = self.waiting.filter(|(sealed, _)| *sealed == log.sealed).unwrap_or((log.sealed, Instant::now()));
        self.waiting = (log.rows() > 0).then_some(waiting);
        let is_old = || self.waiting.is_some_and(|(_, since)| since.elapsed() >= self.sealing.after);
        log.is_due(self.sealing, self.sealer.devices) || is_old()
    }

    /// Tells when something has been due for long that neither this process nor another has done.
    fn tell_behind(&mut self, db: &Database, log: &LogState, is_due: bool) {
        let now = Instant::now();
        let before = self.behind.filter(|behind| behind.sealed == log.sealed);
        self.behind = is_due.then(|| {
            let mut behind = before.unwrap_or(Behind { sealed: log.sealed, since: now, told: now });
            if behind.told.elapsed() >= TELL_BEHIND {
                behind.told = now;
                let minutes = behind.since.elapsed().as_secs() / 60;
                tracing::warn!(
                    minutes,
                    rows = log.rows(),
                    "compression and removal of telemetry have been failing for minutes"
                );
            }
            behind
        });
        let lasts = self.behind.map_or(Duration::ZERO, |behind| behind.since.elapsed());
        db.upkeep.behind.store(lasts.as_millis() as u64, Ordering::Relaxed);
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
    /// What the clock of the database shows.
    now: i64,
}

impl LogState {
    /// What is in it behind an id up to which all rows were removed: PostgreSQL would walk past each of these until it has
    /// cleared them away.
    async fn read(db: &Database, removed: i64) -> Result<Self, DbErr> {
        let sql = format!(
            "SELECT sealed, (SELECT min(id) FROM telemetry WHERE id > {removed}) AS first,
                (SELECT max(id) FROM telemetry WHERE id > {removed}) AS last,
                (SELECT received_at FROM telemetry WHERE id > telemetry_log.sealed ORDER BY id LIMIT 1) AS received_at,
                {} AS now
            FROM telemetry_log",
            time_now(db.backend())
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
        let after = i64::try_from(sealing.after.as_millis()).unwrap_or(i64::MAX);
        self.rows() >= sealing.enough(devices) || self.received_at.is_some_and(|at| at < self.now.saturating_sub(after))
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod keys_tests;
#[cfg(all(test, feature = "sqlite"))]
mod poison_tests;
#[cfg(all(test, feature = "sqlite"))]
mod retention_tests;
#[cfg(all(test, feature = "sqlite"))]
mod tests;
