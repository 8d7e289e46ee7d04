//! Access rules.

use async_trait::async_trait;
use pocket_domain::{AccessRule, AccessRuleId, DeviceId, MAX_ACCESS_RULES, Page, PageRequest, TenantId};
use pocket_ports::{AccessChange, AccessRuleRepository, Conflict, StorageError};

use crate::Memory;
use crate::state::{State, page_of};

impl State {
    /// The rules of one device, or those for all.
    pub(crate) fn rules_of(&self, tenant: TenantId, device: Option<DeviceId>) -> impl Iterator<Item = &AccessRule> {
        self.access_rules.values().filter(move |rule| rule.tenant_id == tenant && rule.device_id == device)
    }

    fn log_rule(&mut self, rule: &AccessRule) {
        let tenant_id = rule.tenant_id;
        self.log(match rule.device_id {
            Some(device_id) => AccessChange::Device { tenant_id, device_id },
            None => AccessChange::Tenant { tenant_id },
        });
    }
}

#[async_trait]
impl AccessRuleRepository for Memory {
    async fn create(&self, rule: &AccessRule) -> Result<(), StorageError> {
        let mut state = self.state();
        state.require_tenant(rule.tenant_id)?;
        if rule.device_id.is_some_and(|device| state.device(rule.tenant_id, device).is_none()) {
            return Err(StorageError::NotFound);
        }
        if state.rules_of(rule.tenant_id, rule.device_id).count() as u64 >= MAX_ACCESS_RULES {
            return Err(StorageError::Conflict(Conflict::AccessRules));
        }
        state.access_rules.insert(rule.id, rule.clone());
        state.log_rule(rule);
        Ok(())
    }

    async fn get(&self, tenant: TenantId, id: AccessRuleId) -> Result<Option<AccessRule>, StorageError> {
        Ok(self.state().access_rules.get(&id).filter(|rule| rule.tenant_id == tenant).cloned())
    }

    async fn list(
        &self,
        tenant: TenantId,
        device: Option<DeviceId>,
        page: PageRequest,
    ) -> Result<Page<AccessRule>, StorageError> {
        Ok(page_of(self.state().rules_of(tenant, device), page))
    }

    async fn of_device(&self, tenant: TenantId, device: DeviceId) -> Result<Vec<AccessRule>, StorageError> {
        let state = self.state();
        Ok(state.rules_of(tenant, None).chain(state.rules_of(tenant, Some(device))).cloned().collect())
    }

    async fn delete(&self, tenant: TenantId, id: AccessRuleId) -> Result<bool, StorageError> {
        let mut state = self.state();
        if state.access_rules.get(&id).is_none_or(|rule| rule.tenant_id != tenant) {
            return Ok(false);
        }
        if let Some(rule) = state.access_rules.remove(&id) {
            state.log_rule(&rule);
        }
        Ok(true)
    }
}
