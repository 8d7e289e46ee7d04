//! Which process keeps the history.
//!
//! A lease ends at a time of the database's own clock, which all processes share, and every step of work that is in several
//! transactions asks whether the lease is still this process's: so a clock that jumps may move the lease, but never lets two
//! processes seal the same rows. A lease that ends later than any process could have asked for was taken while the clock
//! was ahead, and is free.
//!
//! Its transactions do not wait for PostgreSQL's disk, unless they say so: commits of messages would wait behind them. A
//! server that crashes forgets the last of them in the order in which they were made, which leaves what a process leaves that
//! ends in between: rows to be sealed again, or rows to be removed again. So work that began before the server did is begun anew.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Value};

use crate::broker::statement;
use crate::database::Database;
use crate::database_time::time_now;
use crate::error::Error;

/// By how much the term of another process may be longer than this one's.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether a commit waits until it is on the disk. A SQLite file does as it is told when it is opened.
#[derive(Clone, Copy)]
enum Waits {
    ForTheDisk,
    No,
}

/// The name under which this process has the lease, or asks for it.
pub(crate) struct Lease {
    name: Vec<u8>,
    term: Duration,
    /// How often it was taken while it was not this process's, or while the database had become another.
    taken: AtomicU64,
    /// What the [timeline](crate::timeline) of the database said then.
    epoch: AtomicU64,
}

impl Lease {
    /// A name that no other process has, and how long it has the lease after it last wrote.
    pub(crate) fn new(term: Duration) -> Self {
        // Each of these states is seeded by the operating system.
        let random = || RandomState::new().hash_one(std::process::id()).to_be_bytes();
        let name = [random(), random()].concat();
        Self { name, term, taken: AtomicU64::new(0), epoch: AtomicU64::new(0) }
    }

    /// Counts the times from when on this process, and no other, has kept the history of this database.
    pub(crate) fn count(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Begins a transaction that writes, as the process that keeps the history; `None` when another does.
    pub(crate) async fn begin(&self, db: &Database) -> Result<Option<DatabaseTransaction>, Error> {
        let transaction = db.begin().await?;
        let epoch = db.timeline().epoch();
        let mine = vec![self.name.clone().into()];
        if self.renew(&transaction, Waits::No, "owner = ?", mine).await? {
            if self.epoch.swap(epoch, Ordering::Relaxed) != epoch {
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(Some(transaction));
        }
        self.epoch.store(epoch, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        let now = time_now(db.backend());
        let longest = LONGEST.as_millis();
        let is_free = format!("(owner IS NULL OR owned_until < {now} OR owned_until > {now} + ? + {longest})");
        let values = vec![self.term_millis().into()];
        Ok(self.renew(&transaction, Waits::No, &is_free, values).await?.then_some(transaction))
    }

    /// Takes the lease, so that what is read from here on may be acted upon by [`go_on`](Self::go_on); `false` when another
    /// process keeps the history.
    pub(crate) async fn hold(&self, db: &Database) -> Result<bool, Error> {
        let Some(transaction) = self.begin(db).await? else { return Ok(false) };
        transaction.commit().await?;
        Ok(true)
    }

    /// Like [`begin`](Self::begin), for work that is in several transactions; `None` also when another process had the lease
    /// since the last of them, which may have begun the same work, or when the server was started anew.
    pub(crate) async fn go_on(&self, db: &Database) -> Result<Option<DatabaseTransaction>, Error> {
        self.next(db, Waits::No).await
    }

    /// Like [`go_on`](Self::go_on); when the transaction is committed, it and all that were before it are on the disk.
    pub(crate) async fn finish(&self, db: &Database) -> Result<Option<DatabaseTransaction>, Error> {
        self.next(db, Waits::ForTheDisk).await
    }

    async fn next(&self, db: &Database, waits: Waits) -> Result<Option<DatabaseTransaction>, Error> {
        let transaction = db.begin().await?;
        if db.timeline().epoch() != self.epoch.load(Ordering::Relaxed) {
            // A server that crashed may have forgotten what was done so far.
            return Ok(None);
        }
        let values = vec![self.name.clone().into()];
        Ok(self.renew(&transaction, waits, "owner = ?", values).await?.then_some(transaction))
    }

    /// Lets any other process have it, if this one has it.
    pub(crate) async fn give_back(&self, db: &Database) -> Result<(), DbErr> {
        let transaction = db.begin().await?;
        // Rows that were being sealed did no harm: this is an orderly end.
        let sql =
            "UPDATE telemetry_log SET owner = NULL, halvings = CASE WHEN halvings > 0 THEN halvings - 1 ELSE 0 END
            WHERE owner = ?";
        transaction.execute_raw(statement(db.backend(), sql, vec![self.name.clone().into()])).await?;
        transaction.commit().await
    }

    fn term_millis(&self) -> i64 {
        i64::try_from(self.term.as_millis()).unwrap_or(i64::MAX / 4)
    }

    async fn renew(
        &self,
        transaction: &DatabaseTransaction,
        waits: Waits,
        condition: &str,
        values: Vec<Value>,
    ) -> Result<bool, DbErr> {
        let backend = transaction.get_database_backend();
        let setting = match (backend, waits) {
            // With the statement, as one of its own would be a trip more.
            (DbBackend::Postgres, Waits::No) => "RETURNING set_config('synchronous_commit', 'off', true)",
            _ => "",
        };
        let now = time_now(backend);
        let sql = &format!("UPDATE telemetry_log SET owner = ?, owned_until = {now} + ? WHERE {condition} {setting}");
        let values = [vec![self.name.clone().into(), self.term_millis().into()], values].concat();
        let statement = statement(backend, sql, values);
        Ok(transaction.execute_raw(statement).await?.rows_affected() == 1)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn work_that_another_process_may_have_begun_anew_does_not_go_on() {
        let sample = Sample::new().await;
        let db = &sample.database;
        // Over before they are given: each takes it from the other.
        let [one, other] = [0, 0].map(|_| Lease::new(Duration::ZERO));
        let began = |lease: Option<DatabaseTransaction>| async move {
            match lease {
                Some(transaction) => transaction.commit().await.map(|()| true).unwrap(),
                None => false,
            }
        };
        assert!(began(one.begin(db).await.unwrap()).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(began(one.go_on(db).await.unwrap()).await, "nobody came in between");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(began(other.begin(db).await.unwrap()).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(!began(one.go_on(db).await.unwrap()).await);
        assert!(began(one.begin(db).await.unwrap()).await, "it may begin anew");
        assert!(!began(other.go_on(db).await.unwrap()).await);
    }

    #[tokio::test]
    async fn work_of_which_the_server_may_have_forgotten_a_part_does_not_go_on() {
        let sample = Sample::new().await;
        let db = &sample.database;
        let lease = Lease::new(Duration::from_secs(60));
        lease.begin(db).await.unwrap().unwrap().commit().await.unwrap();
        lease.go_on(db).await.unwrap().unwrap().commit().await.unwrap();
        let count = lease.count();
        db.timeline().turn();
        assert!(lease.go_on(db).await.unwrap().is_none());
        assert!(lease.finish(db).await.unwrap().is_none());
        lease.begin(db).await.unwrap().unwrap().commit().await.unwrap();
        lease.finish(db).await.unwrap().unwrap().commit().await.unwrap();
        assert_eq!(lease.count(), count + 1);
    }

    #[tokio::test]
    async fn it_is_counted_how_often_it_was_taken_from_others() {
        let sample = Sample::new().await;
        let db = &sample.database;
        let [one, other] = [0, 0].map(|_| Lease::new(Duration::from_secs(60)));
        for _ in 0..2 {
            one.begin(db).await.unwrap().unwrap().commit().await.unwrap();
        }
        assert_eq!(one.count(), 1);
        one.give_back(db).await.unwrap();
        other.begin(db).await.unwrap().unwrap().commit().await.unwrap();
        other.give_back(db).await.unwrap();
        one.begin(db).await.unwrap().unwrap().commit().await.unwrap();
        assert_eq!(one.count(), 2);
    }

    #[tokio::test]
    async fn a_lease_that_was_taken_while_the_clock_was_ahead_keeps_nobody_out() {
        let sample = Sample::new().await;
        let db = &sample.database;
        let term = Duration::from_secs(60);
        let ahead = |seconds: u64| format!("{} + {}", time_now(db.backend()), seconds * 1_000);
        for (until, is_free) in
            [(ahead(60), false), (ahead(119), false), (ahead(130), true), (ahead(315_360_000), true)]
        {
            sample.execute(&format!("UPDATE telemetry_log SET owner = x'00', owned_until = {until}")).await;
            assert_eq!(Lease::new(term).begin(db).await.unwrap().is_some(), is_free, "{until}");
        }
    }

    #[tokio::test]
    async fn it_is_given_back_by_the_process_that_has_it() {
        let sample = Sample::new().await;
        let db = &sample.database;
        let [one, other] = [0, 0].map(|_| Lease::new(Duration::from_secs(60)));
        one.begin(db).await.unwrap().unwrap().commit().await.unwrap();
        other.give_back(db).await.unwrap();
        assert!(other.begin(db).await.unwrap().is_none(), "it has not the lease");
        one.give_back(db).await.unwrap();
        assert!(other.begin(db).await.unwrap().is_some());
    }
}
