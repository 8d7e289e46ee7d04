//! Numbers over time: columns of chunks, and payloads of rows that are still in the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pocket_domain::{Aggregate, AggregateQuery, DeviceId, Series, SortOrder, TenantId};
use pocket_telemetry_codec::{Chunk, Damaged, LeafReader};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use super::buckets::{Buckets, Times};
use super::chunks::{Chunks, Outline};
use super::log::Found;
use super::snapshot::Snapshot;
use super::wanted_topics;
use super::window::{Scope, Window};
use crate::database::Database;
use crate::entity::device;
use crate::error::Error;
use crate::tenants;

/// Chunks that are decoded together.
const CHUNKS: usize = 64;
/// Rows of the log that are read together.
const ROWS: usize = 5_000;

/// The series of all devices and keys of the query.
pub(crate) async fn aggregate(db: &Database, tenant: TenantId, query: AggregateQuery) -> Result<Vec<Series>, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let transaction = snapshot.transaction();
    let query = Arc::new(query);
    let (keys, topics) = match tenants::key(transaction, tenant).await? {
        Some(tenant) => (
            device_keys(transaction, tenant, &query.devices).await?,
            wanted_topics(transaction, tenant, query.topic.as_ref()).await?,
        ),
        None => (HashMap::new(), None),
    };
    let mut series = Vec::new();
    for device in &query.devices {
        let mut buckets: Vec<Buckets> = query.keys.iter().map(|key| Buckets::new(key.clone(), &query)).collect();
        if let (Some(key), Some(topics)) = (keys.get(device), &topics)
            && query.from < query.to
        {
            let window = Window {
                from: query.from.as_millis(),
                to: query.to.as_millis() - 1,
                after: None,
                order: SortOrder::Ascending,
                topics: topics.clone(),
            };
            let scope = Scope::Device(*key);
            buckets = of_chunks(&snapshot, &scope, &window, &query, buckets).await?;
            of_log(&snapshot, &scope, window, &mut buckets).await?;
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

async fn of_chunks(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    window: &Window,
    query: &Arc<AggregateQuery>,
    mut buckets: Vec<Buckets>,
) -> Result<Vec<Buckets>, Error> {
    let chunks = snapshot.chunks();
    let mut last: Option<Outline> = None;
    loop {
        let outlines = chunks.outlines(scope, window, last.as_ref(), CHUNKS).await?;
        let keys: Vec<i64> = outlines.iter().map(|outline| outline.key).collect();
        let mut contents: HashMap<i64, Vec<u8>> =
            Chunks::contents(snapshot.transaction(), &keys).await?.into_iter().collect();
        let loaded: Vec<(Outline, Vec<u8>)> =
            outlines.iter().filter_map(|outline| Some((*outline, contents.remove(&outline.key)?))).collect();
        let (topics, query) = (window.topics.clone(), Arc::clone(query));
        let decoded = tokio::task::spawn_blocking(move || {
            let mut unreadable = Vec::new();
            for (outline, content) in loaded {
                if let Err(damaged) = of_chunk(&content, topics.as_ref(), query.aggregate, &mut buckets) {
                    unreadable.push((outline, damaged));
                }
            }
            (buckets, unreadable)
        });
        let (filled, unreadable) = decoded.await.map_err(|error| DbErr::Custom(error.to_string()))?;
        buckets = filled;
        for (outline, damaged) in unreadable {
            chunks.report(&outline, &damaged).await;
        }
        match outlines.last() {
            Some(outline) if outlines.len() == CHUNKS => last = Some(*outline),
            _ => return Ok(buckets),
        }
    }
}

fn of_chunk(
    content: &[u8],
    topics: Option<&HashSet<i64>>,
    aggregate: Aggregate,
    buckets: &mut [Buckets],
) -> Result<(), Damaged> {
    let chunk = Chunk::open(content)?;
    let wanted = match topics {
        Some(topics) if !chunk.topics().iter().any(|topic| topics.contains(topic)) => return Ok(()),
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
        buckets.iter().map(|buckets| chunk.numbers(buckets.key.as_str())).collect::<Result<_, _>>()?;
    for (buckets, numbers) in buckets.iter_mut().zip(columns) {
        if let Some(numbers) = numbers {
            buckets.add_all(&numbers, &times);
        }
    }
    Ok(())
}

async fn of_log(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    mut window: Window,
    buckets: &mut [Buckets],
) -> Result<(), Error> {
    let log = snapshot.log();
    let mut reader = LeafReader::new();
    loop {
        let rows = log.page(scope, &window, ROWS).await?;
        for Found { row, .. } in &rows {
            let place = (row.timestamp, row.id.cast_signed());
            for (path, point) in reader.leaves(&row.payload) {
                buckets
                    .iter_mut()
                    .filter(|buckets| buckets.key.as_str() == path)
                    .for_each(|buckets| buckets.add(point, place));
            }
        }
        match rows.last() {
            Some(Found { row, .. }) if rows.len() == ROWS => window.go_on_after((row.timestamp, row.id.cast_signed())),
            _ => return Ok(()),
        }
    }
}
