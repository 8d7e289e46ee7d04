//! Storage of messages that the database refused, as people see them. [`TelemetryStore::set_aside`] puts them there.
//!
//! [`TelemetryStore::set_aside`]: crate::TelemetryStore::set_aside

use async_trait::async_trait;
use pocket_domain::{DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, NewTelemetry, TelemetryId, TenantId};

use crate::StorageError;

/// Shows dead letters and removes them. A letter of another tenant is the same as none, in every method. Letters of a device
/// that is deleted, or of a tenant that is, MUST go with it. The last
/// [`MAX_DEAD_LETTERS`](pocket_domain::MAX_DEAD_LETTERS) of each tenant are kept, unless all tenants together have more than
/// [`MAX_DEAD_LETTERS_IN_ALL`](pocket_domain::MAX_DEAD_LETTERS_IN_ALL): then the oldest of the tenant that has most goes.
#[async_trait]
pub trait DeadLetterRepository: Send + Sync {
    /// A page of the tenant's dead letters, the newest first: those put aside later have larger ids. MUST return only letters
    /// that meet every condition of the query, with their payloads as they were published. What the database cannot keep of
    /// a reason MAY be replaced. Going on with `next` as the cursor MUST give every letter that was there all the time
    /// exactly once, while letters are added.
    async fn list(&self, tenant: TenantId, query: &DeadLetterQuery) -> Result<DeadLetterPage, StorageError>;

    /// The letter of this id, if it belongs to the tenant.
    async fn get(&self, tenant: TenantId, id: DeadLetterId) -> Result<Option<DeadLetter>, StorageError>;

    /// Stores a message in place of a letter of its tenant, in one transaction, as a batch of a process without a broker (see
    /// [`WriteStore::commit`](crate::WriteStore::commit)): the letter MUST go if the message is stored, and only then. Of several
    /// calls for one letter one MUST store the message. `None`, and nothing is stored, when the tenant has no such letter (any
    /// more) or no such device.
    async fn store(&self, id: DeadLetterId, message: &NewTelemetry) -> Result<Option<TelemetryId>, StorageError>;

    /// Removes a letter; `false` when the tenant has no such letter.
    async fn delete(&self, tenant: TenantId, id: DeadLetterId) -> Result<bool, StorageError>;
}
