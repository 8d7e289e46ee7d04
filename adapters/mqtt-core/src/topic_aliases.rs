//! Numbers that a client uses in place of topics, 5.0 only.

use pocket_domain::TopicName;

/// The aliases that a client set on its connection. They end with the connection.
#[derive(Debug, Default)]
pub(crate) struct TopicAliases {
    topics: Vec<Option<TopicName>>,
}

impl TopicAliases {
    /// Remembers a topic; `false` when the alias is 0 or above the maximum.
    pub(crate) fn set(&mut self, alias: u16, topic: TopicName, maximum: u16) -> bool {
        // [MQTT-3.3.2-8] [MQTT-3.3.2-9] never 0, never above the announced maximum
        if alias == 0 || alias > maximum {
            return false;
        }
        let place = usize::from(alias) - 1;
        if self.topics.len() <= place {
            self.topics.resize(place + 1, None);
        }
        self.topics[place] = Some(topic);
        true
    }

    /// The topic of an alias.
    pub(crate) fn get(&self, alias: u16) -> Option<&TopicName> {
        self.topics.get(usize::from(alias).checked_sub(1)?)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_its_latest_topic() {
        let mut aliases = TopicAliases::default();
        let topic = |text| TopicName::parse(text).unwrap();
        assert!(aliases.set(2, topic("a"), 2));
        assert!(aliases.set(2, topic("b"), 2));
        assert_eq!(aliases.get(2), Some(&topic("b")));
        assert_eq!(aliases.get(1), None);
        assert_eq!(aliases.get(0), None);
    }

    #[test]
    fn an_alias_has_two_bounds() {
        let mut aliases = TopicAliases::default();
        let topic = TopicName::parse("a").unwrap();
        assert!(!aliases.set(0, topic.clone(), 2));
        assert!(!aliases.set(3, topic, 2));
    }
}
