//! The rules for topics of tenants, so that reads of tenants without rules, which are most, do not each begin with a look-up.
//!
//! - That a tenant has none is known for [`RulesOfTopics::MAX_AGE`] at the most: what a change that another process made takes.
//! - A change by this process counts at once.
//! - Rules themselves are never kept: they are read with each question.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::{TenantId, TopicRules};
use pocket_ports::{StorageError, TopicRuleRepository};
use tokio::time::Instant;

/// The rules of all tenants.
pub(crate) struct RulesOfTopics {
    repository: Arc<dyn TopicRuleRepository>,
    without: Mutex<Without>,
}

/// Tenants that had no rules lately, and since when that is known.
#[derive(Default)]
struct Without {
    tenants: HashMap<TenantId, Instant>,
    /// How many changes this process made: what was read before one and comes in after it is not kept.
    changes: u64,
}

impl RulesOfTopics {
    /// The most tenants that are known to have none.
    const MOST: usize = 10_000;
    /// For how long that is known.
    const MAX_AGE: Duration = Duration::from_secs(1);

    pub(crate) fn new(repository: Arc<dyn TopicRuleRepository>) -> Self {
        Self { repository, without: Mutex::default() }
    }

    /// The rules of a tenant as they are, or were within the last second where there were none.
    pub(crate) async fn get(&self, tenant: TenantId) -> Result<TopicRules, StorageError> {
        let (asked, changes) = {
            let without = self.without();
            if without.tenants.get(&tenant).is_some_and(|since| since.elapsed() <= Self::MAX_AGE) {
                return Ok(TopicRules::default());
            }
            (Instant::now(), without.changes)
        };
        let rules = self.repository.get(tenant).await?;
        if rules.is_empty() {
            self.without().keep(tenant, asked, changes);
        }
        Ok(rules)
    }

    /// The rules of a tenant as they are.
    pub(crate) async fn stored(&self, tenant: TenantId) -> Result<TopicRules, StorageError> {
        self.repository.get(tenant).await
    }

    /// Sets the rules of a tenant.
    pub(crate) async fn set(&self, tenant: TenantId, rules: &TopicRules) -> Result<(), StorageError> {
        let outcome = self.repository.set(tenant, rules).await;
        // Also where the answer of storage was lost: then they may be set.
        let mut without = self.without();
        without.changes += 1;
        without.tenants.remove(&tenant);
        outcome
    }

    fn without(&self) -> MutexGuard<'_, Without> {
        self.without.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Without {
    fn keep(&mut self, tenant: TenantId, asked: Instant, changes: u64) {
        if self.changes != changes {
            return;
        }
        if self.tenants.len() >= RulesOfTopics::MOST {
            self.tenants.retain(|_, since| since.elapsed() <= RulesOfTopics::MAX_AGE);
        }
        if self.tenants.len() < RulesOfTopics::MOST {
            self.tenants.insert(tenant, asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use pocket_domain::{Timestamp, TopicRule};

    use super::*;

    /// Counts how often it is asked.
    #[derive(Default)]
    struct Stored(Mutex<(TopicRules, usize)>);

    #[async_trait]
    impl TopicRuleRepository for Stored {
        async fn get(&self, _: TenantId) -> Result<TopicRules, StorageError> {
            let mut stored = self.0.lock().unwrap();
            stored.1 += 1;
            Ok(stored.0.clone())
        }

        async fn set(&self, _: TenantId, rules: &TopicRules) -> Result<(), StorageError> {
            self.0.lock().unwrap().0 = rules.clone();
            Ok(())
        }
    }

    fn tenant(n: u64) -> TenantId {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&n.to_be_bytes());
        TenantId::new(Timestamp::MIN, random)
    }

    fn some() -> TopicRules {
        TopicRules::new(vec![TopicRule::parse("+q", "{q}").unwrap()]).unwrap()
    }

    fn stage() -> (Arc<Stored>, RulesOfTopics) {
        let stored = Arc::new(Stored::default());
        (stored.clone(), RulesOfTopics::new(stored))
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_are_none_is_known_for_a_second() {
        let (stored, rules) = stage();
        for _ in 0..5 {
            assert_eq!(rules.get(tenant(1)).await, Ok(TopicRules::default()));
        }
        assert_eq!(stored.0.lock().unwrap().1, 1);
        // As another process does.
        stored.set(tenant(1), &some()).await.unwrap();
        tokio::time::advance(RulesOfTopics::MAX_AGE + Duration::from_millis(1)).await;
        assert_eq!(rules.get(tenant(1)).await, Ok(some()));
        assert_eq!(rules.get(tenant(1)).await, Ok(some()));
        assert_eq!(stored.0.lock().unwrap().1, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_by_this_process_counts_at_once() {
        let (_, rules) = stage();
        assert_eq!(rules.get(tenant(1)).await, Ok(TopicRules::default()));
        rules.set(tenant(1), &some()).await.unwrap();
        assert_eq!(rules.get(tenant(1)).await, Ok(some()));
        rules.set(tenant(1), &TopicRules::default()).await.unwrap();
        assert_eq!(rules.get(tenant(1)).await, Ok(TopicRules::default()));
        // What was read before a change is not kept after it.
        let before = rules.without().changes;
        rules.set(tenant(1), &some()).await.unwrap();
        rules.without().keep(tenant(1), Instant::now(), before);
        assert_eq!(rules.get(tenant(1)).await, Ok(some()));
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_known_have_a_bound() {
        let (_, rules) = stage();
        for n in 0..=RulesOfTopics::MOST as u64 {
            rules.get(tenant(n)).await.unwrap();
        }
        assert_eq!(rules.without().tenants.len(), RulesOfTopics::MOST);
        tokio::time::advance(RulesOfTopics::MAX_AGE * 2).await;
        rules.get(tenant(20_000)).await.unwrap();
        assert_eq!(rules.without().tenants.len(), 1);
    }
}
