//! Storage of tenants.

use async_trait::async_trait;
use pocket_domain::{Page, PageRequest, PayloadPolicy, RetentionUpdate, Tenant, TenantId, TenantName};

use crate::StorageError;

/// What is changed about a tenant; `None` leaves a field as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TenantUpdate {
    /// A new name.
    pub name: Option<TenantName>,
    /// A new payload policy.
    pub payload_policy: Option<PayloadPolicy>,
    /// What is kept of its telemetry.
    pub retention: RetentionUpdate,
}

/// Keeps tenants.
#[async_trait]
pub trait TenantRepository: Send + Sync {
    /// Adds a tenant. MUST return `Conflict(TenantName)` when the name is taken.
    async fn create(&self, tenant: &Tenant) -> Result<(), StorageError>;

    /// The tenant of this id.
    async fn get(&self, id: TenantId) -> Result<Option<Tenant>, StorageError>;

    /// The tenant of this name.
    async fn find_by_name(&self, name: &TenantName) -> Result<Option<Tenant>, StorageError>;

    /// All tenants, ordered by id. MUST count all of them in `total`, whatever the page.
    async fn list(&self, page: PageRequest) -> Result<Page<Tenant>, StorageError>;

    /// Changes a tenant and returns it. MUST return `NotFound` when it is not there and `Conflict(TenantName)` when
    /// the new name is taken by another; its own name is not taken. MUST log `AccessChange::Tenant` when the payload
    /// policy changes.
    async fn update(&self, id: TenantId, update: TenantUpdate) -> Result<Tenant, StorageError>;

    /// Removes a tenant with its users, devices and telemetry; `false` when it was not there. MUST log
    /// `AccessChange::Tenant`. MUST leave other tenants as they are.
    async fn delete(&self, id: TenantId) -> Result<bool, StorageError>;
}
