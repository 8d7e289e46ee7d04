//! Chunks with old rows and young ones. A row is as young as the later of what it is about and when it was received.
//!
//! They stay as they are until all of their rows are old: a device has one such chunk when its messages come in order. Where
//! late messages made many of them, and more old rows than a chunk holds would stay, they are written anew.

use std::collections::{BTreeMap, HashSet};

use pocket_ports::Pruned;
use pocket_telemetry_codec::{Chunk, Damaged};
use sea_orm::{DbErr, FromQueryResult, Statement};

use super::lease::Lease;
use super::pack::{LARGE, NewChunk, pack, rows_of};
use super::values::Change;
use super::write::{run, write};
use crate::database::Database;
use crate::error::Error;
use crate::telemetry::{Chunks, Going, Met, Outline, Sealed};

/// Old rows that are removed before a step ends.
const STEP: u64 = 16_384;

/// Writes chunks of a tenant anew, without their rows before a time, where a device has too many of these.
pub(super) async fn trim(
    db: &Database,
    lease: &Lease,
    (tenant, from): (i64, i64),
    damaged: &mut HashSet<i64>,
    met: &mut Met,
    pruned: &mut Pruned,
) -> Result<(), Error> {
    let mut rows = 0;
    for mixed in mixed(db, tenant, from, damaged).await? {
        for (outline, trimmed) in trimmed(db, tenant, from, mixed).await? {
            let trimmed = match trimmed {
                Ok(trimmed) => trimmed,
                Err(error) => {
                    db.damage.report(db.reader(), &outline, &error).await;
                    damaged.insert(outline.key);
                    continue;
                }
            };
            pruned.is_done = false;
            // What is looked for here holds only as long as no other process seals or removes anything.
            if !lease.hold(db).await? {
                return Ok(());
            }
            let going = Going { device: outline.device, first_at: outline.first_at, last_at: from - 1 };
            let mut change = Change::when_chunks_go(db, &[going], &[outline.key]).await?;
            if trimmed.keeps_earlier {
                change.look_anew(outline.device);
            }
            let Some(transaction) = lease.go_on(db).await? else { return Ok(()) };
            let sql = format!("DELETE FROM telemetry_chunks WHERE key = {}", outline.key);
            if run(&transaction, &sql).await? == 0 {
                // It went with its device.
                continue;
            }
            write(&transaction, 0, &trimmed.into).await?;
            change.make(&transaction, met).await?;
            transaction.commit().await?;
            pruned.rows += trimmed.removed;
            rows += trimmed.removed;
        }
        if rows >= STEP {
            return Ok(());
        }
    }
    Ok(())
}

/// The chunks of devices that may have more old rows than one chunk holds, by device.
async fn mixed(db: &Database, tenant: i64, from: i64, damaged: &HashSet<i64>) -> Result<Vec<Vec<Outline>>, Error> {
    let Sealed { batch, .. } = Sealed::read(db.reader()).await?;
    let mixed = format!(
        "tenant = {tenant} AND first_at < {from} AND coalesce(received_first, first_at) < {from}
        AND (last_at >= {from} OR coalesce(received_last, last_at) >= {from}) AND batch <= {batch}"
    );
    let sql = format!(
        "SELECT key, device, first_at, last_at FROM telemetry_chunks WHERE {mixed} AND device IN
            (SELECT device FROM telemetry_chunks WHERE {mixed} GROUP BY device HAVING sum(row_count) > {LARGE})
        ORDER BY device, key"
    );
    let found = Outline::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await?;
    let mut devices: BTreeMap<i64, Vec<Outline>> = BTreeMap::new();
    for outline in found.into_iter().filter(|outline| !damaged.contains(&outline.key)) {
        devices.entry(outline.device).or_default().push(outline);
    }
    Ok(devices.into_values().collect())
}

/// What a chunk becomes.
struct Trimmed {
    into: Vec<NewChunk>,
    removed: u64,
    /// Some rows that stay, because they were received later, are about times before the others'.
    keeps_earlier: bool,
}

/// What the chunks of a device become; nothing when few enough of their rows are old.
async fn trimmed(
    db: &Database,
    tenant: i64,
    from: i64,
    outlines: Vec<Outline>,
) -> Result<Vec<(Outline, Result<Trimmed, Damaged>)>, Error> {
    let keys: Vec<i64> = outlines.iter().map(|outline| outline.key).collect();
    let mut contents: BTreeMap<i64, Vec<u8>> = Chunks::contents(db.reader(), &keys).await?.into_iter().collect();
    let trimmed = tokio::task::spawn_blocking(move || {
        let chunks: Vec<(Outline, Vec<u8>)> =
            outlines.into_iter().filter_map(|outline| Some((outline, contents.remove(&outline.key)?))).collect();
        let old: usize = chunks.iter().filter_map(|(_, content)| old_rows(content, from).ok()).sum();
        if old <= LARGE {
            return Ok(Vec::new());
        }
        let of = |(outline, content): &(Outline, Vec<u8>)| {
            Ok((*outline, without_old(content, tenant, outline.device, from).map_err(|error| error.to_string())?))
        };
        chunks.iter().map(of).collect::<Result<Vec<_>, String>>()
    });
    let trimmed = trimmed.await.map_err(|error| DbErr::Custom(error.to_string()))?;
    Ok(trimmed.map_err(|error| DbErr::Custom(format!("rows cannot be packed: {error}")))?)
}

fn old_rows(content: &[u8], from: i64) -> Result<usize, Damaged> {
    let chunk = Chunk::open(content)?;
    let times = chunk.timestamps()?.into_iter().zip(chunk.received_at()?);
    Ok(times.take_while(|(at, _)| *at < from).filter(|(_, received_at)| *received_at < from).count())
}

fn without_old(
    content: &[u8],
    tenant: i64,
    device: i64,
    from: i64,
) -> Result<Result<Trimmed, Damaged>, pocket_telemetry_codec::NotEncoded> {
    match rows_of(content) {
        Ok((mut rows, without_leaves)) => {
            let before = rows.len();
            rows.retain(|row| row.timestamp >= from || row.received_at >= from);
            let (removed, keeps_earlier) = (before - rows.len(), rows.first().is_some_and(|row| row.timestamp < from));
            let into = pack(tenant, device, rows, &without_leaves)?;
            Ok(Ok(Trimmed { into, removed: removed as u64, keeps_earlier }))
        }
        Err(damaged) => Ok(Err(damaged)),
    }
}
