//! Writes messages, in few large statements.
//!
//! A statement is a trip to the thread or the server of the database, so the number of statements and not that of rows is
//! what costs: SQLite takes rows in blocks of a few sizes, so that each statement is prepared once; PostgreSQL takes any
//! number of them as arrays.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use pocket_domain::{DeviceId, NewTelemetry, TelemetryId, TenantId, TopicName};
use sea_orm::prelude::Uuid;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, FromQueryResult};
use sea_orm::{JoinType, QueryFilter, QuerySelect, Statement, Value};

use crate::broker::{self, Changes};
use crate::commit::{TransactionId, commit};
use crate::database::Database;
use crate::entity::{device, tenant};
use crate::error::Error;
use crate::key_cache::{DeviceKeys, Found};
use crate::locks::{self, Lock};
use crate::telemetry::Entry;
use crate::{access_log, direct, topics};

/// Devices that are looked up in one statement.
const LOOK_UP: usize = 500;

/// A message whose device is there.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) device: DeviceKeys,
    pub(crate) topic: i64,
    pub(crate) message: &'a NewTelemetry,
}

impl Row<'_> {
    /// Where it is, for the index of the log.
    fn entry(&self, id: i64) -> Entry {
        let DeviceKeys { tenant, device, .. } = self.device;
        Entry { id, tenant, device, topic: self.topic, timestamp: self.message.timestamp.as_millis() }
    }
}

/// Stores the messages whose device is there, and the changes of a broker's state that came with them, in one
/// transaction, and tells the ids of the messages.
pub(crate) async fn append(
    db: &Database,
    messages: &[NewTelemetry],
    changes: Option<&Changes<'_>>,
) -> Result<Vec<Option<TelemetryId>>, Error> {
    if db.backend() == DbBackend::Postgres
        && changes.is_none()
        && let Some((as_of, rows)) = known(db, messages)
        && let Some(ids) = direct::append(db, as_of, &rows).await?
    {
        return Ok(ids.into_iter().map(Some).collect());
    }
    let (devices, inserted) = db.answer(insert_all(db, messages, changes)).await?;
    let mut ids = inserted.commit(db).await?.into_iter();
    Ok(devices.iter().map(|device| device.and_then(|_| ids.next())).collect())
}

/// Rows that are to be committed.
pub(crate) struct Inserted<'a> {
    pub(crate) transaction: DatabaseTransaction,
    pub(crate) rows: Vec<Row<'a>>,
    /// Of the rows, as [`insert`] tells them.
    pub(crate) ids: Vec<i64>,
    pub(crate) number: Option<TransactionId>,
    /// What was looked up, and as of which entry of the access log.
    pub(crate) found: Found,
    pub(crate) as_of: i64,
}

impl Inserted<'_> {
    /// Commits the rows, and tells those who index and cache them. The ids of the rows, in their order.
    pub(crate) async fn commit(self, db: &Database) -> Result<Vec<TelemetryId>, DbErr> {
        commit(db, self.transaction, self.number).await?;
        if db.backend() == DbBackend::Sqlite {
            db.log_index.note(self.rows.iter().zip(&self.ids).map(|(row, id)| row.entry(*id)));
        }
        db.keys.learn(self.as_of, self.found);
        Ok(telemetry_ids(self.ids))
    }
}

/// The ids that keys of rows stand for.
pub(crate) fn telemetry_ids(keys: Vec<i64>) -> Vec<TelemetryId> {
    keys.into_iter().map(|key| TelemetryId::from_key(key.unsigned_abs())).collect()
}

/// Inserts the messages whose device is there; the keys of each message's device, and what is to be committed.
async fn insert_all<'a>(
    db: &Database,
    messages: &'a [NewTelemetry],
    changes: Option<&Changes<'_>>,
) -> Result<(Vec<Option<DeviceKeys>>, Inserted<'a>), Error> {
    let transaction = db.begin().await?;
    // From here on no device is deleted; see `access_log::write`.
    locks::share(&transaction, Lock::Access).await?;
    let as_of = access_log::latest(&transaction).await?;
    let mut found = Found::default();
    let devices = devices(db, &transaction, as_of, messages, &mut found).await?;
    let accepted: Vec<(DeviceKeys, &NewTelemetry)> =
        devices.iter().zip(messages).filter_map(|(device, message)| device.map(|device| (device, message))).collect();
    let topics = topics(db, &transaction, as_of, &accepted, &mut found).await?;
    let rows: Vec<Row<'_>> =
        accepted.into_iter().zip(topics).map(|((device, message), topic)| Row { device, topic, message }).collect();
    let (ids, number) = insert(db, &transaction, &rows).await?;
    if let Some(changes) = changes {
        broker::apply(&transaction, changes).await?;
    }
    Ok((devices, Inserted { transaction, rows, ids, number, found, as_of }))
}

/// The rows of messages of which all is known, and as of which entry of the access log.
fn known<'a>(db: &Database, messages: &'a [NewTelemetry]) -> Option<(i64, Vec<Row<'a>>)> {
    let as_of = db.keys.as_of();
    let devices = db.keys.devices(as_of, messages.iter().map(|message| message.device_id));
    let devices: Vec<_> = messages
        .iter()
        .zip(devices)
        .map(|(message, keys)| keys.filter(|keys| keys.tenant_id == message.tenant_id))
        .collect::<Option<_>>()?;
    let topics: Vec<_> =
        messages.iter().zip(&devices).map(|(message, keys)| (keys.tenant, message.topic.clone())).collect();
    let topics: Vec<i64> = db.keys.topics(as_of, &topics).into_iter().collect::<Option<_>>()?;
    let rows = messages.iter().zip(devices).zip(topics);
    let rows: Vec<_> = rows.map(|((message, device), topic)| Row { device, topic, message }).collect();
    (!rows.is_empty()).then_some((as_of, rows))
}

/// Writes rows and tells their ids, which grow with the order of the rows, and what [`commit`] asks for.
pub(crate) async fn insert(
    db: &Database,
    transaction: &DatabaseTransaction,
    rows: &[Row<'_>],
) -> Result<(Vec<i64>, Option<TransactionId>), DbErr> {
    match db.backend() {
        DbBackend::Postgres => insert_arrays(transaction, rows).await,
        _ => Ok((insert_blocks(transaction, rows).await?, None)),
    }
}

/// The keys of each message's device; `None` where it is not in the message's tenant.
pub(crate) async fn devices(
    db: &Database,
    transaction: &DatabaseTransaction,
    as_of: i64,
    messages: &[NewTelemetry],
    found: &mut Found,
) -> Result<Vec<Option<DeviceKeys>>, Error> {
    let mut keys = db.keys.devices(as_of, messages.iter().map(|message| message.device_id));
    let missing: BTreeSet<DeviceId> =
        keys.iter().zip(messages).filter(|(keys, _)| keys.is_none()).map(|(_, message)| message.device_id).collect();
    if !missing.is_empty() {
        found.devices = look_up(transaction, &missing).await?;
    }
    for (keys, message) in keys.iter_mut().zip(messages) {
        *keys = keys
            .or_else(|| found.devices.get(&message.device_id).copied())
            .filter(|keys| keys.tenant_id == message.tenant_id);
    }
    Ok(keys)
}

#[derive(FromQueryResult)]
struct FoundDevice {
    device_id: Uuid,
    tenant_id: Uuid,
    tenant: i64,
    key: i64,
}

/// The keys of those devices that are there.
pub(crate) async fn look_up(
    transaction: &DatabaseTransaction,
    ids: &BTreeSet<DeviceId>,
) -> Result<HashMap<DeviceId, DeviceKeys>, DbErr> {
    let ids: Vec<Uuid> = ids.iter().map(DeviceId::as_uuid).collect();
    let mut keys = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(LOOK_UP) {
        let tenant_of_device =
            device::Entity::belongs_to(tenant::Entity).from(device::Column::Tenant).to(tenant::Column::Key).into();
        let rows = device::Entity::find()
            .select_only()
            .columns([device::Column::Key, device::Column::Tenant])
            .column_as(device::Column::Id, "device_id")
            .column_as(tenant::Column::Id, "tenant_id")
            .join(JoinType::InnerJoin, tenant_of_device)
            .filter(device::Column::Id.is_in(ids.iter().copied()))
            .filter(device::Column::Deleted.eq(false))
            .into_model::<FoundDevice>()
            .all(transaction)
            .await?;
        keys.extend(rows.into_iter().map(|row| {
            let tenant_id = TenantId::from_uuid(row.tenant_id);
            (DeviceId::from_uuid(row.device_id), DeviceKeys { tenant_id, tenant: row.tenant, device: row.key })
        }));
    }
    Ok(keys)
}

/// The key of each message's topic.
pub(crate) async fn topics(
    db: &Database,
    transaction: &DatabaseTransaction,
    as_of: i64,
    accepted: &[(DeviceKeys, &NewTelemetry)],
    found: &mut Found,
) -> Result<Vec<i64>, Error> {
    let topics: Vec<(i64, TopicName)> =
        accepted.iter().map(|(device, message)| (device.tenant, message.topic.clone())).collect();
    let known = db.keys.topics(as_of, &topics);
    let missing = known.iter().zip(&topics).filter(|(key, _)| key.is_none()).map(|(_, topic)| topic);
    found.topics = topics::intern(transaction, missing).await?;
    let key = |(known, topic): (Option<i64>, &(i64, TopicName))| known.or_else(|| found.topics.get(topic).copied());
    let keys: Option<Vec<i64>> = known.into_iter().zip(&topics).map(key).collect();
    Ok(keys.ok_or_else(|| DbErr::RecordNotInserted)?)
}

/// Numbers of rows in one statement of SQLite, with the statement. A row has six parameters, of which 32,766 are allowed.
///
/// Each size is one prepared statement, so there are few; they fall, because a batch is cut into as many of the first
/// as fit, then the next. More rows than 512 in one statement gain nothing, and one parameter with all rows as JSON takes
/// 1.6 times as long.
static BLOCKS: LazyLock<[(usize, String); 5]> = LazyLock::new(|| [512, 128, 32, 8, 1].map(|rows| (rows, block(rows))));

/// A failure ends the transaction anyway. OR FAIL tells SQLite that it need not be able to undo the statement alone, for
/// which it would copy every page of the statement: a sixth of the time.
fn block(rows: usize) -> String {
    let values = vec!["(?,?,?,?,?,?)"; rows].join(",");
    format!("INSERT OR FAIL INTO telemetry (device, topic, tenant, timestamp, received_at, payload) VALUES {values}")
}

async fn insert_blocks(transaction: &DatabaseTransaction, rows: &[Row<'_>]) -> Result<Vec<i64>, DbErr> {
    let mut ids = Vec::with_capacity(rows.len());
    let mut rest = rows;
    for (size, sql) in BLOCKS.iter() {
        while let Some((block, after)) = rest.split_at_checked(*size) {
            rest = after;
            let values: Vec<Value> = block.iter().flat_map(values).collect();
            let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
            let last = transaction.execute_raw(statement).await?.last_insert_id().cast_signed();
            // One statement of the only writer: the keys of its rows follow one another.
            ids.extend(last - size.cast_signed() as i64 + 1..=last);
        }
    }
    Ok(ids)
}

fn values(row: &Row<'_>) -> [Value; 6] {
    [
        row.device.device.into(),
        row.topic.into(),
        row.device.tenant.into(),
        row.message.timestamp.as_millis().into(),
        row.message.received_at.as_millis().into(),
        row.message.payload.as_str().into(),
    ]
}

/// Keys are given in the order of the rows, and come back in one array, in no order, with the number of the transaction and the
/// newest entry of the access log.
pub(crate) const ARRAYS: &str = "
    WITH inserted AS (
        INSERT INTO telemetry (device, topic, tenant, timestamp, received_at, payload)
        SELECT device, topic, tenant, timestamp, received_at, payload
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
            WITH ORDINALITY AS message (device, topic, tenant, timestamp, received_at, payload, place)
        ORDER BY place
        RETURNING id
    )
    SELECT array_agg(id) AS ids, txid_current() AS number,
        (SELECT coalesce(max(sequence), 0) FROM access_changes) AS seen
    FROM inserted";

async fn insert_arrays(
    transaction: &DatabaseTransaction,
    rows: &[Row<'_>],
) -> Result<(Vec<i64>, Option<TransactionId>), DbErr> {
    if rows.is_empty() {
        // Changes of a broker's state may be applied twice.
        return Ok((Vec::new(), None));
    }
    let numbers = |number: fn(&Row<'_>) -> i64| -> Value { rows.iter().map(number).collect::<Vec<i64>>().into() };
    let payloads: Vec<String> = rows.iter().map(|row| row.message.payload.as_str().to_owned()).collect();
    let values = [
        numbers(|row| row.device.device),
        numbers(|row| row.topic),
        numbers(|row| row.device.tenant),
        numbers(|row| row.message.timestamp.as_millis()),
        numbers(|row| row.message.received_at.as_millis()),
        payloads.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, ARRAYS, values);
    let row = transaction.query_one_raw(statement).await?.ok_or(DbErr::RecordNotInserted)?;
    let mut ids: Vec<i64> = row.try_get("", "ids")?;
    ids.sort_unstable();
    Ok((ids, Some(TransactionId(row.try_get("", "number")?))))
}
