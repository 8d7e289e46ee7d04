//! Numbers over time: columns of chunks, and payloads of rows that are still in the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pocket_domain::{AggregateQuery, DeviceId, Series, SortOrder, TenantId};
use pocket_ports::StorageError;
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};

use super::chunks::{Chunks, Outline};
use super::gather::{Gathered, topics_of};
use super::log::{Found, Log};
use super::names::TopicNames;
use super::snapshot::Snapshot;
use super::wanted_topics;
use super::window::{Scope, Window};
use crate::database::Database;
use crate::entity::device;
use crate::error::Error;
use crate::tenants;

/// Chunks that are decoded together.
const CHUNKS: usize = 16;
/// Rows of the log that are read together; their payloads may be long.
const ROWS: usize = 1_000;

/// The series of all devices and keys of the query.
pub(crate) async fn aggregate(db: &Database, tenant: TenantId, query: AggregateQuery) -> Result<Vec<Series>, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let transaction = snapshot.transaction();
    let query = Arc::new(query);
    let mut budget = Budget::new(&query);
    let of_tenant = tenants::key(transaction, tenant).await?;
    let (keys, topics) = match of_tenant {
        Some(key) => (
            device_keys(transaction, key, &query.devices).await?,
            wanted_topics(transaction, key, query.topic.as_ref()).await?,
        ),
        None => (HashMap::new(), None),
    };
    let mut series: Vec<Series> = Vec::new();
    for device in &query.devices {
        let mut gathered = Gathered::new(&query);
        if let (Some(of_tenant), Some(key), Some(topics)) = (of_tenant, keys.get(device), &topics)
            && query.from < query.to
        {
            let window = Window {
                from: query.from.as_millis(),
                to: query.to.as_millis() - 1,
                after: None,
                order: SortOrder::Ascending,
                topics: topics.clone(),
            };
            let scope = Scope::Device { tenant: of_tenant, key: *key };
            let chunks = snapshot.chunks(tenant);
            budget.series = series.len();
            let topics = Topics { names: &db.topic_names, tenant: of_tenant };
            gathered = of_chunks(&chunks, &topics, &scope, &window, gathered, &mut budget).await?;
            gathered = of_log(&snapshot.log(), &chunks, &topics, &scope, window, gathered, &mut budget).await?;
        }
        let names = db.topic_names.of(transaction, of_tenant, gathered.topics()).await?;
        series.extend(gathered.into_series(*device, &names));
    }
    Ok(series)
}

/// The keys of a tenant's devices that are there.
async fn device_keys(
    connection: &impl sea_orm::ConnectionTrait,
    tenant: i64,
    devices: &[DeviceId],
) -> Result<HashMap<DeviceId, i64>, DbErr> {
    let rows = device::Entity::find()
        .filter(device::Column::Tenant.eq(tenant))
        .filter(device::Column::Id.is_in(devices.iter().map(DeviceId::as_uuid)))
        .filter(device::Column::Deleted.eq(false))
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (DeviceId::from_uuid(row.id), row.key)).collect())
}

/// How much one question may look at.
struct Budget {
    query: Arc<AggregateQuery>,
    /// Values that are left: each row counts once for its time, and once for each key.
    values: u64,
    /// Series of devices that are done.
    series: usize,
}

impl Budget {
    /// About ten seconds of one processor.
    const VALUES: u64 = 1_000_000_000;

    fn new(query: &Arc<AggregateQuery>) -> Self {
        Self { query: Arc::clone(query), values: Self::VALUES, series: 0 }
    }

    fn spend(&mut self, rows: usize, gathered: &Gathered) -> Result<(), Error> {
        let values = (rows as u64).saturating_mul(self.query.keys.len() as u64 + 1);
        self.values = self.values.checked_sub(values).ok_or_else(|| {
            StorageError::TooMuch(format!(
                "the question would read more than {} values; ask for a shorter time, fewer devices or fewer keys",
                Self::VALUES
            ))
        })?;
        Ok(self.query.check_series(self.series + gathered.count()).map_err(StorageError::TooMuch)?)
    }
}

/// Names of a tenant's topics.
struct Topics<'a> {
    names: &'a TopicNames,
    tenant: i64,
}

impl Topics<'_> {
    /// Tells which topics the next points have, where rules make keys of their names.
    async fn tell(
        &self,
        transaction: &DatabaseTransaction,
        gathered: &mut Gathered,
        topics: impl Iterator<Item = i64>,
    ) -> Result<(), Error> {
        let unknown = gathered.unknown(topics);
        if !unknown.is_empty() {
            gathered.learn(&self.names.of(transaction, Some(self.tenant), unknown).await?);
        }
        Ok(())
    }

    /// The same for chunks, whose topics are read off the runtime that commits messages.
    async fn tell_of_chunks(
        &self,
        chunks: &Chunks<'_>,
        gathered: &mut Gathered,
        loaded: &Arc<Vec<(Outline, Vec<u8>)>>,
    ) -> Result<(), Error> {
        let loaded = Arc::clone(loaded);
        let topics = chunks.decode(move |still| {
            let wanted = loaded.iter().take_while(|_| still.is_wanted());
            // One that cannot be read is reported when its points are taken.
            wanted.flat_map(|(_, content)| topics_of(content).unwrap_or_default()).collect::<HashSet<i64>>()
        });
        let topics = topics.await?;
        self.tell(chunks.transaction, gathered, topics.into_iter()).await
    }
}

async fn of_chunks(
    chunks: &Chunks<'_>,
    names: &Topics<'_>,
    scope: &Scope,
    window: &Window,
    mut gathered: Gathered,
    budget: &mut Budget,
) -> Result<Gathered, Error> {
    let mut last: Option<Outline> = None;
    loop {
        let outlines = chunks.outlines(scope, window, last.as_ref(), CHUNKS).await?;
        let keys: Vec<i64> = outlines.iter().map(|outline| outline.key).collect();
        let mut contents: HashMap<i64, Vec<u8>> =
            Chunks::contents(chunks.transaction, &keys).await?.into_iter().collect();
        let loaded: Vec<(Outline, Vec<u8>)> =
            outlines.iter().filter_map(|outline| Some((*outline, contents.remove(&outline.key)?))).collect();
        let (topics, loaded) = (window.topics.clone(), Arc::new(loaded));
        if !budget.query.rules.is_empty() {
            names.tell_of_chunks(chunks, &mut gathered, &loaded).await?;
        }
        let decoded = chunks.decode(move |still| {
            let (mut unreadable, mut rows) = (Vec::new(), 0);
            for (outline, content) in loaded.iter().take_while(|_| still.is_wanted()) {
                match gathered.add_chunk(content, topics.as_ref()) {
                    Ok(of_chunk) => rows += of_chunk,
                    Err(damaged) => unreadable.push((*outline, damaged)),
                }
            }
            (gathered, unreadable, rows)
        });
        let (filled, unreadable, rows) = decoded.await?;
        gathered = filled;
        budget.spend(rows, &gathered)?;
        for (outline, damaged) in unreadable {
            chunks.report(&outline, &damaged).await;
        }
        match outlines.last() {
            Some(outline) if outlines.len() == CHUNKS => last = Some(*outline),
            _ => return Ok(gathered),
        }
    }
}

async fn of_log(
    log: &Log<'_>,
    chunks: &Chunks<'_>,
    names: &Topics<'_>,
    scope: &Scope,
    mut window: Window,
    mut gathered: Gathered,
    budget: &mut Budget,
) -> Result<Gathered, Error> {
    loop {
        let rows = log.page(scope, &window, ROWS).await?;
        if rows.is_empty() {
            return Ok(gathered);
        }
        let count = rows.len();
        let last = rows.last().filter(|_| count == ROWS).map(|Found { row, .. }| (row.timestamp, row.id.cast_signed()));
        names.tell(chunks.transaction, &mut gathered, rows.iter().map(|Found { row, .. }| row.topic)).await?;
        gathered = chunks
            .decode(move |_| {
                gathered.add_rows(&rows);
                gathered
            })
            .await?;
        budget.spend(count, &gathered)?;
        match last {
            Some(last) => window.go_on_after(last),
            None => return Ok(gathered),
        }
    }
}
