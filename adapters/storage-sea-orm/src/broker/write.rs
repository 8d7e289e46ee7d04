//! Writes a plan.

use std::collections::{BTreeMap, BTreeSet};

use pocket_domain::{DeviceId, TenantId};
use pocket_ports::{BrokerKey, MessageRecord, SessionRecord};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, TryGetable, Value};

use super::Changes;
use super::plan::Plan;
use super::statements::{for_keys, for_rows, insert, run, statement};
use crate::error::Error;
use crate::{append, tenants};

/// How far behind the newest key a cleared topic is remembered.
const CLEARED_REMEMBERED: i64 = 100_000;
/// Deliveries from which on those of a message are written by a statement of their own.
const MANY: usize = 32;

/// Applies changes of a node in a transaction that shares the lock of the access log.
pub(crate) async fn apply(transaction: &DatabaseTransaction, changes: &Changes<'_>) -> Result<(), Error> {
    let plan = Plan::of(changes.changes);
    let node = node(transaction, changes.node).await?;
    end_sessions(transaction, node, &plan.ended).await?;
    sessions(transaction, node, &plan.sessions).await?;
    subscriptions(transaction, node, &plan).await?;
    received(transaction, node, &plan.received).await?;
    remove_delivered(transaction, node, &plan).await?;
    deliveries(transaction, node, &plan).await?;
    retained(transaction, node, &plan).await
}

/// The key of the node, which is made when it is not there.
pub(super) async fn node(transaction: &DatabaseTransaction, name: &str) -> Result<i64, Error> {
    let backend = transaction.get_database_backend();
    let find = statement(backend, "SELECT key FROM broker_nodes WHERE name = ?", vec![name.into()]);
    if let Some(row) = transaction.query_one_raw(find).await? {
        return Ok(i64::try_get(&row, "", "key").map_err(DbErr::from)?);
    }
    let add = "INSERT INTO broker_nodes (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING key";
    let row = transaction.query_one_raw(statement(backend, add, vec![name.into()])).await?;
    Ok(i64::try_get(&row.ok_or(DbErr::RecordNotInserted)?, "", "key").map_err(DbErr::from)?)
}

/// A key as the database has it.
pub(super) fn number(key: BrokerKey) -> Value {
    key.get().cast_signed().into()
}

/// Deliveries of a session are not looked for: who ends it names them, and what is left goes when the broker starts.
async fn end_sessions(transaction: &DatabaseTransaction, node: i64, ended: &BTreeSet<BrokerKey>) -> Result<(), DbErr> {
    let ended: Vec<Value> = ended.iter().copied().map(number).collect();
    // The node is a number of our own.
    for (table, key) in
        [("broker_received", "session"), ("broker_subscriptions", "session"), ("broker_sessions", "key")]
    {
        let head = format!("DELETE FROM {table} WHERE node = {node} AND {key}");
        for_keys(transaction, &head, "", ended.clone()).await?;
    }
    Ok(())
}

async fn sessions(
    transaction: &DatabaseTransaction,
    node: i64,
    sessions: &BTreeMap<BrokerKey, std::sync::Arc<SessionRecord>>,
) -> Result<(), Error> {
    let ids: BTreeSet<DeviceId> = sessions.values().map(|session| session.device_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let devices = append::look_up(transaction, &ids).await?;
    let rows = sessions.values().filter_map(|session| {
        let device = devices.get(&session.device_id).filter(|device| device.tenant_id == session.tenant_id)?;
        Some([
            node.into(),
            number(session.key),
            device.device.into(),
            (*session.client_id).into(),
            i64::from(session.expiry_seconds).into(),
            session.left_at.map(|at| at.as_millis()).into(),
            session.will.as_ref().map(|will| will.to_vec()).into(),
        ])
    });
    let values: Vec<Value> = rows.flatten().collect();
    let target = "broker_sessions (node, key, device, client_id, expiry_seconds, left_at, will)";
    let conflict = "ON CONFLICT (node, key) DO UPDATE SET expiry_seconds = excluded.expiry_seconds,
        left_at = excluded.left_at, will = excluded.will";
    Ok(insert(transaction, target, 7, conflict, values).await?)
}

async fn subscriptions(transaction: &DatabaseTransaction, node: i64, plan: &Plan) -> Result<(), DbErr> {
    let (mut values, mut removed) = (Vec::new(), Vec::new());
    for ((session, filter, group), subscription) in &plan.subscriptions {
        let group: &str = group.as_deref().unwrap_or_default();
        let Some(subscription) = subscription else {
            removed.extend([number(*session), (**filter).into(), group.into()]);
            continue;
        };
        let identifier = subscription.identifier.map(|identifier| i64::from(identifier.get()));
        values.extend([
            node.into(),
            number(*session),
            (**filter).into(),
            group.into(),
            i64::from(subscription.options).into(),
            identifier.into(),
        ]);
    }
    // The node is a number of our own.
    let head = format!("DELETE FROM broker_subscriptions WHERE node = {node} AND (session, filter, share_group)");
    for_rows(transaction, &head, 3, removed).await?;
    let target = "broker_subscriptions (node, session, filter, share_group, options, identifier)";
    let conflict = "ON CONFLICT (node, session, filter, share_group) DO UPDATE SET options = excluded.options,
        identifier = excluded.identifier";
    insert(transaction, target, 6, conflict, values).await
}

async fn received(
    transaction: &DatabaseTransaction,
    node: i64,
    received: &BTreeMap<(BrokerKey, u16), bool>,
) -> Result<(), DbErr> {
    let mut completed: BTreeMap<BrokerKey, Vec<Value>> = BTreeMap::new();
    let mut values = Vec::new();
    for ((session, packet_id), is_there) in received {
        let packet_id: Value = i64::from(*packet_id).into();
        if *is_there {
            values.extend([node.into(), number(*session), packet_id]);
        } else {
            completed.entry(*session).or_default().push(packet_id);
        }
    }
    for (session, packet_ids) in completed {
        // Both are numbers of our own.
        let head = format!("DELETE FROM broker_received WHERE node = {node} AND session = {session} AND packet_id");
        for_keys(transaction, &head, "", packet_ids).await?;
    }
    let target = "broker_received (node, session, packet_id)";
    insert(transaction, target, 3, "ON CONFLICT DO NOTHING", values).await
}

async fn remove_delivered(transaction: &DatabaseTransaction, node: i64, plan: &Plan) -> Result<(), DbErr> {
    let keys = |keys: &BTreeSet<BrokerKey>| keys.iter().copied().map(number).collect::<Vec<_>>();
    // The node is a number of our own.
    for (table, key) in [("broker_progress", "delivery"), ("broker_deliveries", "key")] {
        let head = format!("DELETE FROM {table} WHERE node = {node} AND {key}");
        for_keys(transaction, &head, "", keys(&plan.delivered)).await?;
    }
    let head = format!("DELETE FROM broker_messages WHERE node = {node} AND key");
    let tail = " AND NOT EXISTS (SELECT 1 FROM broker_deliveries AS other WHERE other.node = broker_messages.node
        AND other.message = broker_messages.key)";
    let kept = |key: &&BrokerKey| !plan.messages.contains_key(key);
    let released = plan.released.iter().filter(kept).copied().map(number).collect();
    for_keys(transaction, &head, tail, released).await
}

async fn deliveries(transaction: &DatabaseTransaction, node: i64, plan: &Plan) -> Result<(), DbErr> {
    let messages = plan.messages.values().flat_map(|message| {
        let MessageRecord { key, topic, payload, qos, retain, expires_at, properties } = &**message;
        [
            node.into(),
            number(*key),
            topic.as_str().into(),
            payload.to_vec().into(),
            i64::from(*qos).into(),
            (*retain).into(),
            expires_at.map(|at| at.as_millis()).into(),
            properties.as_ref().map(|properties| properties.to_vec()).into(),
        ]
    });
    let target = "broker_messages (node, key, topic, payload, qos, retain, expires_at, properties)";
    insert(transaction, target, 8, "ON CONFLICT DO NOTHING", messages.collect()).await?;
    insert_deliveries(transaction, node, plan).await?;
    let progress = plan.progress.iter().flat_map(|(delivery, progress)| {
        [node.into(), number(*delivery), i64::from(progress.packet_id).into(), progress.released.into()]
    });
    let target = "broker_progress (node, delivery, packet_id, released)";
    let conflict =
        "ON CONFLICT (node, delivery) DO UPDATE SET packet_id = excluded.packet_id, released = excluded.released";
    insert(transaction, target, 4, conflict, progress.collect()).await
}

/// What deliveries of a message to many sessions share.
type Alike<'a> = (BrokerKey, u8, bool, &'a [std::num::NonZeroU32], Option<&'a str>);

/// Writes deliveries: those that differ in nothing but their keys and sessions by one statement, since a message may be for thousands of
/// sessions.
async fn insert_deliveries(transaction: &DatabaseTransaction, node: i64, plan: &Plan) -> Result<(), DbErr> {
    let mut alike: BTreeMap<Alike<'_>, Vec<(i64, i64)>> = BTreeMap::new();
    for (delivery, message) in plan.deliveries.values() {
        let shared = (*message, delivery.qos, delivery.retain, &*delivery.identifiers, delivery.group.as_deref());
        let own = (delivery.key.get().cast_signed(), delivery.session.get().cast_signed());
        alike.entry(shared).or_default().push(own);
    }
    let target = "broker_deliveries (node, key, session, message, qos, retain, identifiers, share_group)";
    let mut few = Vec::new();
    for ((message, qos, retain, identifiers, group), own) in alike {
        let identifiers: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
        let shared: [Value; 5] = [
            number(message),
            i64::from(qos).into(),
            retain.into(),
            identifiers.join(",").into(),
            group.map(ToOwned::to_owned).into(),
        ];
        if own.len() < MANY {
            few.extend(own.into_iter().flat_map(|(key, session)| {
                [node.into(), key.into(), session.into()].into_iter().chain(shared.clone()).collect::<Vec<Value>>()
            }));
            continue;
        }
        let rows = match transaction.get_database_backend() {
            DbBackend::Postgres => {
                "?, own.key, own.session, ?, ?, ?, ?, ? FROM unnest(?::bigint[], ?::bigint[]) AS own (key, session)"
            }
            _ => "?, value ->> 0, value ->> 1, ?, ?, ?, ?, ? FROM json_each(?)",
        };
        let sql = format!("INSERT INTO {target} SELECT {rows} WHERE TRUE ON CONFLICT DO NOTHING");
        let mut values: Vec<Value> = vec![node.into()];
        values.extend(shared);
        match transaction.get_database_backend() {
            DbBackend::Postgres => {
                let (keys, sessions): (Vec<i64>, Vec<i64>) = own.into_iter().unzip();
                values.extend([keys.into(), sessions.into()]);
            }
            _ => values.push(serde_json::json!(own).to_string().into()),
        }
        run(transaction, &sql, values).await?;
    }
    insert(transaction, target, 8, "ON CONFLICT DO NOTHING", few).await
}

async fn retained(transaction: &DatabaseTransaction, node: i64, plan: &Plan) -> Result<(), Error> {
    let mut tenants: BTreeMap<TenantId, Option<i64>> = BTreeMap::new();
    let (mut values, mut newest_cleared) = (Vec::new(), None);
    for ((tenant_id, topic), (key, message)) in &plan.retained {
        let tenant = match tenants.get(tenant_id) {
            Some(tenant) => *tenant,
            None => *tenants.entry(*tenant_id).or_insert(tenants::key(transaction, *tenant_id).await?),
        };
        let Some(tenant) = tenant else { continue };
        if message.is_none() {
            newest_cleared = newest_cleared.max(Some(key.get().cast_signed()));
        }
        let message = message.as_ref();
        values.extend([
            node.into(),
            tenant.into(),
            topic.as_str().into(),
            number(*key),
            message.map(|message| message.payload.to_vec()).into(),
            i64::from(message.map_or(0, |message| message.qos)).into(),
            message.and_then(|message| message.expires_at).map(|at| at.as_millis()).into(),
            message.and_then(|message| message.properties.as_ref()).map(|properties| properties.to_vec()).into(),
        ]);
    }
    let target = "broker_retained (node, tenant, topic, key, payload, qos, expires_at, properties)";
    let conflict = "ON CONFLICT (node, tenant, topic) DO UPDATE SET key = excluded.key, payload = excluded.payload,
        qos = excluded.qos, expires_at = excluded.expires_at, properties = excluded.properties
        WHERE excluded.key >= broker_retained.key";
    insert(transaction, target, 8, conflict, values).await?;
    if let Some(newest) = newest_cleared {
        let sql = "DELETE FROM broker_retained WHERE node = ? AND payload IS NULL AND key < ?";
        run(transaction, sql, vec![node.into(), (newest - CLEARED_REMEMBERED).into()]).await?;
    }
    Ok(())
}
