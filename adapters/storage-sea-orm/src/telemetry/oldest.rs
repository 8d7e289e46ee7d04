//! The oldest of a history, for whoever removes it.

use std::collections::HashSet;

use pocket_domain::{SortOrder, UsagePart};
use pocket_ports::Expired;
use sea_orm::{DbErr, FromQueryResult, Statement};

use super::latest_table::Going;
use super::snapshot::{Sealed, Snapshot};
use super::window::{Place, Scope, Window};
use crate::database::Database;
use crate::error::Error;

/// A row of the log, as far as it matters for its removal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldRow {
    pub(crate) id: i64,
    pub(crate) device: i64,
    pub(crate) timestamp: i64,
    pub(crate) received_at: i64,
    /// As they are counted in a usage.
    pub(crate) bytes: u64,
}

/// A chunk, as far as it matters for its removal.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub(crate) struct OldChunk {
    pub(crate) key: i64,
    device: i64,
    first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) row_count: i64,
    pub(crate) bytes: i64,
}

impl OldChunk {
    /// Its rows, when it goes.
    pub(crate) fn going(&self) -> Going {
        Going { device: self.device, first_at: self.first_at, last_at: self.last_at }
    }
}

/// The oldest rows of a tenant's log, up to a time and behind a place.
pub(crate) async fn oldest_rows(
    db: &Database,
    tenant: i64,
    to: i64,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<OldRow>, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let window = Window { from: 0, to, after, order: SortOrder::Ascending, topics: None };
    let rows = snapshot.log().page(&Scope::Tenant { tenant, deleted: HashSet::new() }, &window, limit).await?;
    let old = rows.into_iter().map(|found| OldRow {
        id: found.row.id.cast_signed(),
        device: found.device,
        timestamp: found.row.timestamp,
        received_at: found.row.received_at,
        bytes: found.row.payload.len() as u64 + UsagePart::LOG_ROW_BYTES,
    });
    Ok(old.collect())
}

/// The chunks of a tenant that end first, up to a time.
pub(crate) async fn oldest_chunks(db: &Database, tenant: i64, to: i64, limit: usize) -> Result<Vec<OldChunk>, DbErr> {
    let Sealed { batch, .. } = Sealed::read(db.reader()).await?;
    let sql = format!(
        "SELECT key, device, first_at, last_at, row_count, bytes FROM telemetry_chunks
        WHERE tenant = {tenant} AND last_at <= {to} AND batch <= {batch} ORDER BY last_at, key LIMIT {limit}"
    );
    OldChunk::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await
}

/// What makes a chunk too old: all of its rows are about times before one, and were received before it.
pub(crate) fn is_expired(from: i64) -> String {
    format!("last_at < {from} AND coalesce(received_last, last_at) < {from}")
}

/// The chunks of a tenant all of whose rows are too old, those that end first before the others.
pub(crate) async fn expired_chunks(
    db: &Database,
    tenant: i64,
    from: i64,
    limit: usize,
) -> Result<Vec<OldChunk>, DbErr> {
    let Sealed { batch, .. } = Sealed::read(db.reader()).await?;
    let is_expired = is_expired(from);
    let sql = format!(
        "SELECT key, device, first_at, last_at, row_count, bytes FROM telemetry_chunks
        WHERE tenant = {tenant} AND {is_expired} AND batch <= {batch} ORDER BY last_at, key LIMIT {limit}"
    );
    OldChunk::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await
}

/// How many messages of a tenant there are, and how many of them are in chunks that are too old, or too old in the log.
pub(crate) async fn expired(db: &Database, tenant: i64, from: i64) -> Result<Expired, DbErr> {
    #[derive(FromQueryResult)]
    struct Sums {
        old: i64,
        everything: i64,
    }
    let Sealed { batch, sealed } = Sealed::read(db.reader()).await?;
    let is_expired = is_expired(from);
    let sql = format!(
        "SELECT CAST(coalesce(sum(CASE WHEN {is_expired} THEN row_count ELSE 0 END), 0)
                + (SELECT count(*) FROM telemetry WHERE id > {sealed} AND tenant = {tenant} AND timestamp < {from}
                    AND received_at < {from}) AS BIGINT) AS old,
            CAST(coalesce(sum(row_count), 0)
                + (SELECT count(*) FROM telemetry WHERE id > {sealed} AND tenant = {tenant}) AS BIGINT) AS everything
        FROM telemetry_chunks WHERE tenant = {tenant} AND batch <= {batch}"
    );
    let sums = Sums::find_by_statement(Statement::from_string(db.backend(), sql)).one(db.reader()).await?;
    let (rows, of) = sums.map_or((0, 0), |sums| (sums.old.unsigned_abs(), sums.everything.unsigned_abs()));
    Ok(Expired { rows, of })
}
