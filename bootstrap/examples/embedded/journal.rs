//! A storage adapter of one's own: a history in a plain text file, one JSON object a line, appended and flushed once a batch.
//!
//! It shows what a [`WriteStore`] and a [`TelemetryStore`] must do and passes the contract suite. The registry of tenants, people and devices
//! stays with another adapter, which is asked whether a device exists and keeps messages that are put aside; rows of devices
//! that are gone are not shown. Rows that a tenant does not keep any more leave the memory; their lines stay in the file, and
//! are removed anew after a restart.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pocket_domain::{
    AggregateQuery, Bucket, DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeviceId, GroupBy, LatestQuery,
    LatestValue, LatestValues, LeafPath, NewTelemetry, NodeName, PageRequest, Payload, Retention, ScanPlace, Series,
    SortOrder, Tally, Telemetry, TelemetryCursor, TelemetryId, TelemetryPage, TelemetryPart, TelemetryQuery,
    TelemetryScan, TenantId, Timestamp, TopicName, Usage, UsagePart,
};
use pocket_ports::{
    BatchNumber, CommittedBatch, DeadLetterRepository, DeviceRepository, Expired, Held, Import, Imported, Pruned,
    Storage, StorageError, TelemetryStore, TenantRepository, WriteBatch, WriteStore, async_trait, removed_before,
};
use serde_json::{Value, json};

/// Histories by tenant, each ordered by time, then id.
type Histories = HashMap<TenantId, BTreeMap<TelemetryCursor, Telemetry>>;

/// A history in a file.
pub(crate) struct Journal {
    tenants: Arc<dyn TenantRepository>,
    devices: Arc<dyn DeviceRepository>,
    /// Where messages go that are put aside: to the adapter that lists them.
    aside: Arc<dyn TelemetryStore>,
    letters: Arc<dyn DeadLetterRepository>,
    /// Held by whoever stores a message in place of a letter.
    storing: tokio::sync::Mutex<()>,
    state: Arc<Mutex<State>>,
}

struct State {
    file: File,
    rows: u64,
    /// How many batches each writer committed. Nothing here outlives the process but rows, so they are counted from its start.
    batches: HashMap<Option<NodeName>, u64>,
    histories: Histories,
}

impl Journal {
    /// Opens a journal, or begins one, beside the storage that has the registry.
    pub(crate) fn open(path: &Path, registry: &Storage) -> Result<Self, StorageError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(unavailable)?;
        let copy = file.try_clone().map_err(unavailable)?;
        let mut state = State { file: copy, rows: 0, batches: HashMap::new(), histories: HashMap::new() };
        for line in BufReader::new(file).lines() {
            let line = line.map_err(unavailable)?;
            let (tenant, row) =
                read_line(&line).ok_or_else(|| StorageError::Corrupt(format!("journal line: {line}")))?;
            state.keep(tenant, row);
        }
        Ok(Self {
            tenants: Arc::clone(&registry.tenants),
            devices: Arc::clone(&registry.devices),
            aside: Arc::clone(&registry.telemetry),
            letters: Arc::clone(&registry.dead_letters),
            storing: tokio::sync::Mutex::default(),
            state: Arc::new(Mutex::new(state)),
        })
    }

    async fn exists(&self, tenant: TenantId, device: DeviceId) -> Result<bool, StorageError> {
        Ok(self.devices.get(tenant, device).await?.is_some())
    }

    /// Whether the device of each message exists.
    async fn known(&self, messages: &[NewTelemetry]) -> Result<Vec<bool>, StorageError> {
        let mut checked = HashMap::new();
        let mut known = Vec::with_capacity(messages.len());
        for message in messages {
            let device = (message.tenant_id, message.device_id);
            if let std::collections::hash_map::Entry::Vacant(entry) = checked.entry(device) {
                entry.insert(self.exists(device.0, device.1).await?);
            }
            known.push(checked[&device]);
        }
        Ok(known)
    }

    /// The messages of a device, in the order of time, then id.
    async fn messages(&self, tenant: TenantId, device: DeviceId) -> Result<Vec<Telemetry>, StorageError> {
        if !self.exists(tenant, device).await? {
            return Ok(Vec::new());
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let history = state.histories.get(&tenant).into_iter().flat_map(BTreeMap::values);
        Ok(history.filter(|row| row.device_id == device).cloned().collect())
    }
}

impl State {
    fn keep(&mut self, tenant: TenantId, row: Telemetry) {
        self.rows = self.rows.max(row.id.as_key());
        let place = TelemetryCursor { timestamp: row.timestamp, id: row.id };
        self.histories.entry(tenant).or_default().insert(place, row);
    }

    fn has(&self, message: &NewTelemetry) -> bool {
        let first = TelemetryCursor { timestamp: message.timestamp, id: TelemetryId::from_key(0) };
        let last = TelemetryCursor { id: TelemetryId::from_key(u64::MAX), ..first };
        let mut rows =
            self.histories.get(&message.tenant_id).into_iter().flat_map(|history| history.range(first..=last));
        rows.any(|(_, row)| {
            (row.device_id, &row.topic, &row.payload) == (message.device_id, &message.topic, &message.payload)
        })
    }

    /// Writes the messages that are wanted; the rows are visible once they are on the disk.
    fn append(&mut self, messages: &[NewTelemetry], known: &[bool]) -> std::io::Result<Vec<Option<TelemetryId>>> {
        let (mut ids, mut lines, mut rows) = (Vec::new(), String::new(), Vec::new());
        let mut key = self.rows;
        for (message, known) in messages.iter().zip(known) {
            if !known {
                ids.push(None);
                continue;
            }
            key += 1;
            let row = Telemetry {
                id: TelemetryId::from_key(key),
                device_id: message.device_id,
                topic: message.topic.clone(),
                payload: message.payload.clone(),
                timestamp: message.timestamp,
                received_at: message.received_at,
            };
            lines.push_str(&write_line(message.tenant_id, &row));
            ids.push(Some(row.id));
            rows.push((message.tenant_id, row));
        }
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()?;
        for (tenant, row) in rows {
            self.keep(tenant, row);
        }
        Ok(ids)
    }
}

#[async_trait]
impl WriteStore for Journal {
    /// There is no place for the state of a broker, so changes of it are passed over.
    async fn commit(&self, node: Option<&NodeName>, batch: WriteBatch) -> Result<CommittedBatch, StorageError> {
        let known = self.known(&batch.messages).await?;
        let (state, node) = (Arc::clone(&self.state), node.cloned());
        let write = move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let ids = state.append(&batch.messages, &known)?;
            let count = state.batches.entry(node).or_default();
            *count += 1;
            Ok::<_, std::io::Error>(CommittedBatch::new(BatchNumber::MIN.saturating_add(*count - 1), ids))
        };
        tokio::task::spawn_blocking(write).await.map_err(unavailable)?.map_err(unavailable)
    }
}

/// Letters stay with the other adapter; their messages are stored here. Letters end with the process, so one at a time is enough.
#[async_trait]
impl DeadLetterRepository for Journal {
    async fn list(&self, tenant: TenantId, query: &DeadLetterQuery) -> Result<DeadLetterPage, StorageError> {
        self.letters.list(tenant, query).await
    }

    async fn get(&self, tenant: TenantId, id: DeadLetterId) -> Result<Option<DeadLetter>, StorageError> {
        self.letters.get(tenant, id).await
    }

    async fn store(&self, id: DeadLetterId, message: &NewTelemetry) -> Result<Option<TelemetryId>, StorageError> {
        let _turn = self.storing.lock().await;
        if self.letters.get(message.tenant_id, id).await?.is_none() {
            return Ok(None);
        }
        let stored = self.append(Arc::from([message.clone()])).await?.into_iter().next().flatten();
        if stored.is_some() {
            self.letters.delete(message.tenant_id, id).await?;
        }
        Ok(stored)
    }

    async fn delete(&self, tenant: TenantId, id: DeadLetterId) -> Result<bool, StorageError> {
        self.letters.delete(tenant, id).await
    }
}

#[async_trait]
impl TelemetryStore for Journal {
    async fn append(&self, messages: Arc<[NewTelemetry]>) -> Result<Vec<Option<TelemetryId>>, StorageError> {
        Ok(self.commit(None, WriteBatch::of_messages(messages)).await?.ids)
    }

    async fn import(&self, messages: Arc<[NewTelemetry]>) -> Result<Import, StorageError> {
        let known = self.known(&messages).await?;
        if let Some(gone) = known.iter().position(|known| !known) {
            return Ok(Import::DeviceGone(gone));
        }
        let state = Arc::clone(&self.state);
        let write = move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut met = HashSet::new();
            let is_new: Vec<bool> =
                messages.iter().map(|message| !state.has(message) && met.insert(identity(message))).collect();
            state.append(&messages, &is_new)
        };
        let ids = tokio::task::spawn_blocking(write).await.map_err(unavailable)?.map_err(unavailable)?;
        Ok(Import::Done(ids.into_iter().map(|id| id.map_or(Imported::Present, Imported::Stored)).collect()))
    }

    async fn set_aside(&self, message: &NewTelemetry, reason: &str, now: Timestamp) -> Result<(), StorageError> {
        self.aside.set_aside(message, reason, now).await
    }

    async fn range(&self, tenant: TenantId, query: &TelemetryQuery) -> Result<TelemetryPage, StorageError> {
        let rows = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let history = state.histories.get(&tenant);
            let rows = history.into_iter().flatten().filter(|(place, row)| asked_for(query, **place, row));
            let mut rows: Vec<_> = rows.map(|(_, row)| row.clone()).collect();
            if query.order == SortOrder::Descending {
                rows.reverse();
            }
            rows
        };
        let mut shown = Vec::new();
        for row in rows {
            if shown.len() as u32 <= query.limit() && self.exists(tenant, row.device_id).await? {
                shown.push(row);
            }
        }
        Ok(TelemetryPage::from_rows(shown, query.limit()))
    }

    /// One device at a time.
    async fn scan(&self, tenant: TenantId, scan: &TelemetryScan) -> Result<TelemetryPart, StorageError> {
        let mut wanted: Vec<DeviceId> = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.histories.get(&tenant).into_iter().flat_map(BTreeMap::values).map(|row| row.device_id).collect()
        };
        wanted.retain(|device| scan.device_id.is_none_or(|id| id == *device));
        wanted.retain(|device| {
            scan.after.is_none_or(|after| match after.row {
                Some(_) => *device >= after.device_id,
                None => *device > after.device_id,
            })
        });
        wanted.sort_unstable();
        let Some(device) = wanted.first().copied() else { return Ok(TelemetryPart::default()) };
        let query = TelemetryQuery {
            device_id: Some(device),
            topic: scan.topic.clone(),
            from: scan.from,
            to: scan.to,
            order: SortOrder::Ascending,
            cursor: scan.after.filter(|after| after.device_id == device).and_then(|after| after.row),
            ..TelemetryQuery::default()
        };
        let TelemetryPage { rows, next } = self.range(tenant, &query).await?;
        Ok(TelemetryPart { rows, next: Some(ScanPlace { device_id: device, row: next }) })
    }

    async fn aggregate(&self, tenant: TenantId, query: &AggregateQuery) -> Result<Vec<Series>, StorageError> {
        let mut series = Vec::new();
        for device in &query.devices {
            let rows = self.messages(tenant, *device).await?;
            for key in &query.keys {
                series.extend(series_of(&rows, query, *device, key));
            }
        }
        query.check_series(series.len()).map_err(StorageError::TooMuch)?;
        Ok(series)
    }

    async fn latest(
        &self,
        tenant: TenantId,
        device: DeviceId,
        query: &LatestQuery,
    ) -> Result<LatestValues, StorageError> {
        let mut values = BTreeMap::new();
        let is_wanted = |row: &Telemetry| query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()));
        for row in self.messages(tenant, device).await?.into_iter().filter(is_wanted) {
            for leaf in row.payload.leaves() {
                let (key, topic, value) = (leaf.path.clone(), row.topic.clone(), leaf.value.json().into());
                let value = LatestValue { key, topic, value, timestamp: row.timestamp };
                values.insert((leaf.path, row.topic.clone()), (row.id.as_key(), value));
            }
        }
        Ok(LatestValues::newest(values.into_values().collect(), query.most))
    }

    async fn usage(&self, tenant: TenantId) -> Result<Usage, StorageError> {
        let rows = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let history = state.histories.get(&tenant).into_iter().flat_map(BTreeMap::values);
            history.map(|row| (row.device_id, part_of(row))).collect::<Vec<_>>()
        };
        let mut log = UsagePart::default();
        for (device, part) in rows {
            if self.exists(tenant, device).await? {
                log = log.and(part);
            }
        }
        Ok(Usage { log, ..Usage::default() })
    }

    async fn expired(&self, tenant: TenantId, before: Timestamp) -> Result<Expired, StorageError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = || state.histories.get(&tenant).into_iter().flat_map(|history| history.values());
        let old = rows().filter(|row| row.ages_from() < before).count() as u64;
        Ok(Expired { rows: old, of: rows().count() as u64 })
    }

    async fn prune_within(&self, now: Timestamp, held: &Held) -> Result<Pruned, StorageError> {
        let (mut rows, mut page) = (0, PageRequest::new(Some(1_000), None).map_err(unavailable)?);
        loop {
            let tenants = self.tenants.list(page).await?;
            for tenant in &tenants.items {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(history) = state.histories.get_mut(&tenant.id) {
                    let from = tenant.retention.kept_from(now);
                    let from = from.map(|from| removed_before(held, tenant.id, from));
                    rows += prune(history, tenant.retention, from);
                }
            }
            let next = page.offset() + 1_000;
            if next >= tenants.total {
                return Ok(Pruned { rows, is_done: rows == 0 });
            }
            page = PageRequest::new(Some(1_000), Some(next)).map_err(unavailable)?;
        }
    }
}

/// What makes a message the same as another.
fn identity(message: &NewTelemetry) -> (DeviceId, &TopicName, Timestamp, &str) {
    (message.device_id, &message.topic, message.timestamp, message.payload.as_str())
}

fn part_of(row: &Telemetry) -> UsagePart {
    let (bytes, at) = (row.payload.as_str().len() as u64 + UsagePart::LOG_ROW_BYTES, Some(row.timestamp));
    UsagePart { rows: 1, bytes, oldest: at, newest: at }
}

/// Removes rows that are from before a time and were received before it, then the oldest as long as there are too many.
fn prune(
    history: &mut BTreeMap<TelemetryCursor, Telemetry>,
    retention: Retention,
    kept_from: Option<Timestamp>,
) -> u64 {
    let before = history.len();
    if let Some(from) = kept_from {
        history.retain(|_, row| row.ages_from() >= from);
    }
    let mut rows = (before - history.len()) as u64;
    let mut bytes: u64 = history.values().map(|row| part_of(row).bytes).sum();
    while retention.max_bytes.is_some_and(|most| bytes > most.get())
        && let Some(oldest) = history.first_entry()
    {
        bytes -= part_of(&oldest.remove()).bytes;
        rows += 1;
    }
    rows
}

/// The topics of points, and the tally of each bucket.
type Tallies = (HashSet<TopicName>, BTreeMap<Timestamp, Tally>);

/// The series of a key, by topic if that is asked for.
fn series_of(rows: &[Telemetry], query: &AggregateQuery, device_id: DeviceId, key: &LeafPath) -> Vec<Series> {
    let by_topic = query.group_by == GroupBy::Topic;
    let mut found: BTreeMap<Option<TopicName>, Tallies> = BTreeMap::new();
    if !by_topic {
        found.entry(None).or_default();
    }
    let wanted = |row: &&Telemetry| {
        (query.from..query.to).contains(&row.timestamp)
            && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
    };
    for row in rows.iter().filter(wanted) {
        let path = query.rules.path_in(row.topic.as_str(), key);
        let leaf = row.payload.leaves().into_iter().find(|leaf| leaf.path == path);
        if let Some(point) = leaf.and_then(|leaf| leaf.value.point()).map(Tally::of) {
            let (topics, tallies) = found.entry(by_topic.then(|| row.topic.clone())).or_default();
            topics.insert(row.topic.clone());
            let tally = tallies.entry(query.interval.start_of(row.timestamp));
            tally.and_modify(|tally| tally.append(point)).or_insert(point);
        }
    }
    let bucket = |(start, tally): (_, Tally)| Bucket { start, value: tally.value(query.aggregate), count: tally.count };
    let series = |(topic, (topics, tallies)): (_, Tallies)| Series {
        device_id,
        key: key.clone(),
        topic,
        topics: topics.len() as u64,
        buckets: tallies.into_iter().map(bucket).collect(),
    };
    found.into_iter().map(series).collect()
}

fn asked_for(query: &TelemetryQuery, place: TelemetryCursor, row: &Telemetry) -> bool {
    query.device_id.is_none_or(|device| device == row.device_id)
        && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
        && query.from.is_none_or(|from| row.timestamp >= from)
        && query.to.is_none_or(|to| row.timestamp < to)
        && query.cursor.is_none_or(|cursor| match query.order {
            SortOrder::Ascending => place > cursor,
            SortOrder::Descending => place < cursor,
        })
}

fn write_line(tenant: TenantId, row: &Telemetry) -> String {
    let fields = json!({
        "key": row.id.as_key(),
        "tenant": tenant.to_string(),
        "device": row.device_id.to_string(),
        "topic": row.topic.as_str(),
        "payload": row.payload.as_str(),
        "time": row.timestamp.as_millis(),
        "received": row.received_at.as_millis(),
    });
    format!("{fields}\n")
}

fn read_line(line: &str) -> Option<(TenantId, Telemetry)> {
    let fields: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| fields[name].as_str();
    let time = |name: &str| Timestamp::from_millis(fields[name].as_i64()?).ok();
    let row = Telemetry {
        id: TelemetryId::from_key(fields["key"].as_u64()?),
        device_id: text("device")?.parse().ok()?,
        topic: TopicName::parse(text("topic")?).ok()?,
        payload: Payload::from_stored(text("payload")?),
        timestamp: time("time")?,
        received_at: time("received")?,
    };
    Some((text("tenant")?.parse().ok()?, row))
}

fn unavailable(error: impl std::fmt::Display) -> StorageError {
    StorageError::Unavailable(error.to_string())
}
