//! Pages of a SQLite file that nothing is in any more go back to the disk, a few at a time.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};

use super::write::run;
use crate::database::Database;
use crate::error::Error;

/// Pages that one transaction moves and gives back.
const STEP: i64 = 128;
/// Pages that the file keeps for what comes next, at least; otherwise a sixteenth of it. The log needs some again and again.
const SPARE: i64 = 1_024;

#[derive(FromQueryResult)]
struct Pages {
    is_incremental: bool,
    free: i64,
    total: i64,
}

/// Gives some pages back; `false` when there are no more than the file keeps.
pub(super) async fn step(db: &Database) -> Result<bool, Error> {
    if db.backend() != DbBackend::Sqlite {
        return Ok(false);
    }
    let sql = "SELECT auto_vacuum = 2 AS is_incremental, freelist_count AS free, page_count AS total
        FROM pragma_auto_vacuum, pragma_freelist_count, pragma_page_count";
    let statement = Statement::from_string(DbBackend::Sqlite, sql);
    let Some(pages) = Pages::find_by_statement(statement).one(db.reader()).await? else { return Ok(false) };
    let more = pages.free - SPARE.max(pages.total / 16);
    if !pages.is_incremental || more <= 0 {
        return Ok(false);
    }
    let transaction = db.begin().await?;
    run(&transaction, &format!("PRAGMA incremental_vacuum({})", more.min(STEP))).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Moves the write-ahead log into the file, as far as no reader needs it: only so the file becomes shorter. Whoever writes is
/// not held up.
pub(super) async fn checkpoint(db: &Database) -> Result<(), DbErr> {
    db.reader().execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)").await.map(|_| ())
}
