//! Keeps the table of last values true: adds what is sealed, takes out what is removed, and fills it for devices whose chunks
//! are older than the table.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sea_orm::{DatabaseTransaction, DbErr, FromQueryResult, Statement};

use super::lease::Lease;
use super::pack::NewChunk;
use super::write::{present, run};
use crate::database::Database;
use crate::error::Error;
use crate::key_list::list;
use crate::telemetry::{
    Chunks, Going, Last, LastValues, Met, Outline, Sealed, SeriesKey, Touched, last_values_of_chunk, make_due,
    next_due, put_last_values, remove_last_values, remove_unused_keys, touched_by, touched_rows,
};

/// Values that one transaction writes, and their bytes.
const VALUES: usize = 1_000;
const BYTES: usize = 500_000;
/// Chunks that are read to find what comes in the place of a value whose row goes. Where there are more, the device is due.
const MOST_READ: usize = 32;

/// Writes the last values of what is about to be sealed; `false` when another process keeps the history. Until the rows are
/// sealed they are in the log, which says the same.
pub(super) async fn write(db: &Database, lease: &Lease, packed: &[NewChunk]) -> Result<bool, Error> {
    let mut devices: BTreeMap<i64, BTreeMap<&SeriesKey, &Last>> = BTreeMap::new();
    for chunk in packed {
        let values = devices.entry(chunk.device).or_default();
        for (series, last) in chunk.last.iter() {
            let present = values.entry(series).or_insert(last);
            if present.place < last.place {
                *present = last;
            }
        }
    }
    let values: Vec<(i64, &SeriesKey, &Last)> = devices
        .into_iter()
        .flat_map(|(device, values)| values.into_iter().map(move |(series, last)| (device, series, last)))
        .collect();
    let mut rest = values.as_slice();
    while !rest.is_empty() {
        let (part, others) = rest.split_at(portion(rest));
        let Some(transaction) = lease.go_on(db).await? else { return Ok(false) };
        put_of_present(&transaction, part).await?;
        transaction.commit().await?;
        rest = others;
    }
    Ok(true)
}

/// How many values one transaction takes, from the beginning.
fn portion(values: &[(i64, &SeriesKey, &Last)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, (path, _), last): &&(i64, &SeriesKey, &Last)| {
        bytes += path.as_str().len() + last.value.len();
        bytes <= BYTES
    };
    values.iter().take(VALUES).take_while(fits).count().max(1)
}

/// Writes values of devices that are there.
async fn put_of_present(transaction: &DatabaseTransaction, values: &[(i64, &SeriesKey, &Last)]) -> Result<(), Error> {
    let present = present(transaction, values.iter().map(|(device, ..)| *device)).await?;
    let values: Vec<_> = values.iter().filter(|(device, ..)| present.contains(device)).copied().collect();
    Ok(put_last_values(transaction, &values).await?)
}

/// What becomes of last values when rows go.
#[derive(Default)]
pub(super) struct Change {
    /// Values that may be those of rows that go,
    gone: Vec<Touched>,
    /// and what is the last then, of the chunks that stay.
    instead: Vec<(i64, LastValues)>,
    /// Devices whose chunks have to be read again.
    due: Vec<i64>,
}

impl Change {
    /// The change when chunks go, or their rows of some times. Other chunks of the same times are read: late messages make
    /// such, so there are few.
    pub(super) async fn when_chunks_go(db: &Database, going: &[Going], keys: &[i64]) -> Result<Self, Error> {
        let mut change = Self { gone: touched_by(db.reader(), going).await?, ..Self::default() };
        let mut devices: BTreeMap<i64, (i64, HashSet<&SeriesKey>)> = BTreeMap::new();
        for Touched { device, series, place } in &change.gone {
            let (last_at, series_of_device) = devices.entry(*device).or_default();
            *last_at = place.0.max(*last_at);
            series_of_device.insert(series);
        }
        for (device, (last_at, series)) in devices {
            let staying = staying(db, device, last_at, keys).await?;
            if staying.len() > MOST_READ {
                change.due.push(device);
                continue;
            }
            let mut values = LastValues::default();
            for outline in staying {
                values.merge(read(db, outline).await?.into_iter().filter(|(one, _)| series.contains(one)));
            }
            change.instead.push((device, values));
        }
        Ok(change)
    }

    /// The change when rows go that are only in the log. A process that ended while it sealed them may have left their values.
    pub(super) async fn when_rows_go(db: &Database, devices: &str, ids: &str) -> Result<Self, Error> {
        let gone = touched_rows(db.reader(), devices, ids).await?;
        let due: BTreeSet<i64> = gone.iter().map(|touched| touched.device).collect();
        Ok(Self { gone, due: due.into_iter().collect(), ..Self::default() })
    }

    /// Has the chunks of a device read again as well.
    pub(super) fn look_anew(&mut self, device: i64) {
        self.due.push(device);
    }

    /// Makes it, in the transaction in which the rows go. Keys go with the last value that has them.
    pub(super) async fn make(&self, transaction: &DatabaseTransaction, met: &mut Met) -> Result<(), Error> {
        remove_last_values(transaction, &self.gone).await?;
        for (device, values) in &self.instead {
            let values: Vec<_> = values.iter().map(|(series, last)| (*device, series, last)).collect();
            put_of_present(transaction, &values).await?;
        }
        if !self.due.is_empty() {
            make_due(transaction, &self.due).await?;
        }
        let devices: BTreeSet<i64> = self.gone.iter().map(|touched| touched.device).collect();
        for device in devices {
            // Before the commit: a key that stays is written once more.
            met.forget(&remove_unused_keys(transaction, device).await?);
        }
        Ok(())
    }
}

/// The chunks of a device that begin before a time, without some.
async fn staying(db: &Database, device: i64, last_at: i64, without: &[i64]) -> Result<Vec<Outline>, Error> {
    let Sealed { batch, .. } = Sealed::read(db.reader()).await?;
    let without = list(without.iter().copied());
    let sql = format!(
        "SELECT key, device, first_at, last_at FROM telemetry_chunks WHERE device = {device} AND first_at <= {last_at}
        AND batch <= {batch} AND key NOT IN ({without}) LIMIT {}",
        MOST_READ + 1
    );
    Ok(Outline::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await?)
}

/// The last values of a chunk; none of one that is damaged.
async fn read(db: &Database, outline: Outline) -> Result<LastValues, Error> {
    let Some((_, content)) = Chunks::contents(db.reader(), &[outline.key]).await?.pop() else {
        return Ok(LastValues::default());
    };
    let read = tokio::task::spawn_blocking(move || last_values_of_chunk(&content)).await;
    match read.map_err(|error| DbErr::Custom(error.to_string()))? {
        Ok(values) => Ok(values),
        Err(damaged) => {
            db.damage.report(db.reader(), &outline, &damaged).await;
            Ok(LastValues::default())
        }
    }
}

/// Fills the table for a device that is due; `false` when none is, or another process keeps the history.
pub(super) async fn fill(db: &Database, lease: &Lease, met: &mut Met) -> Result<bool, Error> {
    let Some(device) = next_due(db.reader()).await? else { return Ok(false) };
    if !lease.hold(db).await? {
        return Ok(false);
    }
    let mut values = LastValues::default();
    let mut behind = 0;
    loop {
        let Sealed { batch, .. } = Sealed::read(db.reader()).await?;
        let sql = format!(
            "SELECT key, device, first_at, last_at FROM telemetry_chunks
            WHERE device = {device} AND batch <= {batch} AND key > {behind} ORDER BY key LIMIT {MOST_READ}"
        );
        let outlines = Outline::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await?;
        let Some(last) = outlines.last() else { break };
        behind = last.key;
        for outline in outlines {
            values.merge(read(db, outline).await?);
        }
    }
    let values: Vec<_> = values.iter().map(|(series, last)| (device, series, last)).collect();
    let mut rest = values.as_slice();
    while !rest.is_empty() {
        let (part, others) = rest.split_at(portion(rest));
        let Some(transaction) = lease.go_on(db).await? else { return Ok(false) };
        put_of_present(&transaction, part).await?;
        transaction.commit().await?;
        rest = others;
    }
    let Some(transaction) = lease.go_on(db).await? else { return Ok(false) };
    run(&transaction, &format!("DELETE FROM telemetry_latest_due WHERE device = {device}")).await?;
    met.forget(&remove_unused_keys(&transaction, device).await?);
    transaction.commit().await?;
    Ok(true)
}
