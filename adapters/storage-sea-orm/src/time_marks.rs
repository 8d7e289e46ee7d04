//! What a process keeps about time for the next one of its node.

use std::time::Duration;

use pocket_domain::{LastSeen, TimeMark, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult, Statement};

use crate::broker::statement;
use crate::database::Database;
use crate::entity::time;
use crate::error::Error;

#[derive(FromQueryResult)]
struct Row {
    trusted: i64,
    proven: i64,
    steady: i64,
    wall: i64,
}

#[derive(FromQueryResult)]
struct Newest {
    newest: Option<i64>,
}

pub(crate) async fn last_seen(db: &Database, node: &str) -> Result<LastSeen, Error> {
    let backend = db.backend();
    let sql = "SELECT trusted, proven, steady, wall FROM time_marks WHERE node = ?";
    let row = Row::find_by_statement(statement(backend, sql, vec![node.into()])).one(db.reader()).await?;
    if let Some(row) = row {
        let mark = TimeMark {
            trusted: time(row.trusted)?,
            proven: Duration::from_millis(row.proven.unsigned_abs()),
            steady: time(row.steady)?,
            wall: time(row.wall)?,
        };
        return Ok(LastSeen { mark: Some(mark), newest: None });
    }
    // Another node may have been there, or an earlier version: then the newest message is what is known. Of
    // chunks that do not tell when it was received it is the time that it is about.
    let sql = "SELECT max(known) AS newest FROM (
            SELECT max(wall) AS known FROM time_marks
            UNION ALL SELECT (SELECT received_at FROM telemetry ORDER BY id DESC LIMIT 1)
            UNION ALL SELECT (SELECT coalesce(received_last, last_at) FROM telemetry_chunks ORDER BY key DESC LIMIT 1)
        ) AS known";
    let newest = Newest::find_by_statement(Statement::from_string(backend, sql)).one(db.reader()).await?;
    let newest = newest.and_then(|row| row.newest).and_then(|newest| Timestamp::from_millis(newest).ok());
    Ok(LastSeen { mark: None, newest })
}

pub(crate) async fn keep(db: &Database, node: &str, mark: TimeMark) -> Result<(), Error> {
    let proven = i64::try_from(mark.proven.as_millis()).unwrap_or(i64::MAX);
    let values = vec![
        node.into(),
        mark.trusted.as_millis().into(),
        proven.into(),
        mark.steady.as_millis().into(),
        mark.wall.as_millis().into(),
    ];
    let sql = "INSERT INTO time_marks (node, trusted, proven, steady, wall) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (node) DO UPDATE SET trusted = excluded.trusted, proven = excluded.proven,
            steady = excluded.steady, wall = excluded.wall";
    let transaction = db.begin().await?;
    transaction.execute_raw(statement(db.backend(), sql, values)).await?;
    Ok(transaction.commit().await?)
}
