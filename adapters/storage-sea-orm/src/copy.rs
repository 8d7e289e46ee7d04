//! Appends to PostgreSQL by COPY: rows go straight into the table, where an INSERT of arrays makes a plan, a table in memory and
//! an answer of all of them.
//!
//! The rows are made before the transaction, from keys that are known; it then has only to find that nothing changed since.

use std::sync::Arc;

use bytes::BufMut;
use pocket_domain::TelemetryId;
use sea_orm::sqlx::{self, Postgres, Transaction};
use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::append::Row;
use crate::commit::{TransactionId, answered};
use crate::database::Database;
use crate::error::Error;
use crate::locks::{self, Lock};

/// What the transaction is, what it sees of the access log, and ids for so many rows.
const BEGIN: &str = "
    WITH ids AS MATERIALIZED (SELECT pg_get_serial_sequence('telemetry', 'id')::regclass AS name)
    SELECT txid_current(), (SELECT coalesce(max(sequence), 0) FROM access_changes),
        (SELECT array_agg(nextval(ids.name)) FROM ids, generate_series(1, $1))";

const COPY: &str =
    "COPY telemetry (id, device, topic, tenant, timestamp, received_at, payload) FROM STDIN WITH (FORMAT binary)";

/// The signature, no flags, and no extension of the header.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COLUMNS: i16 = 7;

/// Stores rows whose keys are known as of an entry of the access log; `None`, and nothing is stored, when there is a later one.
pub(crate) async fn append(db: &Database, as_of: i64, rows: &[Row<'_>]) -> Result<Option<Vec<TelemetryId>>, Error> {
    let Some(Copied { transaction, number, ids }) = db.answer(copy(db, as_of, rows)).await? else { return Ok(None) };
    let committed = db.answer(async { transaction.commit().await.map_err(failed) }).await;
    answered(db, committed, number).await?;
    Ok(Some(ids.into_iter().map(|id| TelemetryId::from_key(id.unsigned_abs())).collect()))
}

/// What is to be committed.
struct Copied {
    transaction: Transaction<'static, Postgres>,
    number: TransactionId,
    ids: Vec<i64>,
}

async fn copy(db: &Database, as_of: i64, rows: &[Row<'_>]) -> Result<Option<Copied>, DbErr> {
    let mut transaction = db.writer().get_postgres_connection_pool().begin().await.map_err(failed)?;
    // From here on no device is deleted; see `access_log::write`.
    sqlx::raw_sql(sqlx::AssertSqlSafe(locks::sharing(Lock::Access)))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let begun = sqlx::query_as::<_, (i64, i64, Vec<i64>)>(BEGIN).bind(count).fetch_one(&mut *transaction).await;
    let (number, seen, ids) = begun.map_err(failed)?;
    if seen != as_of {
        return Ok(None);
    }
    let mut copy = transaction.copy_in_raw(COPY).await.map_err(failed)?;
    copy.send(encode(rows, &ids)).await.map_err(failed)?;
    copy.finish().await.map_err(failed)?;
    Ok(Some(Copied { transaction, number: TransactionId(number), ids }))
}

/// The rows in PostgreSQL's binary format of COPY.
fn encode(rows: &[Row<'_>], ids: &[i64]) -> Vec<u8> {
    const NUMBERS: usize = COLUMNS as usize - 1;
    let payloads: usize = rows.iter().map(|row| row.message.payload.as_str().len()).sum();
    let mut bytes = Vec::with_capacity(HEADER.len() + 2 + payloads + rows.len() * (2 + NUMBERS * 12 + 4));
    bytes.put_slice(HEADER);
    for (row, id) in rows.iter().zip(ids) {
        let times = [row.message.timestamp, row.message.received_at].map(|time| time.as_millis());
        bytes.put_i16(COLUMNS);
        for number in [*id, row.device.device, row.topic, row.device.tenant, times[0], times[1]] {
            bytes.put_i32(8);
            bytes.put_i64(number);
        }
        let payload = row.message.payload.as_str();
        // A payload has at most a few megabytes.
        bytes.put_i32(i32::try_from(payload.len()).unwrap_or(i32::MAX));
        bytes.put_slice(payload.as_bytes());
    }
    bytes.put_i16(-1);
    bytes
}

fn failed(error: SqlxError) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}
