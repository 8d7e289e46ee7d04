//! The oldest of a history, for whoever removes it.

use std::collections::HashSet;

use pocket_domain::{SortOrder, UsagePart};
use sea_orm::{DbErr, FromQueryResult, Statement};

use super::latest_table::Going;
use super::snapshot::{Sealed, Snapshot};
use super::window::{Scope, Window};
use crate::database::Database;
use crate::error::Error;

/// A row of the log, as far as it matters for its removal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldRow {
    pub(crate) id: i64,
    pub(crate) device: i64,
    pub(crate) timestamp: i64,
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

/// The oldest rows of a tenant's log, up to a time.
pub(crate) async fn oldest_rows(db: &Database, tenant: i64, to: i64, limit: usize) -> Result<Vec<OldRow>, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let window = Window { from: 0, to, after: None, order: SortOrder::Ascending, topics: None };
    let rows = snapshot.log().page(&Scope::Tenant { tenant, deleted: HashSet::new() }, &window, limit).await?;
    let old = rows.into_iter().map(|found| OldRow {
        id: found.row.id.cast_signed(),
        device: found.device,
        timestamp: found.row.timestamp,
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
