//! Tenants.

use async_trait::async_trait;
use pocket_domain::{Page, PageRequest, RetentionUpdate, Tenant, TenantId, TenantName};
use pocket_ports::{AccessChange, Conflict, StorageError, TenantRepository, TenantUpdate};

use crate::Memory;
use crate::state::{State, page_of};

const TAKEN: StorageError = StorageError::Conflict(Conflict::TenantName);

impl State {
    fn tenant_named(&self, name: &TenantName) -> Option<&Tenant> {
        self.tenants.values().find(|tenant| tenant.name == *name)
    }
}

#[async_trait]
impl TenantRepository for Memory {
    async fn create(&self, tenant: &Tenant) -> Result<(), StorageError> {
        let mut state = self.state();
        if state.tenant_named(&tenant.name).is_some() {
            return Err(TAKEN);
        }
        state.tenants.insert(tenant.id, tenant.clone());
        Ok(())
    }

    async fn get(&self, id: TenantId) -> Result<Option<Tenant>, StorageError> {
        Ok(self.state().tenants.get(&id).cloned())
    }

    async fn find_by_name(&self, name: &TenantName) -> Result<Option<Tenant>, StorageError> {
        Ok(self.state().tenant_named(name).cloned())
    }

    async fn list(&self, page: PageRequest) -> Result<Page<Tenant>, StorageError> {
        Ok(page_of(self.state().tenants.values(), page))
    }

    async fn update(&self, id: TenantId, update: TenantUpdate) -> Result<Tenant, StorageError> {
        let mut state = self.state();
        let mut tenant = state.tenants.get(&id).cloned().ok_or(StorageError::NotFound)?;
        if let Some(name) = update.name {
            if state.tenant_named(&name).is_some_and(|other| other.id != id) {
                return Err(TAKEN);
            }
            tenant.name = name;
        }
        if let Some(policy) = update.payload_policy {
            if policy != tenant.payload_policy {
                state.log(AccessChange::Tenant { tenant_id: id });
            }
            tenant.payload_policy = policy;
        }
        tenant.retention = update.retention.of(tenant.retention);
        if update.retention != RetentionUpdate::default() {
            state.pruned_to.remove(&id);
        }
        state.tenants.insert(id, tenant.clone());
        Ok(tenant)
    }

    async fn delete(&self, id: TenantId) -> Result<bool, StorageError> {
        let mut state = self.state();
        if state.tenants.remove(&id).is_none() {
            return Ok(false);
        }
        state.users.retain(|_, (user, _)| user.tenant_id != id);
        let State { users, ended_logins, .. } = &mut *state;
        ended_logins.retain(|user, _| users.contains_key(user));
        let devices: Vec<_> =
            state.devices.values().filter(|device| device.tenant_id == id).map(|device| device.id).collect();
        state.telemetry.remove(&id);
        state.dead_letters.retain(|_, (tenant, _)| *tenant != id);
        state.access_rules.retain(|_, rule| rule.tenant_id != id);
        state.topic_rules.remove(&id);
        for device in devices {
            state.remove_device(id, device);
        }
        state.log(AccessChange::Tenant { tenant_id: id });
        Ok(true)
    }
}
