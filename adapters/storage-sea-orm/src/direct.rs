//! Appends to PostgreSQL where nothing has to be looked up: in three trips, and past the layer above the driver, which makes a
//! value of its own of each number and each text.
//!
//! Its transactions are begun and ended here, so that the lock comes with the beginning. A connection on which one was begun and
//! not ended is closed.

use std::sync::Arc;

use pocket_domain::TelemetryId;
use sea_orm::sqlx::{self, AssertSqlSafe, Postgres, pool::PoolConnection};
use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::append::{ARRAYS, Row, telemetry_ids};
use crate::commit::{TransactionId, answered};
use crate::database::Database;
use crate::error::Error;
use crate::locks::{self, Lock};

/// Stores rows whose keys are known as of an entry of the access log; `None`, and nothing is stored, when there is a later one.
pub(crate) async fn append(db: &Database, as_of: i64, rows: &[Row<'_>]) -> Result<Option<Vec<TelemetryId>>, Error> {
    let Some(Inserted { transaction, number, ids }) = db.answer(insert(db, as_of, rows)).await? else {
        return Ok(None);
    };
    answered(db, db.answer(transaction.end("COMMIT")).await, number).await?;
    Ok(Some(telemetry_ids(ids)))
}

/// What is to be committed.
struct Inserted {
    transaction: Transaction,
    number: TransactionId,
    ids: Vec<i64>,
}

async fn insert(db: &Database, as_of: i64, rows: &[Row<'_>]) -> Result<Option<Inserted>, DbErr> {
    // From here on no device is deleted; see `access_log::write`.
    let mut transaction = Transaction::begin(db, &locks::sharing(Lock::Access)).await?;
    let numbers = |number: fn(&Row<'_>) -> i64| rows.iter().map(number).collect::<Vec<i64>>();
    let payloads: Vec<&str> = rows.iter().map(|row| row.message.payload.as_str()).collect();
    let inserted = sqlx::query_as::<_, (Vec<i64>, i64, i64)>(ARRAYS)
        .bind(numbers(|row| row.device.device))
        .bind(numbers(|row| row.topic))
        .bind(numbers(|row| row.device.tenant))
        .bind(numbers(|row| row.message.timestamp.as_millis()))
        .bind(numbers(|row| row.message.received_at.as_millis()))
        .bind(payloads)
        .fetch_one(&mut *transaction.connection)
        .await;
    let (mut ids, number, seen) = match inserted {
        Ok(inserted) => inserted,
        Err(refusal) => {
            // Where the server refuses a row it is there for more, and is closed if it is not.
            if matches!(refusal, SqlxError::Database(_)) {
                let _ = transaction.end("ROLLBACK").await;
            }
            return Err(failed(refusal));
        }
    };
    if seen != as_of {
        transaction.end("ROLLBACK").await?;
        return Ok(None);
    }
    ids.sort_unstable();
    Ok(Some(Inserted { transaction, number: TransactionId(number), ids }))
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
