//! What a device said last: of each key on each topic, the leaf with the last place in the history.
//!
//! It is known, not searched: of rows that are in chunks the table of last values tells it, and rows of the log are looked
//! at once, when they are first asked for. Only for a device whose chunks are older than that table its history is searched.

use std::collections::HashSet;
use std::sync::Arc;

use pocket_domain::{DeviceId, LatestQuery, LatestValue, LatestValues, SortOrder, TenantId, Timestamp};
use pocket_telemetry_codec::{Chunk, Damaged, OwnedRow};

use super::chunks::{Chunks, Outline};
use super::kinds::kind;
use super::last_values::{Last, LastValues, Series};
use super::latest_cache::LogPart;
use super::latest_table;
use super::log::Found;
use super::snapshot::Snapshot;
use super::wanted_topics;
use super::window::{Scope, Window};
use crate::database::Database;
use crate::devices;
use crate::entity::time;
use crate::error::Error;

/// Chunks, and rows of the log, that are read together.
const CHUNKS: usize = 32;
const ROWS: usize = 1_000;
/// Rows that are looked at where they are read; more are left to those who decode.
const FEW: usize = 64;

/// The last values that are asked for.
pub(crate) async fn latest(
    db: &Database,
    tenant: TenantId,
    device: DeviceId,
    query: &LatestQuery,
) -> Result<LatestValues, Error> {
    let snapshot = Snapshot::begin(db).await?;
    let transaction = snapshot.transaction();
    let Some(device) = devices::find(transaction, tenant, device).await? else { return Ok(LatestValues::default()) };
    let Some(topics) = wanted_topics(transaction, device.tenant, query.topic.as_ref()).await? else {
        return Ok(LatestValues::default());
    };
    let Some(mut values) = latest_table::of_device(transaction, device.key, topics.as_ref(), query.most).await? else {
        drop(snapshot);
        // One at a time; those that wait hold no connection.
        let _turn = db.searching.lock().await;
        let snapshot = Snapshot::begin(db).await?;
        let values = search(db, &snapshot, tenant, device.tenant, device.key).await?;
        return told(db, &snapshot, device.tenant, of_topics(values, topics.as_ref()).collect(), query).await;
    };
    let of_log = of_log(db, &snapshot, tenant, device.key).await?;
    let is_wanted = |topic: i64| topics.as_ref().is_none_or(|topics| topics.contains(&topic));
    values.merge(of_log.values.newest_where(|(_, topic)| is_wanted(*topic), query.most + 1));
    told(db, &snapshot, device.tenant, values, query).await
}

/// The values of these topics.
fn of_topics(values: LastValues, topics: Option<&HashSet<i64>>) -> impl Iterator<Item = (Series, Last)> {
    values.into_iter().filter(move |((_, topic), _)| topics.is_none_or(|topics| topics.contains(topic)))
}

/// Values as they are told outside; those of a topic that is gone are left out.
async fn told(
    db: &Database,
    snapshot: &Snapshot<'_>,
    tenant: i64,
    values: LastValues,
    query: &LatestQuery,
) -> Result<LatestValues, Error> {
    let (newest, has_more) = values.newest(query.most);
    let topics = newest.iter().map(|((_, topic), _)| *topic).collect();
    let names = db.topic_names.of(snapshot.transaction(), Some(tenant), topics).await?;
    let mut values = Vec::with_capacity(newest.len());
    for ((key, topic), Last { place: (at, id), value }) in newest {
        if let Some(topic) = names.get(&topic).cloned() {
            values.push((id.cast_unsigned(), LatestValue { key, topic, value, timestamp: time(at)? }));
        }
    }
    let told = LatestValues::newest(values, query.most);
    Ok(LatestValues { has_more, ..told })
}

/// What the rows of the log say, of which those are read that were not known.
async fn of_log(db: &Database, snapshot: &Snapshot<'_>, tenant: TenantId, device: i64) -> Result<Arc<LogPart>, Error> {
    let (log, sealed, removals) = (snapshot.log(), snapshot.sealed().sealed, snapshot.removals());
    let epoch = db.timeline().epoch();
    let known = db.latest.get(device, epoch, sealed, removals);
    let known = match known {
        // Nothing was committed since.
        Some(part) if part.batches.is_some() && part.batches.as_deref() == snapshot.batches() => return Ok(part),
        // A transaction that took its ids before may have been committed since.
        Some(part) if log.count_of(device, part.up_to).await?.is_some_and(|count| count != part.count) => None,
        known => known,
    };
    let known =
        known.unwrap_or_else(|| Arc::new(LogPart { epoch, sealed, removals, up_to: sealed, ..LogPart::default() }));
    if snapshot.last() > 0 && known.up_to >= snapshot.last() {
        return Ok(known);
    }
    let part = match of_telling_rows(snapshot, tenant, device, &known).await? {
        Some(part) => part,
        None => of_all_rows(snapshot, tenant, device, &known).await?,
    };
    let mut part = match part {
        Some(part) => part,
        None if snapshot.last() == 0 && snapshot.batches().is_none() => return Ok(known),
        None => LogPart::clone(&known),
    };
    part.up_to = part.up_to.max(snapshot.last());
    part.batches = snapshot.batches().map(Into::into);
    let part = Arc::new(part);
    db.latest.keep(device, Arc::clone(&part));
    Ok(part)
}

/// Looks at the last row of each kind behind those that are known, where an index tells which these are; `Some(None)` when there
/// are none.
async fn of_telling_rows(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    device: i64,
    known: &LogPart,
) -> Result<Option<Option<LogPart>>, Error> {
    let log = snapshot.log();
    let Some(mut ids) = log.telling(device, known.up_to, snapshot.last()) else { return Ok(None) };
    ids.sort_unstable();
    let mut part: Option<LogPart> = None;
    for ids in ids.chunks(ROWS) {
        // One that is missing was removed, and may have hidden others.
        let Some(rows) = log.rows(ids).await? else { return Ok(None) };
        let seen = part.take().unwrap_or_else(|| known.clone());
        part = Some(with_rows(snapshot, tenant, seen, rows).await?);
    }
    Ok(Some(part))
}

/// Looks at all rows behind those that are known; `None` when there are none.
async fn of_all_rows(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    device: i64,
    known: &LogPart,
) -> Result<Option<LogPart>, Error> {
    let mut part: Option<LogPart> = None;
    let mut after = Some(known.up_to);
    while let Some(place) = after {
        let (rows, next) = snapshot.log().behind(device, place, ROWS).await?;
        after = next;
        if !rows.is_empty() {
            let seen = part.take().unwrap_or_else(|| known.clone());
            part = Some(with_rows(snapshot, tenant, seen, rows).await?);
        }
    }
    Ok(part)
}

/// Looks at rows, in the order of their ids.
async fn with_rows(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    mut part: LogPart,
    rows: Vec<Found>,
) -> Result<LogPart, Error> {
    part.count += i64::try_from(rows.len()).unwrap_or(i64::MAX);
    part.up_to = rows.last().map_or(part.up_to, |found| found.row.id.cast_signed());
    part.values = see_all(snapshot, tenant, part.values, rows).await?;
    Ok(part)
}

/// Looks at rows of the log.
async fn see_all(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    mut values: LastValues,
    rows: Vec<Found>,
) -> Result<LastValues, Error> {
    if rows.len() <= FEW {
        see(&mut values, rows);
        return Ok(values);
    }
    let chunks = snapshot.chunks(tenant);
    let decoded = chunks.decode(move |_| {
        see(&mut values, rows);
        values
    });
    decoded.await
}

fn see(values: &mut LastValues, mut rows: Vec<Found>) {
    rows.sort_unstable_by_key(|Found { row, .. }| std::cmp::Reverse((row.timestamp, row.id)));
    let mut seen = HashSet::new();
    // Newest first: of rows that differ only in their values, the first that is met has the last.
    for Found { row: OwnedRow { id, timestamp, topic, payload, .. }, .. } in rows {
        if seen.insert((kind(&payload), topic)) {
            values.see((timestamp, id.cast_signed()), topic, payload);
        }
    }
}

/// Searches the history of a device.
async fn search(
    db: &Database,
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    of_tenant: i64,
    device: i64,
) -> Result<LastValues, Error> {
    let of_log = of_log(db, snapshot, tenant, device).await?;
    of_chunks(snapshot, tenant, (of_tenant, device), of_log.values.clone()).await
}

/// Reads all chunks of a device, a few at a time: which topics it has in them, only they tell.
async fn of_chunks(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    (of_tenant, device): (i64, i64),
    mut values: LastValues,
) -> Result<LastValues, Error> {
    let chunks = snapshot.chunks(tenant);
    let scope = Scope::Device { tenant: of_tenant, key: device };
    let window =
        Window { from: 0, to: Timestamp::MAX.as_millis(), after: None, order: SortOrder::Descending, topics: None };
    let mut last: Option<Outline> = None;
    let mut wanted = 1;
    loop {
        let outlines = chunks.outlines(&scope, &window, last.as_ref(), wanted).await?;
        for outline in &outlines {
            let Some((_, content)) = Chunks::contents(snapshot.transaction(), &[outline.key]).await?.pop() else {
                continue;
            };
            match chunks.decode(move |_| of_chunk(&content)).await? {
                Ok(of_chunk) => values.merge(of_chunk),
                Err(damaged) => chunks.report(outline, &damaged).await,
            }
        }
        match outlines.last() {
            Some(outline) if outlines.len() == wanted => last = Some(*outline),
            _ => return Ok(values),
        }
        wanted = CHUNKS.min(2 * wanted);
    }
}

/// The last values of a chunk, which is decoded once.
pub(crate) fn of_chunk(content: &[u8]) -> Result<LastValues, Damaged> {
    let chunk = Chunk::open(content)?;
    let mut values = LastValues::default();
    for row in chunk.rows_at(&chunk.last_of_each_kind()?)? {
        values.see((row.timestamp, row.id.cast_signed()), row.topic, row.payload);
    }
    Ok(values)
}
