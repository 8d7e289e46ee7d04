//! Which of some messages are there already: in the log, or in chunks.
//!
//! What is looked for is named by device, time, topic and text. The table of chunks tells which of them can have a message;
//! of these the times are decoded, and payloads only where time and topic are right.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use pocket_telemetry_codec::{Chunk, Damaged};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, Statement};

use super::chunks::{Chunks, Outline};
use super::log::{Found, Log};
use super::snapshot::{Reach, Sealed, begin};
use crate::database::Database;
use crate::error::Error;

/// Devices in one statement.
const DEVICES: usize = 500;
/// Chunks that are decoded together.
const CHUNKS: usize = 16;

/// Messages of one device by time and topic: their payloads, each with its place among all messages.
type OfDevice = BTreeMap<(i64, i64), Vec<(Box<str>, usize)>>;

/// Messages that are looked for.
#[derive(Default)]
pub(crate) struct Wanted(BTreeMap<i64, OfDevice>);

impl Wanted {
    /// Looks for one more message; `false` when the same one is looked for already.
    pub(crate) fn add(&mut self, device: i64, at: i64, topic: i64, payload: &str, number: usize) -> bool {
        let alike = self.0.entry(device).or_default().entry((at, topic)).or_default();
        if alike.iter().any(|(text, _)| **text == *payload) {
            return false;
        }
        alike.push((payload.into(), number));
        true
    }

    /// The message that a stored one is the same as.
    fn same(&self, device: i64, at: i64, topic: i64, payload: &str) -> Option<usize> {
        let alike = self.0.get(&device)?.get(&(at, topic))?;
        alike.iter().find(|(text, _)| **text == *payload).map(|(_, number)| *number)
    }

    fn same_as(&self, Found { device, row }: &Found) -> Option<usize> {
        self.same(*device, row.timestamp, row.topic, &row.payload)
    }

    /// Devices and times, each pair once.
    fn places(&self) -> Vec<(i64, i64)> {
        let places = self.0.iter().flat_map(|(device, messages)| messages.keys().map(|(at, _)| (*device, *at)));
        let mut places: Vec<(i64, i64)> = places.collect();
        places.dedup();
        places
    }

    /// Whether a message may be in the chunk.
    fn may_be_in(&self, outline: &Outline) -> bool {
        let within = (outline.first_at, i64::MIN)..=(outline.last_at, i64::MAX);
        self.0.get(&outline.device).is_some_and(|messages| messages.range(within).next().is_some())
    }
}

/// What was there of some messages before a SQLite file had to be written: while it is, nobody else writes.
pub(crate) struct Ahead {
    present: HashSet<usize>,
    /// The last id that the log had.
    last: i64,
}

impl Ahead {
    pub(crate) async fn look(db: &Database, wanted: &Arc<Wanted>) -> Result<Self, Error> {
        let transaction = begin(db).await?;
        let Reach { sealed, last, .. } = Reach::read(&transaction).await?;
        let present = present(db, &transaction, wanted).await?;
        Ok(Self { present, last: last.max(sealed) })
    }

    /// What is there now, as the transaction sees it that writes.
    pub(crate) async fn go_on(
        mut self,
        db: &Database,
        transaction: &DatabaseTransaction,
        wanted: &Arc<Wanted>,
    ) -> Result<HashSet<usize>, Error> {
        let sealed = Sealed::read(transaction).await?;
        if sealed.sealed > self.last {
            // Rows came and are in chunks already.
            return present(db, transaction, wanted).await;
        }
        let is_indexed = db.log_index.catch_up(transaction, sealed.sealed).await?;
        let log = Log { transaction, sealed: self.last, index: is_indexed.then_some(&db.log_index) };
        let rows = log.at(&wanted.places()).await?;
        self.present.extend(rows.iter().filter_map(|found| wanted.same_as(found)));
        Ok(self.present)
    }
}

/// The places of those that are there, as a transaction sees it.
///
/// In PostgreSQL each statement sees a moment of its own: when the log was sealed or chunks were merged between two of them,
/// all is looked at again.
pub(crate) async fn present(
    db: &Database,
    transaction: &DatabaseTransaction,
    wanted: &Arc<Wanted>,
) -> Result<HashSet<usize>, Error> {
    loop {
        let sealed = Sealed::read(transaction).await?;
        if let Some(present) = at_once(db, transaction, sealed, wanted).await?
            && Sealed::read(transaction).await? == sealed
        {
            return Ok(present);
        }
    }
}

/// The same; `None` when a chunk went meanwhile.
async fn at_once(
    db: &Database,
    transaction: &DatabaseTransaction,
    sealed: Sealed,
    wanted: &Arc<Wanted>,
) -> Result<Option<HashSet<usize>>, Error> {
    let is_indexed = db.backend() == DbBackend::Sqlite && db.log_index.catch_up(transaction, sealed.sealed).await?;
    let log = Log { transaction, sealed: sealed.sealed, index: is_indexed.then_some(&db.log_index) };
    let rows = log.at(&wanted.places()).await?;
    let mut present: HashSet<usize> = rows.iter().filter_map(|found| wanted.same_as(found)).collect();
    let outlines = outlines(transaction, sealed, wanted).await?;
    for outlines in outlines.chunks(CHUNKS) {
        let keys: Vec<i64> = outlines.iter().map(|outline| outline.key).collect();
        let mut outlines = outlines.to_vec();
        outlines.sort_unstable_by_key(|outline| outline.key);
        let contents = Chunks::contents(transaction, &keys).await?;
        if contents.len() < outlines.len() {
            return Ok(None);
        }
        let wanted = Arc::clone(wanted);
        let found = tokio::task::spawn_blocking(move || of_chunks(&outlines, &contents, &wanted)).await;
        for found in found.map_err(|error| DbErr::Custom(error.to_string()))? {
            match found {
                Ok(found) => present.extend(found),
                Err((outline, damaged)) => db.damage.report(transaction, &outline, &damaged).await,
            }
        }
    }
    Ok(Some(present))
}

/// The chunks that may have one of the messages.
async fn outlines(transaction: &DatabaseTransaction, sealed: Sealed, wanted: &Wanted) -> Result<Vec<Outline>, Error> {
    let times = || wanted.0.values().flat_map(|messages| messages.keys().map(|(at, _)| *at));
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(Vec::new()) };
    let devices: Vec<String> = wanted.0.keys().map(ToString::to_string).collect();
    let mut outlines = Vec::new();
    for devices in devices.chunks(DEVICES) {
        // All of these are numbers of our own.
        let sql = format!(
            "SELECT key, device, first_at, last_at FROM telemetry_chunks
            WHERE device IN ({}) AND last_at >= {first} AND first_at <= {last} AND batch <= {}
            ORDER BY device, first_at, key",
            devices.join(","),
            sealed.batch
        );
        let statement = Statement::from_string(transaction.get_database_backend(), sql);
        let found = Outline::find_by_statement(statement).all(transaction).await?;
        outlines.extend(found.into_iter().filter(|outline| wanted.may_be_in(outline)));
    }
    Ok(outlines)
}

/// The places found in each chunk, or why it cannot be read.
fn of_chunks(
    outlines: &[Outline],
    contents: &[(i64, Vec<u8>)],
    wanted: &Wanted,
) -> Vec<Result<Vec<usize>, (Outline, Damaged)>> {
    let of = |(outline, (_, content)): (&Outline, &(i64, Vec<u8>))| {
        of_chunk(outline.device, content, wanted).map_err(|damaged| (*outline, damaged))
    };
    outlines.iter().zip(contents).map(of).collect()
}

fn of_chunk(device: i64, content: &[u8], wanted: &Wanted) -> Result<Vec<usize>, Damaged> {
    let Some(messages) = wanted.0.get(&device) else { return Ok(Vec::new()) };
    let chunk = Chunk::open(content)?;
    let timestamps = chunk.timestamps()?;
    let times: HashSet<i64> = messages.keys().map(|(at, _)| *at).collect();
    let mut right = (0..timestamps.len()).filter(|row| times.contains(&timestamps[*row]));
    let Some(first) = right.next() else { return Ok(Vec::new()) };
    let last = right.next_back().unwrap_or(first);
    let topics = chunk.row_topics()?;
    let is_right = |row: usize| messages.contains_key(&(timestamps[row], topics[row]));
    if !(first..=last).any(is_right) {
        return Ok(Vec::new());
    }
    let rows = chunk.rows(first..last + 1)?;
    Ok(rows.iter().filter_map(|row| wanted.same(device, row.timestamp, row.topic, &row.payload)).collect())
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::keeper::Keeper;
    use crate::options::Sealing;
    use crate::sample::Sample;

    #[tokio::test]
    async fn what_was_stored_since_it_was_looked_for_is_found() {
        for is_sealed in [false, true] {
            let sample = Sample::new().await;
            let db = &sample.database;
            sample.append(sample.device, 2).await;
            let (device, topic) = (sample.number("SELECT key FROM devices").await, 1);
            let mut wanted = Wanted::default();
            for at in 0..5 {
                assert!(wanted.add(device, at, topic, "1", usize::try_from(at).unwrap()));
            }
            let wanted = Arc::new(wanted);
            let ahead = Ahead::look(db, &wanted).await.unwrap();
            assert_eq!(ahead.present, [0, 1].into());
            sample.append(sample.device, 4).await;
            if is_sealed {
                let mut keeper = Keeper::new(Sealing { rows: 1, per_device: 0, ..Sealing::default() });
                while keeper.step(db).await.unwrap() {}
                assert_eq!(sample.number("SELECT count(*) FROM telemetry").await, 0);
            }
            let transaction = db.begin().await.unwrap();
            assert_eq!(ahead.go_on(db, &transaction, &wanted).await.unwrap(), [0, 1, 2, 3].into());
        }
    }
}
