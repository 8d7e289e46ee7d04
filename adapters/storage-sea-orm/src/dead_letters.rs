//! Messages that the database refused.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pocket_domain::{
    DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeviceId, MAX_DEAD_LETTERS, MAX_DEAD_LETTERS_IN_ALL,
    NewTelemetry, TelemetryId, TenantId, Timestamp, TopicName,
};
use pocket_ports::{DeadLetterRepository, StorageError};
use sea_orm::prelude::Uuid;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, NotSet, PaginatorTrait,
};
use sea_orm::{QueryFilter, QueryOrder, QuerySelect, Select, Set};

use crate::append::{ATTEMPTS, Beside, Tried, insert_all, nowhere};
use crate::broker::statement;
use crate::database::Database;
use crate::entity::{corrupt, dead_letter, time};
use crate::error::Error;
use crate::writers::{Writer, WriterName};

/// The dead letters of a database.
pub(crate) struct DeadLetters(pub(crate) Arc<Database>);

/// Keeps a message with the reason of its refusal.
pub(crate) async fn insert(db: &Database, message: NewTelemetry, reason: &str, now: Timestamp) -> Result<(), Error> {
    let row = dead_letter::ActiveModel {
        key: NotSet,
        tenant: Set(message.tenant_id.as_uuid()),
        device: Set(message.device_id.as_uuid()),
        topic: Set(message.topic.to_string()),
        payload: Set(message.payload.as_str().as_bytes().to_vec()),
        timestamp: Set(message.timestamp.as_millis()),
        received_at: Set(message.received_at.as_millis()),
        reason: Set(reason.replace('\0', "\u{fffd}")),
        at: Set(now.as_millis()),
    };
    // As a batch of this process, so that it is known what became of it when the answer is lost: whoever tried again would put it
    // aside twice.
    let mut writer = db.writers.get(WriterName::Process).await;
    let transaction = moved(db, &mut writer).await?;
    dead_letter::Entity::insert(row).exec(&transaction).await?;
    let dropped = make_room(&transaction, message.tenant_id, MAX_DEAD_LETTERS, MAX_DEAD_LETTERS_IN_ALL).await?;
    let answer = db.answer(transaction.commit()).await;
    writer.committed(db, answer).await?;
    if dropped > 0 {
        db.upkeep.dead_letters_dropped.fetch_add(dropped, Ordering::Relaxed);
        tracing::warn!(tenant = %message.tenant_id, dropped, "too many dead letters; the oldest were removed");
    }
    Ok(())
}

/// Stores a message in place of a letter. Whoever else does the same waits for the row of the letter, and then finds it gone.
async fn store(db: &Database, id: DeadLetterId, message: &NewTelemetry) -> Result<Option<TelemetryId>, Error> {
    let mut writer = db.writers.get(WriterName::Process).await;
    let messages = std::slice::from_ref(message);
    for _ in 0..ATTEMPTS {
        let place = writer.ready(db).await?;
        let letter = (message.tenant_id, key(id));
        match db.answer(insert_all(db, &writer, place, messages, Beside::InPlaceOf(letter))).await? {
            Tried::Elsewhere => writer.find_again(db).await?,
            Tried::Stranger => writer.keys.forget(),
            Tried::Nothing => return Ok(None),
            // Without a device the message is not there, and the letter stays: nothing is committed.
            Tried::Done((_, inserted)) if inserted.ids.is_empty() => return Ok(None),
            Tried::Done((_, inserted)) => return Ok(inserted.commit(db, &mut writer).await?.1.into_iter().next()),
        }
    }
    Err(nowhere())
}

/// Removes a letter within a transaction; `false` when the tenant has no such letter.
pub(crate) async fn remove(transaction: &DatabaseTransaction, (tenant, key): (TenantId, i64)) -> Result<bool, DbErr> {
    let removal = dead_letter::Entity::delete_many()
        .filter(dead_letter::Column::Tenant.eq(tenant.as_uuid()))
        .filter(dead_letter::Column::Key.eq(key));
    Ok(removal.exec(transaction).await?.rows_affected > 0)
}

/// Removes the oldest letters of a tenant beyond so many, and of the tenant that has most beyond so many in all.
async fn make_room(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    of_tenant: u64,
    in_all: u64,
) -> Result<u64, Error> {
    let backend = transaction.get_database_backend();
    let id = tenant.as_uuid();
    let sql = format!(
        "DELETE FROM dead_letters WHERE tenant = ? AND key <=
            (SELECT key FROM dead_letters WHERE tenant = ? ORDER BY key DESC LIMIT 1 OFFSET {of_tenant})"
    );
    let own = transaction.execute_raw(statement(backend, &sql, vec![id.into(), id.into()])).await?.rows_affected();
    let count = dead_letter::Entity::find().count(transaction).await?;
    let excess = count.saturating_sub(in_all);
    if excess == 0 {
        return Ok(own);
    }
    let sql = format!(
        "DELETE FROM dead_letters WHERE key IN (SELECT key FROM dead_letters WHERE tenant =
            (SELECT tenant FROM dead_letters GROUP BY tenant ORDER BY count(*) DESC, min(key) LIMIT 1)
        ORDER BY key LIMIT {excess})"
    );
    Ok(own + transaction.execute_unprepared(&sql).await?.rows_affected())
}

/// Copies a row of the log, with the reason why it cannot be kept with the others, if its device and topic are there.
pub(crate) async fn set_row_aside(
    transaction: &DatabaseTransaction,
    id: u64,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let backend = transaction.get_database_backend();
    let payload = match backend {
        DbBackend::Postgres => "convert_to(telemetry.payload, 'UTF8')",
        _ => "CAST(telemetry.payload AS BLOB)",
    };
    let sql = format!(
        "INSERT INTO dead_letters (tenant, device, topic, payload, timestamp, received_at, reason, at)
        SELECT tenants.id, devices.id, topics.name, {payload}, telemetry.timestamp, telemetry.received_at, ?, {}
        FROM telemetry JOIN tenants ON tenants.key = telemetry.tenant
        JOIN devices ON devices.key = telemetry.device AND devices.tenant = telemetry.tenant
        JOIN topics ON topics.key = telemetry.topic AND topics.tenant = telemetry.tenant WHERE telemetry.id = {id}",
        now.as_millis()
    );
    if transaction.execute_raw(statement(backend, &sql, vec![reason.into()])).await?.rows_affected() == 0 {
        return Ok(());
    }
    let newest: Option<Uuid> = dead_letter::Entity::find()
        .select_only()
        .column(dead_letter::Column::Tenant)
        .order_by_desc(dead_letter::Column::Key)
        .into_tuple()
        .one(transaction)
        .await?;
    if let Some(tenant) = newest {
        make_room(transaction, TenantId::from_uuid(tenant), MAX_DEAD_LETTERS, MAX_DEAD_LETTERS_IN_ALL).await?;
    }
    Ok(())
}

/// A transaction that has moved the row of the writer on.
async fn moved(db: &Database, writer: &mut Writer) -> Result<DatabaseTransaction, Error> {
    for _ in 0..ATTEMPTS {
        let place = writer.ready(db).await?;
        let transaction = db.begin().await?;
        if writer.move_on(&transaction, place).await?.is_some() {
            return Ok(transaction);
        }
        transaction.rollback().await?;
        writer.find_again(db).await?;
    }
    Err(nowhere())
}

fn of_tenant(tenant: TenantId) -> Select<dead_letter::Entity> {
    dead_letter::Entity::find().filter(dead_letter::Column::Tenant.eq(tenant.as_uuid()))
}

/// The key of a row.
fn key(id: DeadLetterId) -> i64 {
    i64::try_from(id.as_key()).unwrap_or(i64::MAX)
}

fn from_row(row: dead_letter::Model) -> Result<DeadLetter, StorageError> {
    Ok(DeadLetter {
        id: DeadLetterId::from_key(row.key.unsigned_abs()),
        device_id: DeviceId::from_uuid(row.device),
        topic: TopicName::parse(&row.topic).map_err(corrupt)?,
        payload: row.payload,
        timestamp: time(row.timestamp)?,
        received_at: time(row.received_at)?,
        reason: row.reason,
        at: time(row.at)?,
    })
}

#[async_trait]
impl DeadLetterRepository for DeadLetters {
    async fn list(&self, tenant: TenantId, query: &DeadLetterQuery) -> Result<DeadLetterPage, StorageError> {
        let DeadLetterQuery { device_id, cursor, page_limit } = *query;
        let mut select = of_tenant(tenant);
        if let Some(device) = device_id {
            select = select.filter(dead_letter::Column::Device.eq(device.as_uuid()));
        }
        if let Some(cursor) = cursor {
            select = select.filter(dead_letter::Column::Key.lt(key(cursor)));
        }
        let select = select.order_by_desc(dead_letter::Column::Key).limit(u64::from(page_limit.get()) + 1);
        let rows = self.0.ask(|db| async move { Ok(select.all(db.reader()).await?) }).await?;
        let letters = rows.into_iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(DeadLetterPage::from_letters(letters, page_limit))
    }

    async fn get(&self, tenant: TenantId, id: DeadLetterId) -> Result<Option<DeadLetter>, StorageError> {
        let select = of_tenant(tenant).filter(dead_letter::Column::Key.eq(key(id)));
        let row = self.0.ask(|db| async move { Ok(select.one(db.reader()).await?) }).await?;
        row.map(from_row).transpose()
    }

    async fn store(&self, id: DeadLetterId, message: &NewTelemetry) -> Result<Option<TelemetryId>, StorageError> {
        let message = message.clone();
        self.0.run_to_its_end(move |db| async move { store(&db, id, &message).await }).await
    }

    async fn delete(&self, tenant: TenantId, id: DeadLetterId) -> Result<bool, StorageError> {
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let is_removed = remove(&transaction, (tenant, key(id))).await?;
                transaction.commit().await?;
                Ok(is_removed)
            })
            .await
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use pocket_domain::{TenantId, Timestamp};

    use super::make_room;
    use crate::sample::Sample;

    #[tokio::test]
    async fn a_tenant_that_has_too_many_loses_its_own_and_nobody_else_does() {
        let sample = Sample::new().await;
        let of = |n: u8| TenantId::new(Timestamp::MIN, [n; 10]);
        for (n, letters) in [(1, 3), (2, 6), (3, 1)] {
            for letter in 0..letters {
                let message = pocket_domain::NewTelemetry { tenant_id: of(n), ..sample.message(sample.device, letter) };
                sample.storage.telemetry.set_aside(&message, &letter.to_string(), Timestamp::MIN).await.unwrap();
            }
        }
        let room = async |tenant: u8, of_tenant, in_all| {
            let transaction = sample.database.begin().await.unwrap();
            let dropped = make_room(&transaction, of(tenant), of_tenant, in_all).await.unwrap();
            transaction.commit().await.unwrap();
            dropped
        };
        let left = async || {
            let mut left = Vec::new();
            for n in 1..=3 {
                let id = of(n).as_uuid().simple().to_string();
                let of_tenant = format!("FROM dead_letters WHERE tenant = x'{id}'");
                let oldest = sample.number(&format!("SELECT CAST(min(reason) AS INTEGER) {of_tenant}")).await;
                left.push((sample.number(&format!("SELECT count(*) {of_tenant}")).await, oldest));
            }
            left
        };
        assert_eq!((room(2, 6, 10).await, left().await), (0, vec![(3, 0), (6, 0), (1, 0)]));
        assert_eq!((room(1, 2, 10).await, left().await), (1, vec![(2, 1), (6, 0), (1, 0)]));
        assert_eq!((room(3, 2, 7).await, left().await), (2, vec![(2, 1), (4, 2), (1, 0)]));
        assert_eq!((room(2, 3, 7).await, left().await), (1, vec![(2, 1), (3, 3), (1, 0)]));
    }
}
