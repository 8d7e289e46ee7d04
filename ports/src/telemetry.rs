//! Storage of telemetry: a history per tenant.

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{NewTelemetry, TelemetryId, TelemetryPage, TelemetryQuery, TenantId, Timestamp};

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
}
