//! Where the keys of a question are in the payloads of each topic, as the rules of the tenant say.
//!
//! Without rules nothing is looked up: all topics have the keys themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use pocket_domain::{AggregateQuery, LeafPath, TopicName};

/// The path of each key of the question, in their order.
pub(super) type Paths = Arc<[LeafPath]>;

/// The paths of topics that were met.
pub(super) struct KeyPaths {
    query: Arc<AggregateQuery>,
    /// Those of topics that no rule changes.
    plain: Paths,
    /// Those of topics that were looked at, each list once.
    of_topics: HashMap<i64, Paths>,
    lists: HashSet<Paths>,
}

impl KeyPaths {
    pub(super) fn new(query: &Arc<AggregateQuery>) -> Self {
        let plain: Paths = query.keys.as_slice().into();
        let lists = HashSet::from([Arc::clone(&plain)]);
        Self { query: Arc::clone(query), plain, of_topics: HashMap::new(), lists }
    }

    /// Those of the topics whose names have to be known before their points are taken.
    pub(super) fn unknown(&self, topics: impl Iterator<Item = i64>) -> HashSet<i64> {
        if self.query.rules.is_empty() {
            return HashSet::new();
        }
        topics.filter(|topic| !self.of_topics.contains_key(topic)).collect()
    }

    /// Takes names of topics.
    pub(super) fn learn(&mut self, names: &HashMap<i64, TopicName>) {
        for (topic, name) in names {
            let paths: Paths = self.query.keys.iter().map(|key| self.query.rules.path_in(name.as_str(), key)).collect();
            let paths = self.lists.get(&paths).unwrap_or(&paths).clone();
            self.lists.insert(Arc::clone(&paths));
            self.of_topics.insert(*topic, paths);
        }
    }

    /// The paths in payloads of a topic.
    pub(super) fn of(&self, topic: i64) -> &Paths {
        self.of_topics.get(&topic).unwrap_or(&self.plain)
    }

    /// The topics, those with the same paths together.
    pub(super) fn parts(&self, topics: impl Iterator<Item = i64>) -> BTreeMap<&Paths, Vec<i64>> {
        let mut parts: BTreeMap<&Paths, Vec<i64>> = BTreeMap::new();
        for topic in topics {
            parts.entry(self.of(topic)).or_default().push(topic);
        }
        parts
    }
}
