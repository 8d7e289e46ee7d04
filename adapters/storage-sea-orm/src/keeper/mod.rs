//! Keeps the history in shape, in the background: seals the log into chunks, and makes small chunks larger.
//!
//! Of the processes that share a database one does this at a time, the one that has the lease. Nothing here holds the
//! database for long: what takes time, reading and compressing, is done outside of transactions that write, and these take
//! a small part at a time.

mod compact;
mod lease;
mod pack;
mod seal;
mod write;

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pocket_ports::{Clock, SystemClock};
use sea_orm::{DbErr, FromQueryResult, Statement};

use crate::database::Database;
use crate::error::Error;
use crate::options::Sealing;
use crate::telemetry::Met;
use lease::Lease;

/// A log that is so many times as long as it is meant to be is sealed before anything else is done.
const LONG: i64 = 10;
/// How often the progress of that is told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Starts the keeper of a database.
pub(crate) fn start(db: &Arc<Database>, sealing: Sealing) {
    // The task alone must not keep the database open.
    let weak = Arc::downgrade(db);
    db.start_task(async move {
        let mut keeper = Keeper::new(sealing);
        loop {
            match keeper.turn(&weak).await {
                None => return,
                Some(Ok(())) => tokio::time::sleep(sealing.every).await,
                Some(Err(error)) => {
                    tracing::warn!(?error, "the log could not be sealed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
}

/// What one process does for the history.
pub(crate) struct Keeper {
    sealing: Sealing,
    lease: Lease,
    /// Chunks that cannot be read, which are left alone.
    damaged: HashSet<i64>,
    /// Whose rows the last batch had.
    devices: usize,
    /// What payloads look like whose keys are stored.
    met: Met,
}

impl Keeper {
    pub(crate) fn new(sealing: Sealing) -> Self {
        Self { sealing, lease: Lease::new(sealing.lease), damaged: HashSet::new(), devices: 0, met: Met::default() }
    }

    /// Seals what is due; `None` when the database is gone.
    async fn turn(&mut self, db: &Weak<Database>) -> Option<Result<(), Error>> {
        loop {
            let db = db.upgrade()?;
            match self.step(&db).await {
                Ok(true) => {}
                Ok(false) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Does a part of the work; `false` when there is nothing to do.
    pub(crate) async fn step(&mut self, db: &Database) -> Result<bool, Error> {
        let log = LogState::read(db).await?;
        let rest = seal::remove_sealed(db, &self.lease, &log).await?;
        if rest {
            return Ok(true);
        }
        if !log.is_due(self.sealing, self.devices) {
            return Ok(false);
        }
        let Some(devices) = seal::seal(db, &self.lease, self.sealing, &mut self.met).await? else { return Ok(false) };
        self.devices = devices;
        compact::compact(db, &self.lease, &mut self.damaged).await?;
        Ok(true)
    }

    /// Seals what an earlier version left as rows, until the log is as short as it is meant to be. Goes on where it was when
    /// the process ended in between.
    pub(crate) async fn catch_up(&mut self, db: &Database) -> Result<(), Error> {
        let most = i64::from(self.sealing.rows).saturating_mul(LONG);
        let (mut told, mut begun) = (Instant::now(), false);
        loop {
            let log = LogState::read(db).await?;
            if log.rows() <= most {
                break;
            }
            if !begun || told.elapsed() >= TELL_EVERY {
                tracing::info!(rows_left = log.rows(), "compressing rows of telemetry");
                (told, begun) = (Instant::now(), true);
            }
            if !self.step(db).await? {
                // Another process is at it.
                tokio::time::sleep(RETRY).await;
            }
        }
        if begun {
            tracing::info!("rows of telemetry are compressed");
        }
        Ok(())
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
    async fn read(db: &Database) -> Result<Self, DbErr> {
        let sql = "SELECT sealed, (SELECT min(id) FROM telemetry) AS first, (SELECT max(id) FROM telemetry) AS last,
                (SELECT received_at FROM telemetry WHERE id > telemetry_log.sealed ORDER BY id LIMIT 1) AS received_at
            FROM telemetry_log";
        let statement = Statement::from_string(db.backend(), sql);
        Self::find_by_statement(statement).one(db.reader()).await?.ok_or(DbErr::RecordNotFound("telemetry_log".into()))
    }

    /// How many rows are not sealed, at most.
    fn rows(&self) -> i64 {
        self.last.map_or(0, |last| last - self.sealed.max(self.first.map_or(0, |first| first - 1)))
    }

    /// Whether there are enough rows, or one that is old enough.
    fn is_due(&self, sealing: Sealing, devices: usize) -> bool {
        let enough =
            i64::from(sealing.rows).max((devices as i64 * i64::from(sealing.per_device)).min(sealing.batch.into()));
        let due_before = SystemClock.now().minus(sealing.after).as_millis();
        self.rows() >= enough || self.received_at.is_some_and(|at| at < due_before)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
