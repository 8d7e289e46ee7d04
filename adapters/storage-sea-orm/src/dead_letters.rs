//! Messages that the database refused.

use pocket_domain::{NewTelemetry, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, NotSet, QueryFilter, Set};

use crate::database::Database;
use crate::entity::dead_letter;
use crate::error::Error;

/// The most that are kept; the oldest go first. A device that sends nothing else must not fill the disk.
const KEPT: i64 = 10_000;

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
