//! Chunks as rows of a table: which there are, and their content.

use pocket_domain::SortOrder;
use pocket_ports::StorageError;
use pocket_telemetry_codec::Damaged;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, FromQueryResult, Statement, Value};

use super::damage::Damage;
use super::window::{Scope, Window};
use crate::entity::corrupt;
use crate::error::Error;

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
    /// Outlines of a device that are read beforehand.
    pub(crate) const FIRST: usize = 8;

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

    /// The first outlines of single devices, at most [`FIRST`](Self::FIRST) each, as [`outlines`](Self::outlines) gives them,
    /// by one statement of SQLite.
    pub(crate) async fn first_outlines(&self, windows: &[(&Scope, &Window)]) -> Result<Vec<Vec<Outline>>, Error> {
        let mut found = vec![Vec::new(); windows.len()];
        for (order, edge, direction) in
            [(SortOrder::Ascending, "first_at", "ASC"), (SortOrder::Descending, "last_at", "DESC")]
        {
            let of_order = windows.iter().enumerate().filter(|(_, (_, window))| window.order == order);
            let (places, wanted): (Vec<usize>, Vec<_>) = of_order
                .map(|(place, (scope, window))| (place, [scope.column().1, window.from, window.to, self.batch]))
                .unzip();
            if wanted.is_empty() {
                continue;
            }
            let sql = format!(
                "SELECT json_each.key, (SELECT group_concat(concat_ws(',', key, first_at, last_at)) FROM (
                    SELECT key, first_at, last_at FROM telemetry_chunks
                    WHERE device = value ->> 0 AND last_at >= value ->> 1 AND first_at <= value ->> 2
                        AND batch <= value ->> 3
                    ORDER BY {edge} {direction}, key {direction} LIMIT {}))
                FROM json_each($1)",
                Self::FIRST
            );
            let wanted = serde_json::json!(wanted).to_string();
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [wanted.into()]);
            for row in self.transaction.query_all_raw(statement).await? {
                let (number, text): (i64, Option<String>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                let place =
                    usize::try_from(number).ok().and_then(|number| places.get(number)).ok_or_else(unreadable)?;
                let (scope, _) = windows[*place];
                found[*place] = outlines(scope.column().1, order, text.as_deref().unwrap_or_default())?;
            }
        }
        Ok(found)
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
        let backend = connection.get_database_backend();
        let (wanted, keys): (_, Value) = match backend {
            DbBackend::Postgres => ("SELECT unnest($1::bigint[])", keys.to_vec().into()),
            _ => ("SELECT value FROM json_each($1)", serde_json::json!(keys).to_string().into()),
        };
        let sql = format!("SELECT key, content FROM telemetry_chunks WHERE key IN ({wanted}) ORDER BY key");
        let statement = Statement::from_sql_and_values(backend, sql, [keys]);
        let rows = Content::find_by_statement(statement).all(connection).await?;
        Ok(rows.into_iter().map(|row| (row.key, row.content)).collect())
    }
}

fn unreadable() -> StorageError {
    corrupt("outlines of chunks cannot be read as text")
}

/// Outlines of a device out of their numbers in a text, in the order.
fn outlines(device: i64, order: SortOrder, text: &str) -> Result<Vec<Outline>, StorageError> {
    let numbers = text.split(',').filter(|number| !number.is_empty()).map(str::parse);
    let numbers: Vec<i64> = numbers.collect::<Result<_, _>>().map_err(|_| unreadable())?;
    let (outlines, []) = numbers.as_chunks::<3>() else { return Err(unreadable()) };
    let mut outlines: Vec<Outline> = outlines
        .iter()
        .map(|[key, first_at, last_at]| Outline { key: *key, device, first_at: *first_at, last_at: *last_at })
        .collect();
    // An aggregate promises no order.
    match order {
        SortOrder::Ascending => outlines.sort_unstable_by_key(|outline| (outline.first_at, outline.key)),
        SortOrder::Descending => {
            outlines.sort_unstable_by_key(|outline| std::cmp::Reverse((outline.last_at, outline.key)));
        }
    }
    Ok(outlines)
}
