//! Appends to PostgreSQL where nothing has to be looked up: in three trips, and past the layer above the driver, which makes a
//! value of its own of each number and each text.
//!
//! Its transactions are begun and ended here, so that the lock comes with the beginning. A connection on which one was begun and
//! not ended is closed.

use std::sync::Arc;

use pocket_domain::TelemetryId;
use pocket_ports::BatchNumber;
use sea_orm::sqlx::{self, AssertSqlSafe, Postgres, pool::PoolConnection};
use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::append::{Row, telemetry_ids};
use crate::arrays::{ARRAYS_OF_WRITER, Met};
use crate::database::Database;
use crate::error::Error;
use crate::locks::{self, Lock};
use crate::writers::{Place, Writer};

/// What became of rows.
pub(crate) enum Direct {
    /// They are committed, as the batch of this number.
    Done(BatchNumber, Vec<TelemetryId>),
    /// Nothing is stored: a device may have been deleted since the keys were met, or one of them is that of something else.
    KnowsTooLittle,
    /// Nothing is stored: the row of the writer is not where this process left it.
    Elsewhere,
}

/// Stores rows, whose keys are known as of an entry of the access log, as the next batch of a writer.
pub(crate) async fn append(
    db: &Database,
    writer: &mut Writer,
    place: Place,
    as_of: i64,
    rows: &[Row<'_>],
) -> Result<Direct, Error> {
    let (transaction, Answer { ids, number, seen, strangers }) = db.answer(insert(db, place, rows)).await?;
    let gives_up = match number {
        None => Some(Direct::Elsewhere),
        Some(_) if seen != as_of => Some(Direct::KnowsTooLittle),
        Some(_) if strangers > 0 => {
            writer.keys.forget();
            Some(Direct::KnowsTooLittle)
        }
        Some(_) => None,
    };
    if let Some(nothing) = gives_up {
        db.answer(transaction.end("ROLLBACK")).await?;
        return Ok(nothing);
    }
    let answer = db.answer(transaction.end("COMMIT")).await;
    let number = writer.committed(db, answer).await?;
    let mut ids = ids.unwrap_or_default();
    ids.sort_unstable();
    Ok(Direct::Done(number, telemetry_ids(ids)))
}

/// What the statement tells.
struct Answer {
    ids: Option<Vec<i64>>,
    number: Option<i64>,
    seen: i64,
    strangers: i64,
}

async fn insert(db: &Database, place: Place, rows: &[Row<'_>]) -> Result<(Transaction, Answer), DbErr> {
    // From here on no device is deleted; see `access_log::write`.
    let mut transaction = Transaction::begin(db, &locks::sharing(Lock::Access)).await?;
    let numbers = |number: fn(&Row<'_>) -> i64| rows.iter().map(number).collect::<Vec<i64>>();
    let payloads: Vec<&str> = rows.iter().map(|row| row.message.payload.as_str()).collect();
    let met = Met::of(rows);
    let inserted = sqlx::query_as::<_, (Option<Vec<i64>>, Option<i64>, i64, i64)>(ARRAYS_OF_WRITER)
        .bind(numbers(|row| row.device.device))
        .bind(numbers(|row| row.topic))
        .bind(numbers(|row| row.device.tenant))
        .bind(numbers(|row| row.message.timestamp.as_millis()))
        .bind(numbers(|row| row.message.received_at.as_millis()))
        .bind(payloads)
        .bind(met.devices.0)
        .bind(met.devices.1)
        .bind(met.topics.0)
        .bind(met.topics.1)
        .bind(place.key)
        .bind(place.owner)
        .bind(place.term)
        .bind(place.number)
        .fetch_one(&mut *transaction.connection)
        .await;
    match inserted {
        Ok((ids, number, seen, strangers)) => Ok((transaction, Answer { ids, number, seen, strangers })),
        Err(refusal) => {
            // Where the server refuses a row it is there for more, and is closed if it is not.
            if matches!(refusal, SqlxError::Database(_)) {
                let _ = transaction.end("ROLLBACK").await;
            }
            Err(failed(refusal))
        }
    }
}

/// A transaction, with its connection.
struct Transaction {
    connection: PoolConnection<Postgres>,
    is_free: bool,
}

impl Transaction {
    /// Begins a transaction with a statement.
    async fn begin(db: &Database, statement: &str) -> Result<Self, DbErr> {
        let connection = db.writer().get_postgres_connection_pool().acquire().await.map_err(failed)?;
        let mut begun = Self { connection, is_free: false };
        begun.run(&format!("BEGIN; {statement}")).await?;
        Ok(begun)
    }

    async fn end(mut self, how: &str) -> Result<(), DbErr> {
        self.run(how).await?;
        self.is_free = true;
        Ok(())
    }

    async fn run(&mut self, statements: &str) -> Result<(), DbErr> {
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(&mut *self.connection).await.map(|_| ()).map_err(failed)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_free {
            self.connection.close_on_drop();
        }
    }
}

fn failed(error: SqlxError) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}
