//! What tenants do not keep any more is removed: rows of the log, and whole chunks.
//!
//! A history goes from its oldest end. For its age a chunk goes when its newest row is too old, and was received so long ago; for the size of its history
//! it goes in its turn, with the rows of the log that are older. Each transaction takes a small part.

use std::collections::{BTreeSet, HashSet};

use pocket_domain::{MaxBytes, Timestamp};
use pocket_ports::{Held, Pruned, removed_before};

use super::lease::Lease;
use super::trim::trim;
use super::values::Change;
use super::write::run;
use crate::database::Database;
use crate::error::Error;
use crate::key_list::list;
use crate::telemetry::{
    Going, Met, OldChunk, OldRow, Sealed, bytes_by_tenant, expired_chunks, oldest_chunks, oldest_rows,
};
use crate::tenants::{self, Limited};

/// Rows of the log in one transaction.
const ROWS: usize = 1_000;
/// Chunks in one transaction, and bytes of these.
const CHUNKS: usize = 64;
const BYTES: u64 = 1_000_000;
/// Transactions of one step and tenant.
const TRANSACTIONS: usize = 16;

/// Does a part of what is due, for each tenant.
pub(super) async fn prune(
    db: &Database,
    lease: &Lease,
    damaged: &mut HashSet<i64>,
    met: &mut Met,
    (now, held): (Timestamp, &Held),
) -> Result<Pruned, Error> {
    let mut pruned = Pruned { rows: 0, is_done: true };
    let limited = tenants::limited(db.reader()).await?;
    let before = Sealed::read(db.reader()).await?;
    let is_sized = limited.iter().any(|tenant| tenant.retention.max_bytes.is_some());
    for Limited { key, id, retention } in &limited {
        if let Some(before) = retention.kept_from(now) {
            let before = removed_before(held, *id, before);
            let rows = pruned.rows;
            let mut work = Work { db, lease, tenant: *key, met, pruned: &mut pruned };
            let from = before.as_millis();
            if work.old_chunks(from).await? && work.old_rows(from).await? {
                trim(db, lease, (*key, from), damaged, met, &mut pruned).await?;
            }
            let rows = pruned.rows - rows;
            if rows > 0 {
                tracing::info!(tenant = %id, rows, %before, as_of = %now, "expired telemetry removed");
            }
        }
    }
    if is_sized {
        let bytes = bytes_by_tenant(db).await?;
        for Limited { key, id, retention } in limited {
            let most = retention.max_bytes.map_or(u64::MAX, MaxBytes::get);
            let excess = bytes.get(&key).copied().unwrap_or_default().excess(most);
            let rows = pruned.rows;
            Work { db, lease, tenant: key, met, pruned: &mut pruned }.excess(excess).await?;
            let rows = pruned.rows - rows;
            if rows > 0 {
                tracing::info!(tenant = %id, rows, excess, most, "oldest telemetry removed: the size limit of the tenant is reached");
            }
        }
    }
    if Sealed::read(db.reader()).await? != before {
        // Another process sealed rows after their chunks, and before they themselves, were looked for.
        pruned.is_done = false;
    }
    Ok(pruned)
}

/// What is done for one tenant.
struct Work<'a> {
    db: &'a Database,
    lease: &'a Lease,
    tenant: i64,
    met: &'a mut Met,
    pruned: &'a mut Pruned,
}

impl Work<'_> {
    /// Removes chunks all of whose rows are, and were received, before a time; `false` when more may be left.
    async fn old_chunks(&mut self, from: i64) -> Result<bool, Error> {
        for _ in 0..TRANSACTIONS {
            let chunks = expired_chunks(self.db, self.tenant, from, CHUNKS).await?;
            if chunks.is_empty() {
                return Ok(true);
            }
            if !self.remove_chunks(&chunks[..portion(&chunks, u64::MAX)]).await? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Removes rows of the log that are, and were received, before a time; `false` when more may be left.
    async fn old_rows(&mut self, from: i64) -> Result<bool, Error> {
        let mut after = None;
        for _ in 0..TRANSACTIONS {
            let mut rows = oldest_rows(self.db, self.tenant, from - 1, after, ROWS).await?;
            let Some(last) = rows.last() else { return Ok(true) };
            after = Some((last.timestamp, last.id));
            rows.retain(|row| row.received_at < from);
            if !rows.is_empty() && !self.remove_rows(&rows).await? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Removes the oldest of the history until so many bytes are gone.
    async fn excess(&mut self, mut excess: u64) -> Result<(), Error> {
        for _ in 0..TRANSACTIONS {
            if excess == 0 {
                return Ok(());
            }
            let chunks = oldest_chunks(self.db, self.tenant, i64::MAX, CHUNKS).await?;
            let rows = oldest_rows(self.db, self.tenant, i64::MAX, None, ROWS).await?;
            if chunks.is_empty() && rows.is_empty() {
                return Ok(());
            }
            let first_row = rows.first().map_or(i64::MAX, |row| row.timestamp);
            let older = chunks.partition_point(|chunk| chunk.last_at < first_row);
            let gone = if older > 0 {
                let part = &chunks[..portion(&chunks[..older], excess)];
                self.remove_chunks(part).await?.then(|| part.iter().map(|chunk| chunk.bytes.unsigned_abs()).sum())
            } else {
                let first_chunk = chunks.first().map_or(i64::MAX, |chunk| chunk.last_at);
                let older = &rows[..rows.partition_point(|row| row.timestamp <= first_chunk)];
                let part = &older[..covering(older.iter().map(|row| row.bytes), excess)];
                self.remove_rows(part).await?.then(|| part.iter().map(|row| row.bytes).sum::<u64>())
            };
            match gone {
                Some(gone) if gone > 0 => excess = excess.saturating_sub(gone),
                // Another process is at it, or the rest is of devices that are being removed.
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// `false` when another process keeps the history.
    async fn remove_chunks(&mut self, chunks: &[OldChunk]) -> Result<bool, Error> {
        if !self.lease.hold(self.db).await? {
            self.pruned.is_done = false;
            return Ok(false);
        }
        let going: Vec<Going> = chunks.iter().map(|chunk| chunk.going()).collect();
        let keys: Vec<i64> = chunks.iter().map(|chunk| chunk.key).collect();
        let change = Change::when_chunks_go(self.db, &going, &keys).await?;
        let sql = format!("DELETE FROM telemetry_chunks WHERE key IN ({})", list(keys));
        let removed = self.remove(&sql, &change, None).await?;
        if removed.is_some() {
            self.pruned.rows += chunks.iter().map(|chunk| chunk.row_count.unsigned_abs()).sum::<u64>();
        }
        Ok(removed.is_some())
    }

    /// `false` when another process keeps the history.
    async fn remove_rows(&mut self, rows: &[OldRow]) -> Result<bool, Error> {
        if !self.lease.hold(self.db).await? {
            self.pruned.is_done = false;
            return Ok(false);
        }
        let ids = list(rows.iter().map(|row| row.id));
        let devices: BTreeSet<i64> = rows.iter().map(|row| row.device).collect();
        let change = Change::when_rows_go(self.db, &list(devices), &ids).await?;
        let sql = format!("DELETE FROM telemetry WHERE id IN ({ids})");
        // Whoever remembers what the log says looks anew.
        let counted = "UPDATE telemetry_log SET removals = removals + 1";
        let removed = self.remove(&sql, &change, Some(counted)).await?;
        if let Some(removed) = removed {
            self.pruned.rows += removed;
            self.db.log_index.forget(rows.iter().map(|row| (row.device, row.id)));
        }
        Ok(removed.is_some())
    }

    /// Runs a deletion in a transaction of its own, with what becomes of last values; `None` when another process keeps the
    /// history.
    async fn remove(&mut self, sql: &str, change: &Change, also: Option<&str>) -> Result<Option<u64>, Error> {
        self.pruned.is_done = false;
        // The change holds only if no other process has sealed or removed anything since it was looked for.
        let Some(transaction) = self.lease.go_on(self.db).await? else { return Ok(None) };
        let removed = run(&transaction, sql).await?;
        change.make(&transaction, self.met).await?;
        if let Some(also) = also {
            run(&transaction, also).await?;
        }
        transaction.commit().await?;
        Ok(Some(removed))
    }
}

/// The chunks that one transaction takes, from the beginning: not more than make so many bytes.
fn portion(chunks: &[OldChunk], excess: u64) -> usize {
    covering(chunks.iter().map(|chunk| chunk.bytes.unsigned_abs()), excess.min(BYTES))
}

/// How many there must be to make so many bytes.
fn covering(sizes: impl Iterator<Item = u64>, wanted: u64) -> usize {
    let mut bytes = 0;
    let is_short = |size: &u64| {
        let is_short = bytes < wanted;
        bytes += size;
        is_short
    };
    sizes.take_while(is_short).count()
}
