//! Messages that the database refused.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeviceId, MAX_DEAD_LETTERS, NewTelemetry, TenantId,
    Timestamp, TopicName,
};
use pocket_ports::{DeadLetterRepository, StorageError};
use sea_orm::{ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Select, Set};

use crate::database::Database;
use crate::entity::{corrupt, dead_letter, time};
use crate::error::Error;

const KEPT: i64 = MAX_DEAD_LETTERS.cast_signed();

/// The dead letters of a database. There are so few that those of a tenant need no index.
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
    let transaction = db.begin().await?;
    let inserted = dead_letter::Entity::insert(row).exec(&transaction).await?;
    dead_letter::Entity::delete_many()
        .filter(dead_letter::Column::Key.lte(inserted.last_insert_id - KEPT))
        .exec(&transaction)
        .await?;
    Ok(transaction.commit().await?)
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

    async fn delete(&self, tenant: TenantId, id: DeadLetterId) -> Result<bool, StorageError> {
        self.0
            .ask(move |db| async move {
                let transaction = db.begin().await?;
                let deleted = dead_letter::Entity::delete_many()
                    .filter(dead_letter::Column::Tenant.eq(tenant.as_uuid()))
                    .filter(dead_letter::Column::Key.eq(key(id)))
                    .exec(&transaction)
                    .await?;
                transaction.commit().await?;
                Ok(deleted.rows_affected > 0)
            })
            .await
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use pocket_domain::Timestamp;

    use super::KEPT;
    use crate::sample::Sample;

    #[tokio::test]
    async fn the_latest_are_kept_up_to_a_bound() {
        let sample = Sample::new().await;
        let message = sample.message(sample.device, 1);
        sample.storage.telemetry.set_aside(&message, "first", Timestamp::MIN).await.unwrap();
        // The next key is that of the last message that leaves room for the first, and then one more.
        sample.execute(&format!("UPDATE sqlite_sequence SET seq = {} WHERE name = 'dead_letters'", KEPT - 1)).await;
        for (reason, left) in [("last with the first", 2), ("one more", 2)] {
            sample.storage.telemetry.set_aside(&message, reason, Timestamp::MIN).await.unwrap();
            assert_eq!(sample.number("SELECT count(*) FROM dead_letters").await, left);
        }
        assert_eq!(sample.number("SELECT count(*) FROM dead_letters WHERE reason = 'first'").await, 0);
    }
}
