//! How tenants name what is published at topics.

use async_trait::async_trait;
use pocket_domain::{TenantId, TopicRules};
use pocket_ports::{StorageError, TopicRuleRepository};

use crate::Memory;

#[async_trait]
impl TopicRuleRepository for Memory {
    async fn get(&self, tenant: TenantId) -> Result<TopicRules, StorageError> {
        Ok(self.state().topic_rules.get(&tenant).cloned().unwrap_or_default())
    }

    async fn set(&self, tenant: TenantId, rules: &TopicRules) -> Result<(), StorageError> {
        let mut state = self.state();
        if !state.tenants.contains_key(&tenant) {
            return Err(StorageError::NotFound);
        }
        state.topic_rules.insert(tenant, rules.clone());
        Ok(())
    }
}
