//! The table of last values: of each series of a device, the last of its rows that are in chunks.
//!
//! The keeper writes it: before rows that were sealed count, and in the transaction that removes chunks. So it agrees with
//! the chunks at every moment, except for devices that are listed as due, whose chunks were written before there was such a
//! table.

use std::collections::HashSet;

use pocket_domain::LeafPath;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, Statement, Value};

use super::last_values::{Last, LastValues, Series};
use crate::broker::insert;
use crate::entity::corrupt;
use crate::error::Error;

#[derive(FromQueryResult)]
struct Row {
    /// None: the device is due.
    path: Option<Vec<u8>>,
    topic: i64,
    timestamp: i64,
    id: i64,
    value: String,
}

/// The newest last values of a device on some topics, or on all, one more than `most` if there are; `None` when they are not
/// all there yet.
pub(super) async fn of_device(
    connection: &impl ConnectionTrait,
    device: i64,
    topics: Option<&HashSet<i64>>,
    most: usize,
) -> Result<Option<LastValues>, Error> {
    let backend = connection.get_database_backend();
    let (bytes, zero, list) = match backend {
        DbBackend::Postgres => ("BYTEA", "CAST(0 AS BIGINT)", "SELECT unnest($2::bigint[])"),
        _ => ("BLOB", "0", "SELECT value FROM json_each($2)"),
    };
    let of_topics = topics.map_or_else(String::new, |_| format!("AND topic IN ({list})"));
    let sql = format!(
        "SELECT CAST(NULL AS {bytes}) AS path, {zero} AS topic, {zero} AS timestamp, {zero} AS id, '' AS value
        FROM telemetry_latest_due WHERE device = $1
        UNION ALL SELECT path, topic, timestamp, id, value FROM
            (SELECT path, topic, timestamp, id, value FROM telemetry_latest WHERE device = $1 {of_topics}
            ORDER BY timestamp DESC, id DESC, path LIMIT {}) AS kept",
        most + 1
    );
    let mut parameters: Vec<Value> = vec![device.into()];
    if let Some(topics) = topics {
        let topics: Vec<i64> = topics.iter().copied().collect();
        parameters.push(match backend {
            DbBackend::Postgres => topics.into(),
            _ => serde_json::json!(topics).to_string().into(),
        });
    }
    let statement = Statement::from_sql_and_values(backend, sql, parameters);
    let mut values = LastValues::default();
    for Row { path, topic, timestamp, id, value } in Row::find_by_statement(statement).all(connection).await? {
        let Some(path) = path else { return Ok(None) };
        values.put((leaf_path(path)?, topic), Last { place: (timestamp, id), value: value.into() });
    }
    Ok(Some(values))
}

fn leaf_path(bytes: Vec<u8>) -> Result<LeafPath, Error> {
    Ok(LeafPath::of_leaf(&String::from_utf8(bytes).map_err(corrupt)?))
}

/// Writes values of devices, each series once, unless there are later ones.
pub(crate) async fn put(transaction: &DatabaseTransaction, values: &[(i64, &Series, &Last)]) -> Result<(), DbErr> {
    let row = |(device, (path, topic), Last { place, value }): &(i64, &Series, &Last)| -> [Value; 6] {
        let path = path.as_str().as_bytes().to_vec();
        [(*device).into(), path.into(), (*topic).into(), place.0.into(), place.1.into(), (**value).to_owned().into()]
    };
    let values: Vec<Value> = values.iter().flat_map(row).collect();
    let target = "telemetry_latest (device, path, topic, timestamp, id, value)";
    let later = "ON CONFLICT (device, path, topic) DO UPDATE
        SET timestamp = excluded.timestamp, id = excluded.id, value = excluded.value
        WHERE (excluded.timestamp, excluded.id) > (telemetry_latest.timestamp, telemetry_latest.id)";
    insert(transaction, target, 6, later, values).await
}

/// Rows of a device that are about to go: those of some times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Going {
    pub(crate) device: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
}

/// A value whose row may be among those that go.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub(crate) device: i64,
    pub(crate) series: Series,
    pub(crate) place: (i64, i64),
}

#[derive(FromQueryResult)]
struct TouchedRow {
    device: i64,
    path: Vec<u8>,
    topic: i64,
    timestamp: i64,
    id: i64,
}

impl TouchedRow {
    fn touched(self) -> Result<Touched, Error> {
        let Self { device, path, topic, timestamp, id } = self;
        Ok(Touched { device, series: (leaf_path(path)?, topic), place: (timestamp, id) })
    }
}

/// The values whose rows may be among those that go.
pub(crate) async fn touched_by(connection: &impl ConnectionTrait, going: &[Going]) -> Result<Vec<Touched>, Error> {
    let of = |going: &Going| {
        let Going { device, first_at, last_at } = going;
        format!("(device = {device} AND timestamp BETWEEN {first_at} AND {last_at})")
    };
    touched(connection, &going.iter().map(of).collect::<Vec<_>>().join(" OR ")).await
}

/// The values of devices that come from rows with these ids, given as lists of keys.
pub(crate) async fn touched_rows(
    connection: &impl ConnectionTrait,
    devices: &str,
    ids: &str,
) -> Result<Vec<Touched>, Error> {
    touched(connection, &format!("device IN ({devices}) AND id IN ({ids})")).await
}

async fn touched(connection: &impl ConnectionTrait, condition: &str) -> Result<Vec<Touched>, Error> {
    // All of these are numbers of our own.
    let sql = format!("SELECT device, path, topic, timestamp, id FROM telemetry_latest WHERE {condition}");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = TouchedRow::find_by_statement(statement).all(connection).await?;
    rows.into_iter().map(TouchedRow::touched).collect()
}

/// Removes values, as long as they are those that were looked at.
pub(crate) async fn remove(transaction: &DatabaseTransaction, touched: &[Touched]) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    for Touched { device, series: (path, topic), place } in touched {
        let sql = format!(
            "DELETE FROM telemetry_latest WHERE device = {device} AND path = $1 AND topic = {topic} AND id = {}",
            place.1
        );
        let statement = Statement::from_sql_and_values(backend, sql, [path.as_str().as_bytes().to_vec().into()]);
        transaction.execute_raw(statement).await?;
    }
    Ok(())
}

/// Lists devices as due, given as a list of keys.
pub(crate) async fn make_due(transaction: &DatabaseTransaction, devices: &[i64]) -> Result<(), DbErr> {
    let values: Vec<Value> = devices.iter().map(|device| (*device).into()).collect();
    insert(transaction, "telemetry_latest_due (device)", 1, "ON CONFLICT DO NOTHING", values).await
}

/// A device that is due.
pub(crate) async fn next_due(connection: &impl ConnectionTrait) -> Result<Option<i64>, DbErr> {
    let statement =
        Statement::from_string(connection.get_database_backend(), "SELECT min(device) FROM telemetry_latest_due");
    match connection.query_one_raw(statement).await? {
        Some(row) => row.try_get_by_index(0),
        None => Ok(None),
    }
}
