//! Reads what a node left, after removing what nobody will ask for.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use pocket_domain::{TenantId, Timestamp};
use pocket_ports::{
    BrokerKey, BrokerState, DeliveryRecord, MessageRecord, Progress, SessionRecord, StoredSession, SubscriptionRecord,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult};

use super::rows::{self, FanoutRow, MessageRow, ProgressRow, ReceivedRow, SubscriptionRow, key, small};
use super::statements::{run, statement};
use super::write;
use crate::database::Database;
use crate::error::Error;

type Delivery = (DeliveryRecord, Arc<MessageRecord>, Option<Progress>);

pub(super) async fn load(db: &Database, node: &str, now: Timestamp) -> Result<BrokerState, Error> {
    let transaction = db.begin().await?;
    let node = write::node(&transaction, node).await?;
    remove_leftovers(&transaction, node, now).await?;
    let last_key = last_key(&transaction, node).await?;
    let mut subscriptions = subscriptions(&transaction, node).await?;
    let mut received = received(&transaction, node).await?;
    let Waiting { mut deliveries, is_left } = deliveries(&transaction, node).await?;
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
    // What is left belongs to sessions that are gone.
    if is_left || !deliveries.is_empty() {
        remove_deliveries(&transaction, node).await?;
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
        "DELETE FROM broker_retained WHERE node = ? AND payload IS NULL",
    ];
    for sql in statements {
        run(transaction, sql, vec![node.into()]).await?;
    }
    let expired = "DELETE FROM broker_retained WHERE node = ? AND expires_at <= ?";
    run(transaction, expired, vec![node.into(), now.as_millis().into()]).await
}

/// Deliveries of sessions that are gone, and what nothing leads to. Looking for them takes long where there are many.
async fn remove_deliveries(transaction: &DatabaseTransaction, node: i64) -> Result<(), DbErr> {
    let statements = [
        "DELETE FROM broker_deliveries WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_sessions AS owner
            WHERE owner.node = broker_deliveries.node AND owner.key = broker_deliveries.session)",
        "DELETE FROM broker_progress WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_deliveries AS owner
            WHERE owner.node = broker_progress.node AND owner.key = broker_progress.delivery)",
        "DELETE FROM broker_messages WHERE node = ? AND NOT EXISTS (SELECT 1 FROM broker_deliveries AS owner
            WHERE owner.node = broker_messages.node AND owner.message = broker_messages.key)",
    ];
    for sql in statements {
        run(transaction, sql, vec![node.into()]).await?;
    }
    Ok(())
}

#[derive(FromQueryResult)]
struct LastKey {
    last: Option<i64>,
}

async fn last_key(transaction: &DatabaseTransaction, node: i64) -> Result<u64, Error> {
    let mut last = 0;
    for table in ["broker_sessions", "broker_messages", "broker_deliveries", "broker_retained"] {
        let sql = format!("SELECT max(key) AS last FROM {table} WHERE node = ?");
        let found: Vec<LastKey> = all(transaction, &sql, node).await?;
        last = found.iter().filter_map(|row| row.last).fold(last, i64::max);
    }
    Ok(last.unsigned_abs())
}

async fn all<R: FromQueryResult>(transaction: &DatabaseTransaction, sql: &str, node: i64) -> Result<Vec<R>, Error> {
    let query = statement(transaction.get_database_backend(), sql, vec![node.into()]);
    Ok(R::find_by_statement(query).all(transaction).await?)
}

async fn sessions(transaction: &DatabaseTransaction, node: i64) -> Result<Vec<SessionRecord>, Error> {
    let sql = format!("{} ORDER BY session.key", rows::SESSIONS);
    let found = all(transaction, &sql, node).await?;
    found.into_iter().map(|row| Ok(rows::session(row)?)).collect()
}

async fn subscriptions(
    transaction: &DatabaseTransaction,
    node: i64,
) -> Result<HashMap<BrokerKey, Vec<SubscriptionRecord>>, Error> {
    let found: Vec<SubscriptionRow> = all(transaction, rows::SUBSCRIPTIONS, node).await?;
    group(found.into_iter().map(|row| Ok((key(row.session)?, rows::subscription(row)?))))
}

async fn received(transaction: &DatabaseTransaction, node: i64) -> Result<HashMap<BrokerKey, Vec<u16>>, Error> {
    let sql = format!("{} ORDER BY session, packet_id", rows::RECEIVED);
    let found: Vec<ReceivedRow> = all(transaction, &sql, node).await?;
    group(found.into_iter().map(|row| Ok((key(row.session)?, small(row.packet_id)?))))
}

/// What waits for sessions.
struct Waiting {
    deliveries: HashMap<BrokerKey, Vec<Delivery>>,
    /// Whether there are messages or progress without a delivery.
    is_left: bool,
}

async fn deliveries(transaction: &DatabaseTransaction, node: i64) -> Result<Waiting, Error> {
    let mut messages = HashMap::new();
    for row in all::<MessageRow>(transaction, rows::MESSAGES, node).await? {
        messages.insert(row.key, Arc::new(rows::message(row)?));
    }
    let mut progress = HashMap::new();
    for row in all::<ProgressRow>(transaction, rows::PROGRESS, node).await? {
        progress.insert(key(row.delivery)?, rows::progress(&row)?);
    }
    let mut deliveries: HashMap<BrokerKey, Vec<Delivery>> = HashMap::new();
    let mut wanted = HashSet::new();
    for row in all::<FanoutRow>(transaction, &rows::fanouts(transaction.get_database_backend()), node).await? {
        let content = messages.get(&row.message).ok_or_else(rows::without_message)?;
        wanted.insert(row.message);
        for record in rows::fanout(&row)? {
            let come = progress.remove(&record.key);
            deliveries.entry(record.session).or_default().push((record, Arc::clone(content), come));
        }
    }
    for of_session in deliveries.values_mut() {
        of_session.sort_unstable_by_key(|(record, ..)| record.key);
    }
    Ok(Waiting { deliveries, is_left: wanted.len() < messages.len() || !progress.is_empty() })
}

async fn retained(transaction: &DatabaseTransaction, node: i64) -> Result<Vec<(TenantId, MessageRecord)>, Error> {
    let found = all(transaction, rows::RETAINED, node).await?;
    found.into_iter().map(|row| Ok(rows::retained(row)?)).collect()
}

fn group<K: Hash + Eq, V>(entries: impl Iterator<Item = Result<(K, V), Error>>) -> Result<HashMap<K, Vec<V>>, Error> {
    let mut groups: HashMap<K, Vec<V>> = HashMap::new();
    for entry in entries {
        let (key, value) = entry?;
        groups.entry(key).or_default().push(value);
    }
    Ok(groups)
}
