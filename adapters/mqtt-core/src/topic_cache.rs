//! What a connection remembers about the topics it published on last.

use pocket_domain::TopicName;

/// A few topics with what was looked up for them. Devices publish on few topics, again and again: the entry of the last
/// message is found by comparing one string, without a lock and without an allocation.
#[derive(Debug)]
pub struct TopicCache<V> {
    entries: Vec<Entry<V>>,
    latest: usize,
}

#[derive(Debug)]
struct Entry<V> {
    topic: TopicName,
    generation: u64,
    value: V,
}

impl<V> Default for TopicCache<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), latest: 0 }
    }
}

impl<V> TopicCache<V> {
    /// Topics that are remembered; more replace the oldest.
    pub const CAPACITY: usize = 8;

    /// The value of a topic, if it was looked up in this generation.
    pub fn get(&mut self, topic: &str, generation: u64) -> Option<(&TopicName, &V)> {
        let place = self.place(topic)?;
        self.latest = place;
        let entry = &self.entries[place];
        (entry.generation == generation).then_some((&entry.topic, &entry.value))
    }

    /// The parsed form of a topic that was seen before, in whichever generation.
    pub fn name(&self, topic: &str) -> Option<&TopicName> {
        self.place(topic).map(|place| &self.entries[place].topic)
    }

    /// Remembers a value. Returns what is forgotten for it.
    pub fn put(&mut self, topic: TopicName, generation: u64, value: V) -> Option<(TopicName, V)> {
        let entry = Entry { topic, generation, value };
        let before = match self.place(entry.topic.as_str()) {
            Some(place) => Some(std::mem::replace(&mut self.entries[place], entry)),
            None if self.entries.len() < Self::CAPACITY => {
                self.latest = self.entries.len();
                self.entries.push(entry);
                None
            }
            None => {
                self.latest = (self.latest + 1) % Self::CAPACITY;
                Some(std::mem::replace(&mut self.entries[self.latest], entry))
            }
        };
        before.map(|before| (before.topic, before.value))
    }

    fn place(&self, topic: &str) -> Option<usize> {
        let is_it = |entry: &Entry<V>| entry.topic.as_str() == topic;
        if self.entries.get(self.latest).is_some_and(is_it) {
            return Some(self.latest);
        }
        self.entries.iter().position(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    #[test]
    fn a_value_holds_for_its_generation_only() {
        let mut cache = TopicCache::default();
        cache.put(topic("a"), 1, "one");
        assert_eq!(cache.get("a", 1), Some((&topic("a"), &"one")));
        assert_eq!(cache.get("a", 2), None);
        assert_eq!(cache.name("a"), Some(&topic("a")));
        cache.put(topic("a"), 2, "two");
        assert_eq!(cache.get("a", 2), Some((&topic("a"), &"two")));
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let mut cache = TopicCache::default();
        for number in 0..TopicCache::<usize>::CAPACITY * 3 {
            cache.put(topic(&number.to_string()), 1, number);
            assert_eq!(cache.get(&number.to_string(), 1), Some((&topic(&number.to_string()), &number)));
            assert!(cache.entries.len() <= TopicCache::<usize>::CAPACITY);
        }
    }
}
