//! The clock of the database, which all processes that share it see: this crate has none of its own.

use pocket_domain::Timestamp;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::entity::time;
use crate::error::Error;

/// The present time, asked of the database.
pub(crate) async fn read(connection: &impl ConnectionTrait) -> Result<Timestamp, Error> {
    let backend = connection.get_database_backend();
    let sql = format!("SELECT {} AS now", time_now(backend));
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
    let now: i64 = row.ok_or(DbErr::RecordNotFound("the time".into()))?.try_get("", "now")?;
    Ok(time(now)?)
}

/// The present time in milliseconds since 1970, as an expression of SQL.
pub(crate) fn time_now(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        _ => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    }
}
