//! The clock of the database, which all processes that share it see: this crate has none of its own.

use sea_orm::DbBackend;

/// The present time in milliseconds since 1970, as an expression of SQL.
pub(crate) fn time_now(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        _ => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    }
}
