//! Chunks as rows of a table: which there are, and their content.

use pocket_domain::{DeviceId, SortOrder, TenantId};
use pocket_ports::StorageError;
use pocket_telemetry_codec::Damaged;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, FromQueryResult, Statement, Value};

use super::damage::Damage;
use super::window::{Scope, Window};
use crate::decoders::{Decoders, Wanted};
use crate::devices::THERE;
use crate::entity::corrupt;
use crate::error::Error;
use crate::json_rows::{self, Column};

/// What is asked of devices: the number of the question, whose device, and from when to when.
const COLUMNS: [(&str, Column); 5] = [
    ("place", Column::Integer),
    ("of_tenant", Column::Id),
    ("of_device", Column::Id),
    ("of_from", Column::Integer),
    ("of_to", Column::Integer),
];

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
    pub(crate) decoders: &'a Decoders,
    /// In whose turn they are decoded.
    pub(crate) tenant: TenantId,
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
        let is_of_scope = scope.condition();
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
            WHERE {is_of_scope} AND last_at >= {} AND first_at <= {} AND batch <= {} {behind}
            ORDER BY {edge} {direction}, key {direction} LIMIT {limit}",
            window.from, window.to, self.batch
        );
        let statement = Statement::from_string(self.transaction.get_database_backend(), sql);
        Ok(Outline::find_by_statement(statement).all(self.transaction).await?)
    }

    /// The keys of single devices with their first outlines, at most [`FIRST`](Self::FIRST) each, as
    /// [`outlines`](Self::outlines) gives them, by one statement of SQLite. `None` for devices that are not there.
    pub(crate) async fn of_devices(
        &self,
        wanted: &[(TenantId, DeviceId, &Window)],
    ) -> Result<Vec<Option<(Scope, Vec<Outline>)>>, Error> {
        let mut found = vec![None; wanted.len()];
        for (order, edge, direction) in
            [(SortOrder::Ascending, "first_at", "ASC"), (SortOrder::Descending, "last_at", "DESC")]
        {
            let of_order = wanted.iter().enumerate().filter(|(_, (_, _, window))| window.order == order);
            let rows: Vec<_> = of_order
                .map(|(place, (tenant, device, window))| {
                    let (tenant, device) = (tenant.as_uuid().simple(), device.as_uuid().simple());
                    serde_json::json!([place, tenant.to_string(), device.to_string(), window.from, window.to])
                })
                .collect();
            if rows.is_empty() {
                continue;
            }
            let sql = format!(
                "{} SELECT place, devices.tenant, devices.key, (SELECT group_concat(concat_ws(',', key, first_at, last_at)) FROM (
                    SELECT key, first_at, last_at FROM telemetry_chunks
                    WHERE device = devices.key AND tenant = devices.tenant AND last_at >= of_from AND first_at <= of_to AND batch <= $2
                    ORDER BY {edge} {direction}, key {direction} LIMIT {}))
                FROM rows {THERE}",
                json_rows::with(DbBackend::Sqlite, &COLUMNS),
                Self::FIRST
            );
            let values = [serde_json::Value::from(rows).to_string().into(), self.batch.into()];
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
            for row in self.transaction.query_all_raw(statement).await? {
                let (place, tenant, device, text): (i64, i64, i64, Option<String>) = (
                    row.try_get_by_index(0)?,
                    row.try_get_by_index(1)?,
                    row.try_get_by_index(2)?,
                    row.try_get_by_index(3)?,
                );
                let place =
                    usize::try_from(place).ok().and_then(|place| found.get_mut(place)).ok_or_else(unreadable)?;
                let scope = Scope::Device { tenant, key: device };
                *place = Some((scope, outlines(device, order, text.as_deref().unwrap_or_default())?));
            }
        }
        Ok(found)
    }

    /// Decodes, off the runtime that commits messages.
    pub(crate) async fn decode<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Wanted) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.decoders.run(self.tenant, work).await
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
