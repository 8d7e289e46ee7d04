//! The last message of each topic that was published to be kept, of one tenant.
//!
//! Topics are a tree of levels, so a filter is looked up by walking the branches it names: `+/state` costs one step for
//! each first level, not one for each message.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use pocket_domain::{Timestamp, TopicFilter, TopicName};

use crate::{Client, Limits, Message, StoreKey, StoreKeys};

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
    root: Level,
    count: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Level {
    below: HashMap<Box<str>, Level>,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    /// Who published it, if that was a client.
    publisher: Option<Client>,
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
        let mut content = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = Vec::new();
        if !content.has_room_for(message, limits) {
            forgotten = content.remove_expired(now);
            if !content.has_room_for(message, limits) {
                return Retention::Full;
            }
        }
        content.put(Kept { message: Arc::clone(message), publisher });
        // Under the lock, so that the order of the keys is that of the changes.
        Retention::Kept { key: keys.take(1), forgotten }
    }

    /// Forgets the message of a topic. Returns the place of this change in the order of all; `None` when there was none.
    pub fn clear(&self, topic: &TopicName, keys: &StoreKeys) -> Option<StoreKey> {
        let mut content = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let message = content.root.remove(Some(topic.as_str()))?;
        content.forget(&message.message);
        Some(keys.take(1))
    }

    /// The messages on topics that a filter matches, without those that expired.
    pub fn matches(&self, filter: &TopicFilter, now: Timestamp) -> Vec<Arc<Message>> {
        self.collect(filter, |kept| !kept.message.is_expired(now))
    }

    /// The same without those that a client published itself.
    pub fn matches_of_others(&self, filter: &TopicFilter, client: &Client, now: Timestamp) -> Vec<Arc<Message>> {
        self.collect(filter, |kept| !kept.message.is_expired(now) && kept.publisher.as_ref() != Some(client))
    }

    fn collect(&self, filter: &TopicFilter, is_wanted: impl Fn(&Kept) -> bool) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        let content = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut take = |kept: &Kept| {
            if is_wanted(kept) {
                found.push(Arc::clone(&kept.message));
            }
        };
        content.root.visit(Some(filter.as_str()), true, &mut take);
        found
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// How many messages are kept.
    pub fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).count
    }
}

impl Content {
    fn has_room_for(&self, message: &Message, limits: &Limits) -> bool {
        let replaced = self.root.get(message.topic.as_str());
        let count = self.count + usize::from(replaced.is_none());
        let bytes = self.bytes - replaced.map_or(0, |replaced| replaced.weight()) + message.weight();
        count <= limits.retained_messages && bytes <= limits.retained_bytes
    }

    fn put(&mut self, kept: Kept) {
        let mut level = &mut self.root;
        for name in kept.message.topic.levels() {
            // Two look-ups, so that the name is copied only when it is new.
            if !level.below.contains_key(name) {
                level.below.insert(name.into(), Level::default());
            }
            level = level.below.get_mut(name).expect("the level was inserted when it was missing");
        }
        self.count += 1;
        self.bytes += kept.message.weight();
        if let Some(before) = level.kept.replace(kept) {
            self.forget(&before.message);
        }
    }

    fn forget(&mut self, message: &Message) {
        self.count -= 1;
        self.bytes -= message.weight();
    }

    fn remove_expired(&mut self, now: Timestamp) -> Vec<TopicName> {
        let mut expired = Vec::new();
        self.root.remove_expired(now, &mut expired);
        for message in &expired {
            self.forget(message);
        }
        expired.iter().map(|message| message.topic.clone()).collect()
    }
}

impl Level {
    fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut level = self;
        for name in topic.split('/') {
            level = level.below.get(name)?;
        }
        level.kept.as_ref().map(|kept| &kept.message)
    }

    /// Removes a topic's message and the levels that are left empty.
    fn remove(&mut self, rest: Option<&str>) -> Option<Kept> {
        let Some(rest) = rest else { return self.kept.take() };
        let (name, rest) = split(rest);
        let level = self.below.get_mut(name)?;
        let removed = level.remove(rest);
        if level.is_empty() {
            self.below.remove(name);
        }
        removed
    }

    fn remove_expired(&mut self, now: Timestamp, expired: &mut Vec<Arc<Message>>) {
        let kept = self.kept.take_if(|kept| kept.message.is_expired(now));
        expired.extend(kept.map(|kept| kept.message));
        self.below.retain(|_, level| {
            level.remove_expired(now, expired);
            !level.is_empty()
        });
    }

    /// Visits what lies on topics that the rest of a filter matches.
    fn visit(&self, rest: Option<&str>, is_first: bool, visit: &mut impl FnMut(&Kept)) {
        let Some(rest) = rest else { return self.kept.iter().for_each(visit) };
        let (name, rest) = split(rest);
        // [MQTT-4.7.2-1] wildcards at the first level do not match topics that begin with $
        let is_meant = |name: &str| !(is_first && name.starts_with('$'));
        match name {
            "#" => {
                self.kept.iter().for_each(&mut *visit);
                for (_, level) in self.below.iter().filter(|(name, _)| is_meant(name)) {
                    level.visit(Some("#"), false, visit);
                }
            }
            "+" => {
                for (_, level) in self.below.iter().filter(|(name, _)| is_meant(name)) {
                    level.visit(rest, false, visit);
                }
            }
            name => {
                if let Some(level) = self.below.get(name) {
                    level.visit(rest, false, visit);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.kept.is_none() && self.below.is_empty()
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
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
        assert!(store.0.read().unwrap().root.is_empty());
    }

    #[test]
    fn messages_and_bytes_are_bounded() {
        let store = RetainedStore::default();
        let limits = Limits { retained_messages: 2, retained_bytes: 7, ..Default::default() };
        assert!(keep(&store, &message("a", "12"), &limits));
        assert!(!keep(&store, &message("b", "1234"), &limits));
        assert!(keep(&store, &message("b", "123"), &limits));
        assert!(!keep(&store, &message("c", ""), &limits));
        assert!(keep(&store, &message("b", "321"), &limits));
        assert_eq!(topics(&store, "#"), ["a", "b"]);
        assert_eq!((store.count(), store.bytes()), (2, 7));
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
