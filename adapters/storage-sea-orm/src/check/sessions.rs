//! What brokers must not forget: whether they could go on with it.

use std::collections::HashMap;
use std::sync::Arc;

use pocket_domain::{DeviceId, TenantId};
use pocket_ports::{Finding, StorageError, StoredSession};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, QueryResult, Value};

use super::{Check, rows, told};
use crate::broker::rows::{
    self as stored, DeliveryRow, MessageRow, ReceivedRow, RetainedRow, SessionRow, SubscriptionRow,
};
use crate::broker::{any_of, statement};
use crate::error::Error;
use crate::telemetry::moment;

/// Sessions, and retained messages, that are read together.
const ROWS: usize = 100;

impl Check<'_> {
    /// Sessions and retained messages of all nodes.
    pub(super) async fn sessions(&mut self) -> Result<(), Error> {
        let nodes = rows(self.db.reader(), "SELECT key FROM broker_nodes ORDER BY key".to_owned()).await;
        for node in nodes.unwrap_or_default() {
            let node = node.try_get("", "key")?;
            let done = self.sessions_of(node).await;
            self.go_on("broker_sessions", done)?;
            let done = self.retained_of(node).await;
            self.go_on("broker_retained", done)?;
        }
        Ok(())
    }

    async fn sessions_of(&mut self, node: i64) -> Result<(), Error> {
        let sql = format!("{} AND session.key > ? ORDER BY session.key LIMIT {ROWS}", stored::SESSIONS);
        let mut after = i64::MIN;
        loop {
            let (transaction, _) = moment(self.db).await?;
            let page = all(&transaction, &sql, vec![node.into(), after.into()]).await?;
            let keys: Vec<i64> = page.iter().map(|row| row.try_get("", "key")).collect::<Result<_, _>>()?;
            let mut waiting = waiting(&transaction, node, &keys).await?;
            for (row, key) in page.iter().zip(keys) {
                after = key;
                let waiting = waiting.remove(&key).unwrap_or_default();
                self.session(&transaction, node, key, row, &waiting).await?;
            }
            if page.len() < ROWS {
                return Ok(());
            }
        }
    }

    async fn session(
        &mut self,
        transaction: &DatabaseTransaction,
        node: i64,
        key: i64,
        row: &QueryResult,
        waiting: &[i64],
    ) -> Result<(), Error> {
        self.checked.entries += 1;
        let mut finding = Finding { entry: Some(format!("key {key}")), ..Finding::new("broker_sessions", "") };
        let row = match SessionRow::from_query_result(row, "") {
            Ok(row) => row,
            Err(error) => {
                finding.what = error.to_string();
                self.found(finding);
                return Ok(());
            }
        };
        finding.tenant_id = Some(TenantId::from_uuid(row.tenant_id));
        finding.device_id = Some(DeviceId::from_uuid(row.device_id));
        finding.entry = Some(format!("key {key} (client {:?})", row.client_id));
        let wrong = match read(transaction, node, key, row, waiting).await {
            Ok(session) => {
                self.records.as_ref().and_then(|records| records.session(&session).err()).map(|e| e.to_string())
            }
            Err(error) => match StorageError::from(error) {
                away @ StorageError::Unavailable(_) => return Err(away.into()),
                error => Some(told(error)),
            },
        };
        if let Some(what) = wrong {
            self.found(Finding { what, ..finding });
        }
        Ok(())
    }

    async fn retained_of(&mut self, node: i64) -> Result<(), Error> {
        let behind = "(retained.tenant, retained.topic) > (?, ?)";
        let order = "retained.tenant, retained.topic";
        let sql = format!("{} AND {behind} ORDER BY {order} LIMIT {ROWS}", stored::RETAINED);
        let mut after: (i64, String) = (i64::MIN, String::new());
        loop {
            let values = vec![node.into(), after.0.into(), after.1.clone().into()];
            let page = all(self.db.reader(), &sql, values).await?;
            for row in &page {
                after = (row.try_get("", "tenant")?, row.try_get("", "topic")?);
                self.retained(row, &after.1);
            }
            if page.len() < ROWS {
                return Ok(());
            }
        }
    }

    fn retained(&mut self, row: &QueryResult, topic: &str) {
        self.checked.entries += 1;
        let mut finding = Finding { entry: Some(format!("{topic:?}")), ..Finding::new("broker_retained", "") };
        let read = || -> Result<_, Error> {
            let row = RetainedRow::from_query_result(row, "")?;
            Ok((row.tenant_id, stored::retained(row)))
        };
        let wrong = match read() {
            Err(error) => Some(told(error.into())),
            Ok((tenant, message)) => {
                finding.tenant_id = Some(TenantId::from_uuid(tenant));
                match message {
                    Err(error) => Some(told(error)),
                    Ok((tenant, message)) => {
                        let records = self.records.as_ref();
                        records
                            .and_then(|records| records.retained(tenant, &message).err())
                            .map(|error| error.to_string())
                    }
                }
            }
        };
        if let Some(what) = wrong {
            self.found(Finding { what, ..finding });
        }
    }
}

async fn all(connection: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
    connection.query_all_raw(statement(connection.get_database_backend(), sql, values)).await
}

async fn models<R: FromQueryResult>(
    transaction: &DatabaseTransaction,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<R>, DbErr> {
    R::find_by_statement(statement(transaction.get_database_backend(), sql, values)).all(transaction).await
}

/// The keys of the deliveries of some sessions, which are looked for together: nothing leads to those of a session.
async fn waiting(
    transaction: &DatabaseTransaction,
    node: i64,
    sessions: &[i64],
) -> Result<HashMap<i64, Vec<i64>>, DbErr> {
    let (any, sessions) = any_of(transaction.get_database_backend(), sessions);
    let sql = format!("SELECT session, key FROM broker_deliveries WHERE node = ? AND session IN ({any}) ORDER BY key");
    let mut waiting: HashMap<i64, Vec<i64>> = HashMap::new();
    for row in all(transaction, &sql, vec![node.into(), sessions]).await? {
        waiting.entry(row.try_get("", "session")?).or_default().push(row.try_get("", "key")?);
    }
    Ok(waiting)
}

/// A session with all that is its own, as the broker would find it.
/// `waiting` are the keys of its deliveries.
async fn read(
    transaction: &DatabaseTransaction,
    node: i64,
    key: i64,
    row: SessionRow,
    waiting: &[i64],
) -> Result<StoredSession, Error> {
    let session = stored::session(row)?;
    let of_session = || vec![node.into(), key.into()];
    let sql = format!("{} AND session = ?", stored::SUBSCRIPTIONS);
    let subscriptions: Vec<SubscriptionRow> = models(transaction, &sql, of_session()).await?;
    let sql = format!("{} AND session = ?", stored::RECEIVED);
    let received: Vec<ReceivedRow> = models(transaction, &sql, of_session()).await?;
    let (any, keys) = any_of(transaction.get_database_backend(), waiting);
    let messages = format!("SELECT message FROM broker_deliveries WHERE node = ? AND key IN ({any})");
    let sql = format!("{} AND key IN ({messages})", stored::MESSAGES);
    let values = vec![node.into(), node.into(), keys.clone()];
    let mut messages = HashMap::new();
    for row in models::<MessageRow>(transaction, &sql, values).await? {
        messages.insert(row.key, Arc::new(stored::message(row)?));
    }
    let sql = format!("{} AND delivery.key IN ({any}) ORDER BY delivery.key", stored::DELIVERIES);
    let mut deliveries = Vec::new();
    for row in models::<DeliveryRow>(transaction, &sql, vec![node.into(), keys]).await? {
        let content = messages.get(&row.message).cloned().ok_or_else(stored::without_message)?;
        let (record, progress) = stored::delivery(row)?;
        deliveries.push((record, content, progress));
    }
    Ok(StoredSession {
        session,
        subscriptions: subscriptions.into_iter().map(stored::subscription).collect::<Result<_, _>>()?,
        received: received.iter().map(|row| stored::small(row.packet_id)).collect::<Result<_, _>>()?,
        deliveries,
    })
}
