//! The last message of each topic that was published to be kept, of one tenant.
//!
//! Topics stand in one ordered map, level by level, and a filter is looked up by leaps: what cannot match is skipped by
//! seeking the next topic that can. `+/state` costs one seek for each first level, not one for each message, and nothing is
//! kept for the levels themselves. A look-up can stop anywhere and go on later, because its place is a topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use pocket_domain::{Principal, Timestamp, TopicFilter, TopicName};

use crate::topic_order::{Step, TopicKey, step};
use crate::{Account, Client, Holding, Level, Limits, Message, Resource, StoreKey, StoreKeys};

/// What became of a message that was to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retention {
    /// It is kept, in place of the one before.
    Kept {
        /// Its place in the order of all changes of retained messages.
        key: StoreKey,
        /// Topics whose messages had expired and were forgotten to make room.
        forgotten: Vec<TopicName>,
    },
    /// There is no room for one more.
    Full,
}

/// Retained messages of one tenant.
#[derive(Debug, Default)]
pub struct RetainedStore(RwLock<Content>);

#[derive(Debug, Default)]
struct Content {
    kept: BTreeMap<TopicKey, Kept>,
    /// Those that expire.
    expiring: BTreeSet<(Timestamp, TopicKey)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    /// Who published it, if that was a client.
    publisher: Option<Client>,
    weight: usize,
    /// What it takes of its publisher's account.
    charge: Option<Holding>,
}

/// Where a look-up is.
#[derive(Clone, Debug, Default)]
pub struct RetainedCursor(Option<TopicKey>);

/// A part of what a look-up finds.
#[derive(Debug)]
pub struct RetainedPart {
    /// Messages, in the order of their topics.
    pub messages: Vec<Arc<Message>>,
    /// Where it goes on; `None` when that was all.
    pub rest: Option<RetainedCursor>,
    /// Topics that were looked at.
    pub work: usize,
}

impl RetainedStore {
    /// Keeps a message in place of the one its topic has.
    pub fn keep(
        &self,
        message: &Arc<Message>,
        publisher: Option<Client>,
        limits: &Limits,
        keys: &StoreKeys,
        now: Timestamp,
    ) -> Retention {
        self.keep_for(message, publisher, None, limits, keys, now)
    }

    /// The same, on the account of a device or person. When it has no room for it, the message is not kept.
    pub fn keep_for(
        &self,
        message: &Arc<Message>,
        publisher: Option<Client>,
        account: Option<&Arc<Account>>,
        limits: &Limits,
        keys: &StoreKeys,
        now: Timestamp,
    ) -> Retention {
        let weight = message.weight() + publisher.as_ref().map_or(0, |client| client.client_id.as_str().len());
        let mut content = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = Vec::new();
        if !content.has_room_for(&message.topic, weight, limits) {
            forgotten = content.remove_expired(now);
            if !content.has_room_for(&message.topic, weight, limits) {
                return Retention::Full;
            }
        }
        let Ok(charge) = content.charge(&message.topic, weight, account) else { return Retention::Full };
        content.put(Kept { message: Arc::clone(message), publisher, weight, charge });
        // Under the lock, so that the order of the keys is that of the changes.
        Retention::Kept { key: keys.take(1), forgotten }
    }

    /// Keeps a message that was kept before, whatever the limits say.
    pub fn restore(&self, message: &Arc<Message>, publisher: Option<Client>, account: Option<&Arc<Account>>) {
        let weight = message.weight() + publisher.as_ref().map_or(0, |client| client.client_id.as_str().len());
        let charge = account.map(|account| account.take_anyway(Resource::Bytes, weight));
        let mut content = self.0.write().unwrap_or_else(PoisonError::into_inner);
        content.put(Kept { message: Arc::clone(message), publisher, weight, charge });
    }

    /// Forgets the message of a topic. Returns the place of this change in the order of all; `None` when there was none.
    pub fn clear(&self, topic: &TopicName, keys: &StoreKeys) -> Option<StoreKey> {
        let mut content = self.0.write().unwrap_or_else(PoisonError::into_inner);
        content.remove(&TopicKey::of(topic))?;
        Some(keys.take(1))
    }

    /// The messages on topics that a filter matches, without those that expired.
    pub fn matches(&self, filter: &TopicFilter, now: Timestamp) -> Vec<Arc<Message>> {
        self.collect(filter, None, now)
    }

    /// The same without those that a client published itself.
    pub fn matches_of_others(&self, filter: &TopicFilter, client: &Client, now: Timestamp) -> Vec<Arc<Message>> {
        self.collect(filter, Some(client), now)
    }

    fn collect(&self, filter: &TopicFilter, but_of: Option<&Client>, now: Timestamp) -> Vec<Arc<Message>> {
        let part = self.part(filter, &RetainedCursor::default(), but_of, usize::MAX, now);
        part.messages
    }

    /// A part of the messages on topics that a filter matches, of `work` topics that are looked at, from a place on; without
    /// those that expired, and without those of one client. The lock is held for so long only.
    pub fn part(
        &self,
        filter: &TopicFilter,
        from: &RetainedCursor,
        but_of: Option<&Client>,
        work: usize,
        now: Timestamp,
    ) -> RetainedPart {
        let levels: Vec<&str> = filter.levels().collect();
        let mut messages = Vec::new();
        let content = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut place = from.0.clone().unwrap_or_else(|| TopicKey::first(&levels));
        let mut walk = content.kept.range(&place..);
        for done in 1..=work {
            let Some((key, kept)) = walk.next() else { return RetainedPart { messages, rest: None, work: done } };
            match step(&levels, key) {
                Step::Matches => {
                    let is_own = || but_of.is_some() && kept.publisher.as_ref() == but_of;
                    if !kept.message.is_expired(now) && !is_own() {
                        messages.push(Arc::clone(&kept.message));
                    }
                }
                Step::Next => {}
                Step::Seek(next) => {
                    place = next;
                    walk = content.kept.range(&place..);
                }
                Step::End => return RetainedPart { messages, rest: None, work: done },
            }
        }
        let rest = walk.next().map(|(key, _)| RetainedCursor(Some(key.clone())));
        RetainedPart { messages, rest, work }
    }

    /// The client of whose device or person most are kept, and how many. Takes a walk through all of them.
    pub fn fullest(&self) -> Option<(Client, usize)> {
        let mut counts = HashMap::<Principal, (Client, usize)>::new();
        let content = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for publisher in content.kept.values().filter_map(|kept| kept.publisher.as_ref()) {
            counts.entry(publisher.principal).or_insert_with(|| (publisher.clone(), 0)).1 += 1;
        }
        counts.into_values().max_by_key(|(_, count)| *count)
    }

    /// What they weigh.
    pub fn bytes(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// How many messages are kept.
    pub fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).kept.len()
    }
}

impl Content {
    fn has_room_for(&self, topic: &TopicName, weight: usize, limits: &Limits) -> bool {
        let replaced = self.kept.get(&TopicKey::of(topic));
        let count = self.kept.len() + usize::from(replaced.is_none());
        let bytes = self.bytes - replaced.map_or(0, |replaced| replaced.weight) + weight;
        count <= limits.retained_messages && bytes <= limits.retained_bytes
    }

    /// Takes what a message weighs from the account of its publisher; what the one before it took is used for that when it
    /// is of the same account.
    fn charge(
        &mut self,
        topic: &TopicName,
        weight: usize,
        account: Option<&Arc<Account>>,
    ) -> Result<Option<Holding>, Level> {
        let Some(account) = account else { return Ok(None) };
        let before = self.kept.get_mut(&TopicKey::of(topic)).map(|kept| &mut kept.charge);
        let Some(place) = before.filter(|charge| charge.as_ref().is_some_and(|charge| charge.is_of(account))) else {
            return account.take(Resource::Bytes, weight).map(Some);
        };
        if let Some(charge) = place {
            charge.resize(weight)?;
        }
        Ok(place.take())
    }

    fn put(&mut self, kept: Kept) {
        let key = TopicKey::of(&kept.message.topic);
        self.remove(&key);
        self.bytes += kept.weight;
        if let Some(at) = kept.message.expires_at {
            self.expiring.insert((at, key.clone()));
        }
        self.kept.insert(key, kept);
    }

    fn remove(&mut self, key: &TopicKey) -> Option<Kept> {
        let (key, kept) = self.kept.remove_entry(key)?;
        self.bytes -= kept.weight;
        if let Some(at) = kept.message.expires_at {
            self.expiring.remove(&(at, key));
        }
        Some(kept)
    }

    /// Removes what expired. It costs nothing when nothing did.
    fn remove_expired(&mut self, now: Timestamp) -> Vec<TopicName> {
        let mut topics = Vec::new();
        while let Some((at, key)) = self.expiring.first().filter(|(at, _)| *at <= now) {
            let (at, key) = (*at, key.clone());
            match self.remove(&key) {
                Some(kept) => topics.push(kept.message.topic.clone()),
                None => drop(self.expiring.remove(&(at, key))),
            }
        }
        topics
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::QoS;

    fn message(topic: &str, payload: &str) -> Arc<Message> {
        Arc::new(Message {
            topic: TopicName::parse(topic).unwrap(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: None,
            expires_at: None,
        })
    }

    /// Whether it was kept.
    fn keep(store: &RetainedStore, message: &Arc<Message>, limits: &Limits) -> bool {
        store.keep(message, None, limits, &StoreKeys::default(), Timestamp::MIN) != Retention::Full
    }

    fn topics(store: &RetainedStore, filter: &str) -> Vec<String> {
        let found = store.matches(&TopicFilter::parse(filter).unwrap(), Timestamp::MIN);
        let mut topics: Vec<String> = found.iter().map(|message| message.topic.to_string()).collect();
        topics.sort();
        topics
    }

    #[test]
    fn a_topic_has_one_message() {
        let store = RetainedStore::default();
        for payload in ["1", "2"] {
            assert!(keep(&store, &message("a/b", payload), &Limits::default()));
        }
        let found = store.matches(&TopicFilter::parse("a/+").unwrap(), Timestamp::MIN);
        assert_eq!(found, [message("a/b", "2")]);
        let keys = StoreKeys::default();
        let topic = TopicName::parse("a/b").unwrap();
        assert_eq!([store.clear(&topic, &keys), store.clear(&topic, &keys)], [Some(StoreKey::MIN), None]);
        assert_eq!(store.count(), 0);
        assert!(store.0.read().unwrap().kept.is_empty() && store.bytes() == 0);
    }

    #[test]
    fn messages_and_bytes_are_bounded() {
        let store = RetainedStore::default();
        let retained_bytes = message("a", "12").weight() + message("b", "123").weight();
        let limits = Limits { retained_messages: 2, retained_bytes, ..Default::default() };
        assert!(keep(&store, &message("a", "12"), &limits));
        assert!(!keep(&store, &message("b", "1234"), &limits));
        assert!(keep(&store, &message("b", "123"), &limits));
        assert!(!keep(&store, &message("c", ""), &limits));
        assert!(keep(&store, &message("b", "321"), &limits));
        assert_eq!(topics(&store, "#"), ["a", "b"]);
        assert_eq!((store.count(), store.bytes()), (2, retained_bytes));
    }

    #[test]
    fn an_expired_message_is_not_found_and_makes_room() {
        let store = RetainedStore::default();
        let limits = Limits { retained_messages: 1, ..Default::default() };
        let later = Timestamp::MIN.plus(Duration::from_secs(1));
        let passing = Message { expires_at: Some(later), ..Message::clone(&message("a", "1")) };
        assert!(keep(&store, &Arc::new(passing), &limits));
        let keys = StoreKeys::default();
        assert_eq!(store.keep(&message("b", "1"), None, &limits, &keys, Timestamp::MIN), Retention::Full);
        assert_eq!(store.matches(&TopicFilter::parse("#").unwrap(), later), []);
        let forgotten = vec![TopicName::parse("a").unwrap()];
        let kept = Retention::Kept { key: StoreKey::MIN, forgotten };
        assert_eq!(store.keep(&message("b", "1"), None, &limits, &keys, later), kept);
        assert_eq!(store.count(), 1);
    }

    #[test]
    fn a_look_up_in_parts_finds_the_same_with_little_work_each_time() {
        let store = RetainedStore::default();
        for number in 0..500 {
            keep(&store, &message(&format!("a/{number}/x/{}", number % 7), "1"), &Limits::default());
        }
        let filter = TopicFilter::parse("a/+/x/3").unwrap();
        let whole = store.matches(&filter, Timestamp::MIN);
        let (mut found, mut place, mut parts) = (Vec::new(), RetainedCursor::default(), 0);
        loop {
            let part = store.part(&filter, &place, None, 10, Timestamp::MIN);
            assert!(part.messages.len() <= 10);
            found.extend(part.messages);
            parts += 1;
            match part.rest {
                Some(rest) => place = rest,
                None => break,
            }
        }
        assert!(found == whole && whole.len() == 71 && parts >= 50, "{} in {parts} parts", found.len());
        // Above, all 500 branches are looked at; a topic that is named is found at once.
        let one = TopicFilter::parse("a/499/x/2").unwrap();
        let part = store.part(&one, &RetainedCursor::default(), None, 3, Timestamp::MIN);
        assert!(part.messages.len() == 1 && part.rest.is_none());
    }

    #[test]
    fn the_account_of_the_publisher_has_a_limit_of_its_own() {
        let weight = message("a", "1").weight();
        let limits = Limits { device_bytes: 2 * weight, ..Default::default() };
        let ledger = crate::Ledger::new(&limits);
        let tenant = pocket_domain::TenantId::new(Timestamp::MIN, [1; 10]);
        let device = |number| {
            let id = pocket_domain::DeviceId::new(Timestamp::MIN, [number; 10]);
            ledger.account(tenant, pocket_domain::Principal::Device(id))
        };
        let (store, keys) = (RetainedStore::default(), StoreKeys::default());
        let keep_for = |topic: &str, account| {
            let kept = store.keep_for(&message(topic, "1"), None, Some(account), &limits, &keys, Timestamp::MIN);
            kept != Retention::Full
        };
        let (one, other) = (device(1), device(2));
        assert_eq!(["a", "b", "c"].map(|topic| keep_for(topic, &one)), [true, true, false]);
        assert!(keep_for("c", &other) && keep_for("a", &other), "what another replaces is not its own any more");
        assert!(keep_for("d", &one));
        store.clear(&TopicName::parse("d").unwrap(), &keys);
        assert_eq!((one.held(Resource::Bytes), other.held(Resource::Bytes)), (weight, 2 * weight));
    }

    proptest! {
        #[test]
        fn it_agrees_with_asking_every_topic(
            kept in prop::collection::vec(("([ab]|\\$x)?(/([ab]|\\$x)?){0,3}", any::<bool>()), 0..30),
            filters in prop::collection::vec("(\\+|[ab]|\\$x)?(/(\\+|[ab])?){0,3}(/#)?|#", 1..10),
        ) {
            let store = RetainedStore::default();
            let mut naive = BTreeMap::new();
            for (topic, clear) in kept.iter().filter(|(topic, _)| !topic.is_empty()) {
                if *clear {
                    store.clear(&TopicName::parse(topic).unwrap(), &StoreKeys::default());
                    naive.remove(topic);
                } else {
                    keep(&store, &message(topic, "x"), &Limits::default());
                    naive.insert(topic.clone(), ());
                }
            }
            prop_assert_eq!(store.count(), naive.len());
            for filter in filters.iter().filter_map(|filter| TopicFilter::parse(filter).ok()) {
                let expected: Vec<String> = naive.keys().filter(|topic| filter.matches(topic)).cloned().collect();
                prop_assert_eq!(topics(&store, filter.as_str()), expected, "{}", filter);
            }
        }
    }
}
