//! Who wants a message, by tenant and topic.
//!
//! Reading takes a shared lock of the tenant, and none at all for a topic whose result is still in a
//! [`TopicCache`](crate::TopicCache): the generation tells whether it is.
//!
//! Architecture invariant: a look-up begins with a tenant; there is no way to match across tenants.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use pocket_domain::{TenantId, TopicName};

use crate::trie::Trie;
use crate::{Matches, RetainedStore, SharedGroup, Subscription, matches};

/// The subscriptions of all tenants. `S` is how the adapter addresses a session.
#[derive(Debug)]
pub struct SubscriptionIndex<S> {
    tenants: RwLock<HashMap<TenantId, Arc<TenantIndex<S>>>>,
}

impl<S> Default for SubscriptionIndex<S> {
    fn default() -> Self {
        Self { tenants: RwLock::default() }
    }
}

impl<S: Copy + Ord> SubscriptionIndex<S> {
    /// The subscriptions of a tenant. A connection asks once and keeps what it gets.
    pub fn tenant(&self, tenant: TenantId) -> Arc<TenantIndex<S>> {
        if let Some(index) = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant) {
            return Arc::clone(index);
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        // A tenant without connections, subscriptions and retained messages leaves no trace.
        let is_used = |index: &Arc<TenantIndex<S>>| {
            Arc::strong_count(index) > 1 || index.count() > 0 || index.retained.count() > 0
        };
        tenants.retain(|id, index| *id == tenant || is_used(index));
        Arc::clone(tenants.entry(tenant).or_default())
    }

    /// Retained messages of all tenants together.
    pub fn retained_count(&self) -> usize {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.values().map(|tenant| tenant.retained.count()).sum()
    }

    /// Bytes of these.
    pub fn retained_bytes(&self) -> usize {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.values().map(|tenant| tenant.retained.bytes()).sum()
    }

    /// The tenants in which somebody holds a subscription whose filter begins with this level, itself no wildcard.
    pub fn with_first_level(&self, level: &str) -> Vec<Arc<TenantIndex<S>>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.values().filter(|tenant| tenant.has_first_level(level)).cloned().collect()
    }

    /// Subscriptions of all tenants together.
    pub fn count(&self) -> usize {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).values().map(|tenant| tenant.count()).sum()
    }
}

/// The subscriptions of one tenant, and its retained messages.
#[derive(Debug)]
pub struct TenantIndex<S> {
    trie: RwLock<Trie<S>>,
    retained: RetainedStore,
    generation: AtomicU64,
    count: AtomicUsize,
}

impl<S> Default for TenantIndex<S> {
    fn default() -> Self {
        Self {
            trie: RwLock::default(),
            retained: RetainedStore::default(),
            generation: AtomicU64::new(0),
            count: AtomicUsize::new(0),
        }
    }
}

impl<S: Copy + Ord> TenantIndex<S> {
    /// Grows with every change. A result of [`matches`](Self::matches) holds as long as its generation is this one.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Adds a subscription, or replaces the one with the same filter; `true` when it is new.
    pub fn subscribe(&self, subscriber: S, subscription: &Subscription) -> bool {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        let new = trie.insert(subscriber, subscription);
        if new {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.generation.fetch_add(1, Ordering::Release);
        new
    }

    /// Removes a subscription; `false` when there was none.
    pub fn unsubscribe(&self, subscriber: S, subscription: &Subscription) -> bool {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        let removed = trie.remove(subscriber, subscription);
        if removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.generation.fetch_add(1, Ordering::Release);
        }
        removed
    }

    /// Hands subscriptions from one subscriber to another. No message finds both of them or none.
    pub fn hand_over<'a>(&self, from: S, to: S, subscriptions: impl Iterator<Item = &'a Subscription>) {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        for subscription in subscriptions {
            trie.remove(from, subscription);
            trie.insert(to, subscription);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Notes whether the holder of a shared subscription has a connection; others in its group are chosen while it has not.
    pub fn set_away(&self, subscriber: S, subscription: &Subscription, is_away: bool) {
        if subscription.group.is_some() {
            self.trie.write().unwrap_or_else(PoisonError::into_inner).set_away(subscriber, subscription, is_away);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// The members of the group that shares a subscription, if there are any.
    pub fn group(&self, subscription: &Subscription) -> Option<SharedGroup<S>> {
        self.trie.write().unwrap_or_else(PoisonError::into_inner).group(subscription)
    }

    /// Who gets a message on the topic, with the generation of the result.
    pub fn matches(&self, topic: &TopicName) -> (u64, Matches<S>) {
        let mut matches = Matches { direct: Vec::new(), groups: Vec::new() };
        let trie = self.trie.read().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation();
        trie.collect(topic.as_str(), &mut matches);
        drop(trie);
        matches.direct = matches::merged(matches.direct);
        (generation, matches)
    }

    fn has_first_level(&self, level: &str) -> bool {
        self.trie.read().unwrap_or_else(PoisonError::into_inner).has_level(level)
    }

    /// The tenant's retained messages.
    pub fn retained(&self) -> &RetainedStore {
        &self.retained
    }

    /// How many subscriptions there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use pocket_domain::TopicFilter;
    use proptest::prelude::*;

    use super::*;
    use crate::{QoS, SubscriptionOptions};

    fn tenant(number: u8) -> TenantId {
        TenantId::new(pocket_domain::Timestamp::MIN, [number; 10])
    }

    fn subscription(filter: &str, qos: QoS) -> Subscription {
        Subscription {
            filter: TopicFilter::parse(filter).unwrap(),
            group: None,
            options: SubscriptionOptions { qos, ..Default::default() },
            identifier: None,
        }
    }

    fn subscribers(index: &TenantIndex<u32>, topic: &str) -> Vec<(u32, QoS)> {
        let (_, matches) = index.matches(&TopicName::parse(topic).unwrap());
        matches.direct.into_iter().map(|found| (found.subscriber, found.qos)).collect()
    }

    #[test]
    fn a_tenant_never_sees_anothers_subscribers() {
        let index = SubscriptionIndex::<u32>::default();
        index.tenant(tenant(1)).subscribe(1, &subscription("#", QoS::AtMostOnce));
        assert_eq!(subscribers(&index.tenant(tenant(1)), "a"), [(1, QoS::AtMostOnce)]);
        assert_eq!(subscribers(&index.tenant(tenant(2)), "a"), []);
        assert_eq!(index.count(), 1);
    }

    #[test]
    fn tenants_are_found_by_how_filters_begin() {
        let index = SubscriptionIndex::<u32>::default();
        let (one, two) = (index.tenant(tenant(1)), index.tenant(tenant(2)));
        one.subscribe(1, &subscription("$SYS/#", QoS::AtMostOnce));
        for wildcard in ["#", "+/a", "a/$SYS"] {
            two.subscribe(1, &subscription(wildcard, QoS::AtMostOnce));
        }
        let found = index.with_first_level("$SYS");
        assert!(found.len() == 1 && Arc::ptr_eq(&found[0], &one));
        one.unsubscribe(1, &subscription("$SYS/#", QoS::AtMostOnce));
        assert!(index.with_first_level("$SYS").is_empty());
    }

    #[test]
    fn overlapping_subscriptions_give_one_delivery_at_the_highest_qos() {
        let index = TenantIndex::default();
        let numbered = |filter, qos, id| Subscription { identifier: NonZeroU32::new(id), ..subscription(filter, qos) };
        index.subscribe(1, &numbered("a/+", QoS::AtMostOnce, 5));
        index.subscribe(1, &numbered("a/#", QoS::ExactlyOnce, 6));
        index.subscribe(1, &subscription("#", QoS::AtLeastOnce));
        let (_, matches) = index.matches(&TopicName::parse("a/b").unwrap());
        assert_eq!(matches.direct.len(), 1);
        assert_eq!(matches.direct[0].qos, QoS::ExactlyOnce);
        let mut identifiers: Vec<u32> = matches.direct[0].identifiers.iter().map(|id| id.get()).collect();
        identifiers.sort_unstable();
        assert_eq!(identifiers, [5, 6]);
    }

    #[test]
    fn the_same_filter_again_replaces_the_subscription() {
        let index = TenantIndex::default();
        assert!(index.subscribe(1, &subscription("a", QoS::ExactlyOnce)));
        assert!(!index.subscribe(1, &subscription("a", QoS::AtMostOnce)));
        assert_eq!(subscribers(&index, "a"), [(1, QoS::AtMostOnce)]);
        assert_eq!(index.count(), 1);
    }

    #[test]
    fn subscriptions_are_handed_from_one_subscriber_to_another() {
        let index = TenantIndex::default();
        let held = [subscription("a", QoS::AtLeastOnce), subscription("a/#", QoS::AtMostOnce)];
        for subscription in &held {
            index.subscribe(1, subscription);
        }
        let before = index.generation();
        index.hand_over(1, 2, held.iter());
        assert_ne!(index.generation(), before);
        assert_eq!(subscribers(&index, "a"), [(2, QoS::AtLeastOnce)]);
        assert_eq!(index.count(), 2);
    }

    #[test]
    fn every_change_begins_a_new_generation() {
        let index = TenantIndex::default();
        let held = subscription("a", QoS::AtMostOnce);
        let empty = index.generation();
        index.subscribe(1, &held);
        let one = index.generation();
        assert_ne!(empty, one);
        assert!(!index.unsubscribe(2, &held));
        assert_eq!(index.generation(), one);
        assert!(index.unsubscribe(1, &held));
        assert_ne!(index.generation(), one);
        assert!(index.trie.read().unwrap().is_empty());
    }

    #[test]
    fn a_tenant_without_connections_leaves_no_trace() {
        let index = SubscriptionIndex::<u32>::default();
        drop(index.tenant(tenant(1)));
        let _kept = index.tenant(tenant(2));
        index.tenant(tenant(3));
        assert_eq!(index.tenants.read().unwrap().len(), 2);
    }

    #[derive(Clone, Debug)]
    enum Change {
        Subscribe(u32, String, u8),
        Unsubscribe(u32, String),
    }

    fn filter() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof!["[ab]{0,1}", Just("+".to_owned()), Just("$x".to_owned())], 1..4)
            .prop_flat_map(|levels| {
                prop_oneof![Just(levels.join("/")), Just(format!("{}/#", levels.join("/"))), Just("#".to_owned())]
            })
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            3 => (0u32..4, filter(), 0u8..3).prop_map(|(who, filter, qos)| Change::Subscribe(who, filter, qos)),
            1 => (0u32..4, filter()).prop_map(|(who, filter)| Change::Unsubscribe(who, filter)),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_asking_every_filter(
            changes in prop::collection::vec(change(), 0..40),
            topics in prop::collection::vec("([ab]|\\$x)?(/([ab]|\\$x)?){0,3}", 1..10),
        ) {
            let index = TenantIndex::default();
            let mut naive: HashMap<(u32, TopicFilter), QoS> = HashMap::new();
            for change in changes {
                match change {
                    Change::Subscribe(who, filter, qos) => {
                        let Ok(filter) = TopicFilter::parse(&filter) else { continue };
                        let qos = QoS::ALL[usize::from(qos)];
                        let new = index.subscribe(who, &subscription(filter.as_str(), qos));
                        prop_assert_eq!(new, naive.insert((who, filter), qos).is_none());
                    }
                    Change::Unsubscribe(who, filter) => {
                        let Ok(filter) = TopicFilter::parse(&filter) else { continue };
                        let held = subscription(filter.as_str(), QoS::AtMostOnce);
                        prop_assert_eq!(index.unsubscribe(who, &held), naive.remove(&(who, filter)).is_some());
                    }
                }
            }
            prop_assert_eq!(index.count(), naive.len());
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                let mut expected: Vec<(u32, QoS)> = Vec::new();
                for who in 0..4 {
                    let qos = naive.iter().filter(|((id, filter), _)| *id == who && filter.matches(topic)).map(|(_, qos)| *qos);
                    expected.extend(qos.max().map(|qos| (who, qos)));
                }
                prop_assert_eq!(subscribers(&index, topic), expected, "{}", topic);
            }
        }
    }
}
