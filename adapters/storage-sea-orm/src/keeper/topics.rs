//! Names of topics go with their last message.
//!
//! A topic is in use while a chunk or a row of the log has it. Topics that no chunk has are looked for in the log, outside of any
//! transaction that writes; what is then in neither is removed, a part at a time, while no append is under way, which would
//! use a key that it knows. Appends see by the access log that topics went, and look them up anew.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pocket_telemetry_codec::Chunk;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement, Value};

use super::lease::Lease;
use crate::access_log;
use crate::broker::insert;
use crate::database::Database;
use crate::error::Error;
use crate::key_list::list;
use crate::locks::{self, Lock};
use crate::telemetry::Chunks;

/// How long after a look the next one comes, at least.
const EVERY: Duration = Duration::from_secs(5);
/// How long after a look the next one comes, though this process knows of nothing that was removed: another may have.
const AT_LAST: Duration = Duration::from_secs(600);
/// Topics that are looked at in one statement.
const PAGE: usize = 5_000;
/// Topics that one look may find, so many that they take little memory.
const MOST: usize = 50_000;
/// Topics that one transaction removes.
const STEP: usize = 1_000;
/// Chunks of an earlier version that are looked into at a time.
const CHUNKS: usize = 16;
/// Stands for the topics of a chunk that cannot be read.
const UNKNOWN: i64 = 0;

/// How far it is with topics that nobody uses.
#[derive(Default)]
pub(super) struct Topics {
    /// Whether the topics of every chunk are known.
    is_complete: bool,
    /// The chunk up to which they are.
    complete_to: i64,
    /// The key behind which the next look begins.
    after: i64,
    looked_at: Option<Instant>,
    /// Whether the next look, if there is anything to look for, does not wait.
    is_urgent: bool,
}

#[derive(FromQueryResult)]
struct Key {
    key: i64,
}

async fn keys(db: &Database, sql: String) -> Result<Vec<i64>, DbErr> {
    let found = Key::find_by_statement(Statement::from_string(db.backend(), sql)).all(db.reader()).await?;
    Ok(found.into_iter().map(|row| row.key).collect())
}

impl Topics {
    /// Makes the next look one that does not wait, if something was removed.
    pub(super) fn look_soon(&mut self) {
        self.is_urgent = true;
    }

    /// Does a part of it; `false` when there is nothing to do.
    pub(super) async fn step(&mut self, db: &Database, lease: &Lease) -> Result<bool, Error> {
        let since = self.looked_at.map_or(AT_LAST, |at| at.elapsed());
        let is_loose = since >= AT_LAST || db.topics_loose.load(Ordering::Relaxed);
        let is_early = since < EVERY && !std::mem::take(&mut self.is_urgent);
        if is_early || !is_loose {
            return Ok(false);
        }
        db.topics_loose.store(false, Ordering::Relaxed);
        let is_more = self.look(db, lease).await.inspect_err(|_| db.topics_loose.store(true, Ordering::Relaxed))?;
        match is_more {
            true => {
                db.topics_loose.store(true, Ordering::Relaxed);
                self.is_urgent = true;
            }
            false => self.looked_at = Some(Instant::now()),
        }
        Ok(is_more)
    }

    async fn look(&mut self, db: &Database, lease: &Lease) -> Result<bool, Error> {
        if !self.is_complete {
            match complete(db, lease, self.complete_to).await? {
                // Another process is at it.
                None => return Ok(false),
                Some(Some(last)) => {
                    self.complete_to = last;
                    return Ok(true);
                }
                Some(None) => self.is_complete = true,
            }
        }
        let unused = self.in_no_chunk(db).await?;
        if unused.is_empty() {
            self.after = 0;
            return Ok(false);
        }
        let horizon = horizon(db).await?;
        let in_log = keys(db, format!("SELECT DISTINCT topic AS key FROM telemetry WHERE id <= {horizon}")).await?;
        let in_log: HashSet<i64> = in_log.into_iter().collect();
        let unused: Vec<i64> = unused.into_iter().filter(|topic| !in_log.contains(topic)).collect();
        for part in unused.chunks(STEP) {
            let Some(transaction) = lease.begin(db).await? else { return Ok(false) };
            let removed = remove(&transaction, part, horizon).await?;
            transaction.commit().await?;
            db.upkeep.topics_removed.fetch_add(removed, Ordering::Relaxed);
            db.topic_names.forget(part);
        }
        if !unused.is_empty() {
            tracing::debug!(topics = unused.len(), "names of topics went with their last message");
        }
        let is_more = self.after > 0;
        Ok(is_more)
    }

    /// Topics that are in no chunk, up to so many; the next look goes on behind them.
    async fn in_no_chunk(&mut self, db: &Database) -> Result<Vec<i64>, Error> {
        let mut unused = Vec::new();
        loop {
            let page = keys(db, format!("SELECT key FROM topics WHERE key > {} ORDER BY key LIMIT {PAGE}", self.after));
            let page = page.await?;
            let Some(last) = page.last().copied() else {
                self.after = 0;
                return Ok(unused);
            };
            let used = format!(
                "SELECT DISTINCT topic AS key FROM telemetry_chunk_topics WHERE topic > {} AND topic <= {last}",
                self.after
            );
            let used: HashSet<i64> = keys(db, used).await?.into_iter().collect();
            unused.extend(page.iter().copied().filter(|topic| !used.contains(topic)));
            self.after = last;
            if unused.len() >= MOST {
                return Ok(unused);
            }
        }
    }
}

/// Looks into some chunks behind a key of which no topics are known, and tells the key of the last; `Some(None)` when there are
/// none, `None` when another process keeps the history.
async fn complete(db: &Database, lease: &Lease, after: i64) -> Result<Option<Option<i64>>, Error> {
    let sql = format!(
        "SELECT key FROM telemetry_chunks WHERE key > {after} AND NOT EXISTS
            (SELECT 1 FROM telemetry_chunk_topics WHERE chunk = telemetry_chunks.key) ORDER BY key LIMIT {CHUNKS}"
    );
    let unknown = keys(db, sql).await?;
    let Some(last) = unknown.last().copied() else { return Ok(Some(None)) };
    let contents: Vec<(i64, Vec<u8>)> = Chunks::contents(db.reader(), &unknown).await?.into_iter().collect();
    let read = tokio::task::spawn_blocking(move || {
        let topics = |content: &[u8]| Chunk::open(content).map_or(vec![UNKNOWN], |chunk| chunk.topics().to_vec());
        contents.into_iter().map(|(key, content)| (key, topics(&content))).collect::<Vec<_>>()
    });
    let read = read.await.map_err(|error| DbErr::Custom(error.to_string()))?;
    let Some(transaction) = lease.begin(db).await? else { return Ok(None) };
    // Some may be gone meanwhile.
    let there = format!("SELECT key FROM telemetry_chunks WHERE key IN ({})", list(unknown));
    let there = Key::find_by_statement(Statement::from_string(db.backend(), there)).all(&transaction).await?;
    let there: HashSet<i64> = there.into_iter().map(|row| row.key).collect();
    let read = read.iter().filter(|(key, _)| there.contains(key));
    add(&transaction, read.map(|(key, topics)| (*key, topics.as_slice()))).await?;
    transaction.commit().await?;
    Ok(Some(Some(last)))
}

/// Notes the topics of chunks.
pub(super) async fn add(
    transaction: &DatabaseTransaction,
    chunks: impl Iterator<Item = (i64, &[i64])>,
) -> Result<(), DbErr> {
    let of = |(chunk, topics): (i64, &[i64])| {
        topics.iter().flat_map(|topic| [Value::from(chunk), Value::from(*topic)]).collect::<Vec<_>>()
    };
    let values: Vec<Value> = chunks.flat_map(of).collect();
    insert(transaction, "telemetry_chunk_topics (chunk, topic)", 2, "ON CONFLICT DO NOTHING", values).await
}

/// The last id of the log, up to which all rows can be seen.
async fn horizon(db: &Database) -> Result<i64, Error> {
    #[derive(FromQueryResult)]
    struct Last {
        last: Option<i64>,
    }
    let transaction = db.begin().await?;
    // An append takes its ids while it shares this lock.
    locks::take(&transaction, Lock::Access).await?;
    let statement = Statement::from_string(db.backend(), "SELECT max(id) AS last FROM telemetry");
    let last = Last::find_by_statement(statement).one(&transaction).await?;
    transaction.commit().await?;
    Ok(last.and_then(|row| row.last).unwrap_or(0))
}

/// Removes those of the topics that are still in no chunk, and in no row of the log behind the horizon.
async fn remove(transaction: &DatabaseTransaction, topics: &[i64], horizon: i64) -> Result<u64, Error> {
    // From here on nothing is appended; see `access_log::write`.
    locks::take(transaction, Lock::Access).await?;
    let sql = format!(
        "DELETE FROM topics WHERE key IN ({})
            AND NOT EXISTS (SELECT 1 FROM telemetry_chunk_topics WHERE topic = topics.key)
            AND key NOT IN (SELECT topic FROM telemetry WHERE id > {horizon})",
        list(topics.iter().copied())
    );
    let removed = transaction.execute_unprepared(&sql).await?.rows_affected();
    if removed > 0 {
        access_log::keys_went(transaction).await?;
    }
    Ok(removed)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use pocket_domain::{DeviceId, NewTelemetry, TopicFilter, TopicName};

    use super::*;
    use crate::keeper::Keeper;
    use crate::options::Sealing;
    use crate::sample::Sample;

    async fn append(sample: &Sample, device: DeviceId, topics: &[&str]) {
        let message = |topic: &&str| NewTelemetry {
            topic: TopicName::parse(topic).expect("the topic is one"),
            ..sample.message(device, 1_000_000_000_000)
        };
        let ids = sample.storage.telemetry.append(topics.iter().map(message).collect()).await.expect("it is stored");
        assert!(ids.iter().all(Option::is_some));
    }

    async fn all(keeper: &mut Keeper, sample: &Sample) {
        keeper.topics.looked_at = None;
        sample.database.topics_loose.store(true, Ordering::Relaxed);
        while keeper.step(&sample.database).await.expect("a step is done") {}
    }

    async fn count(sample: &Sample) -> i64 {
        sample.number("SELECT count(*) FROM topics").await
    }

    #[tokio::test]
    async fn a_topic_goes_with_its_last_message_wherever_that_is() {
        let sample = Sample::new().await;
        let other = sample.register(2).await;
        let mut keeper = Keeper::new(Sealing { rows: 1, ..Sealing::default() });
        append(&sample, sample.device, &["both", "one"]).await;
        append(&sample, other, &["both", "other"]).await;
        all(&mut keeper, &sample).await;
        assert_eq!(sample.number("SELECT count(*) FROM telemetry_chunk_topics").await, 4);
        assert_eq!(count(&sample).await, 3);
        // Those of the log are in no chunk.
        append(&sample, sample.device, &["one", "log"]).await;
        let mut lazy = Keeper::new(Sealing { rows: 100, after: Duration::from_secs(1 << 36), ..Sealing::default() });
        keeper.lease.give_back(&sample.database).await.unwrap();
        all(&mut lazy, &sample).await;
        assert_eq!(count(&sample).await, 4);
        sample.execute("DELETE FROM telemetry_chunks WHERE device = (SELECT min(key) FROM devices)").await;
        all(&mut lazy, &sample).await;
        assert_eq!(count(&sample).await, 4);
        sample.execute("DELETE FROM telemetry").await;
        all(&mut lazy, &sample).await;
        assert_eq!(count(&sample).await, 2);
        sample.execute("DELETE FROM telemetry_chunks").await;
        all(&mut lazy, &sample).await;
        assert_eq!(count(&sample).await, 0);
        // Appends knew the keys of all of them.
        append(&sample, other, &["both", "other"]).await;
        let found = sample.storage.telemetry.range(sample.tenant, &Default::default()).await.unwrap();
        assert_eq!(found.rows.len(), 2);
    }

    #[tokio::test]
    async fn chunks_of_an_earlier_version_are_looked_into_first() {
        let sample = Sample::new().await;
        let mut keeper = Keeper::new(Sealing { rows: 1, ..Sealing::default() });
        for n in 0..40 {
            let device = sample.register(n + 10).await;
            append(&sample, device, &[&format!("t/{n}"), "all"]).await;
        }
        all(&mut keeper, &sample).await;
        sample.execute("DELETE FROM telemetry_chunk_topics").await;
        let mut keeper = Keeper::new(Sealing { rows: 1, ..Sealing::default() });
        sample.execute("UPDATE telemetry_log SET owner = NULL").await;
        all(&mut keeper, &sample).await;
        assert_eq!(sample.number("SELECT count(*) FROM telemetry_chunk_topics").await, 80);
        assert_eq!(count(&sample).await, 41);
        let filter = Some(TopicFilter::parse("t/7").unwrap());
        let query = pocket_domain::TelemetryQuery { topic: filter, ..Default::default() };
        assert_eq!(sample.storage.telemetry.range(sample.tenant, &query).await.unwrap().rows.len(), 1);
    }

    #[tokio::test]
    async fn topics_that_a_message_took_meanwhile_stay() {
        let sample = Sample::new().await;
        append(&sample, sample.device, &["a", "b", "c"]).await;
        sample.execute("DELETE FROM telemetry").await;
        let horizon = horizon(&sample.database).await.unwrap();
        append(&sample, sample.device, &["b"]).await;
        let keys = keys(&sample.database, "SELECT key FROM topics".to_owned()).await.unwrap();
        let transaction = sample.database.begin().await.unwrap();
        assert_eq!(remove(&transaction, &keys, horizon).await.unwrap(), 2);
        transaction.commit().await.unwrap();
        assert_eq!(sample.number("SELECT count(*) FROM topics WHERE name = 'b'").await, 1);
    }
}
