//! Numbers that a client uses in place of topics, 5.0 only.

use pocket_domain::TopicName;

use crate::ReasonCode;

/// The aliases that a client set on its connection. They end with the connection.
#[derive(Debug, Default)]
pub(crate) struct TopicAliases {
    topics: Vec<Option<TopicName>>,
}

impl TopicAliases {
    /// Whether an alias stands for this topic already.
    pub(crate) fn holds(&self, alias: u16, topic: &TopicName) -> bool {
        let place = usize::from(alias).checked_sub(1);
        place.and_then(|place| self.topics.get(place)).is_some_and(|held| held.as_ref() == Some(topic))
    }

    /// Remembers a topic. Returns the one before, when it is another.
    pub(crate) fn set(&mut self, alias: u16, topic: TopicName, maximum: u16) -> Result<Option<TopicName>, ReasonCode> {
        let place = place(alias, maximum)?;
        if self.topics.len() <= place {
            self.topics.resize(place + 1, None);
        }
        let is_other = self.topics[place].as_ref() != Some(&topic);
        Ok(self.topics[place].replace(topic).filter(|_| is_other))
    }

    /// The topic of an alias.
    pub(crate) fn get(&self, alias: u16, maximum: u16) -> Result<&TopicName, ReasonCode> {
        let topic = self.topics.get(place(alias, maximum)?);
        // Section 3.3.4: an alias without a topic is a protocol error
        topic.and_then(Option::as_ref).ok_or(ReasonCode::ProtocolError)
    }
}

/// Where the topic of an alias stands. [MQTT-3.3.2-8] [MQTT-3.3.2-9] An alias is never 0, never above the announced maximum.
fn place(alias: u16, maximum: u16) -> Result<usize, ReasonCode> {
    if (1..=maximum).contains(&alias) { Ok(usize::from(alias) - 1) } else { Err(ReasonCode::TopicAliasInvalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_its_latest_topic() {
        let mut aliases = TopicAliases::default();
        let topic = |text| TopicName::parse(text).unwrap();
        aliases.set(2, topic("a"), 2).unwrap();
        aliases.set(2, topic("b"), 2).unwrap();
        assert_eq!(aliases.get(2, 2), Ok(&topic("b")));
        assert_eq!(aliases.get(1, 2), Err(ReasonCode::ProtocolError));
    }

    #[test]
    fn an_alias_has_two_bounds() {
        let mut aliases = TopicAliases::default();
        let topic = TopicName::parse("a").unwrap();
        for alias in [0, 3] {
            assert_eq!(aliases.set(alias, topic.clone(), 2), Err(ReasonCode::TopicAliasInvalid));
            assert_eq!(aliases.get(alias, 2), Err(ReasonCode::TopicAliasInvalid));
        }
    }
}
