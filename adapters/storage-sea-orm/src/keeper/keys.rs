//! The keys that devices have in chunks, and that they have no more than they may.

use std::collections::HashMap;

use pocket_telemetry_codec::KeyLimit;
use sea_orm::DbErr;

use super::lease::Lease;
use super::pack::NewChunk;
use super::write::present;
use crate::database::Database;
use crate::error::Error;
use crate::telemetry::{Met, add_keys, count_keys, key_hash, keys_of_device};

/// Keys that one transaction writes.
const AT_A_TIME: usize = 1_000;

/// Chunks of which no device has more keys than it may: payloads that bring others have no leaves.
pub(super) async fn within_limit(
    db: &Database,
    met: &Met,
    chunks: Vec<NewChunk>,
    most: usize,
) -> Result<Vec<NewChunk>, Error> {
    let mut new: HashMap<i64, usize> = HashMap::new();
    for (device, _) in new_keys(met, &chunks) {
        *new.entry(device).or_default() += 1;
    }
    let devices: Vec<i64> = new.keys().copied().collect();
    let stored: HashMap<i64, i64> = count_keys(db.reader(), &devices).await?.into_iter().collect();
    let has_room = |device: &i64, new: usize| {
        let stored = stored.get(device).copied().unwrap_or(0);
        usize::try_from(stored).unwrap_or(usize::MAX).saturating_add(new) <= most
    };
    new.retain(|device, new| !has_room(device, *new));
    let mut limits: HashMap<i64, KeyLimit> = HashMap::new();
    for device in new.into_keys() {
        let keys = keys_of_device(db.reader(), device).await?;
        limits.insert(device, KeyLimit::new(keys.into_iter().map(String::into_boxed_str), most));
    }
    if limits.is_empty() {
        return Ok(chunks);
    }
    let limited = tokio::task::spawn_blocking(move || {
        let limited = |chunk: NewChunk| match limits.get_mut(&chunk.device) {
            Some(limit) => chunk.with_keys(limit),
            None => Ok(chunk),
        };
        chunks.into_iter().map(limited).collect::<Result<Vec<_>, String>>()
    });
    let limited = limited.await.map_err(|error| DbErr::Custom(error.to_string()))?;
    Ok(limited.map_err(|error| DbErr::Custom(format!("a chunk cannot be made with fewer keys: {error}")))?)
}

/// Writes keys of devices that are there, as far as they are new; their hashes, or `None` when another process keeps the history.
pub(super) async fn write(
    met: &Met,
    db: &Database,
    lease: &Lease,
    chunks: &[NewChunk],
) -> Result<Option<Vec<u64>>, Error> {
    let mut keys: Vec<(i64, &str)> = new_keys(met, chunks).collect();
    keys.sort_unstable();
    keys.dedup();
    for part in keys.chunks(AT_A_TIME) {
        let Some(transaction) = lease.go_on(db).await? else { return Ok(None) };
        let present = present(&transaction, part.iter().map(|(device, _)| *device)).await?;
        let part: Vec<(i64, &str)> = part.iter().filter(|(device, _)| present.contains(device)).copied().collect();
        add_keys(&transaction, &part).await?;
        transaction.commit().await?;
    }
    Ok(Some(keys.into_iter().map(|(device, key)| key_hash(device, key)).collect()))
}

fn new_keys<'a>(met: &'a Met, chunks: &'a [NewChunk]) -> impl Iterator<Item = (i64, &'a str)> {
    let keys = chunks.iter().flat_map(|chunk| chunk.keys.iter().map(|key| (chunk.device, &**key)));
    keys.filter(|(device, key)| met.is_new(*device, key))
}
