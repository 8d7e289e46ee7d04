//! Writes messages, in few large statements.
//!
//! A statement is a trip to the thread or the server of the database, so the number of statements and not that of rows is
//! what costs: SQLite takes rows in blocks of a few sizes, so that each statement is prepared once; PostgreSQL takes any
//! number of them as arrays.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use pocket_domain::{DeviceId, NewTelemetry, NodeName, TelemetryId, TenantId, TopicName};
use pocket_ports::{BatchNumber, CommittedBatch, StorageError, WriteBatch};
use sea_orm::prelude::Uuid;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, FromQueryResult};
use sea_orm::{JoinType, QueryFilter, QuerySelect, Statement, Value};

use crate::broker::{self, Changes};
use crate::database::Database;
use crate::direct::Direct;
use crate::entity::{device, tenant};
use crate::error::Error;
use crate::key_cache::{DeviceKeys, Found, KeyCache};
use crate::locks::{self, Lock};
use crate::telemetry::{Entry, kind};
use crate::writers::{Place, Writer};
use crate::{arrays, dead_letters, direct, topics};

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
        let (topic, timestamp) = (self.topic, self.message.timestamp.as_millis());
        Entry { id, tenant, device, topic, timestamp, kind: kind(self.message.payload.as_str()) }
    }
}

/// How often a batch is tried again after the row of its writer was found elsewhere, or a key to be of something else.
pub(crate) const ATTEMPTS: u32 = 5;

/// Stores the messages whose device is there, and the changes of the broker's state of a node, in one transaction, as the next
/// batch of a writer.
pub(crate) async fn append(
    db: &Database,
    writer: &mut Writer,
    node: Option<&NodeName>,
    batch: &WriteBatch,
) -> Result<CommittedBatch, Error> {
    let changes =
        node.filter(|_| !batch.changes.is_empty()).map(|node| Changes { node: node.as_str(), changes: &batch.changes });
    if !batch.messages.is_empty() {
        db.require_room().await?;
    }
    for _ in 0..ATTEMPTS {
        let place = writer.ready(db).await?;
        if db.backend() == DbBackend::Postgres
            && changes.is_none()
            && let Some((as_of, rows)) = known(&writer.keys, &batch.messages)
        {
            match direct::append(db, writer, place, as_of, &rows).await? {
                Direct::Done(number, ids) => {
                    return Ok(CommittedBatch::new(number, ids.into_iter().map(Some).collect()));
                }
                Direct::Elsewhere => {
                    writer.find_again(db).await?;
                    continue;
                }
                Direct::KnowsTooLittle => {}
            }
        }
        let beside = changes.as_ref().map_or(Beside::Nothing, Beside::Changes);
        match db.answer(insert_all(db, writer, place, &batch.messages, beside)).await? {
            Tried::Elsewhere => writer.find_again(db).await?,
            Tried::Stranger => writer.keys.forget(),
            Tried::Nothing => break,
            Tried::Done((devices, inserted)) => {
                let (number, ids) = inserted.commit(db, writer).await?;
                let mut ids = ids.into_iter();
                let ids = devices.iter().map(|device| device.and_then(|_| ids.next())).collect();
                return Ok(CommittedBatch::new(number, ids));
            }
        }
    }
    Err(nowhere())
}

/// Why a batch is given up for now.
pub(crate) fn nowhere() -> Error {
    StorageError::Unavailable("the row of the writer is nowhere to be found".to_owned()).into()
}

/// What a transaction does beside inserting messages.
#[derive(Clone, Copy)]
pub(crate) enum Beside<'a> {
    Nothing,
    /// Changes the state of a broker.
    Changes(&'a Changes<'a>),
    /// Removes a dead letter, named by tenant and key, without which nothing is done.
    InPlaceOf((TenantId, i64)),
}

/// What became of an attempt before its commit.
pub(crate) enum Tried<T> {
    Done(T),
    /// The row of the writer is not where this process left it.
    Elsewhere,
    /// A key that was known is that of something else.
    Stranger,
    /// What the messages were to take the place of is not there.
    Nothing,
}

/// Rows that are to be committed.
pub(crate) struct Inserted<'a> {
    pub(crate) transaction: DatabaseTransaction,
    pub(crate) rows: Vec<Row<'a>>,
    /// Of the rows, as [`insert`] tells them.
    pub(crate) ids: Vec<i64>,
    /// What was looked up, and as of which entry of the access log.
    pub(crate) found: Found,
    pub(crate) as_of: i64,
}

impl Inserted<'_> {
    /// Commits the rows as the next batch of the writer, whose row the transaction has moved on, and tells those who index and
    /// cache them. The ids of the rows, in their order.
    pub(crate) async fn commit(
        self,
        db: &Database,
        writer: &mut Writer,
    ) -> Result<(BatchNumber, Vec<TelemetryId>), Error> {
        let answer = db.answer(self.transaction.commit()).await;
        let number = writer.committed(db, answer).await?;
        if db.backend() == DbBackend::Sqlite {
            db.log_index.note(self.rows.iter().zip(&self.ids).map(|(row, id)| row.entry(*id)));
        }
        writer.keys.learn(self.as_of, self.found);
        Ok((number, telemetry_ids(self.ids)))
    }
}

/// The ids that keys of rows stand for.
pub(crate) fn telemetry_ids(keys: Vec<i64>) -> Vec<TelemetryId> {
    keys.into_iter().map(|key| TelemetryId::from_key(key.unsigned_abs())).collect()
}

/// Inserts the messages whose device is there; the keys of each message's device, and what is to be committed.
pub(crate) async fn insert_all<'a>(
    db: &Database,
    writer: &Writer,
    place: Place,
    messages: &'a [NewTelemetry],
    beside: Beside<'_>,
) -> Result<Tried<(Vec<Option<DeviceKeys>>, Inserted<'a>)>, Error> {
    let transaction = db.begin().await?;
    // From here on no device is deleted; see `access_log::write`.
    locks::share(&transaction, Lock::Access).await?;
    // Before any id is drawn, so that ids grow in the order of the batches.
    let Some(as_of) = writer.move_on(&transaction, place).await? else { return Ok(Tried::Elsewhere) };
    if let Beside::InPlaceOf(letter) = beside
        && !dead_letters::remove(&transaction, letter).await?
    {
        return Ok(Tried::Nothing);
    }
    let mut found = Found::default();
    let devices = devices(&writer.keys, &transaction, as_of, messages, &mut found).await?;
    let accepted: Vec<(DeviceKeys, &NewTelemetry)> =
        devices.iter().zip(messages).filter_map(|(device, message)| device.map(|device| (device, message))).collect();
    let topics = topics(&writer.keys, &transaction, as_of, &accepted, &mut found).await?;
    let rows: Vec<Row<'_>> =
        accepted.into_iter().zip(topics).map(|((device, message), topic)| Row { device, topic, message }).collect();
    let Some(ids) = insert(db, &transaction, &rows).await? else { return Ok(Tried::Stranger) };
    if let Beside::Changes(changes) = beside {
        broker::apply(&transaction, changes).await?;
    }
    Ok(Tried::Done((devices, Inserted { transaction, rows, ids, found, as_of })))
}

/// The rows of messages of which all is known, and as of which entry of the access log.
fn known<'a>(keys: &KeyCache, messages: &'a [NewTelemetry]) -> Option<(i64, Vec<Row<'a>>)> {
    let as_of = keys.as_of();
    let devices = keys.devices(as_of, messages.iter().map(|message| message.device_id));
    let devices: Vec<_> = messages
        .iter()
        .zip(devices)
        .map(|(message, keys)| keys.filter(|keys| keys.tenant_id == message.tenant_id))
        .collect::<Option<_>>()?;
    let topics: Vec<_> =
        messages.iter().zip(&devices).map(|(message, keys)| (keys.tenant, message.topic.clone())).collect();
    let topics: Vec<i64> = keys.topics(as_of, &topics).into_iter().collect::<Option<_>>()?;
    let rows = messages.iter().zip(devices).zip(topics);
    let rows: Vec<_> = rows.map(|((message, device), topic)| Row { device, topic, message }).collect();
    (!rows.is_empty()).then_some((as_of, rows))
}

/// Writes rows and tells their ids, which grow with the order of the rows; `None` when a device or topic of theirs is not in
/// their tenant, upon which the transaction must be given up.
pub(crate) async fn insert(
    db: &Database,
    transaction: &DatabaseTransaction,
    rows: &[Row<'_>],
) -> Result<Option<Vec<i64>>, DbErr> {
    match db.backend() {
        DbBackend::Postgres => arrays::insert(transaction, rows).await,
        // The file is locked as long as this process has it, so keys that it met are those of the file.
        _ => insert_blocks(transaction, rows).await.map(Some),
    }
}

/// The keys of each message's device; `None` where it is not in the message's tenant.
pub(crate) async fn devices(
    known: &KeyCache,
    transaction: &DatabaseTransaction,
    as_of: i64,
    messages: &[NewTelemetry],
    found: &mut Found,
) -> Result<Vec<Option<DeviceKeys>>, Error> {
    let mut keys = known.devices(as_of, messages.iter().map(|message| message.device_id));
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
    known: &KeyCache,
    transaction: &DatabaseTransaction,
    as_of: i64,
    accepted: &[(DeviceKeys, &NewTelemetry)],
    found: &mut Found,
) -> Result<Vec<i64>, Error> {
    let topics: Vec<(i64, TopicName)> =
        accepted.iter().map(|(device, message)| (device.tenant, message.topic.clone())).collect();
    let known = known.topics(as_of, &topics);
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
