//! The log of changes of access.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{DeviceId, TenantId, UserId};
use pocket_ports::{AccessChange, AccessLog, ClientDigest, LoggedChange, StorageError};
use sea_orm::prelude::Uuid;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::broker::statement;
use crate::database::Database;
use crate::database_time::time_now;
use crate::entity::access_change;
use crate::error::Error;
use crate::locks::{self, Lock};

/// How many entries are kept. Processes read the log every second; whatever the clock says, an entry goes only when so many
/// came after it.
const KEPT: i64 = 100_000;

/// The log of a database, for reading.
pub(crate) struct AccessLogReader(pub(crate) Arc<Database>);

/// Adds an entry, in the transaction of the change and as its last step.
///
/// The lock lasts until the commit, so that entries appear in the order of their sequence, and so that an append, which
/// shares it, is either over before the change or sees its entry.
pub(crate) async fn write(transaction: &DatabaseTransaction, change: AccessChange) -> Result<(), Error> {
    locks::take(transaction, Lock::Access).await?;
    let nothing = Entry::default();
    let (tenant, entry) = match change {
        AccessChange::Device { tenant_id, device_id } => {
            (tenant_id, Entry { device: Some(device_id.as_uuid()), ..nothing })
        }
        AccessChange::Session { tenant_id, device_id, client } => {
            let client = Some(client.bits().cast_signed());
            (tenant_id, Entry { device: Some(device_id.as_uuid()), client, ..nothing })
        }
        AccessChange::User { tenant_id, user_id } => (tenant_id, Entry { person: Some(user_id.as_uuid()), ..nothing }),
        AccessChange::Tenant { tenant_id } => (tenant_id, nothing),
        AccessChange::Everything => return Ok(()),
    };
    add(transaction, tenant.as_uuid(), entry).await
}

/// Adds an entry that concerns nobody, so that appends look up anew which keys there are. It is the last step of its
/// transaction, which has the lock.
pub(crate) async fn keys_went(transaction: &DatabaseTransaction) -> Result<(), Error> {
    add(transaction, Uuid::nil(), Entry::default()).await
}

/// Whom an entry is about, within its tenant.
#[derive(Default)]
struct Entry {
    device: Option<Uuid>,
    person: Option<Uuid>,
    /// The digest of the client id of a session that ends.
    client: Option<i64>,
}

async fn add(transaction: &DatabaseTransaction, tenant: Uuid, entry: Entry) -> Result<(), Error> {
    let backend = transaction.get_database_backend();
    let now = time_now(backend);
    let sql = format!("INSERT INTO access_changes (tenant, device, person, client, at) VALUES (?, ?, ?, ?, {now})");
    let values = vec![tenant.into(), entry.device.into(), entry.person.into(), entry.client.into()];
    transaction.execute_raw(statement(backend, &sql, values)).await?;
    let sql =
        format!("DELETE FROM access_changes WHERE sequence <= (SELECT max(sequence) FROM access_changes) - {KEPT}");
    transaction.execute_unprepared(&sql).await?;
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
        (Some(device), _) if row.client.is_some() => AccessChange::Session {
            tenant_id,
            device_id: DeviceId::from_uuid(device),
            client: ClientDigest::from_bits(row.client.unwrap_or_default().cast_unsigned()),
        },
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

    fn epoch(&self) -> u64 {
        self.0.timeline().epoch()
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[tokio::test]
    async fn entries_go_by_their_number_and_never_by_the_time() {
        let sample = Sample::new().await;
        // The clock was years behind, and years ahead.
        for at in [0, 1_i64 << 52] {
            sample.execute(&format!("INSERT INTO access_changes (tenant, at) VALUES (zeroblob(16), {at})")).await;
        }
        sample.execute(&format!("UPDATE sqlite_sequence SET seq = {KEPT} WHERE name = 'access_changes'")).await;
        sample.storage.devices.delete(sample.tenant, sample.device).await.unwrap();
        let kept = sample.storage.access_log.after(0, 10).await.unwrap();
        let last = KEPT.unsigned_abs() + 1;
        assert_eq!(kept.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [2, last]);
        assert_eq!(sample.storage.access_log.latest().await, Ok(last));
    }
}
