//! Storage of access rules.

use async_trait::async_trait;
use pocket_domain::{AccessRule, AccessRuleId, DeviceId, Page, PageRequest, TenantId};

use crate::StorageError;

/// Keeps access rules. An entry of another tenant is the same as none, in every method. The rules of a device that is
/// deleted, and of a tenant that is, MUST go with it.
#[async_trait]
pub trait AccessRuleRepository: Send + Sync {
    /// Adds a rule. MUST return `NotFound` when the tenant does not exist or has no such device, and
    /// `Conflict(AccessRules)` when the tenant, or the device where the rule is for one, has
    /// [`MAX_ACCESS_RULES`](pocket_domain::MAX_ACCESS_RULES) already, also when several are added at once. MUST log
    /// `AccessChange::Device` of the device, or `AccessChange::Tenant`.
    async fn create(&self, rule: &AccessRule) -> Result<(), StorageError>;

    /// The rule of this id, if it belongs to the tenant.
    async fn get(&self, tenant: TenantId, id: AccessRuleId) -> Result<Option<AccessRule>, StorageError>;

    /// The rules of one device, or those that the tenant has for all, ordered by id. MUST count all in `total`, whatever
    /// the page.
    async fn list(
        &self,
        tenant: TenantId,
        device: Option<DeviceId>,
        page: PageRequest,
    ) -> Result<Page<AccessRule>, StorageError>;

    /// All rules that hold for a device: the tenant's and its own, each ordered by id.
    async fn of_device(&self, tenant: TenantId, device: DeviceId) -> Result<Vec<AccessRule>, StorageError>;

    /// Removes a rule; `false` when the tenant has no such rule. MUST log as [`create`](Self::create) does.
    async fn delete(&self, tenant: TenantId, id: AccessRuleId) -> Result<bool, StorageError>;
}
