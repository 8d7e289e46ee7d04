//! Sessions of a device, of whichever node, as people see and end them.

use std::collections::HashMap;

use pocket_domain::{DeviceId, NodeName, TenantId};
use pocket_ports::{AccessChange, ClientDigest, DeviceSession, SessionContent, SessionSubscription, StorageError};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::rows::{self, SubscriptionRow, small};
use super::statements::{run, statement};
use crate::database::Database;
use crate::entity::{corrupt, time};
use crate::error::Error;
use crate::{access_log, devices};

/// The most sessions that are told of a device.
const MOST: u64 = 10_000;

#[derive(FromQueryResult)]
struct SessionRow {
    node: i64,
    name: String,
    key: i64,
    client_id: String,
    expiry_seconds: i64,
    left_at: Option<i64>,
}

#[derive(FromQueryResult)]
struct Waiting {
    node: i64,
    session: i64,
    messages: i64,
    bytes: i64,
}

#[derive(FromQueryResult)]
struct Node {
    node: i64,
}

#[derive(FromQueryResult)]
struct Online {
    node: String,
    client_id: String,
    protocol: String,
}

const SESSIONS: &str = "SELECT session.node, node.name, session.key, session.client_id, session.expiry_seconds,
        session.left_at
    FROM broker_sessions AS session JOIN broker_nodes AS node ON node.key = session.node
    WHERE session.device = ? AND node.name <> ?";
const SUBSCRIPTIONS: &str =
    "SELECT held.node, held.session, held.filter, held.share_group, held.options, held.identifier
    FROM broker_subscriptions AS held JOIN broker_sessions AS session
        ON session.node = held.node AND session.key = held.session
    WHERE session.device = ? AND held.node NOT IN (SELECT key FROM broker_nodes WHERE name = ?)";
/// Deliveries are found by their keys alone, so all of the other nodes are looked at once. Keys of sessions are those of their nodes: what
/// another node has under the same one is left out by whoever reads this.
const WAITING: &str = "SELECT delivery.node, delivery.session, count(*) AS messages,
        CAST(sum(length(message.payload)) AS BIGINT) AS bytes
    FROM broker_deliveries AS delivery
        JOIN broker_messages AS message ON message.node = delivery.node AND message.key = delivery.message
    WHERE delivery.session IN (SELECT key FROM broker_sessions WHERE device = ?)
        AND delivery.node NOT IN (SELECT key FROM broker_nodes WHERE name = ?)
    GROUP BY delivery.node, delivery.session";
const ONLINE: &str = "SELECT node, client_id, protocol FROM device_presence WHERE device = ? AND node <> ?";

/// The sessions of a device that are stored, and its connections to nodes where no session of that name is.
pub(super) async fn list(
    db: &Database,
    tenant: TenantId,
    device: DeviceId,
    except: Option<&NodeName>,
) -> Result<Vec<DeviceSession>, Error> {
    let connection = db.reader();
    let Some(device) = devices::find(connection, tenant, device).await? else { return Ok(Vec::new()) };
    // No node has an empty name.
    let of = || vec![device.key.into(), except.map_or("", NodeName::as_str).into()];
    let mut subscriptions: HashMap<(i64, i64), Vec<SessionSubscription>> = HashMap::new();
    for row in rows_of(connection, SUBSCRIPTIONS, of()).await? {
        let node = Node::from_query_result(&row, "")?.node;
        let row = SubscriptionRow::from_query_result(&row, "")?;
        let session = row.session;
        subscriptions.entry((node, session)).or_default().push(rows::subscription(row)?.into());
    }
    let mut waiting: HashMap<(i64, i64), (i64, i64)> = HashMap::new();
    for row in all::<Waiting>(connection, WAITING, of()).await? {
        waiting.insert((row.node, row.session), (row.messages, row.bytes));
    }
    let mut sessions = Vec::new();
    let sql = format!("{SESSIONS} ORDER BY session.node, session.key LIMIT {MOST}");
    for row in all::<SessionRow>(connection, &sql, of()).await? {
        let (messages, bytes) = waiting.get(&(row.node, row.key)).copied().unwrap_or_default();
        let mut content = SessionContent {
            expiry_seconds: small(row.expiry_seconds)?,
            queued_messages: messages.unsigned_abs(),
            queued_bytes: bytes.unsigned_abs(),
            ..SessionContent::default()
        };
        content.set_subscriptions(subscriptions.remove(&(row.node, row.key)).unwrap_or_default());
        sessions.push(DeviceSession {
            node: node_name(&row.name)?,
            client_id: row.client_id.into(),
            is_connected: row.left_at.is_none(),
            since: row.left_at.map(time).transpose()?,
            protocol: None,
            content: Some(content),
        });
    }
    for online in all::<Online>(connection, ONLINE, of()).await? {
        let node = node_name(&online.node)?;
        DeviceSession::add_connection(&mut sessions, node, online.client_id.into(), online.protocol.into());
    }
    Ok(sessions)
}

/// Forgets sessions of a device, and logs that they end. What is stored of them beside goes when their brokers end them, or start.
pub(super) async fn end(db: &Database, tenant: TenantId, device: DeviceId, client_id: &str) -> Result<(), Error> {
    let transaction = db.begin().await?;
    let Some(row) = devices::find(&transaction, tenant, device).await? else {
        return Err(StorageError::NotFound.into());
    };
    let sql = "DELETE FROM broker_sessions WHERE device = ? AND client_id = ?";
    run(&transaction, sql, vec![row.key.into(), client_id.into()]).await?;
    let client = ClientDigest::of(client_id);
    access_log::write(&transaction, AccessChange::Session { tenant_id: tenant, device_id: device, client }).await?;
    Ok(transaction.commit().await?)
}

async fn rows_of(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<sea_orm::QueryResult>, Error> {
    Ok(connection.query_all_raw(statement(connection.get_database_backend(), sql, values)).await?)
}

async fn all<R: FromQueryResult>(
    connection: &impl ConnectionTrait,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<R>, Error> {
    let rows = rows_of(connection, sql, values).await?;
    Ok(rows.iter().map(|row| R::from_query_result(row, "")).collect::<Result<_, _>>()?)
}

fn node_name(name: &str) -> Result<NodeName, Error> {
    Ok(NodeName::parse(name).map_err(corrupt)?)
}
