//! Storage of the rules by which tenants name what is published at topics.

use async_trait::async_trait;
use pocket_domain::{TenantId, TopicRules};

use crate::StorageError;

/// Keeps one list of rules for a tenant. The list goes with its tenant.
#[async_trait]
pub trait TopicRuleRepository: Send + Sync {
    /// The rules of a tenant in order; none where none were set, and of a tenant that is not there. It MUST be one look-up by an
    /// index.
    async fn get(&self, tenant: TenantId) -> Result<TopicRules, StorageError>;

    /// Sets the rules of a tenant in place of those it has; an empty list removes them. MUST return `NotFound` when the tenant
    /// does not exist.
    async fn set(&self, tenant: TenantId, rules: &TopicRules) -> Result<(), StorageError>;
}
