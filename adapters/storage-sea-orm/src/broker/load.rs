//! Reads what a node left, after removing what nobody will ask for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use pocket_domain::{DeviceId, TenantId, Timestamp, TopicName};
use pocket_ports::{
    BrokerKey, BrokerState, DeliveryRecord, MessageRecord, Progress, SessionRecord, StorageError, StoredSession,
    SubscriptionRecord,
};
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult};

use super::statements::{run, statement};
use super::write;
use crate::database::Database;
use crate::entity::{corrupt, time};
use crate::error::Error;

type Delivery = (DeliveryRecord, Arc<MessageRecord>, Option<Progress>);

pub(super) async fn load(db: &Database, node: &str, now: Timestamp) -> Result<BrokerState, Error> {
    let transaction = db.begin().await?;
    let node = write::node(&transaction, node).await?;
    remove_leftovers(&transaction, node, now).await?;
    let last_key = last_key(&transaction, node).await?;
    let mut subscriptions = subscriptions(&transaction, node).await?;
    let mut received = received(&transaction, node).await?;
    let mut deliveries = deliveries(&transaction, node).await?;
    let mut sessions = Vec::new();
    for session in self::sessions(&transaction, node).await? {
        let key = session.key;
        sessions.push(StoredSession {
            session,
            subscriptions: subscriptions.remove(&key).unwrap_or_default(),
            received: received.remove(&key).unwrap_or_default(),
            deliveries: deliveries.remove(&key).unwrap_or_default(),
        });
    }
    let retained = retained(&transaction, node).await?;
    transaction.commit().await?;
    Ok(BrokerState { sessions, retained, last_key })
}

/// What belongs to sessions that are gone with their devices, and what is over.
async fn remove_leftovers(transaction: &DatabaseTransaction, node: i64, now: Timestamp) -> Result<(), DbErr> {
    let statements = [
        "DELETE FROM broker_sessions WHERE node = ? AND device IN (SELECT key FROM devices WHERE deleted)",
        "DELETE FROM broker_subscriptions WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_sessions AS owner
            WHERE owner.node = broker_subscriptions.node AND owner.key = broker_subscriptions.session)",
        "DELETE FROM broker_received WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_sessions AS owner
            WHERE owner.node = broker_received.node AND owner.key = broker_received.session)",
        "DELETE FROM broker_deliveries WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_sessions AS owner
            WHERE owner.node = broker_deliveries.node AND owner.key = broker_deliveries.session)",
        "DELETE FROM broker_progress WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_deliveries AS owner
            WHERE owner.node = broker_progress.node AND owner.key = broker_progress.delivery)",
        "DELETE FROM broker_messages WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_deliveries AS owner
            WHERE owner.node = broker_messages.node AND owner.message = broker_messages.key)",
        "DELETE FROM broker_retained WHERE node = ? AND payload IS NULL",
    ];
    for sql in statements {
        run(transaction, sql, vec![node.into()]).await?;
    }
    let expired = "DELETE FROM broker_retained WHERE node = ? AND expires_at <= ?";
    run(transaction, expired, vec![node.into(), now.as_millis().into()]).await
}

#[derive(FromQueryResult)]
struct LastKey {
    last: Option<i64>,
}

async fn last_key(transaction: &DatabaseTransaction, node: i64) -> Result<u64, Error> {
    let mut last = 0;
    for table in ["broker_sessions", "broker_messages", "broker_deliveries", "broker_retained"] {
        let sql = format!("SELECT max(key) AS last FROM {table} WHERE node = ?");
        let found: Vec<LastKey> = rows(transaction, &sql, node).await?;
        last = found.iter().filter_map(|row| row.last).fold(last, i64::max);
    }
    Ok(last.unsigned_abs())
}

async fn rows<R: FromQueryResult>(transaction: &DatabaseTransaction, sql: &str, node: i64) -> Result<Vec<R>, Error> {
    let query = statement(transaction.get_database_backend(), sql, vec![node.into()]);
    Ok(R::find_by_statement(query).all(transaction).await?)
}

fn key(number: i64) -> Result<BrokerKey, StorageError> {
    BrokerKey::new(number.unsigned_abs()).ok_or_else(|| StorageError::Corrupt("a broker key of 0".to_owned()))
}

fn small<T: TryFrom<i64>>(number: i64) -> Result<T, StorageError> {
    T::try_from(number).map_err(|_| StorageError::Corrupt(format!("{number} in the state of a broker")))
}

#[derive(FromQueryResult)]
struct SessionRow {
    key: i64,
    tenant_id: Uuid,
    device_id: Uuid,
    client_id: String,
    expiry_seconds: i64,
    left_at: Option<i64>,
    will: Option<Vec<u8>>,
}

async fn sessions(transaction: &DatabaseTransaction, node: i64) -> Result<Vec<SessionRecord>, Error> {
    let sql = "SELECT session.key, tenants.id AS tenant_id, devices.id AS device_id, session.client_id,
            session.expiry_seconds, session.left_at, session.will
        FROM broker_sessions AS session JOIN devices ON devices.key = session.device
        JOIN tenants ON tenants.key = devices.tenant
        WHERE session.node = ? AND NOT tenants.deleted ORDER BY session.key";
    let found: Vec<SessionRow> = rows(transaction, sql, node).await?;
    let session = |row: SessionRow| -> Result<SessionRecord, Error> {
        Ok(SessionRecord {
            key: key(row.key)?,
            tenant_id: TenantId::from_uuid(row.tenant_id),
            device_id: DeviceId::from_uuid(row.device_id),
            client_id: row.client_id.into(),
            expiry_seconds: small(row.expiry_seconds)?,
            left_at: row.left_at.map(time).transpose()?,
            will: row.will.map(Into::into),
        })
    };
    found.into_iter().map(session).collect()
}

#[derive(FromQueryResult)]
struct SubscriptionRow {
    session: i64,
    filter: String,
    share_group: String,
    options: i64,
    identifier: Option<i64>,
}

async fn subscriptions(
    transaction: &DatabaseTransaction,
    node: i64,
) -> Result<HashMap<BrokerKey, Vec<SubscriptionRecord>>, Error> {
    let sql = "SELECT session, filter, share_group, options, identifier FROM broker_subscriptions WHERE node = ?";
    let found: Vec<SubscriptionRow> = rows(transaction, sql, node).await?;
    let subscription = |row: SubscriptionRow| -> Result<_, Error> {
        let identifier = row.identifier.map(small::<u32>).transpose()?;
        let record = SubscriptionRecord {
            filter: row.filter.into(),
            group: (!row.share_group.is_empty()).then(|| row.share_group.into()),
            options: small(row.options)?,
            identifier: identifier.and_then(std::num::NonZeroU32::new),
        };
        Ok((key(row.session)?, record))
    };
    group(found.into_iter().map(subscription))
}

#[derive(FromQueryResult)]
struct ReceivedRow {
    session: i64,
    packet_id: i64,
}

async fn received(transaction: &DatabaseTransaction, node: i64) -> Result<HashMap<BrokerKey, Vec<u16>>, Error> {
    let sql = "SELECT session, packet_id FROM broker_received WHERE node = ? ORDER BY session, packet_id";
    let found: Vec<ReceivedRow> = rows(transaction, sql, node).await?;
    group(found.into_iter().map(|row| Ok((key(row.session)?, small(row.packet_id)?))))
}

#[derive(FromQueryResult)]
struct MessageRow {
    key: i64,
    topic: String,
    payload: Vec<u8>,
    qos: i64,
    retain: bool,
    expires_at: Option<i64>,
    properties: Option<Vec<u8>>,
}

fn message(row: MessageRow) -> Result<MessageRecord, StorageError> {
    Ok(MessageRecord {
        key: key(row.key)?,
        topic: TopicName::parse(&row.topic).map_err(corrupt)?,
        payload: Bytes::from(row.payload),
        qos: small(row.qos)?,
        retain: row.retain,
        expires_at: row.expires_at.map(time).transpose()?,
        properties: row.properties.map(Into::into),
    })
}

#[derive(FromQueryResult)]
struct DeliveryRow {
    key: i64,
    session: i64,
    message: i64,
    qos: i64,
    retain: bool,
    identifiers: String,
    share_group: Option<String>,
    packet_id: Option<i64>,
    released: Option<bool>,
}

async fn deliveries(transaction: &DatabaseTransaction, node: i64) -> Result<HashMap<BrokerKey, Vec<Delivery>>, Error> {
    let sql = "SELECT key, topic, payload, qos, retain, expires_at, properties FROM broker_messages WHERE node = ?";
    let mut messages = HashMap::new();
    for row in rows::<MessageRow>(transaction, sql, node).await? {
        messages.insert(row.key, Arc::new(message(row)?));
    }
    let sql = "SELECT delivery.key, delivery.session, delivery.message, delivery.qos, delivery.retain,
            delivery.identifiers, delivery.share_group, progress.packet_id, progress.released
        FROM broker_deliveries AS delivery
        LEFT JOIN broker_progress AS progress ON progress.node = delivery.node AND progress.delivery = delivery.key
        WHERE delivery.node = ? ORDER BY delivery.key";
    let found: Vec<DeliveryRow> = rows(transaction, sql, node).await?;
    let delivery = |row: DeliveryRow| -> Result<_, Error> {
        let content = messages.get(&row.message).cloned();
        let content = content.ok_or_else(|| StorageError::Corrupt("a delivery without its message".to_owned()))?;
        let progress = match row.packet_id {
            Some(id) => Some(Progress { packet_id: small(id)?, released: row.released.unwrap_or_default() }),
            None => None,
        };
        let identifiers = row.identifiers.split(',').filter(|identifier| !identifier.is_empty());
        let record = DeliveryRecord {
            key: key(row.key)?,
            session: key(row.session)?,
            qos: small(row.qos)?,
            retain: row.retain,
            identifiers: identifiers.map(str::parse).collect::<Result<_, _>>().map_err(corrupt)?,
            group: row.share_group.map(Into::into),
        };
        Ok((record.session, (record, content, progress)))
    };
    group(found.into_iter().map(delivery))
}

#[derive(FromQueryResult)]
struct RetainedRow {
    tenant_id: Uuid,
    key: i64,
    topic: String,
    payload: Vec<u8>,
    qos: i64,
    expires_at: Option<i64>,
    properties: Option<Vec<u8>>,
}

async fn retained(transaction: &DatabaseTransaction, node: i64) -> Result<Vec<(TenantId, MessageRecord)>, Error> {
    let sql = "SELECT tenants.id AS tenant_id, retained.key, retained.topic, retained.payload, retained.qos,
            retained.expires_at, retained.properties
        FROM broker_retained AS retained JOIN tenants ON tenants.key = retained.tenant
        WHERE retained.node = ? AND NOT tenants.deleted";
    let found: Vec<RetainedRow> = rows(transaction, sql, node).await?;
    let retained = |row: RetainedRow| -> Result<_, Error> {
        let RetainedRow { tenant_id, key, topic, payload, qos, expires_at, properties } = row;
        let content = message(MessageRow { key, topic, payload, qos, retain: true, expires_at, properties })?;
        Ok((TenantId::from_uuid(tenant_id), content))
    };
    found.into_iter().map(retained).collect()
}

fn group<K: Hash + Eq, V>(entries: impl Iterator<Item = Result<(K, V), Error>>) -> Result<HashMap<K, Vec<V>>, Error> {
    let mut groups: HashMap<K, Vec<V>> = HashMap::new();
    for entry in entries {
        let (key, value) = entry?;
        groups.entry(key).or_default().push(value);
    }
    Ok(groups)
}
