//! Storage of telemetry: a history per tenant.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{
    AggregateQuery, DeviceId, LatestValue, LeafPath, NewTelemetry, Series, TelemetryId, TelemetryPage, TelemetryQuery,
    TenantId, Timestamp,
};

use crate::StorageError;

/// Keeps the history of messages.
#[async_trait]
pub trait TelemetryStore: Send + Sync {
    /// Stores messages in one transaction: when it returns `Ok`, all are committed; when it fails, none is.
    ///
    /// MUST return one entry for each message, in order: its id, or `None` when its device does not exist in its tenant
    /// (any more), which does not hinder the others. Ids MUST grow with the order of messages. MUST return
    /// `Unavailable` when the same call may succeed later, and `Backend` when a message itself is refused.
    async fn append(&self, messages: Arc<[NewTelemetry]>) -> Result<Vec<Option<TelemetryId>>, StorageError>;

    /// Puts aside a message that the database refuses for a reason of its own, so that the others can be stored.
    async fn set_aside(&self, message: &NewTelemetry, reason: &str, now: Timestamp) -> Result<(), StorageError>;

    /// A page of the tenant's history, ordered by time, then id. MUST return only rows of the tenant that meet every
    /// condition of the query. `from` is included, `to` is not. Going on with `next` as the cursor MUST give every row
    /// that was there all the time exactly once, while rows are added.
    async fn range(&self, tenant: TenantId, query: &TelemetryQuery) -> Result<TelemetryPage, StorageError>;

    /// Numbers over time: what became of the points of each bucket of the query, which [`AggregateQuery::check`] accepts.
    ///
    /// A point is a leaf ([`Payload::leaves`](pocket_domain::Payload::leaves)) that is a number, at a key of the query, of a
    /// message that meets the query's devices, topic and times; `from` is included, `to` is not. Anything else under the
    /// key MUST NOT count. Only messages of the tenant MUST count. MUST return one series for each device and key, by
    /// device, then by key, both in the order of the query, also where there are no points. In a series MUST be the buckets
    /// that have points and no others, in the order of time, each with its start at a multiple of the interval since 1970,
    /// which may be before `from`.
    ///
    /// Numbers are doubles. `count`, `min`, `max`, `first` and `last` MUST be exact; first and last are by time, then id.
    /// Points MAY be added up in any order: `sum`, and `avg` as the sum divided by the number, MUST be exact to 1e-9 of the
    /// sum of the absolute values. A sum beyond the range of a double MUST NOT be a finite number.
    async fn aggregate(&self, tenant: TenantId, query: &AggregateQuery) -> Result<Vec<Series>, StorageError>;

    /// The last value of each key of a device, ordered by key. MUST take, for each path that a leaf of one of the device's
    /// messages has, the leaf of the last such message by time, then id, of whatever type, with its text as it was
    /// published. MUST return the first [`MAX_DEVICE_KEYS`](pocket_domain::MAX_DEVICE_KEYS) keys where there are more, and
    /// nothing for a device that the tenant does not have.
    async fn latest(&self, tenant: TenantId, device: DeviceId) -> Result<Vec<LatestValue>, StorageError>;

    /// The keys of a device. MUST be those that [`latest`](Self::latest) tells values of, in the same order.
    async fn keys(&self, tenant: TenantId, device: DeviceId) -> Result<Vec<LeafPath>, StorageError>;
}
