//! Who wants a message, by tenant and topic.
//!
//! Reading takes a shared lock of the tenant, and none at all for a topic whose result is still in a
//! [`TopicCache`](crate::TopicCache): the generation tells whether it is.
//!
//! Architecture invariant: a look-up begins with a tenant; there is no way to match across tenants.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use pocket_domain::{TenantId, TopicName};

use crate::trie::Trie;
use crate::weight::NODE;
use crate::{Holding, Ledger, Matches, Resource, RetainedStore, SharedGroup, Subscription, matches};

/// The subscriptions of all tenants. `S` is how the adapter addresses a session.
#[derive(Debug)]
pub struct SubscriptionIndex<S> {
    tenants: RwLock<HashMap<TenantId, Arc<TenantIndex<S>>>>,
    /// Where the nodes of the trees are counted.
    ledger: Option<Arc<Ledger>>,
}

impl<S> Default for SubscriptionIndex<S> {
    fn default() -> Self {
        Self { tenants: RwLock::default(), ledger: None }
    }
}

/// With a subscription more, some topic would have to visit more nodes of the tree than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filters of the tenant overlap too much")]
pub struct TooMuchMatching;

impl<S: Copy + Ord> SubscriptionIndex<S> {
    /// An index whose trees are counted in these books.
    pub fn counted_in(ledger: Arc<Ledger>) -> Self {
        Self { ledger: Some(ledger), ..Self::default() }
    }

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
        let new = || {
            let holding = self.ledger.as_ref().map(|ledger| ledger.tenant(tenant).holding(ledger, Resource::Bytes));
            let tree = Tree { trie: Trie::default(), holding };
            Arc::new(TenantIndex { tree: RwLock::new(tree), ..TenantIndex::default() })
        };
        Arc::clone(tenants.entry(tenant).or_insert_with(new))
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
    pub fn with_first_level(&self, level: &str) -> Vec<(TenantId, Arc<TenantIndex<S>>)> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let watched = tenants.iter().filter(|(_, index)| index.has_first_level(level));
        watched.map(|(tenant, index)| (*tenant, Arc::clone(index))).collect()
    }

    /// Subscriptions of all tenants together.
    pub fn count(&self) -> usize {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).values().map(|tenant| tenant.count()).sum()
    }
}

/// The subscriptions of one tenant, and its retained messages.
#[derive(Debug)]
pub struct TenantIndex<S> {
    tree: RwLock<Tree<S>>,
    retained: RetainedStore,
    generation: AtomicU64,
    count: AtomicUsize,
}

/// The filters, with what their nodes take.
#[derive(Debug)]
struct Tree<S> {
    trie: Trie<S>,
    holding: Option<Holding>,
}

impl<S: Copy + Ord> Tree<S> {
    fn insert(&mut self, subscriber: S, subscription: &Subscription) -> bool {
        let inserted = self.trie.insert(subscriber, subscription);
        if let Some(holding) = &mut self.holding {
            holding.grow_anyway(inserted.nodes * NODE);
        }
        inserted.is_new
    }

    fn remove(&mut self, subscriber: S, subscription: &Subscription) -> bool {
        let removed = self.trie.remove(subscriber, subscription);
        if let (Some(nodes), Some(holding)) = (removed, &mut self.holding) {
            holding.shrink(nodes * NODE);
        }
        removed.is_some()
    }
}

impl<S> Default for TenantIndex<S> {
    fn default() -> Self {
        Self {
            tree: RwLock::new(Tree { trie: Trie::default(), holding: None }),
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
        self.add(&mut self.write(), subscriber, subscription)
    }

    /// The same, unless some topic would have to visit more than `match_nodes` nodes of the tree then.
    ///
    /// # Errors
    /// When it would; nothing is added.
    pub fn try_subscribe(
        &self,
        subscriber: S,
        subscription: &Subscription,
        match_nodes: u32,
    ) -> Result<bool, TooMuchMatching> {
        let mut tree = self.write();
        let reach = tree.trie.reach_with(subscription.filter.as_str());
        // A filter that is there already changes nothing, even where an earlier limit was higher.
        if reach > match_nodes && reach > tree.trie.reach() {
            return Err(TooMuchMatching);
        }
        Ok(self.add(&mut tree, subscriber, subscription))
    }

    fn add(&self, tree: &mut Tree<S>, subscriber: S, subscription: &Subscription) -> bool {
        let new = tree.insert(subscriber, subscription);
        if new {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.generation.fetch_add(1, Ordering::Release);
        new
    }

    /// Removes a subscription; `false` when there was none.
    pub fn unsubscribe(&self, subscriber: S, subscription: &Subscription) -> bool {
        let removed = self.write().remove(subscriber, subscription);
        if removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.generation.fetch_add(1, Ordering::Release);
        }
        removed
    }

    /// Hands subscriptions from one subscriber to another. No message finds both of them or none.
    pub fn hand_over<'a>(&self, from: S, to: S, subscriptions: impl Iterator<Item = &'a Subscription>) {
        let mut tree = self.write();
        for subscription in subscriptions {
            tree.remove(from, subscription);
            tree.insert(to, subscription);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Notes whether the holder of a shared subscription has a connection; others in its group are chosen while it has not.
    pub fn set_away(&self, subscriber: S, subscription: &Subscription, is_away: bool) {
        if subscription.group.is_some() {
            self.write().trie.set_away(subscriber, subscription, is_away);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tree<S>> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The members of the group that shares a subscription, if there are any.
    pub fn group(&self, subscription: &Subscription) -> Option<SharedGroup<S>> {
        self.write().trie.group(subscription)
    }

    /// Who gets a message on the topic, with the generation of the result.
    pub fn matches(&self, topic: &TopicName) -> (u64, Matches<S>) {
        let mut matches = Matches { direct: Vec::new(), groups: Vec::new(), visited: 0 };
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation();
        tree.trie.collect(topic.as_str(), &mut matches);
        drop(tree);
        matches.direct = matches::merged(matches.direct);
        (generation, matches)
    }

    fn has_first_level(&self, level: &str) -> bool {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).trie.has_level(level)
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
    fn no_message_visits_more_nodes_than_are_allowed_whatever_the_filters_are() {
        let index = TenantIndex::<u32>::default();
        // All filters of `a` and `+` at twelve levels: each level doubles the branches of `a/a/a/…`.
        let filter = |number: u32| {
            (0..12).map(|bit| if number >> bit & 1 == 0 { "a" } else { "+" }).collect::<Vec<_>>().join("/")
        };
        let mut refused = 0;
        for number in 0..4_096 {
            let wanted = subscription(&filter(number), QoS::AtMostOnce);
            refused += u32::from(index.try_subscribe(number, &wanted, 500).is_err());
        }
        let topic = TopicName::parse(&["a"; 12].join("/")).unwrap();
        let (_, found) = index.matches(&topic);
        assert!((250..=500).contains(&found.visited) && refused > 0, "{} nodes, {refused} refused", found.visited);
        assert_eq!(u32::try_from(found.direct.len()).unwrap() + refused, 4_096);
        // What is there may be replaced, and what goes makes room.
        assert_eq!(index.try_subscribe(0, &subscription(&filter(0), QoS::AtLeastOnce), 500), Ok(false));
        for found in found.direct {
            assert!(index.unsubscribe(found.subscriber, &subscription(&filter(found.subscriber), QoS::AtMostOnce)));
        }
        assert_eq!(index.tree.read().unwrap().trie.reach(), 1);
    }

    #[test]
    fn filters_of_many_devices_beside_each_other_cost_a_message_nothing() {
        let index = TenantIndex::default();
        for number in 0..5_000 {
            for filter in [format!("plant/{number}/+/state"), format!("+/{number}/#"), format!("plant/{number}/a/b")] {
                index.try_subscribe(number, &subscription(&filter, QoS::AtMostOnce), 20).unwrap();
            }
        }
        let (_, found) = index.matches(&TopicName::parse("plant/7/a/state").unwrap());
        assert!(found.visited <= 20 && found.direct.len() == 1, "{} nodes", found.visited);
        for number in 0..5_000 {
            for filter in [format!("plant/{number}/+/state"), format!("+/{number}/#"), format!("plant/{number}/a/b")] {
                assert!(index.unsubscribe(number, &subscription(&filter, QoS::AtMostOnce)));
            }
        }
        assert_eq!((index.count(), index.tree.read().unwrap().trie.reach()), (0, 1));
    }

    #[test]
    fn nodes_are_counted_as_long_as_they_are_there() {
        let ledger = Ledger::new(&crate::Limits::default());
        let index = SubscriptionIndex::<u32>::counted_in(Arc::clone(&ledger));
        let held = index.tenant(tenant(1));
        for (number, filter) in ["a/b/c", "a/b/d", "a/+/c", "#"].into_iter().enumerate() {
            held.subscribe(u32::try_from(number).unwrap(), &subscription(filter, QoS::AtMostOnce));
        }
        assert_eq!(ledger.held(Resource::Bytes), 6 * NODE);
        for (number, filter) in ["a/b/c", "a/b/d", "a/+/c", "#"].into_iter().enumerate() {
            held.unsubscribe(u32::try_from(number).unwrap(), &subscription(filter, QoS::AtMostOnce));
        }
        assert_eq!(ledger.held(Resource::Bytes), 0);
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
        assert!(found.len() == 1 && found[0].0 == tenant(1) && Arc::ptr_eq(&found[0].1, &one));
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
        assert_eq!(index.tree.read().unwrap().trie.reach(), 1);
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
