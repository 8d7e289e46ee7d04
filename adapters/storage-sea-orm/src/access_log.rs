//! The log of changes of access.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pocket_domain::{DeviceId, TenantId, UserId};
use pocket_ports::{AccessChange, AccessLog, Clock, LoggedChange, StorageError, SystemClock};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, NotSet, QueryFilter};
use sea_orm::{QueryOrder, QuerySelect, Set};

use crate::database::Database;
use crate::entity::access_change;
use crate::error::Error;
use crate::locks::{self, Lock};

/// How long an entry is kept. Processes read the log every few seconds.
const KEPT: Duration = Duration::from_secs(3_600);

/// The log of a database, for reading.
pub(crate) struct AccessLogReader(pub(crate) Arc<Database>);

/// Adds an entry, in the transaction of the change and as its last step.
///
/// The lock lasts until the commit, so that entries appear in the order of their sequence, and so that an append, which
/// shares it, is either over before the change or sees its entry.
pub(crate) async fn write(transaction: &DatabaseTransaction, change: AccessChange) -> Result<(), Error> {
    locks::take(transaction, Lock::Access).await?;
    let now = SystemClock.now();
    let (tenant, device, person) = match change {
        AccessChange::Device { tenant_id, device_id } => (tenant_id, Some(device_id.as_uuid()), None),
        AccessChange::User { tenant_id, user_id } => (tenant_id, None, Some(user_id.as_uuid())),
        AccessChange::Tenant { tenant_id } => (tenant_id, None, None),
    };
    let entry = access_change::ActiveModel {
        sequence: NotSet,
        tenant: Set(tenant.as_uuid()),
        device: Set(device),
        person: Set(person),
        at: Set(now.as_millis()),
    };
    access_change::Entity::insert(entry).exec(transaction).await?;
    access_change::Entity::delete_many()
        .filter(access_change::Column::At.lt(now.minus(KEPT).as_millis()))
        .exec(transaction)
        .await?;
    Ok(())
}

/// The sequence of the newest entry; 0 when there was none.
pub(crate) async fn latest(connection: &impl ConnectionTrait) -> Result<i64, Error> {
    let newest: Option<Option<i64>> = access_change::Entity::find()
        .select_only()
        .column_as(access_change::Column::Sequence.max(), "newest")
        .into_tuple()
        .one(connection)
        .await?;
    Ok(newest.flatten().unwrap_or(0))
}

fn from_row(row: &access_change::Model) -> LoggedChange {
    let tenant_id = TenantId::from_uuid(row.tenant);
    let change = match (row.device, row.person) {
        (Some(device), _) => AccessChange::Device { tenant_id, device_id: DeviceId::from_uuid(device) },
        (None, Some(person)) => AccessChange::User { tenant_id, user_id: UserId::from_uuid(person) },
        (None, None) => AccessChange::Tenant { tenant_id },
    };
    LoggedChange { sequence: row.sequence.unsigned_abs(), change }
}

#[async_trait]
impl AccessLog for AccessLogReader {
    async fn after(&self, sequence: u64, limit: u32) -> Result<Vec<LoggedChange>, StorageError> {
        // No entry has a sequence beyond i64.
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        let query = access_change::Entity::find()
            .filter(access_change::Column::Sequence.gt(sequence))
            .order_by_asc(access_change::Column::Sequence)
            .limit(u64::from(limit));
        let rows = self.0.run(|db| async move { Ok(query.all(db.reader()).await?) }).await?;
        Ok(rows.iter().map(from_row).collect())
    }

    async fn latest(&self) -> Result<u64, StorageError> {
        self.0.run(|db| async move { Ok(latest(db.reader()).await?.unsigned_abs()) }).await
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn entries_are_kept_for_an_hour() {
        let sample = Sample::new().await;
        let ago = |millis: i64| SystemClock.now().as_millis() - 3_600_000 - millis;
        // One that was too old a second ago, and one that is so in a minute.
        for at in [ago(1_000), ago(-60_000)] {
            sample.execute(&format!("INSERT INTO access_changes (tenant, at) VALUES (zeroblob(16), {at})")).await;
        }
        sample.storage.devices.delete(sample.tenant, sample.device).await.unwrap();
        let kept = sample.storage.access_log.after(0, 10).await.unwrap();
        assert_eq!(kept.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(sample.storage.access_log.latest().await, Ok(3));
    }
}
