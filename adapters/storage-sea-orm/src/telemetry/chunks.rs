//! Chunks as rows of a table: which there are, and their content.

use pocket_domain::SortOrder;
use pocket_telemetry_codec::Damaged;
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Statement};

use super::damage::Damage;
use super::window::{Scope, Window};
use crate::error::Error;
use crate::key_list::list;

/// What the table says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromQueryResult)]
pub(crate) struct Outline {
    pub(crate) key: i64,
    pub(crate) device: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
}

/// The chunks as one transaction sees them.
pub(crate) struct Chunks<'a> {
    pub(crate) transaction: &'a DatabaseTransaction,
    /// Those of later batches do not count yet.
    pub(crate) batch: i64,
    pub(crate) damage: &'a Damage,
}

impl Chunks<'_> {
    /// The chunks that may have rows in the window, in the order in which the first of these may come; at most so many,
    /// behind the last one that is known.
    pub(crate) async fn outlines(
        &self,
        scope: &Scope,
        window: &Window,
        behind: Option<&Outline>,
        limit: usize,
    ) -> Result<Vec<Outline>, Error> {
        let (owner, owner_key) = scope.column();
        let (edge, direction, beyond) = match window.order {
            SortOrder::Ascending => ("first_at", "ASC", ">"),
            SortOrder::Descending => ("last_at", "DESC", "<"),
        };
        let behind = behind.map_or_else(String::new, |last| {
            let edge_of_last = match window.order {
                SortOrder::Ascending => last.first_at,
                SortOrder::Descending => last.last_at,
            };
            format!("AND ({edge}, key) {beyond} ({edge_of_last}, {})", last.key)
        });
        // All of these are numbers of our own.
        let sql = format!(
            "SELECT key, device, first_at, last_at FROM telemetry_chunks
            WHERE {owner} = {owner_key} AND last_at >= {} AND first_at <= {} AND batch <= {} {behind}
            ORDER BY {edge} {direction}, key {direction} LIMIT {limit}",
            window.from, window.to, self.batch
        );
        let statement = Statement::from_string(self.transaction.get_database_backend(), sql);
        Ok(Outline::find_by_statement(statement).all(self.transaction).await?)
    }

    /// Tells the operator of a chunk that cannot be read.
    pub(crate) async fn report(&self, outline: &Outline, damaged: &Damaged) {
        self.damage.report(self.transaction, outline, damaged).await;
    }

    /// The contents of chunks, in the order of the keys.
    pub(crate) async fn contents(
        connection: &impl ConnectionTrait,
        keys: &[i64],
    ) -> Result<Vec<(i64, Vec<u8>)>, Error> {
        #[derive(FromQueryResult)]
        struct Content {
            key: i64,
            content: Vec<u8>,
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = list(keys.iter().copied());
        let sql = format!("SELECT key, content FROM telemetry_chunks WHERE key IN ({keys}) ORDER BY key");
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let rows = Content::find_by_statement(statement).all(connection).await?;
        Ok(rows.into_iter().map(|row| (row.key, row.content)).collect())
    }
}
