//! The history of messages: a log of what is new, and chunks of what is older.

mod aggregate;
mod buckets;
mod chunks;
mod damage;
mod gather;
mod key_paths;
mod keys;
mod kinds;
mod last_values;
mod latest;
mod latest_cache;
mod latest_table;
mod log;
mod log_entry;
mod log_index;
mod merge;
mod names;
mod oldest;
mod pages;
mod parts;
mod present;
mod scan;
mod snapshot;
mod usage;
mod window;

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    AggregateQuery, DeviceId, LastSeen, LatestQuery, LatestValues, NewTelemetry, NodeName, Series, Telemetry,
    TelemetryCursor, TelemetryId, TelemetryPage, TelemetryPart, TelemetryQuery, TelemetryScan, TenantId, TimeMark,
    Timestamp, TopicFilter, Usage,
};
use pocket_ports::{
    Expired, Held, Import, Pruned, PrunedTenant, StorageError, TelemetryStore, TopicNames as TopicPage, WriteBatch,
};
use sea_orm::ConnectionTrait;
use tokio::sync::Mutex;

pub(crate) use chunks::{Chunks, Outline};
pub(crate) use damage::Damage;
pub(crate) use keys::{
    Met, add as add_keys, count as count_keys, hash_of as key_hash, of_device as keys_of_device,
    remove_unused as remove_unused_keys,
};
pub(crate) use kinds::kind;
pub(crate) use last_values::{Last, LastValues, Series as SeriesKey};
pub(crate) use latest::of_chunk as last_values_of_chunk;
pub(crate) use latest_cache::LatestCache;
pub(crate) use latest_table::{
    Going, Touched, make_due, next_due, put as put_last_values, remove as remove_last_values, touched_by, touched_rows,
};
pub(crate) use log_entry::Entry;
pub(crate) use log_index::LogIndex;
pub(crate) use names::TopicNames;
pub(crate) use oldest::{OldChunk, OldRow, expired_chunks, oldest_chunks, oldest_rows};
pub(crate) use pages::DevicePage;
pub(crate) use parts::Parts;
pub(crate) use present::{Ahead, Wanted, present};
pub(crate) use snapshot::{Sealed, moment};
pub(crate) use usage::bytes_by_tenant;

use crate::database::Database;
use crate::entity::time;
use crate::error::Error;
use crate::import::import;
use crate::keeper::Keeper;
use crate::write::write;
use crate::{dead_letters, devices, tenants, time_marks, topics};
use merge::Page;
use snapshot::Snapshot;
use window::{Place, Scope, Window};

/// The history in a database, with the keeper that this process has.
pub(crate) struct TelemetryHistory(pub(crate) Arc<Database>, pub(crate) Arc<Mutex<Keeper>>);

#[async_trait]
impl TelemetryStore for TelemetryHistory {
    async fn append(&self, messages: Arc<[NewTelemetry]>) -> Result<Vec<Option<TelemetryId>>, StorageError> {
        self.0
            .run_to_its_end(|db| async move { Ok(write(&db, None, &WriteBatch::of_messages(messages)).await?.ids) })
            .await
    }

    async fn import(&self, messages: Arc<[NewTelemetry]>) -> Result<Import, StorageError> {
        self.0.run_to_its_end(|db| async move { import(&db, &messages).await }).await
    }

    async fn set_aside(&self, message: &NewTelemetry, reason: &str, now: Timestamp) -> Result<(), StorageError> {
        let (message, reason) = (message.clone(), reason.to_owned());
        self.0.run_to_its_end(move |db| async move { dead_letters::insert(&db, message, &reason, now).await }).await
    }

    async fn range(&self, tenant: TenantId, query: &TelemetryQuery) -> Result<TelemetryPage, StorageError> {
        if let Some(page) = DevicePage::of(&self.0, tenant, query) {
            return self.0.pages.ask(&self.0, page).await?;
        }
        let query = query.clone();
        self.0.read(move |db| async move { range(&db, tenant, &query).await }).await
    }

    async fn scan(&self, tenant: TenantId, scan: &TelemetryScan) -> Result<TelemetryPart, StorageError> {
        let scan = scan.clone();
        self.0.read(move |db| async move { scan::scan(&db, tenant, &scan).await }).await
    }

    async fn aggregate(&self, tenant: TenantId, query: &AggregateQuery) -> Result<Vec<Series>, StorageError> {
        let query = query.clone();
        self.0.read(move |db| async move { aggregate::aggregate(&db, tenant, query).await }).await
    }

    async fn latest(
        &self,
        tenant: TenantId,
        device: DeviceId,
        query: &LatestQuery,
    ) -> Result<LatestValues, StorageError> {
        let query = query.clone();
        self.0.read(move |db| async move { latest::latest(&db, tenant, device, &query).await }).await
    }

    async fn usage(&self, tenant: TenantId) -> Result<Usage, StorageError> {
        self.0.read(move |db| async move { usage::usage(&db, tenant).await }).await
    }

    async fn prune_within(&self, now: Timestamp, held: &Held) -> Result<Pruned, StorageError> {
        let (keeper, held) = (Arc::clone(&self.1), held.clone());
        self.0.run(move |db| async move { keeper.lock().await.prune(&db, now, &held).await }).await
    }

    async fn expired(&self, tenant: TenantId, before: Timestamp) -> Result<Expired, StorageError> {
        let of_tenant = move |db: Arc<Database>| async move {
            match tenants::key(db.reader(), tenant).await? {
                Some(key) => Ok(oldest::expired(&db, key, before.as_millis()).await?),
                None => Ok(Expired::default()),
            }
        };
        self.0.read(of_tenant).await
    }

    async fn pruned_tenants(&self) -> Result<Vec<PrunedTenant>, StorageError> {
        self.0.run(move |db| async move { tenants::pruned(&db).await }).await
    }

    async fn keep_pruned(&self, tenant: TenantId, to: Timestamp) -> Result<(), StorageError> {
        self.0.run(move |db| async move { tenants::keep_pruned(&db, tenant, to).await }).await
    }

    async fn topics(&self, tenant: TenantId, after: u64, limit: u32) -> Result<TopicPage, StorageError> {
        self.0.run(move |db| async move { topics::page(&db, tenant, after, limit).await }).await
    }

    async fn last_seen(&self, node: &NodeName) -> Result<LastSeen, StorageError> {
        let node = node.clone();
        self.0.run(move |db| async move { time_marks::last_seen(&db, node.as_str()).await }).await
    }

    async fn keep_time(&self, node: &NodeName, mark: TimeMark) -> Result<(), StorageError> {
        let node = node.clone();
        self.0.run(move |db| async move { time_marks::keep(&db, node.as_str(), mark).await }).await
    }
}

/// A page of the history.
async fn range(db: &Database, tenant: TenantId, query: &TelemetryQuery) -> Result<TelemetryPage, Error> {
    let nothing = TelemetryPage { rows: Vec::new(), next: None };
    let snapshot = Snapshot::begin(db).await?;
    let transaction = snapshot.transaction();
    let chunks = snapshot.chunks(tenant);
    let (scope, tenant) = match query.device_id {
        None => {
            let Some(tenant) = tenants::key(transaction, tenant).await? else { return Ok(nothing) };
            (Scope::Tenant { tenant, deleted: devices::deleted(transaction, tenant).await? }, tenant)
        }
        Some(device) => {
            let Some(device) = devices::find(transaction, tenant, device).await? else { return Ok(nothing) };
            (Scope::Device { tenant: device.tenant, key: device.key }, device.tenant)
        }
    };
    let Some(topics) = wanted_topics(transaction, tenant, query.topic.as_ref()).await? else { return Ok(nothing) };
    let window = Window::of(query, topics);
    let limit = query.limit();
    let Page { rows, behind } = merge::page(&snapshot.log(), &chunks, &scope, &window, limit as usize + 1).await?;
    page_of(names::named(transaction, &db.topic_names, tenant, rows).await?, behind, limit)
}

/// A page of rows, which goes on behind a place if it ended before it was full.
fn page_of(rows: Vec<Telemetry>, behind: Option<Place>, limit: u32) -> Result<TelemetryPage, Error> {
    let mut page = TelemetryPage::from_rows(rows, limit);
    if let (None, Some((at, id))) = (page.next, behind) {
        page.next = Some(TelemetryCursor { timestamp: time(at)?, id: TelemetryId::from_key(id.unsigned_abs()) });
    }
    Ok(page)
}

/// The topics that a filter leaves: `None` inside when it leaves all, `None` when it leaves none.
async fn wanted_topics(
    connection: &impl ConnectionTrait,
    tenant: i64,
    filter: Option<&TopicFilter>,
) -> Result<Option<Option<std::collections::HashSet<i64>>>, Error> {
    let Some(filter) = filter else { return Ok(Some(None)) };
    if filter.as_str() == "#" && !topics::has_system_topics(connection, tenant).await? {
        return Ok(Some(None));
    }
    let keys = topics::matching(connection, tenant, filter).await?;
    Ok((!keys.is_empty()).then(|| Some(keys.into_iter().collect())))
}
