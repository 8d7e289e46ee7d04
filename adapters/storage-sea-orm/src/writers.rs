//! The writers of batches: for each a row with the number of its last batch, which every commit moves on by one.
//!
//! - A commit moves the row on only from where this process left it. Two processes that take themselves for the same writer
//!   cannot both commit, and what is known of the database's keys holds, since a database that has the last commit of a writer
//!   has all that was committed before it.
//! - When the answer to a commit is lost, the row is taken anew. That waits for the commit, if it is still under way, and
//!   excludes it, if it never arrived; the number then tells which of the two it was. No number of the server's is asked after: a
//!   server that crashed gives them out again.
//! - A row that is behind what was committed is that of an older copy of the database.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use pocket_domain::NodeName;
use pocket_ports::{BatchNumber, Conflict};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, Statement, Value};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::access_log;
use crate::broker::statement;
use crate::claim::Claim;
use crate::database::Database;
use crate::error::Error;
use crate::key_cache::KeyCache;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the row of a process that did not end in order is kept, by the time of the database's server.
const KEPT: &str = "30 days";
/// How many rows of such processes a SQLite file keeps.
const MOST: u32 = 1_000;
/// How far keys skip ahead when the database is found to be an older copy, so that keys which were lost with its end are not
/// given to something else.
const SKIPPED: i64 = 1_000_000;

/// Who writes.
#[derive(Clone, Copy)]
pub(crate) enum WriterName<'a> {
    /// A broker process.
    Node(&'a NodeName),
    /// This process, which is none or does something beside its broker.
    Process,
    /// The imports of this process.
    Import,
}

/// The writers of this process.
pub(crate) struct Writers {
    /// A random number that stands for this process.
    owner: i64,
    known: Mutex<HashMap<String, Arc<Mutex<Writer>>>>,
}

impl Default for Writers {
    fn default() -> Self {
        // Its state is seeded by the operating system.
        let owner = RandomState::new().hash_one(std::process::id()).cast_signed();
        Self { owner, known: Mutex::default() }
    }
}

impl Writers {
    /// The writer, for one batch: those who want it at the same time take turns.
    pub(crate) async fn get(&self, name: WriterName<'_>) -> OwnedMutexGuard<Writer> {
        let (name, lasts) = match name {
            WriterName::Node(node) => (node.to_string(), true),
            WriterName::Process => (format!("process/{:016x}", self.owner), false),
            WriterName::Import => (format!("import/{:016x}", self.owner), false),
        };
        let writer = {
            let mut known = self.known.lock().await;
            let new = || Arc::new(Mutex::new(Writer::new(&name, lasts, self.owner)));
            Arc::clone(known.entry(name.clone()).or_insert_with(new))
        };
        writer.lock_owned().await
    }

    /// Takes the names of brokers of this process again that the server does not know as held; `held` are those that it does.
    ///
    /// # Errors
    /// `Conflict(Node)` when another process has one meanwhile.
    pub(crate) async fn hold_names(&self, db: &Database, held: &HashSet<&str>) -> Result<(), Error> {
        let known: Vec<_> = self.known.lock().await.values().map(Arc::clone).collect();
        for writer in known {
            // One that is in the middle of a batch finds out by itself, or the next time.
            let Ok(mut writer) = writer.try_lock() else { continue };
            if !held.contains(&*writer.name)
                && let Some((claim, _)) = writer.claim.take()
            {
                tracing::debug!(node = writer.name, "the server has forgotten that this process has the name");
                let _ = claim.end().await;
                writer.hold_name(db).await?;
            }
        }
        Ok(())
    }

    /// Removes the rows of this process, and gives its names back.
    pub(crate) async fn end(&self, db: &Database) -> Result<(), DbErr> {
        for (_, writer) in self.known.lock().await.drain() {
            // One that is in the middle of a batch is left to the next start.
            let Ok(mut writer) = writer.try_lock() else { continue };
            if writer.place.is_some() && !writer.lasts {
                writer.remove(db).await?;
            }
            if let Some((claim, _)) = writer.claim.take() {
                claim.end().await?;
            }
        }
        Ok(())
    }
}

/// Where the row of a writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: i64,
    pub(crate) owner: i64,
    pub(crate) term: i64,
    /// The number of the last batch.
    pub(crate) number: i64,
}

/// One writer.
pub(crate) struct Writer {
    name: String,
    /// Whether it is a broker, whose name no other process may have.
    lasts: bool,
    owner: i64,
    /// Known once the row was taken.
    place: Option<Place>,
    /// What holds the name, since which epoch of the database.
    claim: Option<(Claim, u64)>,
    /// Another process has the name.
    is_lost: bool,
    /// Keys that this writer met. They hold as of its last commit.
    pub(crate) keys: KeyCache,
}

/// A row of the table, or what stands for one in SQLite.
#[derive(Clone, Copy, Debug, FromQueryResult)]
struct Found {
    key: i64,
    owner: i64,
    term: i64,
    number: i64,
}

/// What a transaction learns as it moves a row on.
#[derive(FromQueryResult)]
struct Moved {
    number: Option<i64>,
    seen: i64,
}

impl Writer {
    fn new(name: &str, lasts: bool, owner: i64) -> Self {
        let (name, keys) = (name.to_owned(), KeyCache::default());
        Self { name, lasts, owner, place: None, claim: None, is_lost: false, keys }
    }

    /// Where the row is, which is taken if it was not.
    ///
    /// # Errors
    /// `Conflict(Node)` when another process has the name.
    pub(crate) async fn ready(&mut self, db: &Database) -> Result<Place, Error> {
        if self.is_lost {
            return Err(Conflict::Node.into());
        }
        if self.lasts {
            self.hold_name(db).await?;
        }
        match self.place {
            Some(place) => Ok(place),
            None => self.take(db).await,
        }
    }

    /// Holds the name, again when the server may have forgotten that this process does.
    async fn hold_name(&mut self, db: &Database) -> Result<(), Error> {
        let epoch = db.timeline().epoch();
        match &mut self.claim {
            Some((_, since)) if *since == epoch => Ok(()),
            Some((claim, since)) => {
                claim.renew(&self.name).await?;
                *since = epoch;
                Ok(())
            }
            None => {
                self.claim = Some((Claim::take(db, &self.name).await?, epoch));
                Ok(())
            }
        }
    }

    /// Takes the row, which is made if it is not there.
    async fn take(&mut self, db: &Database) -> Result<Place, Error> {
        let before = self.place.map_or(0, |place| place.term);
        // The row of a process that was idle for long may have been removed.
        let first = self.place.filter(|_| !self.lasts).map_or(0, |place| place.number);
        let found = match db.backend() {
            DbBackend::Postgres => {
                let old = format!("DELETE FROM writers WHERE NOT lasts AND used_at < now() - interval '{KEPT}'");
                db.writer().execute_unprepared(&old).await?;
                let sql = "INSERT INTO writers (name, lasts, owner, term, number) VALUES (?, ?, ?, 1, ?)
                    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner,
                        term = greatest(writers.term, ?) + 1, used_at = now()
                    RETURNING key, owner, term, number";
                let values =
                    vec![self.name.clone().into(), self.lasts.into(), self.owner.into(), first.into(), before.into()];
                let row = db.writer().query_one_raw(statement(DbBackend::Postgres, sql, values)).await?;
                Found::from_query_result(&row.ok_or(DbErr::RecordNotInserted)?, "")?
            }
            _ => {
                let name = self.sequence();
                let transaction = db.begin().await?;
                let add = "INSERT INTO sqlite_sequence (name, seq)
                    SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)";
                transaction.execute_raw(sqlite(add, vec![name.clone().into(), first.into(), name.into()])).await?;
                // Those of processes that did not end in order, but for the last.
                let old = format!(
                    "DELETE FROM sqlite_sequence WHERE name LIKE 'writers.%/%'
                        AND rowid < (SELECT max(rowid) FROM sqlite_sequence) - {MOST}"
                );
                transaction.execute_unprepared(&old).await?;
                let found = self.read(&transaction).await?.ok_or(DbErr::RecordNotInserted)?;
                transaction.commit().await?;
                found
            }
        };
        let place = Place { key: found.key, owner: self.owner, term: found.term, number: found.number };
        self.place = Some(place);
        Ok(place)
    }

    /// The name under which SQLite keeps the number. No table has it.
    fn sequence(&self) -> String {
        format!("writers.{}", self.name)
    }

    /// The row as it is.
    async fn read(&self, connection: &impl ConnectionTrait) -> Result<Option<Found>, DbErr> {
        let question = match connection.get_database_backend() {
            DbBackend::Postgres => {
                let sql = "SELECT key, owner, term, number FROM writers WHERE name = ?";
                statement(DbBackend::Postgres, sql, vec![self.name.clone().into()])
            }
            _ => {
                // Nobody else takes it: the name is that of a file that is locked, or has the owner in it.
                let sql = "SELECT 0 AS key, ? AS owner, 1 AS term, seq AS number FROM sqlite_sequence WHERE name = ?";
                sqlite(sql, vec![self.owner.into(), self.sequence().into()])
            }
        };
        Found::find_by_statement(question).one(connection).await
    }

    async fn remove(&self, db: &Database) -> Result<(), DbErr> {
        let removal = match db.backend() {
            DbBackend::Postgres => {
                let values = vec![self.name.clone().into(), self.owner.into()];
                statement(DbBackend::Postgres, "DELETE FROM writers WHERE name = ? AND owner = ?", values)
            }
            _ => sqlite("DELETE FROM sqlite_sequence WHERE name = ?", vec![self.sequence().into()]),
        };
        db.writer().execute_raw(removal).await.map(|_| ())
    }

    /// Moves the row on within a transaction, and tells the newest entry of the access log; `None` when the row is not where
    /// this process left it, upon which the transaction must be given up and [`find_again`](Self::find_again) asked.
    pub(crate) async fn move_on(&self, transaction: &DatabaseTransaction, place: Place) -> Result<Option<i64>, Error> {
        if transaction.get_database_backend() != DbBackend::Postgres {
            let sql = "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = ? AND seq = ?";
            let values = vec![self.sequence().into(), place.number.into()];
            let moved = transaction.execute_raw(sqlite(sql, values)).await?.rows_affected();
            return if moved == 1 { Ok(Some(access_log::latest(transaction).await?)) } else { Ok(None) };
        }
        let sql = "WITH moved AS (
                UPDATE writers SET number = number + 1, used_at = now()
                WHERE key = ? AND owner = ? AND term = ? AND number = ? RETURNING number
            )
            SELECT (SELECT number FROM moved) AS number,
                (SELECT coalesce(max(sequence), 0) FROM access_changes) AS seen";
        let Place { key, owner, term, number } = place;
        let values = vec![key.into(), owner.into(), term.into(), number.into()];
        let moved = Moved::find_by_statement(statement(DbBackend::Postgres, sql, values)).one(transaction).await?;
        Ok(moved.and_then(|Moved { number, seen }| number.map(|_| seen)))
    }

    /// What became of a transaction that moved the row on: its number, if it is committed. Does not return before that is
    /// known.
    pub(crate) async fn committed(&mut self, db: &Database, answer: Result<(), DbErr>) -> Result<BatchNumber, Error> {
        if let Err(error) = answer
            && !self.settle(db, &error).await?
        {
            return Err(error.into());
        }
        let place = self.place.as_mut().ok_or(DbErr::RecordNotUpdated)?;
        place.number += 1;
        BatchNumber::new(place.number.unsigned_abs()).ok_or_else(|| DbErr::RecordNotUpdated.into())
    }

    /// Whether a commit without an answer was done. Afterwards it is, or it never will be.
    async fn settle(&mut self, db: &Database, lost: &DbErr) -> Result<bool, Error> {
        let is_remote = db.backend() == DbBackend::Postgres;
        if is_remote {
            tracing::warn!(writer = self.name, error = %lost, "a commit was not answered; checking whether it took effect");
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let found = match db.answer(self.retake(db)).await {
                Ok(found) => found,
                Err(error) if !db.is_closed() => {
                    tracing::debug!(%error, "the row of the writer cannot be taken yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(place) = &mut self.place else { return Ok(false) };
            let Some(found) = found else {
                self.find_again(db).await?;
                return Ok(false);
            };
            place.term = found.term;
            let is_done = found.number == place.number + 1;
            if is_remote {
                tracing::info!(writer = self.name, number = found.number, is_done, "outcome of the commit known");
            }
            return Ok(is_done);
        }
    }

    /// Takes a row anew that this process has; `None` when it has not.
    async fn retake(&self, db: &Database) -> Result<Option<Found>, DbErr> {
        let Some(place) = self.place else { return Ok(None) };
        if db.backend() != DbBackend::Postgres {
            return self.read(db.writer()).await;
        }
        let sql = "UPDATE writers SET term = term + 1 WHERE key = ? AND name = ? AND owner = ? AND term >= ?
            RETURNING key, owner, term, number";
        let values = vec![place.key.into(), self.name.clone().into(), place.owner.into(), place.term.into()];
        Found::find_by_statement(statement(DbBackend::Postgres, sql, values)).one(db.writer()).await
    }

    /// Finds out why the row is not where this process left it, and takes it anew if the database is an older copy.
    ///
    /// # Errors
    /// `Conflict(Node)` when another process has taken it.
    pub(crate) async fn find_again(&mut self, db: &Database) -> Result<(), Error> {
        let Some(place) = self.place else { return Ok(()) };
        let found = self.read(db.reader()).await?;
        if let Some(found) = found
            && is_taken(place, found)
        {
            self.is_lost = true;
            tracing::error!(
                node = self.name,
                last = place.number,
                "another process has taken the name of this node; this one stores nothing any more: stop one of the two, or \
                 give each its own name (POCKET_NODE)"
            );
            return Err(Conflict::Node.into());
        }
        let is_behind = found.is_none_or(|found| (found.term, found.number) < (place.term, place.number));
        // The term may be behind alone: the row was taken anew, and nothing was committed since.
        let is_short = found.map_or(0, |found| found.number) < place.number;
        if is_short && (self.lasts || found.is_some()) {
            tracing::error!(
                writer = self.name,
                committed = place.number,
                found = found.map_or(0, |found| found.number),
                "the database is an older copy: batches that this process committed are not in it, and messages that were \
                 acknowledged with them are lost; going on from what is there"
            );
        }
        db.timeline().turn();
        if self.lasts {
            self.hold_name(db).await?;
        }
        self.take(db).await?;
        if is_behind && db.backend() == DbBackend::Postgres {
            skip_keys(db).await?;
        }
        Ok(())
    }
}

/// Whether another process has taken the row since this one did.
fn is_taken(place: Place, found: Found) -> bool {
    let is_ours = found.owner == place.owner;
    if is_ours { found.term == place.term && found.number > place.number } else { found.term > place.term }
}

/// Lets keys go on some way behind those that may have been given before the database was replaced by an older copy.
async fn skip_keys(db: &Database) -> Result<(), DbErr> {
    for (table, column) in [("tenants", "key"), ("devices", "key"), ("topics", "key"), ("telemetry", "id")] {
        let sequence = format!("pg_get_serial_sequence('{table}', '{column}')");
        let sql = format!("SELECT setval({sequence}, nextval({sequence}) + {SKIPPED})");
        db.writer().execute_unprepared(&sql).await?;
    }
    Ok(())
}

fn sqlite(sql: &str, values: Vec<Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}
