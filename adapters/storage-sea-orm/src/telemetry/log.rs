//! The rows that are not yet in chunks.
//!
//! PostgreSQL finds them by its indexes; in a SQLite file, which has none, they are found by the index in memory and fetched
//! by their ids.

use std::collections::{HashMap, HashSet};

use pocket_domain::SortOrder;
use pocket_telemetry_codec::OwnedRow;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, Statement, Value};

use super::log_index::LogIndex;
use super::window::{Scope, Window};

/// A row with the key of its device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) device: i64,
    pub(crate) row: OwnedRow,
}

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    device: i64,
    topic: i64,
    timestamp: i64,
    received_at: i64,
    payload: String,
}

impl From<Row> for Found {
    fn from(row: Row) -> Self {
        let Row { id, device, topic, timestamp, received_at, payload } = row;
        Self { device, row: OwnedRow { id: id.unsigned_abs(), timestamp, received_at, topic, payload } }
    }
}

/// Rows in one text; their payloads may be long.
const FETCHED: usize = 500;

/// Places in one statement.
const PLACES: usize = 5_000;

const COLUMNS: &str = "SELECT id, device, topic, timestamp, received_at, payload FROM telemetry";

/// The log as one transaction sees it.
pub(crate) struct Log<'a> {
    pub(crate) transaction: &'a DatabaseTransaction,
    /// Rows up to here are in chunks, even if they are still there.
    pub(crate) sealed: i64,
    /// The index, where there is one that holds all rows.
    pub(crate) index: Option<&'a LogIndex>,
}

impl Log<'_> {
    /// The first rows of the window, in its order; at most so many.
    pub(crate) async fn page(&self, scope: &Scope, window: &Window, limit: usize) -> Result<Vec<Found>, DbErr> {
        match self.index {
            Some(index) => self.page_by_index(index, scope, window.clone(), limit).await,
            None => self.page_by_statement(scope, window, limit).await,
        }
    }

    async fn page_by_index(
        &self,
        index: &LogIndex,
        scope: &Scope,
        mut window: Window,
        limit: usize,
    ) -> Result<Vec<Found>, DbErr> {
        let mut found = Vec::new();
        loop {
            let wanted = limit - found.len();
            let Some(places) = index.find(self.sealed, scope, &window, wanted) else {
                found.extend(self.page_by_statement(scope, &window, wanted).await?);
                return Ok(found);
            };
            let ids: Vec<i64> = places.iter().map(|place| place.1).filter(|id| *id > self.sealed).collect();
            let mut rows = self.fetch(&ids).await?;
            // Rows that were sealed or removed before this transaction began are missing.
            found.extend(ids.iter().filter_map(|id| rows.remove(id)));
            match places.last() {
                Some(last) if places.len() == wanted && found.len() < limit => window.go_on_after(*last),
                _ => return Ok(found),
            }
        }
    }

    /// Rows of a device behind an id, in the order of their ids; at most so many, and the id behind which there may be more.
    pub(crate) async fn behind(
        &self,
        device: i64,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<Found>, Option<i64>), DbErr> {
        let after = after.max(self.sealed);
        if let Some(mut ids) = self.index.and_then(|index| index.behind(self.sealed, device, after)) {
            ids.sort_unstable();
            let is_cut = ids.len() > limit;
            ids.truncate(limit);
            let mut rows = if ids.is_empty() { HashMap::new() } else { self.fetch(&ids).await? };
            // Rows that were removed, or came after this transaction began, are missing.
            let found = ids.iter().filter_map(|id| rows.remove(id)).collect();
            return Ok((found, ids.last().copied().filter(|_| is_cut)));
        }
        // All of these are numbers of our own.
        let sql = format!("{COLUMNS} WHERE device = {device} AND id > {after} ORDER BY id LIMIT {limit}");
        let statement = Statement::from_string(self.transaction.get_database_backend(), sql);
        let found: Vec<Found> =
            Row::find_by_statement(statement).all(self.transaction).await?.into_iter().map(Found::from).collect();
        let last = found.last().filter(|_| found.len() == limit).map(|found| found.row.id.cast_signed());
        Ok((found, last))
    }

    /// The ids of rows of a device behind an id, among which are those with the last values; `None` when there is no index that
    /// tells them.
    pub(crate) fn telling(&self, device: i64, after: i64, up_to: i64) -> Option<Vec<i64>> {
        self.index?.last_of_each_kind(self.sealed, device, (after.max(self.sealed), up_to))
    }

    /// Rows by their ids, in the order of these; `None` when some are not there.
    pub(crate) async fn rows(&self, ids: &[i64]) -> Result<Option<Vec<Found>>, DbErr> {
        let mut rows = self.fetch(ids).await?;
        Ok(ids.iter().map(|id| rows.remove(id)).collect())
    }

    /// How many rows a device has in the log up to an id, where rows may appear before others: in PostgreSQL ids are taken
    /// before they are committed. `None` where they appear in order.
    pub(crate) async fn count_of(&self, device: i64, up_to: i64) -> Result<Option<i64>, DbErr> {
        let backend = self.transaction.get_database_backend();
        if backend != DbBackend::Postgres {
            return Ok(None);
        }
        let sql = format!(
            "SELECT count(*) FROM telemetry WHERE device = {device} AND id > {} AND id <= {up_to}",
            self.sealed
        );
        let row = self.transaction.query_one_raw(Statement::from_string(backend, sql)).await?;
        row.map(|row| row.try_get_by_index(0)).transpose()
    }

    /// The pages of several devices, the rows of all by one statement where the index tells which.
    pub(crate) async fn pages(&self, wanted: &[(&Scope, &Window, usize)]) -> Result<Vec<Vec<Found>>, DbErr> {
        let find = |(scope, window, limit): &(&Scope, &Window, usize)| {
            let places = self.index?.find(self.sealed, scope, window, *limit)?;
            Some(places.into_iter().map(|place| place.1).filter(|id| *id > self.sealed).collect::<Vec<i64>>())
        };
        let ids: Vec<Option<Vec<i64>>> = wanted.iter().map(find).collect();
        let all: HashSet<i64> = ids.iter().flatten().flatten().copied().collect();
        let rows = self.fetch(&all.into_iter().collect::<Vec<_>>()).await?;
        let mut pages = Vec::with_capacity(wanted.len());
        for ((scope, window, limit), ids) in wanted.iter().zip(ids) {
            let found = ids.and_then(|ids| ids.iter().map(|id| rows.get(id).cloned()).collect());
            pages.push(match found {
                Some(found) => found,
                // Some were sealed or removed before this transaction began, so others take their places.
                None => self.page(scope, window, *limit).await?,
            });
        }
        Ok(pages)
    }

    /// All rows of these devices at these times, given as pairs.
    pub(crate) async fn at(&self, places: &[(i64, i64)]) -> Result<Vec<Found>, DbErr> {
        let mut found = Vec::new();
        for places in places.chunks(PLACES) {
            match self.index.and_then(|index| index.at(self.sealed, places)) {
                Some(ids) => found.extend(self.fetch(&ids).await?.into_values()),
                None => found.extend(self.at_by_statement(places).await?),
            }
        }
        Ok(found)
    }

    async fn at_by_statement(&self, places: &[(i64, i64)]) -> Result<Vec<Found>, DbErr> {
        let backend = self.transaction.get_database_backend();
        let (condition, values): (_, Vec<Value>) = match backend {
            DbBackend::Postgres => {
                let (devices, times): (Vec<i64>, Vec<i64>) = places.iter().copied().unzip();
                ("SELECT * FROM unnest($1::bigint[], $2::bigint[])", vec![devices.into(), times.into()])
            }
            _ => {
                let places: serde_json::Value = places.iter().map(|(device, at)| vec![*device, *at]).collect();
                let pairs = "SELECT value ->> 0, value ->> 1 FROM json_each($1)";
                (pairs, vec![places.to_string().into()])
            }
        };
        let sql = format!("{COLUMNS} WHERE (device, timestamp) IN ({condition}) AND id > {}", self.sealed);
        let statement = Statement::from_sql_and_values(backend, sql, values);
        Ok(Row::find_by_statement(statement).all(self.transaction).await?.into_iter().map(Found::from).collect())
    }

    /// Rows by their ids, as one text: the driver takes longer for the values of a row than all the rest does.
    async fn fetch(&self, ids: &[i64]) -> Result<HashMap<i64, Found>, DbErr> {
        let mut found = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(FETCHED) {
            let ids = serde_json::json!(ids).to_string();
            // Each row is its integers, the length of its payload in bytes, and the payload, which no sign has to end.
            let sql = "SELECT coalesce(group_concat(concat_ws(',', id, device, topic, timestamp, received_at,
                    octet_length(payload), payload), ''), '')
                FROM telemetry WHERE id IN (SELECT value FROM json_each($1))";
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [ids.into()]);
            let row = self.transaction.query_one_raw(statement).await?;
            let text: String = row.ok_or(DbErr::RecordNotFound("rows of the log".into()))?.try_get_by_index(0)?;
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let row = take_row(&mut rest).ok_or_else(|| DbErr::Type("rows of the log as text".into()))?;
                found.insert(row.row.id.cast_signed(), row);
            }
        }
        Ok(found)
    }

    async fn page_by_statement(&self, scope: &Scope, window: &Window, limit: usize) -> Result<Vec<Found>, DbErr> {
        let backend = self.transaction.get_database_backend();
        let mut conditions = Conditions { sql: Vec::new(), values: Vec::new() };
        conditions.sql.push(scope.condition());
        if let Scope::Tenant { deleted, .. } = scope
            && !deleted.is_empty()
        {
            conditions.one_of(backend, "device", deleted, true);
        }
        if let Some(topics) = &window.topics {
            conditions.one_of(backend, "topic", topics, false);
        }
        conditions.add("timestamp >=", window.from);
        conditions.add("timestamp <=", window.to);
        conditions.add("id >", self.sealed);
        let (direction, beyond) = match window.order {
            SortOrder::Ascending => ("ASC", ">"),
            SortOrder::Descending => ("DESC", "<"),
        };
        if let Some((at, id)) = window.after {
            let (at, id) = (conditions.parameter(at), conditions.parameter(id));
            conditions.sql.push(format!("(timestamp, id) {beyond} ({at}, {id})"));
        }
        let limit = conditions.parameter(i64::try_from(limit).unwrap_or(i64::MAX));
        let sql = format!(
            "{COLUMNS} WHERE {} ORDER BY timestamp {direction}, id {direction} LIMIT {limit}",
            conditions.sql.join(" AND ")
        );
        let statement = Statement::from_sql_and_values(backend, sql, conditions.values);
        Ok(Row::find_by_statement(statement).all(self.transaction).await?.into_iter().map(Found::from).collect())
    }
}

/// Takes a row off a text.
fn take_row(rest: &mut &str) -> Option<Found> {
    let mut integer = || {
        let (integer, others) = rest.split_once(',')?;
        *rest = others;
        integer.parse::<i64>().ok()
    };
    let [id, device, topic, timestamp, received_at] = [integer()?, integer()?, integer()?, integer()?, integer()?];
    let length = usize::try_from(integer()?).ok()?;
    let (payload, others) = rest.split_at_checked(length)?;
    *rest = others;
    let payload = payload.to_owned();
    Some(Found { device, row: OwnedRow { id: id.unsigned_abs(), timestamp, received_at, topic, payload } })
}

/// What a row must meet, as SQL that both databases read, with the parameters `$1`, `$2`, … in order.
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// The parameter that stands for the value.
    fn parameter(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    fn add(&mut self, condition: &str, value: impl Into<Value>) {
        let parameter = self.parameter(value);
        self.sql.push(format!("{condition} {parameter}"));
    }

    fn one_of(&mut self, backend: DbBackend, column: &str, keys: &HashSet<i64>, is_not: bool) {
        let keys: Vec<i64> = keys.iter().copied().collect();
        let condition = match backend {
            DbBackend::Postgres => {
                let keys = self.parameter(keys);
                format!("{column} = ANY({keys})")
            }
            // SQLite has no arrays, but reads one of JSON as a table.
            _ => {
                let keys = self.parameter(serde_json::Value::from(keys).to_string());
                format!("{column} IN (SELECT value FROM json_each({keys}))")
            }
        };
        self.sql.push(if is_not { format!("NOT ({condition})") } else { condition });
    }
}
