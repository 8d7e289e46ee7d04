//! What was heard of devices, recorded many at a time: after a power cut ten thousand of them connect at once.
//!
//! A record is one transaction of at most five statements, however many devices it is about. The first finds the devices
//! and numbers their events; the others go by its keys. A device is online while it has a row in `device_presence`, one
//! for each broker process, so that what one of them records never contradicts another.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{DeviceEventPage, DeviceEventQuery, DeviceId, NodeName, Peer, TenantId, Timestamp};
use pocket_ports::{DeviceActivity, PresenceRepository, StorageError};
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Statement};
use serde_json::{Value, json};

use crate::database::Database;
use crate::error::Error;
use crate::json_rows::{self, Column};
use crate::locks::{self, Lock};
use crate::{absent_brokers, device_events};

/// What is heard of the devices of a database.
pub(crate) struct Presence(pub(crate) Arc<Database>);

const HEARD: &[(&str, Column)] = &[
    ("tenant", Column::Id),
    ("device", Column::Id),
    ("seen_at", Column::Integer),
    ("rejected_at", Column::Integer),
    ("rejected_topic", Column::Text),
    ("rejected_reason", Column::Text),
    ("connected_at", Column::Integer),
    ("client_id", Column::Text),
    ("remote_address", Column::Text),
    ("protocol", Column::Text),
    ("events", Column::Integer),
];
const UPDATE: &str = "
    UPDATE devices SET
        last_seen_at = CASE WHEN rows.seen_at > coalesce(devices.last_seen_at, -1)
            THEN rows.seen_at ELSE devices.last_seen_at END,
        rejected_at = coalesce(rows.rejected_at, devices.rejected_at),
        rejected_topic = coalesce(rows.rejected_topic, devices.rejected_topic),
        rejected_reason = coalesce(rows.rejected_reason, devices.rejected_reason),
        connected_at = CASE WHEN rows.connected_at >= coalesce(devices.connected_at, -1)
            THEN rows.connected_at ELSE devices.connected_at END,
        client_id = CASE WHEN rows.connected_at >= coalesce(devices.connected_at, -1)
            THEN rows.client_id ELSE devices.client_id END,
        remote_address = CASE WHEN rows.connected_at >= coalesce(devices.connected_at, -1)
            THEN rows.remote_address ELSE devices.remote_address END,
        protocol = CASE WHEN rows.connected_at >= coalesce(devices.connected_at, -1)
            THEN rows.protocol ELSE devices.protocol END,
        events = devices.events + rows.events
    FROM rows JOIN tenants ON tenants.id = rows.tenant
    WHERE devices.id = rows.device AND devices.tenant = tenants.key AND NOT devices.deleted
    RETURNING devices.key AS key, devices.id AS id, devices.events AS events,
        (SELECT owner.id FROM tenants AS owner WHERE owner.key = devices.tenant) AS tenant";

const CAME: &[(&str, Column)] = &[
    ("device", Column::Integer),
    ("client_id", Column::Text),
    ("remote_address", Column::Text),
    ("protocol", Column::Text),
];
// Without a condition SQLite would take ON for that of a join.
const COME: &str = "
    INSERT INTO device_presence (device, node, client_id, remote_address, protocol)
    SELECT device, $2, client_id, remote_address, protocol FROM rows WHERE TRUE
    ON CONFLICT (device, node) DO UPDATE SET
        client_id = excluded.client_id, remote_address = excluded.remote_address, protocol = excluded.protocol";

const WENT: &[(&str, Column)] = &[("device", Column::Integer)];
const GO: &str = "DELETE FROM device_presence WHERE node = $2 AND device IN (SELECT device FROM rows)";

/// A device that was found.
#[derive(FromQueryResult)]
struct Found {
    key: i64,
    id: Uuid,
    /// The id of its tenant.
    tenant: Uuid,
    /// The number of its last event, those that are being recorded among them.
    events: i64,
}

/// One entry for each device, in the order of their ids.
fn merged(activity: &[DeviceActivity]) -> Vec<DeviceActivity> {
    let mut merged: BTreeMap<(TenantId, DeviceId), DeviceActivity> = BTreeMap::new();
    for entry in activity {
        merged
            .entry((entry.tenant_id, entry.device_id))
            .and_modify(|known| known.add(entry.clone()))
            .or_insert_with(|| entry.clone());
    }
    merged.into_values().collect()
}

fn heard(entry: &DeviceActivity) -> Value {
    let (rejection, connection) = (entry.rejection.as_ref(), entry.connection.as_ref());
    let [client_id, address, protocol] = connection.map_or([const { Value::Null }; 3], |known| columns(&known.peer));
    json!([
        entry.tenant_id.as_uuid().simple().to_string(),
        entry.device_id.as_uuid().simple().to_string(),
        entry.seen_at.map(Timestamp::as_millis),
        rejection.map(|rejection| rejection.at.as_millis()),
        rejection.map(|rejection| rejection.topic.as_str()),
        rejection.map(|rejection| json_rows::text(&rejection.reason)),
        connection.map(|connection| connection.connected_at.as_millis()),
        client_id,
        address,
        protocol,
        entry.events.len(),
    ])
}

/// Client id, address and protocol.
pub(crate) fn columns(peer: &Peer) -> [Value; 3] {
    let address = peer.address.map(|address| address.to_string());
    [json_rows::text(&peer.client_id).into(), address.into(), json_rows::text(&peer.protocol).into()]
}

/// A statement about rows of these columns, and a value after them.
fn about(
    transaction: &DatabaseTransaction,
    columns: &[(&str, Column)],
    sql: &str,
    rows: Vec<Value>,
    value: Option<&str>,
) -> Statement {
    let backend = transaction.get_database_backend();
    let values = std::iter::once(Value::from(rows).to_string().into()).chain(value.map(Into::into));
    Statement::from_sql_and_values(backend, format!("{} {sql}", json_rows::with(backend, columns)), values)
}

/// Runs a statement about rows, unless there are none.
pub(crate) async fn run(
    transaction: &DatabaseTransaction,
    columns: &[(&str, Column)],
    sql: &str,
    rows: Vec<Value>,
    value: Option<&str>,
) -> Result<(), Error> {
    if !rows.is_empty() {
        transaction.execute_raw(about(transaction, columns, sql, rows, value)).await?;
    }
    Ok(())
}

async fn record(db: &Database, node: &NodeName, activity: &[DeviceActivity], keep: u32) -> Result<(), Error> {
    let transaction = db.begin().await?;
    // Two processes that record at the same time could each wait for a device of the other.
    locks::take(&transaction, Lock::Presence).await?;
    let rows = activity.iter().map(heard).collect();
    let found = Found::find_by_statement(about(&transaction, HEARD, UPDATE, rows, None)).all(&transaction).await?;
    let found: HashMap<Uuid, Found> = found.into_iter().map(|found| (found.id, found)).collect();
    let (mut came, mut went, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for entry in activity {
        let found = found.get(&entry.device_id.as_uuid());
        let Some(found) = found.filter(|found| found.tenant == entry.tenant_id.as_uuid()) else { continue };
        match &entry.connection {
            _ if entry.offline => went.push(json!([found.key])),
            Some(connection) => {
                let [client_id, address, protocol] = columns(&connection.peer);
                came.push(json!([found.key, client_id, address, protocol]));
            }
            None => {}
        }
        if entry.connection.is_some() || entry.offline || !entry.events.is_empty() {
            events.push(device_events::Recorded { device: found.key, last: found.events, events: &entry.events });
        }
    }
    run(&transaction, CAME, COME, came, Some(node.as_str())).await?;
    run(&transaction, WENT, GO, went, Some(node.as_str())).await?;
    device_events::insert(&transaction, &events, keep).await?;
    Ok(transaction.commit().await?)
}

async fn restart(db: &Database, node: &NodeName, now: Timestamp, keep: u32) -> Result<(), Error> {
    let transaction = db.begin().await?;
    locks::take(&transaction, Lock::Presence).await?;
    let since = absent_brokers::end(&transaction, node, now).await?;
    device_events::insert_restart(&transaction, node, since, keep).await?;
    let sql = "DELETE FROM device_presence WHERE node = $1";
    let backend = transaction.get_database_backend();
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [node.as_str().into()])).await?;
    Ok(transaction.commit().await?)
}

#[async_trait]
impl PresenceRepository for Presence {
    async fn record(&self, node: &NodeName, activity: &[DeviceActivity], keep: u32) -> Result<(), StorageError> {
        let (node, activity) = (node.clone(), merged(activity));
        if activity.is_empty() {
            return Ok(());
        }
        self.0.run(move |db| async move { record(&db, &node, &activity, keep).await }).await
    }

    async fn restart(&self, node: &NodeName, now: Timestamp, keep: u32) -> Result<(), StorageError> {
        let node = node.clone();
        self.0.run(move |db| async move { restart(&db, &node, now, keep).await }).await
    }

    async fn events(
        &self,
        tenant: TenantId,
        device: DeviceId,
        query: &DeviceEventQuery,
    ) -> Result<DeviceEventPage, StorageError> {
        let query = *query;
        let rows =
            self.0.run(move |db| async move { device_events::page(db.reader(), tenant, device, query).await }).await?;
        let events = rows.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(DeviceEventPage::from_events(events, query.page_limit))
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    #[allow(clippy::unwrap_used, reason = "a test may fail at once")]
    async fn a_record_finds_its_devices_by_their_ids() {
        let sample = Sample::new().await;
        let backend = sample.database.backend();
        let sql = format!("EXPLAIN QUERY PLAN {} {UPDATE}", json_rows::with(backend, HEARD));
        let rows = sample.database.reader().query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
        let plan = rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap()).collect::<Vec<_>>().join("\n");
        assert!(plan.contains("SEARCH devices USING INDEX") && plan.contains("SEARCH tenants USING"), "{plan}");
        assert_eq!(plan.matches("SCAN").count(), 1, "only the array is read from end to end: {plan}");
    }

    #[tokio::test]
    async fn a_device_has_one_row_for_each_node() {
        let sample = Sample::new().await;
        for node in ["a", "a", "b"] {
            sample.connect(sample.device, node).await;
        }
        assert_eq!(sample.number("SELECT count(*) FROM device_presence").await, 2);
        assert_eq!(sample.number("SELECT count(*) FROM device_events").await, 3);
    }
}
