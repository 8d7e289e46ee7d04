//! Rows of the state of brokers, and what they say.

use std::num::NonZeroU32;

use bytes::Bytes;
use pocket_domain::{DeviceId, TenantId, TopicName};
use pocket_ports::{
    BrokerKey, DeliveryRecord, MessageRecord, Progress, SessionRecord, StorageError, SubscriptionRecord,
};
use sea_orm::prelude::Uuid;
use sea_orm::{DbBackend, FromQueryResult};

use crate::entity::{corrupt, time};

pub(crate) fn key(number: i64) -> Result<BrokerKey, StorageError> {
    BrokerKey::new(number.unsigned_abs()).ok_or_else(|| corrupt("a broker key of 0"))
}

pub(crate) fn small<T: TryFrom<i64>>(number: i64) -> Result<T, StorageError> {
    T::try_from(number).map_err(|_| corrupt(format!("{number} in the state of a broker")))
}

#[derive(FromQueryResult)]
pub(crate) struct SessionRow {
    pub(crate) key: i64,
    pub(crate) tenant_id: Uuid,
    pub(crate) device_id: Uuid,
    pub(crate) client_id: String,
    expiry_seconds: i64,
    left_at: Option<i64>,
    will: Option<Vec<u8>>,
}

/// Sessions of a node, of devices and tenants that are there. A condition and an order may follow.
pub(crate) const SESSIONS: &str = "SELECT session.key, tenants.id AS tenant_id, devices.id AS device_id,
        session.client_id, session.expiry_seconds, session.left_at, session.will
    FROM broker_sessions AS session JOIN devices ON devices.key = session.device
    JOIN tenants ON tenants.key = devices.tenant
    WHERE session.node = ? AND NOT tenants.deleted";

pub(crate) fn session(row: SessionRow) -> Result<SessionRecord, StorageError> {
    Ok(SessionRecord {
        key: key(row.key)?,
        tenant_id: TenantId::from_uuid(row.tenant_id),
        device_id: DeviceId::from_uuid(row.device_id),
        client_id: row.client_id.into(),
        expiry_seconds: small(row.expiry_seconds)?,
        left_at: row.left_at.map(time).transpose()?,
        will: row.will.map(Into::into),
    })
}

#[derive(FromQueryResult)]
pub(crate) struct SubscriptionRow {
    pub(crate) session: i64,
    filter: String,
    share_group: String,
    options: i64,
    identifier: Option<i64>,
}

pub(crate) const SUBSCRIPTIONS: &str =
    "SELECT session, filter, share_group, options, identifier FROM broker_subscriptions WHERE node = ?";

pub(crate) fn subscription(row: SubscriptionRow) -> Result<SubscriptionRecord, StorageError> {
    let identifier = row.identifier.map(small::<u32>).transpose()?;
    Ok(SubscriptionRecord {
        filter: row.filter.into(),
        group: (!row.share_group.is_empty()).then(|| row.share_group.into()),
        options: small(row.options)?,
        identifier: identifier.and_then(NonZeroU32::new),
    })
}

#[derive(FromQueryResult)]
pub(crate) struct ReceivedRow {
    pub(crate) session: i64,
    pub(crate) packet_id: i64,
}

pub(crate) const RECEIVED: &str = "SELECT session, packet_id FROM broker_received WHERE node = ?";

#[derive(FromQueryResult)]
pub(crate) struct MessageRow {
    pub(crate) key: i64,
    topic: String,
    payload: Vec<u8>,
    qos: i64,
    retain: bool,
    expires_at: Option<i64>,
    properties: Option<Vec<u8>>,
}

pub(crate) const MESSAGES: &str =
    "SELECT key, topic, payload, qos, retain, expires_at, properties FROM broker_messages WHERE node = ?";

pub(crate) fn message(row: MessageRow) -> Result<MessageRecord, StorageError> {
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
pub(crate) struct DeliveryRow {
    key: i64,
    session: i64,
    pub(crate) message: i64,
    qos: i64,
    retain: bool,
    identifiers: String,
    share_group: Option<String>,
    packet_id: Option<i64>,
    released: Option<bool>,
}

pub(crate) const DELIVERIES: &str = "SELECT delivery.key, delivery.session, delivery.message, delivery.qos,
        delivery.retain, delivery.identifiers, delivery.share_group, progress.packet_id, progress.released
    FROM broker_deliveries AS delivery
    LEFT JOIN broker_progress AS progress ON progress.node = delivery.node AND progress.delivery = delivery.key
    WHERE delivery.node = ?";

/// Deliveries of a message that differ in nothing but their keys and sessions.
#[derive(FromQueryResult)]
pub(crate) struct FanoutRow {
    pub(crate) message: i64,
    qos: i64,
    retain: bool,
    identifiers: String,
    share_group: Option<String>,
    /// `key,session` of each, separated by `;`, in no order.
    own: String,
}

/// All deliveries of a node, in few rows: a message may be for thousands of sessions.
pub(crate) fn fanouts(backend: DbBackend) -> String {
    let own = match backend {
        DbBackend::Postgres => "string_agg(key || ',' || session, ';')",
        _ => "group_concat(key || ',' || session, ';')",
    };
    format!(
        "SELECT message, qos, retain, identifiers, share_group, {own} AS own FROM broker_deliveries WHERE node = ?
        GROUP BY message, qos, retain, identifiers, share_group"
    )
}

pub(crate) fn fanout(row: &FanoutRow) -> Result<Vec<DeliveryRecord>, StorageError> {
    let identifiers: Vec<NonZeroU32> = identifiers(&row.identifiers)?;
    let own = |own: &str| {
        let (delivery, session) = own.split_once(',').ok_or_else(|| corrupt("a delivery without a session"))?;
        let number = |text: &str| text.parse::<i64>().map_err(corrupt).and_then(key);
        Ok(DeliveryRecord {
            key: number(delivery)?,
            session: number(session)?,
            qos: small(row.qos)?,
            retain: row.retain,
            identifiers: identifiers.clone(),
            group: row.share_group.as_deref().map(Into::into),
        })
    };
    row.own.split(';').map(own).collect()
}

fn identifiers(text: &str) -> Result<Vec<NonZeroU32>, StorageError> {
    let identifiers = text.split(',').filter(|identifier| !identifier.is_empty());
    identifiers.map(str::parse).collect::<Result<_, _>>().map_err(corrupt)
}

#[derive(FromQueryResult)]
pub(crate) struct ProgressRow {
    pub(crate) delivery: i64,
    packet_id: i64,
    released: bool,
}

pub(crate) const PROGRESS: &str = "SELECT delivery, packet_id, released FROM broker_progress WHERE node = ?";

pub(crate) fn progress(row: &ProgressRow) -> Result<Progress, StorageError> {
    Ok(Progress { packet_id: small(row.packet_id)?, released: row.released })
}

pub(crate) fn without_message() -> StorageError {
    corrupt("a delivery without its message")
}

pub(crate) fn delivery(row: DeliveryRow) -> Result<(DeliveryRecord, Option<Progress>), StorageError> {
    let progress = match row.packet_id {
        Some(id) => Some(Progress { packet_id: small(id)?, released: row.released.unwrap_or_default() }),
        None => None,
    };
    let record = DeliveryRecord {
        key: key(row.key)?,
        session: key(row.session)?,
        qos: small(row.qos)?,
        retain: row.retain,
        identifiers: identifiers(&row.identifiers)?,
        group: row.share_group.map(Into::into),
    };
    Ok((record, progress))
}

#[derive(FromQueryResult)]
pub(crate) struct RetainedRow {
    pub(crate) tenant_id: Uuid,
    key: i64,
    pub(crate) topic: String,
    payload: Vec<u8>,
    qos: i64,
    expires_at: Option<i64>,
    properties: Option<Vec<u8>>,
}

/// Retained messages of a node, of tenants that are there. A condition and an order may follow.
pub(crate) const RETAINED: &str = "SELECT retained.tenant, tenants.id AS tenant_id, retained.key, retained.topic,
        retained.payload, retained.qos, retained.expires_at, retained.properties
    FROM broker_retained AS retained JOIN tenants ON tenants.key = retained.tenant
    WHERE retained.node = ? AND NOT tenants.deleted AND retained.payload IS NOT NULL";

pub(crate) fn retained(row: RetainedRow) -> Result<(TenantId, MessageRecord), StorageError> {
    let RetainedRow { tenant_id, key, topic, payload, qos, expires_at, properties } = row;
    let content = message(MessageRow { key, topic, payload, qos, retain: true, expires_at, properties })?;
    Ok((TenantId::from_uuid(tenant_id), content))
}
