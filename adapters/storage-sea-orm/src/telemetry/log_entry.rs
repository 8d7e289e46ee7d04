//! What the index of the log has of a row.

use sea_orm::FromQueryResult;

use super::kinds::kind;

/// A row of the log, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) tenant: i64,
    pub(crate) device: i64,
    pub(crate) topic: i64,
    pub(crate) timestamp: i64,
    /// The [`kind`] of its payload.
    pub(crate) kind: u64,
}

/// A row as it is read.
#[derive(FromQueryResult)]
pub(super) struct ReadRow {
    id: i64,
    tenant: i64,
    device: i64,
    topic: i64,
    timestamp: i64,
    /// None of a long payload.
    payload: Option<String>,
}

impl From<ReadRow> for Entry {
    fn from(row: ReadRow) -> Self {
        let ReadRow { id, tenant, device, topic, timestamp, payload } = row;
        // A payload that was not read is of a kind of its own.
        let kind = payload.map_or(id.cast_unsigned(), |payload| kind(&payload));
        Self { id, tenant, device, topic, timestamp, kind }
    }
}
