//! What was heard of devices, recorded many at a time: after a power cut ten thousand of them connect at once.

use std::collections::BTreeMap;

use pocket_domain::{DeviceId, TenantId, Timestamp};
use pocket_ports::DeviceActivity;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Statement};
use serde_json::{Value, json};

use crate::database::Database;
use crate::entity::device;
use crate::error::Error;

/// Devices in one transaction, so that ingest gets its turn in between.
const STEP: usize = 1_000;

/// Takes one JSON array of arrays. A statement of fixed text is prepared once, however many devices there are.
const SQLITE: &str = "
    WITH activity AS (
        SELECT unhex(value ->> 0) AS tenant, unhex(value ->> 1) AS device, value ->> 2 AS online, value ->> 3 AS seen_at,
            value ->> 4 AS rejected_at, value ->> 5 AS rejected_topic, value ->> 6 AS rejected_reason
        FROM json_each(?)
    )";
const POSTGRES: &str = "
    WITH activity AS (
        SELECT (value ->> 0)::uuid AS tenant, (value ->> 1)::uuid AS device, (value ->> 2)::boolean AS online,
            (value ->> 3)::bigint AS seen_at, (value ->> 4)::bigint AS rejected_at, value ->> 5 AS rejected_topic,
            value ->> 6 AS rejected_reason
        FROM jsonb_array_elements($1::jsonb)
    )";
const UPDATE: &str = "
    UPDATE devices SET
        online = coalesce(activity.online, devices.online),
        last_seen_at = CASE WHEN activity.seen_at > coalesce(devices.last_seen_at, -1)
            THEN activity.seen_at ELSE devices.last_seen_at END,
        rejected_at = coalesce(activity.rejected_at, devices.rejected_at),
        rejected_topic = coalesce(activity.rejected_topic, devices.rejected_topic),
        rejected_reason = coalesce(activity.rejected_reason, devices.rejected_reason)
    FROM activity JOIN tenants ON tenants.id = activity.tenant
    WHERE devices.id = activity.device AND devices.tenant = tenants.key AND NOT devices.deleted";

/// One entry for each device, in the order of their ids: all processes lock rows in the same order.
pub(crate) fn latest(activity: &[DeviceActivity]) -> Vec<Value> {
    let mut latest: BTreeMap<(TenantId, DeviceId), DeviceActivity> = BTreeMap::new();
    for entry in activity {
        latest
            .entry((entry.tenant_id, entry.device_id))
            .and_modify(|known| {
                known.online = entry.online.or(known.online);
                known.seen_at = known.seen_at.max(entry.seen_at);
                if entry.rejection.is_some() {
                    known.rejection.clone_from(&entry.rejection);
                }
            })
            .or_insert_with(|| entry.clone());
    }
    latest.into_values().map(|entry| to_json(&entry)).collect()
}

fn to_json(entry: &DeviceActivity) -> Value {
    let rejection = entry.rejection.as_ref();
    json!([
        entry.tenant_id.as_uuid().simple().to_string(),
        entry.device_id.as_uuid().simple().to_string(),
        entry.online,
        entry.seen_at.map(Timestamp::as_millis),
        rejection.map(|rejection| rejection.at.as_millis()),
        rejection.map(|rejection| rejection.topic.as_str()),
        // PostgreSQL refuses U+0000, and one such reason must not keep the others from being recorded.
        rejection.map(|rejection| rejection.reason.replace('\0', "\u{fffd}")),
    ])
}

/// Records what [`latest`] made.
pub(crate) async fn record(db: &Database, entries: &[Value]) -> Result<(), Error> {
    let (backend, with) = match db.backend() {
        DbBackend::Postgres => (DbBackend::Postgres, POSTGRES),
        other => (other, SQLITE),
    };
    let sql = format!("{with}{UPDATE}");
    for step in entries.chunks(STEP) {
        let text = Value::from(step).to_string();
        let transaction = db.begin().await?;
        transaction.execute_raw(Statement::from_sql_and_values(backend, &sql, [text.into()])).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Marks every device as not connected.
pub(crate) async fn mark_all_offline(db: &Database) -> Result<(), Error> {
    let transaction = db.begin().await?;
    device::Entity::update_many()
        .col_expr(device::Column::Online, Expr::value(false))
        .filter(device::Column::Online.eq(true))
        .exec(&transaction)
        .await?;
    Ok(transaction.commit().await?)
}
