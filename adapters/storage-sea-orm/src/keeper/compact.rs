//! Small chunks of a device become larger ones.
//!
//! A chunk is small below 64 rows, below 512 and below 4,096. As soon as those of a size make one of the next, they become
//! one, so a row is written again at most once for each size.

use std::collections::{BTreeMap, HashSet};

use pocket_telemetry_codec::{Chunk, Damaged, MAX_WEIGHT, OwnedRow};
use sea_orm::{FromQueryResult, Statement};

use super::lease::Lease;
use super::pack::{LARGE, NewChunk, pack, rows_of};
use super::write::{run, write};
use crate::database::Database;
use crate::error::Error;
use crate::key_list::list;
use crate::telemetry::{Chunks, Outline, Sealed};

/// Rows at which a chunk is of the next size.
const SIZES: [i64; 3] = [64, 512, LARGE as i64];
/// Rows that are merged in one transaction, if they are of more than one device.
const STEP: i64 = 16_384;

/// A chunk that is to become larger.
#[derive(Clone, Copy, Debug, FromQueryResult)]
struct Small {
    key: i64,
    tenant: i64,
    device: i64,
    first_at: i64,
    last_at: i64,
    row_count: i64,
    /// About how many bytes of memory it takes to make it; 0 when nobody knows.
    weight: i64,
}

/// What chunks that become one may take together.
const MOST_WEIGHT: i64 = MAX_WEIGHT as i64;

impl Small {
    fn outline(&self) -> Outline {
        let Self { key, device, first_at, last_at, .. } = *self;
        Outline { key, device, first_at, last_at }
    }
}

/// Merges all small chunks that make larger ones.
pub(super) async fn compact(db: &Database, lease: &Lease, damaged: &mut HashSet<i64>) -> Result<(), Error> {
    let mut due = due(db, damaged).await?;
    while !due.is_empty() {
        let (mut rows, mut weight) = (0, 0);
        let fits = |group: &&Vec<Small>| {
            rows += group.iter().map(|small| small.row_count).sum::<i64>();
            weight += group.iter().map(|small| small.weight).sum::<i64>();
            rows <= STEP && weight <= MOST_WEIGHT
        };
        let part = due.iter().take_while(fits).count().max(1);
        let groups: Vec<Vec<Small>> = due.drain(..part).collect();
        if !merge(db, lease, groups, damaged).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// The chunks that are to be merged, by device.
async fn due(db: &Database, damaged: &HashSet<i64>) -> Result<Vec<Vec<Small>>, Error> {
    let sealed = Sealed::read(db.reader()).await?;
    let sql = format!(
        "SELECT key, tenant, device, first_at, last_at, row_count, weight FROM telemetry_chunks
        WHERE row_count < 4096 AND batch <= {} ORDER BY device, row_count",
        sealed.batch
    );
    let all = Small::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await?;
    let mut devices: BTreeMap<i64, Vec<Small>> = BTreeMap::new();
    for small in all.into_iter().filter(|small| !damaged.contains(&small.key)) {
        devices.entry(small.device).or_default().push(small);
    }
    Ok(devices.into_values().filter_map(mergeable).collect())
}

/// Those of a device's small chunks, ordered by size, that make one of a next size, and take no more memory than that may.
fn mergeable(mut small: Vec<Small>) -> Option<Vec<Small>> {
    let mut weight = 0;
    let is_light = |chunk: &Small| {
        weight += chunk.weight;
        weight <= MOST_WEIGHT
    };
    // Those that take much by themselves stay as they are.
    small.retain(|chunk| chunk.weight <= MOST_WEIGHT / 2);
    let light = small.iter().copied().take_while(is_light).count();
    small.truncate(light);
    for size in SIZES.into_iter().rev() {
        let count = small.partition_point(|chunk| chunk.row_count < size);
        let rows: i64 = small[..count].iter().map(|chunk| chunk.row_count).sum();
        if count > 1 && rows >= size {
            small.truncate(count);
            return Some(small);
        }
    }
    None
}

/// Merges groups of chunks in one transaction; `false` when another process keeps the history.
async fn merge(
    db: &Database,
    lease: &Lease,
    groups: Vec<Vec<Small>>,
    damaged: &mut HashSet<i64>,
) -> Result<bool, Error> {
    let keys: Vec<i64> = groups.iter().flatten().map(|small| small.key).collect();
    let contents: BTreeMap<i64, Vec<u8>> = Chunks::contents(db.reader(), &keys).await?.into_iter().collect();
    let merged = tokio::task::spawn_blocking(move || {
        groups.into_iter().map(|group| merged(&group, &contents)).collect::<Vec<Merged>>()
    });
    let merged = merged.await.map_err(|error| sea_orm::DbErr::Custom(error.to_string()))?;
    let Some(transaction) = lease.begin(db).await? else { return Ok(false) };
    for group in merged {
        for (outline, error) in group.damaged {
            db.damage.report(db.reader(), &outline, &error).await;
            damaged.insert(outline.key);
        }
        for (key, weight) in &group.weights {
            run(&transaction, &format!("UPDATE telemetry_chunks SET weight = {weight} WHERE key = {key}")).await?;
        }
        if group.from.len() < 2 {
            continue;
        }
        let keys = list(group.from.iter().copied());
        let removed = run(&transaction, &format!("DELETE FROM telemetry_chunks WHERE key IN ({keys})")).await?;
        if removed != group.from.len() as u64 {
            // Some were removed with their device or their age; the rest is looked at the next time.
            return Ok(true);
        }
        write(&transaction, 0, &group.into).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// What becomes of a group.
#[derive(Default)]
struct Merged {
    from: Vec<i64>,
    into: Vec<NewChunk>,
    damaged: Vec<(Outline, Damaged)>,
    /// Chunks that stay as they are because they take too much memory, and what they take.
    weights: Vec<(i64, usize)>,
}

fn merged(group: &[Small], contents: &BTreeMap<i64, Vec<u8>>) -> Merged {
    let mut merged = Merged::default();
    let mut readable: Vec<(i64, &[u8])> = Vec::new();
    for small in group {
        let Some(content) = contents.get(&small.key) else { continue };
        match Chunk::open(content).and_then(|chunk| chunk.weight()) {
            Ok(weight) => {
                readable.push((small.key, content));
                merged.weights.push((small.key, weight));
            }
            Err(error) => merged.damaged.push((small.outline(), error)),
        }
    }
    let weight: usize = merged.weights.iter().map(|(_, weight)| weight).sum();
    // Of chunks of an earlier version nobody knew it.
    if group.iter().any(|small| small.weight == 0) && weight > MAX_WEIGHT {
        return merged;
    }
    merged.weights.clear();
    let (mut rows, mut without_leaves): (Vec<OwnedRow>, HashSet<u64>) = Default::default();
    for (key, content) in readable {
        match rows_of(content) {
            Ok((found, without)) => {
                rows.extend(found);
                without_leaves.extend(without);
                merged.from.push(key);
            }
            Err(error) => {
                let outline = group.iter().find(|small| small.key == key).map(Small::outline);
                merged.damaged.extend(outline.map(|outline| (outline, error)));
            }
        }
    }
    if let Some(Small { tenant, device, .. }) = group.first() {
        match pack(*tenant, *device, rows, &without_leaves) {
            Ok(into) => merged.into = into,
            // They stay as they are.
            Err(error) => {
                tracing::error!(%error, device_key = device, "chunks cannot be merged");
                merged.from.clear();
            }
        }
    }
    merged
}
