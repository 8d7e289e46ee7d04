//! Storage of telemetry: a history per tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    AggregateQuery, DeviceId, LastSeen, LatestQuery, LatestValues, NewTelemetry, NodeName, Retention, Series,
    TelemetryId, TelemetryPage, TelemetryPart, TelemetryQuery, TelemetryScan, TenantId, TimeMark, Timestamp, TopicName,
    Usage,
};

use crate::StorageError;

/// Keeps the history of messages.
#[async_trait]
pub trait TelemetryStore: Send + Sync {
    /// Stores messages as a batch of a process without a broker; see [`WriteStore::commit`](crate::WriteStore::commit), whose
    /// MUSTs are those of this method. For tools: what the ingest stores is numbered under the name of its node.
    async fn append(&self, messages: Arc<[NewTelemetry]>) -> Result<Vec<Option<TelemetryId>>, StorageError>;

    /// Stores those messages that are not there yet, in one transaction.
    ///
    /// A message is there when its device has one with the same topic, timestamp and text of the payload, wherever that is
    /// kept, or when an earlier one of `messages` is the same. MUST return one entry for each message, in order. When the
    /// device of a message does not exist in its tenant, MUST store nothing and return the first such message. Of two calls
    /// at the same time with the same message one MUST store it and the other find it. A message that is appended meanwhile
    /// MAY be found or not. What is stored MUST be like what [`append`](Self::append) stores, whatever its time is.
    async fn import(&self, messages: Arc<[NewTelemetry]>) -> Result<Import, StorageError>;

    /// Puts aside a message that the database refuses for a reason of its own, so that the others can be stored.
    async fn set_aside(&self, message: &NewTelemetry, reason: &str, now: Timestamp) -> Result<(), StorageError>;

    /// A page of the tenant's history, ordered by time, then id. MUST return only rows of the tenant that meet every
    /// condition of the query. `from` is included, `to` is not. Going on with `next` as the cursor MUST give every row
    /// that was there all the time exactly once, while rows are added.
    async fn range(&self, tenant: TenantId, query: &TelemetryQuery) -> Result<TelemetryPage, StorageError>;

    /// A part of the tenant's history for whoever wants all of it: device after device in the order of their ids, of each the
    /// rows by time, then id. MUST return only rows of the tenant that meet every condition of the scan, and so few at a time
    /// that they take little memory whatever is in them, at most [`TelemetryScan::MOST_ROWS`]; none at all where there are
    /// more devices. Going on with `next` as `after` MUST come to an end, and MUST give every row that was there all the time
    /// exactly once, while rows and devices are added and removed. Nothing is held between two calls.
    async fn scan(&self, tenant: TenantId, scan: &TelemetryScan) -> Result<TelemetryPart, StorageError>;

    /// Numbers over time: what became of the points of each bucket of the query, which [`AggregateQuery::check`] accepts.
    ///
    /// A point is a leaf ([`Payload::leaves`](pocket_domain::Payload::leaves)) that is a number or a truth value, which is 1 or 0,
    /// at a key of the query, of a message that meets the query's devices, topic and times; `from` is included, `to` is not.
    /// In messages of a topic the key MUST be taken as [`TopicRules::path_in`](pocket_domain::TopicRules::path_in) of the query's rules says.
    /// Anything else under the key MUST NOT count. Only messages of the tenant MUST count. MUST return one series for each device and key, by
    /// device, then by key, both in the order of the query, also where there are no points, and say how many topics its points are
    /// from. By topic, MUST return a series for each device, key and topic that has points and no others, those of one device and
    /// key in the order of the topics' names, and refuse with `TooMuch` what
    /// [`check_series`](AggregateQuery::check_series) refuses. In a series MUST be the buckets
    /// that have points and no others, in the order of time, each with its start at a multiple of the interval since 1970,
    /// which may be before `from`.
    ///
    /// Numbers are doubles. `count`, `min`, `max`, `first` and `last` MUST be exact; first and last are by time, then id.
    /// Points MAY be added up in any order: `sum`, and `avg` as the sum divided by the number, MUST be exact to 1e-9 of the
    /// sum of the absolute values. A sum beyond the range of a double MUST NOT be a finite number.
    async fn aggregate(&self, tenant: TenantId, query: &AggregateQuery) -> Result<Vec<Series>, StorageError>;

    /// The last value of each key of a device on each topic. MUST take, for each path that a leaf of one of the device's
    /// messages has and each topic of such messages, the leaf of the last such message by time, then id, of whatever type,
    /// with its text as it was published. MUST tell only values of topics that the query's filter matches, ordered by key,
    /// those of one key with the newest first, and nothing for a device that the tenant does not have. Where there are more than
    /// [`LatestQuery::most`], MUST tell the newest by time, then id, and that there are more.
    async fn latest(
        &self,
        tenant: TenantId,
        device: DeviceId,
        query: &LatestQuery,
    ) -> Result<LatestValues, StorageError>;

    /// How much the tenant's history takes. MUST count each message once, in the log or in the chunks, and nothing of another
    /// tenant or of a device that is deleted; nothing at all for a tenant that is not there. The bytes of the log MUST be
    /// those of its payloads and [`UsagePart::LOG_ROW_BYTES`](pocket_domain::UsagePart::LOG_ROW_BYTES) for each; those of
    /// chunks are what is stored of them. Names and last values that messages share, which go with the last of these, MAY be counted
    /// beside them as [`NameUsage`](pocket_domain::NameUsage) says.
    async fn usage(&self, tenant: TenantId) -> Result<Usage, StorageError>;

    /// Removes a part of what tenants do not keep any more, small enough that appends go on beside it. Is called again until
    /// it is done.
    ///
    /// MUST NOT remove a message for its age whose timestamp is not before
    /// [`kept_from`](pocket_domain::Retention::kept_from), nor one that was received since then, whatever its timestamp. In
    /// tenants that are held back, the same holds for the time up to which they are. When it is done, no message that is older
    /// by both MUST be left, except such as are stored together with younger ones, at most [`Pruned::MOST_LEFT`] of a device. For its size a history goes from
    /// its oldest end, in pieces of at most as many messages of a device, each as old as its newest message: MUST NOT remove
    /// one while the history is within its bytes, or while an older one is there; when it is done, each history MUST be
    /// within its bytes. MUST leave other tenants as they are.
    async fn prune_within(&self, now: Timestamp, held: &Held) -> Result<Pruned, StorageError>;

    /// The same with nothing held back.
    async fn prune(&self, now: Timestamp) -> Result<Pruned, StorageError> {
        self.prune_within(now, &Held::default()).await
    }

    /// How much of a tenant's history is from before a time, as [`prune_within`](Self::prune_within) removes it for its age.
    /// MAY leave out messages that are stored together with younger ones.
    async fn expired(&self, tenant: TenantId, before: Timestamp) -> Result<Expired, StorageError> {
        let _ = (tenant, before);
        Ok(Expired::default())
    }

    /// The tenants that keep messages for some time, and how far each is pruned. MUST tell what
    /// [`keep_pruned`](Self::keep_pruned) kept last, and nothing from when a retention is changed, by whatever and to whatever,
    /// until that is called again. Storage MAY tell none: then no
    /// removal that is out of proportion waits.
    async fn pruned_tenants(&self) -> Result<Vec<PrunedTenant>, StorageError> {
        Ok(Vec::new())
    }

    /// Keeps how far a tenant is pruned. Does nothing for one that is not there.
    async fn keep_pruned(&self, tenant: TenantId, to: Timestamp) -> Result<(), StorageError> {
        let _ = (tenant, to);
        Ok(())
    }

    /// Names of the tenant's topics, in an order of storage's own, at most `limit` of them behind the place `after`; 0 is the
    /// beginning. MUST tell, from call to call with `next` as `after`, each name that is stored all the time. Storage that
    /// keeps no names apart from messages tells none.
    async fn topics(&self, tenant: TenantId, after: u64, limit: u32) -> Result<TopicNames, StorageError> {
        let _ = (tenant, after, limit);
        Ok(TopicNames::default())
    }

    /// What is known about the time before a process of this node started. Storage that keeps nothing knows nothing.
    async fn last_seen(&self, node: &NodeName) -> Result<LastSeen, StorageError> {
        let _ = node;
        Ok(LastSeen::default())
    }

    /// Keeps a mark for the next process of this node, in place of the one before. MUST be what
    /// [`last_seen`](Self::last_seen) tells from then on, if storage keeps anything at all.
    async fn keep_time(&self, node: &NodeName, mark: TimeMark) -> Result<(), StorageError> {
        let _ = (node, mark);
        Ok(())
    }
}

/// For these tenants nothing is removed for its age that is not before the time.
pub type Held = BTreeMap<TenantId, Timestamp>;

/// The time before which a tenant's messages go for their age, where its retention keeps those from `kept_from` on.
pub fn removed_before(held: &Held, tenant: TenantId, kept_from: Timestamp) -> Timestamp {
    held.get(&tenant).map_or(kept_from, |held| kept_from.min(*held))
}

/// How much of a history is too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Messages that are.
    pub rows: u64,
    /// All messages.
    pub of: u64,
}

/// A tenant that keeps messages for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunedTenant {
    /// Which tenant.
    pub id: TenantId,
    /// What it keeps.
    pub retention: Retention,
    /// The time up to which messages were removed for their age; `None`: its retention was changed since then.
    pub to: Option<Timestamp>,
}

/// Some names of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicNames {
    /// The names.
    pub names: Vec<TopicName>,
    /// The place of the last of them; `None` when there are no more.
    pub next: Option<u64>,
}

/// What became of messages that were imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// All of them are there now: one entry for each, in order.
    Done(Vec<Imported>),
    /// None was stored, because the device of the message at this place does not exist.
    DeviceGone(usize),
}

/// What became of a message that was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is a new row.
    Stored(TelemetryId),
    /// It was there.
    Present,
}

/// What one step of pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pruned {
    /// How many messages were removed.
    pub rows: u64,
    /// Whether nothing is left to do. Not so while another process is at it, in whose place nothing is removed here.
    pub is_done: bool,
}

impl Pruned {
    /// The most messages of a device that stay, though they are too old, because of younger ones beside them.
    pub const MOST_LEFT: u64 = 4_096;
}
