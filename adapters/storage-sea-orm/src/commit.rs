//! Commits whose answer may be lost.
//!
//! When the connection to PostgreSQL breaks after COMMIT was sent, or no answer comes in time, nobody was told whether it was
//! done. Whoever tries again would store the same messages twice, so the server is asked what became of the transaction, as
//! soon as it is there.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use crate::database::Database;
use crate::error::is_unavailable;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The number of a transaction of PostgreSQL, which the server knows also after it was restarted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransactionId(pub(crate) i64);

/// What became of a transaction.
enum Outcome {
    Committed,
    Aborted,
    /// It is going on, or the server cannot say at present.
    Open,
}

/// Commits a transaction, and where its number is known does not return before its outcome is. SQLite needs no number: an
/// answer from a thread of this process is not lost.
pub(crate) async fn commit(
    db: &Database,
    transaction: DatabaseTransaction,
    id: Option<TransactionId>,
) -> Result<(), DbErr> {
    let committed = db.answer(transaction.commit()).await;
    match id {
        Some(id) => answered(db, committed, id).await,
        None => committed,
    }
}

/// What became of a commit, if it is known only to the server.
pub(crate) async fn answered(db: &Database, committed: Result<(), DbErr>, id: TransactionId) -> Result<(), DbErr> {
    let Err(error) = committed else { return Ok(()) };
    tracing::warn!(%error, "a commit was not answered; asking what became of it");
    let mut pause = FIRST_PAUSE;
    loop {
        match outcome(db, id).await {
            Outcome::Committed => return Ok(()),
            Outcome::Aborted => return Err(error),
            Outcome::Open if db.is_closed() => return Err(error),
            Outcome::Open => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn outcome(db: &Database, id: TransactionId) -> Outcome {
    let question =
        Statement::from_sql_and_values(DbBackend::Postgres, "SELECT txid_status($1) AS status", [id.0.into()]);
    let status: Result<Option<String>, DbErr> = db
        .answer(async {
            let row = db.reader().query_one_raw(question).await?;
            row.map_or(Ok(None), |row| row.try_get("", "status"))
        })
        .await;
    match status {
        Ok(Some(status)) if status == "committed" => Outcome::Committed,
        Ok(Some(status)) if status == "in progress" => Outcome::Open,
        Err(error) if is_unavailable(&error) => Outcome::Open,
        // Also a number that the server does not know: it is one that took over and never had the transaction.
        _ => Outcome::Aborted,
    }
}
