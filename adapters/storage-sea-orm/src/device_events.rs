//! Events of devices. Each has a number in its device, counted on from the device's row, so that the events that are too
//! old are those up to a number: they are found without counting.

use pocket_domain::{
    DeviceEvent, DeviceEventId, DeviceEventKind, DeviceEventQuery, DeviceId, NewDeviceEvent, NodeName, Peer, TenantId,
    Timestamp,
};
use pocket_ports::StorageError;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, FromQueryResult, Statement, Value};
use serde_json::json;

use crate::devices;
use crate::entity::{corrupt, time};
use crate::error::Error;
use crate::json_rows::Column;
use crate::presence::{columns, run};

const EVENTS: &[(&str, Column)] = &[
    ("device", Column::Integer),
    ("number", Column::Integer),
    ("kind", Column::Text),
    ("at", Column::Integer),
    ("client_id", Column::Text),
    ("remote_address", Column::Text),
    ("protocol", Column::Text),
    ("reason", Column::Text),
];
const INSERT: &str = "
    INSERT INTO device_events (device, number, kind, at, client_id, remote_address, protocol, reason)
    SELECT device, number, kind, at, client_id, remote_address, protocol, reason FROM rows";

const SURPLUS: &[(&str, Column)] = &[("device", Column::Integer), ("last", Column::Integer)];
const PRUNE: &str = "
    DELETE FROM device_events WHERE (device, number) IN (
        SELECT old.device, old.number
        FROM rows JOIN device_events AS old ON old.device = rows.device AND old.number <= rows.last
    )";

/// The statements for a broker process `$1` that starts, in their order.
const RESTART_NUMBERS: &str = "
    UPDATE devices SET events = events + 1
    WHERE NOT deleted AND key IN (SELECT device FROM device_presence WHERE node = $1)";
const RESTART_EVENTS: &str = "
    INSERT INTO device_events (device, number, kind, at, client_id, remote_address, protocol, reason)
    SELECT devices.key, devices.events, $2, $3, here.client_id, here.remote_address, here.protocol, $4
    FROM device_presence AS here JOIN devices ON devices.key = here.device
    WHERE here.node = $1 AND NOT devices.deleted";
const RESTART_PRUNE: &str = "
    DELETE FROM device_events WHERE (device, number) IN (
        SELECT old.device, old.number
        FROM device_presence AS here JOIN devices ON devices.key = here.device
            JOIN device_events AS old ON old.device = here.device AND old.number <= devices.events - $2
        WHERE here.node = $1
    )";

/// Events of one device that were numbered.
pub(crate) struct Recorded<'a> {
    /// The key of the device.
    pub(crate) device: i64,
    /// The number of the last of the events.
    pub(crate) last: i64,
    pub(crate) events: &'a [NewDeviceEvent],
}

/// Adds the events, as far as they are among the last `keep` of their devices, and removes those that are not any more.
pub(crate) async fn insert(
    transaction: &DatabaseTransaction,
    recorded: &[Recorded<'_>],
    keep: u32,
) -> Result<(), Error> {
    let (mut rows, mut surplus) = (Vec::new(), Vec::new());
    for Recorded { device, last, events } in recorded {
        for (number, event) in (1..=*last).rev().zip(events.iter().rev()).take(keep as usize) {
            let [client_id, address, protocol] = columns(&event.peer);
            let NewDeviceEvent { at, kind, .. } = event;
            let at = at.as_millis();
            rows.push(json!([device, number, kind.name(), at, client_id, address, protocol, kind.reason()]));
        }
        if *last > i64::from(keep) {
            surplus.push(json!([device, last - i64::from(keep)]));
        }
    }
    run(transaction, EVENTS, INSERT, rows, None).await?;
    run(transaction, SURPLUS, PRUNE, surplus, None).await
}

/// Adds the events of devices that were online through a broker process that starts again.
pub(crate) async fn insert_restart(
    transaction: &DatabaseTransaction,
    node: &NodeName,
    now: Timestamp,
    keep: u32,
) -> Result<(), Error> {
    if keep == 0 {
        return Ok(());
    }
    let node = || Value::from(node.as_str());
    let kind = DeviceEventKind::Disconnected(DeviceEventKind::BROKER_RESTART.into());
    let event = vec![node(), kind.name().into(), now.as_millis().into(), kind.reason().unwrap_or_default().into()];
    let backend = transaction.get_database_backend();
    for (sql, values) in [
        (RESTART_NUMBERS, vec![node()]),
        (RESTART_EVENTS, event),
        (RESTART_PRUNE, vec![node(), i64::from(keep).into()]),
    ] {
        transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    }
    Ok(())
}

#[derive(FromQueryResult)]
pub(crate) struct Row {
    number: i64,
    kind: String,
    at: i64,
    client_id: String,
    remote_address: Option<String>,
    protocol: String,
    reason: Option<String>,
}

impl TryFrom<Row> for DeviceEvent {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let kind = DeviceEventKind::from_stored(&row.kind, row.reason);
        Ok(Self {
            id: DeviceEventId::from_number(row.number.unsigned_abs()),
            event: NewDeviceEvent {
                at: time(row.at)?,
                kind: kind.ok_or_else(|| corrupt(format!("an event of a device is {:?}", row.kind)))?,
                peer: peer(row.client_id, row.remote_address, row.protocol)?,
            },
        })
    }
}

/// The other end of a connection as it was stored.
pub(crate) fn peer(client_id: String, address: Option<String>, protocol: String) -> Result<Peer, StorageError> {
    let address = address.map(|address| address.parse()).transpose().map_err(corrupt)?;
    Ok(Peer { client_id: client_id.into(), address, protocol: protocol.into() })
}

/// The events of a page and one more. A device has so few that sorting them costs less than an index.
pub(crate) async fn page(
    connection: &DatabaseConnection,
    tenant: TenantId,
    device: DeviceId,
    query: DeviceEventQuery,
) -> Result<Vec<Row>, Error> {
    let Some(device) = devices::find(connection, tenant, device).await? else { return Ok(Vec::new()) };
    let mut values: Vec<Value> = vec![device.key.into(), (i64::from(query.page_limit.get()) + 1).into()];
    let mut before = "";
    if let Some(cursor) = query.cursor {
        before = "AND (at, number) < ($3, $4)";
        values.push(cursor.at.as_millis().into());
        values.push(i64::try_from(cursor.id.as_number()).unwrap_or(i64::MAX).into());
    }
    let sql = format!(
        "SELECT number, kind, at, client_id, remote_address, protocol, reason FROM device_events \
        WHERE device = $1 {before} ORDER BY at DESC, number DESC LIMIT $2"
    );
    let backend = connection.get_database_backend();
    Ok(Row::find_by_statement(Statement::from_sql_and_values(backend, sql, values)).all(connection).await?)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::json_rows;
    use crate::sample::Sample;

    /// How SQLite goes about a statement.
    #[allow(clippy::unwrap_used, reason = "a test may fail at once")]
    async fn plan(sample: &Sample, sql: &str) -> String {
        let explain = Statement::from_string(sample.database.backend(), format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sample.database.reader().query_all_raw(explain).await.unwrap();
        rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap()).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn events_that_are_too_old_are_found_by_their_numbers() {
        let sample = Sample::new().await;
        let prune = format!("{} {PRUNE}", json_rows::with(sample.database.backend(), SURPLUS));
        for sql in [prune.as_str(), RESTART_PRUNE] {
            let plan = plan(&sample, sql).await;
            assert!(plan.contains("SEARCH old USING PRIMARY KEY (device=? AND number<?)"), "{plan}");
            assert!(!plan.contains("SCAN old") && !plan.contains("SCAN device_events"), "{plan}");
        }
    }
}
