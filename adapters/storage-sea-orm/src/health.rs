//! Whether the database takes writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use pocket_ports::{DecodingStats, StorageError, StorageHealth, Upkeep};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::sync::Mutex;

use crate::database::Database;
use crate::error::Error;
use crate::keeper::{self, Keeper, Shortfall};
use crate::open::why_no_answer;

/// After which time no answer is an answer: a probe of readiness has a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(2);

/// The health of a database, and its end.
pub(crate) struct Health(pub(crate) Arc<Database>, pub(crate) Arc<Mutex<Keeper>>);

/// Asks whether a transaction may write.
///
/// SQLite begins one and gives it up: it takes the write lock, which fails on a file or file system that is read-only. PostgreSQL
/// is asked without one: who gives up waiting for its BEGIN leaves a connection that is in a transaction, of which the driver
/// knows nothing.
async fn check(db: &Database) -> Result<(), Error> {
    if db.backend() != DbBackend::Postgres {
        db.begin().await?.rollback().await?;
        return db.require_room().await;
    }
    let question = "SELECT current_setting('transaction_read_only') AS read_only";
    let answer = db.reader().query_one_raw(Statement::from_string(DbBackend::Postgres, question)).await?;
    let read_only: Option<String> = answer.map(|row| row.try_get("", "read_only")).transpose()?;
    match read_only.as_deref() {
        Some("off") => Ok(()),
        _ => Err(StorageError::Unavailable("the server takes no writes at present".to_owned()).into()),
    }
}

/// Why there was no answer in time, as far as that can be told.
async fn no_answer(db: &Database) -> String {
    let waited = format!("no answer within {} s", DEADLINE.as_secs());
    match db.backend() {
        DbBackend::Postgres => why_no_answer(db.url(), DEADLINE).await.unwrap_or(waited),
        DbBackend::Sqlite => {
            format!("another process holds the lock of the database file, or the disk is slow: {waited}")
        }
        _ => waited,
    }
}

#[async_trait]
impl StorageHealth for Health {
    async fn check(&self) -> Result<(), StorageError> {
        self.0
            .run(|db| async move {
                match db.at_most(DEADLINE, check(&db)).await {
                    Some(answer) => answer,
                    None => Err(StorageError::Unavailable(no_answer(&db).await).into()),
                }
            })
            .await
    }

    fn damaged_chunks(&self) -> u64 {
        self.0.damage.count()
    }

    fn upkeep(&self) -> Upkeep {
        let Shortfall { without_leaves, set_aside, .. } = &self.0.shortfall;
        let [without_leaves, set_aside] = [without_leaves, set_aside].map(|count| count.load(Ordering::Relaxed));
        Upkeep { without_leaves, set_aside, ..self.0.upkeep.read() }
    }

    fn decoding(&self) -> DecodingStats {
        self.0.decoders.stats()
    }

    async fn close(&self) {
        let keeper = Arc::clone(&self.1);
        let closed = self.0.run(|db| async move {
            // The keeper is free as soon as its task has ended.
            db.end_tasks();
            keeper::end(&db, &keeper).await;
            Ok(db.close().await?)
        });
        let closed = closed.await;
        if let Err(error) = closed {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use pocket_ports::StorageError;

    use crate::sample::Sample;

    #[tokio::test]
    async fn a_database_that_another_process_locks_is_not_ready() {
        let sample = Sample::new().await;
        let other = crate::open::connect(&sample.options).await.unwrap();
        let transaction = crate::locks::begin(&other.writer).await.unwrap();
        assert!(matches!(sample.storage.health.check().await, Err(StorageError::Unavailable(_))));
        transaction.rollback().await.unwrap();
        assert_eq!(sample.storage.health.check().await, Ok(()));
    }
}
