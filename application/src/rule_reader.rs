//! Reads the access rules of devices and people that connect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pocket_domain::{AccessRule, AccessRules, DeviceId, MAX_ACCESS_RULES, PageRequest, Principal, TenantId, UserId};
use pocket_ports::{AccessRuleRepository, StorageError};

/// Reads rules from storage.
pub(crate) struct RuleReader {
    rules: Arc<dyn AccessRuleRepository>,
    of_tenants: TenantRules,
}

impl RuleReader {
    pub(crate) fn new(rules: Arc<dyn AccessRuleRepository>) -> Self {
        Self { rules, of_tenants: TenantRules::default() }
    }

    /// The rules of a device; `None` when nothing is ruled.
    pub(crate) async fn read(
        &self,
        tenant: TenantId,
        device: DeviceId,
    ) -> Result<Option<Arc<AccessRules>>, StorageError> {
        let rules = self.rules.of_device(tenant, device).await?;
        if rules.is_empty() {
            return Ok(None);
        }
        let (for_all, own) = rules.into_iter().partition(|rule| rule.device_id.is_none());
        Ok(Some(Arc::new(AccessRules::new(Principal::Device(device), self.of_tenants.shared(tenant, for_all), own))))
    }

    /// The rules that hold for a person: those of the tenant. `None` when nothing is ruled.
    pub(crate) async fn read_for_person(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<Arc<AccessRules>>, StorageError> {
        let all = PageRequest::new(Some(MAX_ACCESS_RULES), None).expect("a tenant has fewer rules than a page takes");
        let rules = self.rules.list(tenant, None, all).await?.items;
        if rules.is_empty() {
            return Ok(None);
        }
        let shared = self.of_tenants.shared(tenant, rules);
        Ok(Some(Arc::new(AccessRules::new(Principal::User(user), shared, Vec::new()))))
    }
}

/// The rules of a tenant, kept once however many of its devices are connected, and no longer than one is.
#[derive(Default)]
struct TenantRules(Mutex<HashMap<TenantId, Weak<[AccessRule]>>>);

impl TenantRules {
    fn shared(&self, tenant: TenantId, rules: Vec<AccessRule>) -> Arc<[AccessRule]> {
        if rules.is_empty() {
            return Arc::default();
        }
        let mut of_tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = of_tenants.get(&tenant).and_then(Weak::upgrade)
            && *present == *rules
        {
            return present;
        }
        of_tenants.retain(|_, rules| rules.strong_count() > 0);
        let rules: Arc<[AccessRule]> = rules.into();
        of_tenants.insert(tenant, Arc::downgrade(&rules));
        rules
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{AccessRuleId, Effect, Timestamp, TopicAction, TopicPattern};

    use super::*;

    fn rule(topic: &str) -> AccessRule {
        AccessRule {
            id: AccessRuleId::new(Timestamp::MIN, [1; 10]),
            tenant_id: TenantId::new(Timestamp::MIN, [2; 10]),
            device_id: None,
            effect: Effect::Deny,
            action: TopicAction::Publish,
            topic: TopicPattern::parse(topic).unwrap(),
            created_at: Timestamp::MIN,
        }
    }

    #[test]
    fn the_rules_of_a_tenant_are_kept_once_until_they_change_and_as_long_as_they_are_used() {
        let rules = TenantRules::default();
        let tenant = rule("a").tenant_id;
        let first = rules.shared(tenant, vec![rule("a")]);
        assert!(Arc::ptr_eq(&first, &rules.shared(tenant, vec![rule("a")])));
        let changed = rules.shared(tenant, vec![rule("a"), rule("b")]);
        assert_eq!((first.len(), changed.len()), (1, 2));
        assert!(Arc::ptr_eq(&changed, &rules.shared(tenant, vec![rule("a"), rule("b")])));
        drop((first, changed));
        assert!(rules.0.lock().unwrap()[&tenant].upgrade().is_none());
        let other = TenantId::new(Timestamp::MIN, [3; 10]);
        let _used = rules.shared(other, vec![rule("a")]);
        assert_eq!(rules.0.lock().unwrap().len(), 1);
    }
}
