//! Retained messages against a list of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_domain::{Timestamp, TopicFilter, TopicName};
use pocket_mqtt_core::{Limits, Message, QoS, RetainedStore, Retention, StoreKeys};

use crate::literal;
use crate::seed::{self, Random, Trace};

const STEPS: usize = 300;
const LEVELS: [&str; 4] = ["a", "b", "", "$x"];

struct World<'a> {
    random: &'a mut Random,
    trace: &'a mut Trace,
    store: RetainedStore,
    keys: StoreKeys,
    /// All that was kept, expired ones too.
    list: Vec<Arc<Message>>,
    limits: Limits,
    now: Timestamp,
}

impl World<'_> {
    fn step(&mut self) {
        match self.random.below(10) {
            0..5 => self.keep(),
            5 => self.clear(),
            6 => self.now = self.now.plus(Duration::from_secs(1 + self.random.below(3) as u64)),
            _ => self.look_up(),
        }
        let alive = self.list.iter().filter(|message| !message.is_expired(self.now)).count();
        assert!((alive..=self.limits.retained_messages).contains(&self.store.count()));
    }

    fn levels(&mut self) -> Vec<&'static str> {
        let count = 1 + self.random.below(3);
        (0..count).map(|_| *self.random.one_of(&LEVELS)).collect()
    }

    fn topic(&mut self) -> TopicName {
        loop {
            if let Ok(topic) = TopicName::parse(&self.levels().join("/")) {
                return topic;
            }
        }
    }

    fn keep(&mut self) {
        let expires_at =
            self.random.one_in(3).then(|| self.now.plus(Duration::from_secs(1 + self.random.below(5) as u64)));
        let message = Arc::new(Message {
            topic: self.topic(),
            payload: Bytes::from(vec![b'1'; self.random.below(12)]),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: None,
            expires_at,
        });
        self.trace.step(|| format!("keep {message:?}"));
        let kept = self.store.keep(&message, None, &self.limits, &self.keys, self.now);
        let others: Vec<&Arc<Message>> =
            self.list.iter().filter(|other| other.topic != message.topic && !other.is_expired(self.now)).collect();
        let bytes: usize = others.iter().map(|other| other.weight()).sum();
        let fits =
            others.len() < self.limits.retained_messages && bytes + message.weight() <= self.limits.retained_bytes;
        assert_eq!(kept != Retention::Full, fits, "{message:?} beside {others:?}");
        if fits {
            // [MQTT-3.3.1-5] in place of the one before
            self.list.retain(|other| other.topic != message.topic);
            self.list.push(message);
        }
    }

    fn clear(&mut self) {
        let topic = self.topic();
        self.trace.step(|| format!("clear {topic}"));
        let key = self.store.clear(&topic, &self.keys);
        assert!(key.is_none() || self.list.iter().any(|message| message.topic == topic));
        self.list.retain(|message| message.topic != topic);
    }

    fn look_up(&mut self) {
        let mut levels = self.levels();
        for level in &mut levels {
            if self.random.one_in(3) {
                *level = "+";
            }
        }
        if self.random.one_in(3) {
            levels.push("#");
        }
        let Ok(filter) = TopicFilter::parse(&levels.join("/")) else { return };
        let is_meant = |message: &&Arc<Message>| {
            literal::matches(filter.as_str(), message.topic.as_str()) && !message.is_expired(self.now)
        };
        let mut expected: Vec<Arc<Message>> = self.list.iter().filter(is_meant).cloned().collect();
        let mut found = self.store.matches(&filter, self.now);
        expected.sort_by(|a, b| a.topic.cmp(&b.topic));
        found.sort_by(|a, b| a.topic.cmp(&b.topic));
        assert_eq!(found, expected, "{filter}");
        self.trace.step(|| format!("{filter} finds {}", found.len()));
    }
}

fn run(random: &mut Random, trace: &mut Trace) {
    let limits = Limits {
        retained_messages: 1 + random.below(12),
        retained_bytes: 300 + random.below(4_000),
        ..Limits::default()
    };
    let mut world = World {
        random,
        trace,
        store: RetainedStore::default(),
        keys: StoreKeys::default(),
        list: Vec::new(),
        limits,
        now: Timestamp::MIN,
    };
    for _ in 0..STEPS {
        world.step();
    }
}

#[test]
fn retained_messages_are_those_of_a_list() {
    seed::run("retained::retained_messages_are_those_of_a_list", 200, run);
}

#[test]
fn the_same_seed_takes_the_same_steps() {
    seed::run_twice(run);
}
