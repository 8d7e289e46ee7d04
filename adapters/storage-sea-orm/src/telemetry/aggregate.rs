//! Numbers over time: columns of chunks, and payloads of rows that are still in the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pocket_domain::{Aggregate, AggregateQuery, DeviceId, LeafPath, Series, SortOrder, TenantId};
use pocket_ports::StorageError;
use pocket_telemetry_codec::{Chunk, Damaged, LeafReader, Numbers};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use super::buckets::{Buckets, Times};
use super::chunks::{Chunks, Outline};
use super::log::{Found, Log};
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
    let mut budget = Budget::default();
    let of_tenant = tenants::key(transaction, tenant).await?;
    let (keys, topics) = match of_tenant {
        Some(key) => (
            device_keys(transaction, key, &query.devices).await?,
            wanted_topics(transaction, key, query.topic.as_ref()).await?,
        ),
        None => (HashMap::new(), None),
    };
    let mut series = Vec::new();
    for device in &query.devices {
        let mut buckets: Vec<Buckets> = query.keys.iter().map(|key| Buckets::new(key.clone(), &query)).collect();
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
            buckets = of_chunks(&chunks, &scope, &window, &query, buckets, &mut budget).await?;
            buckets = of_log(&snapshot.log(), &chunks, &scope, window, buckets, &mut budget).await?;
        }
        series.extend(buckets.into_iter().map(|buckets| buckets.series(*device, &query)));
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
    /// Values that are left: each row counts once for its time, and once for each key.
    values: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { values: Self::VALUES }
    }
}

impl Budget {
    /// About ten seconds of one processor.
    const VALUES: u64 = 1_000_000_000;

    fn spend(&mut self, rows: usize, keys: usize) -> Result<(), Error> {
        let values = (rows as u64).saturating_mul(keys as u64 + 1);
        self.values = self.values.checked_sub(values).ok_or_else(|| {
            StorageError::TooMuch(format!(
                "the question would read more than {} values; ask for a shorter time, fewer devices or fewer keys",
                Self::VALUES
            ))
        })?;
        Ok(())
    }
}

async fn of_chunks(
    chunks: &Chunks<'_>,
    scope: &Scope,
    window: &Window,
    query: &Arc<AggregateQuery>,
    mut buckets: Vec<Buckets>,
    budget: &mut Budget,
) -> Result<Vec<Buckets>, Error> {
    let mut last: Option<Outline> = None;
    loop {
        let outlines = chunks.outlines(scope, window, last.as_ref(), CHUNKS).await?;
        let keys: Vec<i64> = outlines.iter().map(|outline| outline.key).collect();
        let mut contents: HashMap<i64, Vec<u8>> =
            Chunks::contents(chunks.transaction, &keys).await?.into_iter().collect();
        let loaded: Vec<(Outline, Vec<u8>)> =
            outlines.iter().filter_map(|outline| Some((*outline, contents.remove(&outline.key)?))).collect();
        let (topics, query) = (window.topics.clone(), Arc::clone(query));
        let decoded = chunks.decode(move |still| {
            let (mut unreadable, mut rows) = (Vec::new(), 0);
            for (outline, content) in loaded.into_iter().take_while(|_| still.is_wanted()) {
                match of_chunk(&content, topics.as_ref(), query.aggregate, &mut buckets) {
                    Ok(of_chunk) => rows += of_chunk,
                    Err(damaged) => unreadable.push((outline, damaged)),
                }
            }
            (buckets, unreadable, rows)
        });
        let (filled, unreadable, rows) = decoded.await?;
        buckets = filled;
        budget.spend(rows, buckets.len())?;
        for (outline, damaged) in unreadable {
            chunks.report(&outline, &damaged).await;
        }
        match outlines.last() {
            Some(outline) if outlines.len() == CHUNKS => last = Some(*outline),
            _ => return Ok(buckets),
        }
    }
}

/// Takes the numbers of a chunk, and tells how many rows it has.
fn of_chunk(
    content: &[u8],
    topics: Option<&HashSet<i64>>,
    aggregate: Aggregate,
    buckets: &mut [Buckets],
) -> Result<usize, Damaged> {
    let chunk = Chunk::open(content)?;
    let wanted = match topics {
        Some(topics) if !chunk.topics().iter().any(|topic| topics.contains(topic)) => return Ok(0),
        Some(topics) if !chunk.topics().iter().all(|topic| topics.contains(topic)) => {
            Some(chunk.row_topics()?.iter().map(|topic| topics.contains(topic)).collect::<Vec<bool>>())
        }
        _ => None,
    };
    let timestamps = chunk.timestamps()?;
    let ids = if matches!(aggregate, Aggregate::First | Aggregate::Last) { chunk.ids()? } else { Vec::new() };
    let times = Times { timestamps: &timestamps, ids: &ids, wanted: wanted.as_deref() };
    // All columns first, so that a chunk that is damaged counts for nothing.
    let columns: Vec<_> =
        buckets.iter().map(|buckets| numbers_of(&chunk, buckets.key.as_str())).collect::<Result<_, _>>()?;
    for (buckets, numbers) in buckets.iter_mut().zip(columns) {
        if let Some(numbers) = numbers {
            buckets.add_all(&numbers, &times);
        }
    }
    Ok(chunk.len())
}

/// The numbers of a chunk at a key: those of payloads that have it, and those of payloads that have it within `values`. A
/// chunk keeps both apart, as they were published.
fn numbers_of(chunk: &Chunk<'_>, key: &str) -> Result<Option<Numbers>, Damaged> {
    let beside = chunk.numbers(key)?;
    let within = chunk.numbers(&format!("{}{key}", LeafPath::WRAPPER))?;
    Ok(match (beside, within) {
        (Some(beside), Some(within)) => Some(beside.or(&within)),
        (beside, within) => beside.or(within),
    })
}

/// The numbers of a payload at the keys of buckets, each with whether it is within `values`.
fn points_of(reader: &mut LeafReader, payload: &str, buckets: &[Buckets], points: &mut [Option<(f64, bool)>]) {
    points.fill(None);
    for (path, point) in reader.leaves(payload) {
        let (key, is_within) = LeafPath::unwrapped(path).map_or((path, false), |key| (key, true));
        for (buckets, found) in buckets.iter().zip(points.iter_mut()) {
            if buckets.key.as_str() == key && (is_within || found.is_none_or(|(_, is_within)| !is_within)) {
                *found = Some((point, is_within));
            }
        }
    }
}

async fn of_log(
    log: &Log<'_>,
    chunks: &Chunks<'_>,
    scope: &Scope,
    mut window: Window,
    mut buckets: Vec<Buckets>,
    budget: &mut Budget,
) -> Result<Vec<Buckets>, Error> {
    loop {
        let rows = log.page(scope, &window, ROWS).await?;
        if rows.is_empty() {
            return Ok(buckets);
        }
        budget.spend(rows.len(), buckets.len())?;
        let last =
            rows.last().filter(|_| rows.len() == ROWS).map(|Found { row, .. }| (row.timestamp, row.id.cast_signed()));
        buckets = chunks.decode(move |_| of_rows(&rows, buckets)).await?;
        match last {
            Some(last) => window.go_on_after(last),
            None => return Ok(buckets),
        }
    }
}

fn of_rows(rows: &[Found], mut buckets: Vec<Buckets>) -> Vec<Buckets> {
    let mut reader = LeafReader::new();
    let mut points = vec![None; buckets.len()];
    for Found { row, .. } in rows {
        let place = (row.timestamp, row.id.cast_signed());
        points_of(&mut reader, &row.payload, &buckets, &mut points);
        for (buckets, point) in buckets.iter_mut().zip(&points) {
            if let Some((point, _)) = point {
                buckets.add(*point, place);
            }
        }
    }
    buckets
}
