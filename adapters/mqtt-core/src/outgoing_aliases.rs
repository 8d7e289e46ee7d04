//! Numbers in place of topics in messages to a client of 5.0 that accepts them.
//!
//! The first topics that are long enough get the numbers and keep them for the connection: with more topics than
//! numbers, replacing the oldest would name topics anew all the time and save nothing.

use std::collections::HashMap;

use crate::Publish;

/// The aliases that the broker set on one connection.
#[derive(Debug, Default)]
pub struct OutgoingAliases {
    numbers: HashMap<Box<str>, u16>,
    maximum: u16,
}

impl OutgoingAliases {
    /// Bytes that an alias takes in a packet; shorter topics are not worth one.
    const COST: usize = 3;

    /// At most `maximum` of them; 0: none.
    pub(crate) fn new(maximum: u16) -> Self {
        // [MQTT-3.1.2-26] [MQTT-3.1.2-27] never above the client's maximum, and none when it gave none
        Self { numbers: HashMap::new(), maximum }
    }

    /// Whether there are any to use.
    pub fn is_offered(&self) -> bool {
        self.maximum > 0
    }

    /// The message as it is to be sent: with its alias in place of the topic, with both when the alias is new, or as it
    /// is. A new alias counts only after [`was_sent`](Self::was_sent), because the client does not know it before.
    pub fn apply<'a>(&self, publish: Publish<'a>) -> Publish<'a> {
        if self.maximum == 0 || publish.topic.len() <= Self::COST {
            return publish;
        }
        if let Some(number) = self.numbers.get(publish.topic) {
            return Publish { topic: "", topic_alias: Some(*number), ..publish };
        }
        match u16::try_from(self.numbers.len()) {
            Ok(used) if used < self.maximum => Publish { topic_alias: Some(used + 1), ..publish },
            _ => publish,
        }
    }

    /// The client was sent a message with this topic and alias.
    pub fn was_sent(&mut self, topic: &str, alias: Option<u16>) {
        if let (Some(number), false) = (alias, topic.is_empty()) {
            self.numbers.insert(topic.into(), number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QoS;

    fn publish(topic: &str) -> Publish<'_> {
        Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            payload: b"1",
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: None,
        }
    }

    /// Topic and alias of a message as it is sent.
    fn send<'a>(aliases: &mut OutgoingAliases, topic: &'a str) -> (&'a str, Option<u16>) {
        let sent = aliases.apply(publish(topic));
        aliases.was_sent(sent.topic, sent.topic_alias);
        (sent.topic, sent.topic_alias)
    }

    #[test]
    fn the_first_topics_get_the_aliases() {
        let mut aliases = OutgoingAliases::new(2);
        assert_eq!(send(&mut aliases, "boiler/1"), ("boiler/1", Some(1)));
        assert_eq!(send(&mut aliases, "boiler/2"), ("boiler/2", Some(2)));
        assert_eq!(send(&mut aliases, "boiler/3"), ("boiler/3", None));
        assert_eq!(send(&mut aliases, "boiler/1"), ("", Some(1)));
        assert_eq!(send(&mut aliases, "boiler/2"), ("", Some(2)));
    }

    #[test]
    fn a_client_that_accepts_none_gets_none() {
        let mut aliases = OutgoingAliases::new(0);
        assert!(!aliases.is_offered());
        assert_eq!(send(&mut aliases, "boiler/1"), ("boiler/1", None));
    }

    #[test]
    fn a_topic_that_is_no_longer_than_an_alias_gets_none() {
        let mut aliases = OutgoingAliases::new(1);
        assert_eq!(send(&mut aliases, "a/b"), ("a/b", None));
        assert_eq!(send(&mut aliases, "a/bc"), ("a/bc", Some(1)));
    }

    #[test]
    fn an_alias_that_was_not_sent_is_not_known() {
        let mut aliases = OutgoingAliases::new(1);
        assert_eq!(aliases.apply(publish("boiler/1")).topic_alias, Some(1));
        assert_eq!(send(&mut aliases, "boiler/2"), ("boiler/2", Some(1)));
        assert_eq!(send(&mut aliases, "boiler/1"), ("boiler/1", None));
    }
}
