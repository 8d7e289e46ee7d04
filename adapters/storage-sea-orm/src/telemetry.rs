//! The history of messages, as rows.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    DeviceId, NewTelemetry, Payload, SortOrder, Telemetry, TelemetryId, TelemetryPage, TelemetryQuery, TenantId,
    Timestamp, TopicName,
};
use pocket_ports::{StorageError, TelemetryStore};
use sea_orm::prelude::Uuid;
use sea_orm::{DatabaseConnection, DbBackend, FromQueryResult, Statement, Value};

use crate::append::append;
use crate::database::Database;
use crate::entity::{corrupt, time};
use crate::error::Error;
use crate::{dead_letters, devices, tenants, topics};

/// The history in a database.
pub(crate) struct TelemetryRows(pub(crate) Arc<Database>);

#[async_trait]
impl TelemetryStore for TelemetryRows {
    async fn append(&self, messages: Arc<[NewTelemetry]>) -> Result<Vec<Option<TelemetryId>>, StorageError> {
        self.0.run(|db| async move { append(&db, &messages, None).await }).await
    }

    async fn set_aside(&self, message: &NewTelemetry, reason: &str, now: Timestamp) -> Result<(), StorageError> {
        let (message, reason) = (message.clone(), reason.to_owned());
        self.0.run(move |db| async move { dead_letters::insert(&db, message, &reason, now).await }).await
    }

    async fn range(&self, tenant: TenantId, query: &TelemetryQuery) -> Result<TelemetryPage, StorageError> {
        let limit = query.limit();
        let query = query.clone();
        let rows = self.0.run(move |db| async move { range(db.reader(), tenant, &query).await }).await?;
        let rows = rows.into_iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(TelemetryPage::from_rows(rows, limit))
    }
}

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    device: Uuid,
    topic: String,
    payload: String,
    timestamp: i64,
    received_at: i64,
}

fn from_row(row: Row) -> Result<Telemetry, StorageError> {
    Ok(Telemetry {
        id: TelemetryId::from_key(row.id.unsigned_abs()),
        device_id: DeviceId::from_uuid(row.device),
        topic: TopicName::parse(&row.topic).map_err(corrupt)?,
        payload: Payload::from_stored(row.payload),
        timestamp: time(row.timestamp)?,
        received_at: time(row.received_at)?,
    })
}

/// The rows of a page and one more.
async fn range(connection: &DatabaseConnection, tenant: TenantId, query: &TelemetryQuery) -> Result<Vec<Row>, Error> {
    let mut conditions = Conditions { backend: connection.get_database_backend(), ..Conditions::default() };
    let tenant = match query.device_id {
        None => {
            let Some(tenant) = tenants::key(connection, tenant).await? else { return Ok(Vec::new()) };
            conditions.add("telemetry.tenant =", tenant);
            tenant
        }
        Some(device) => {
            let Some(device) = devices::find(connection, tenant, device).await? else { return Ok(Vec::new()) };
            conditions.add("telemetry.device =", device.key);
            device.tenant
        }
    };
    if let Some(filter) = &query.topic {
        match topics::matching(connection, tenant, filter).await?.as_slice() {
            [] => return Ok(Vec::new()),
            keys => conditions.topic_is_one_of(keys),
        }
    }
    conditions.times(query);
    Ok(Row::find_by_statement(conditions.select(query)).all(connection).await?)
}

/// What a row must meet, as SQL that both databases read, with the parameters `$1`, `$2`, … in order.
struct Conditions {
    backend: DbBackend,
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Default for Conditions {
    fn default() -> Self {
        // While a deleted device is being purged, its rows are still there.
        Self { backend: DbBackend::Sqlite, sql: vec!["NOT devices.deleted".to_owned()], values: Vec::new() }
    }
}

impl Conditions {
    /// The parameter that stands for the value.
    fn parameter(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    fn add(&mut self, condition: &str, value: impl Into<Value>) {
        let parameter = self.parameter(value);
        self.sql.push(format!("{condition} {parameter}"));
    }

    fn topic_is_one_of(&mut self, keys: &[i64]) {
        match (keys, self.backend) {
            ([key], _) => self.add("telemetry.topic =", *key),
            (_, DbBackend::Postgres) => {
                let keys = self.parameter(keys.to_vec());
                self.sql.push(format!("telemetry.topic = ANY({keys})"));
            }
            // SQLite has no arrays, but reads one of JSON as a table.
            _ => {
                let keys = self.parameter(serde_json::Value::from(keys).to_string());
                self.sql.push(format!("telemetry.topic IN (SELECT value FROM json_each({keys}))"));
            }
        }
    }

    /// The times that the query and its cursor leave. There is one bound at each end, so that a page far into the history
    /// begins where the cursor stands, whichever bound the database takes for its index.
    fn times(&mut self, query: &TelemetryQuery) {
        let mut from = query.from.map(Timestamp::as_millis);
        let mut to = query.to.map(Timestamp::as_millis);
        if let Some(cursor) = query.cursor {
            let (at, id) = (cursor.timestamp.as_millis(), i64::try_from(cursor.id.as_key()).unwrap_or(i64::MAX));
            let after = match query.order {
                SortOrder::Ascending => {
                    from = from.max(Some(at));
                    ">"
                }
                SortOrder::Descending => {
                    to = [to, Some(at + 1)].into_iter().flatten().min();
                    "<"
                }
            };
            let (at, id) = (self.parameter(at), self.parameter(id));
            self.sql.push(format!("(telemetry.timestamp, telemetry.id) {after} ({at}, {id})"));
        }
        if let Some(from) = from {
            self.add("telemetry.timestamp >=", from);
        }
        if let Some(to) = to {
            self.add("telemetry.timestamp <", to);
        }
    }

    fn select(mut self, query: &TelemetryQuery) -> Statement {
        let direction = match query.order {
            SortOrder::Ascending => "ASC",
            SortOrder::Descending => "DESC",
        };
        let limit = self.parameter(i64::from(query.limit()) + 1);
        let sql = format!(
            "SELECT telemetry.id, devices.id AS device, topics.name AS topic, telemetry.payload, telemetry.timestamp, \
                telemetry.received_at \
            FROM telemetry JOIN devices ON devices.key = telemetry.device JOIN topics ON topics.key = telemetry.topic \
            WHERE {} ORDER BY telemetry.timestamp {direction}, telemetry.id {direction} LIMIT {limit}",
            self.sql.join(" AND ")
        );
        Statement::from_sql_and_values(self.backend, sql, self.values)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    /// How SQLite goes about a query.
    #[allow(clippy::unwrap_used, reason = "a test may fail at once")]
    async fn plan(sample: &Sample, conditions: Conditions, query: &TelemetryQuery) -> String {
        let select = conditions.select(query);
        let values = select.values.map(|values| values.0).unwrap_or_default();
        let explain =
            Statement::from_sql_and_values(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {}", select.sql), values);
        let rows = sea_orm::ConnectionTrait::query_all_raw(sample.database.reader(), explain).await.unwrap();
        rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap()).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn a_page_is_read_in_the_order_of_an_index() {
        let sample = Sample::new().await;
        let cursor = Some(pocket_domain::TelemetryCursor { timestamp: Timestamp::MIN, id: TelemetryId::from_key(1) });
        for order in [SortOrder::Ascending, SortOrder::Descending] {
            for (owner, index) in
                [("telemetry.tenant =", "telemetry_of_tenant"), ("telemetry.device =", "telemetry_of_device")]
            {
                let mut query = TelemetryQuery::default();
                (query.order, query.cursor, query.from, query.to) =
                    (order, cursor, Some(Timestamp::MIN), Some(Timestamp::MAX));
                for topics in [&[][..], &[1], &[1, 2]] {
                    let mut conditions = Conditions::default();
                    conditions.add(owner, 1);
                    if !topics.is_empty() {
                        conditions.topic_is_one_of(topics);
                    }
                    conditions.times(&query);
                    let plan = plan(&sample, conditions, &query).await;
                    assert!(
                        plan.contains(&format!("INDEX {index} ")) && plan.contains("timestamp>? AND timestamp<?"),
                        "{plan}"
                    );
                    assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN telemetry"), "{plan}");
                }
            }
        }
    }
}
