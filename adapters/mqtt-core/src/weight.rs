//! What the things weigh that clients make the broker keep.
//!
//! All quotas of bytes count with these figures: text and payload by their bytes, and for everything that surrounds them
//! (structures, places in maps and queues, headers and rounding of the allocator) a fixed number that was measured. Resident
//! memory stays below three times the sum, whatever the shape.

use crate::{Message, MessageProperties};

/// Header and rounding of one allocation.
pub(crate) const ALLOCATION: usize = 24;
/// A message in a queue, in a window or among the retained ones, without its texts.
const MESSAGE: usize = 320;
/// Properties of a message, without their texts.
const PROPERTIES: usize = 160;
/// A user property, without its texts.
const USER_PROPERTY: usize = 32 + 2 * ALLOCATION;
/// A session without what it holds: its entries in the tables of the broker, and the state of both directions.
pub(crate) const SESSION: usize = 1_536;
/// A subscription, without its texts and its nodes in the tree.
pub(crate) const SUBSCRIPTION: usize = 384;
/// A node in the tree of filters.
pub(crate) const NODE: usize = 192;
/// The packet id of a message of QoS 2 that a client sent and did not release.
pub(crate) const PACKET_ID: usize = 16;
/// A topic alias, without its topic.
pub(crate) const ALIAS: usize = 64;

impl Message {
    /// The bytes that it takes in a queue or among the retained messages: payload, topic, properties, and what surrounds
    /// them.
    pub fn weight(&self) -> usize {
        let properties = self.properties.as_deref().map_or(0, MessageProperties::weight);
        MESSAGE + self.payload.len() + self.topic.as_str().len() + properties
    }
}

impl MessageProperties {
    /// The bytes that they take.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let data = self.correlation_data.as_ref().map_or(0, |data| data.len());
        let pairs = self.user_properties.iter().map(|(name, value)| USER_PROPERTY + name.len() + value.len());
        PROPERTIES + text(&self.content_type) + text(&self.response_topic) + data + pairs.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use pocket_domain::TopicName;

    use super::*;
    use crate::QoS;

    fn message(properties: Option<MessageProperties>) -> Message {
        Message {
            topic: TopicName::parse("a/b").unwrap(),
            payload: Bytes::from_static(b"12345"),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: properties.map(Arc::new),
            expires_at: None,
        }
    }

    #[test]
    fn every_byte_that_a_client_can_send_weighs_something() {
        let plain = message(None).weight();
        assert_eq!(plain, MESSAGE + 8);
        let text = |len: usize| Some("x".repeat(len).into_boxed_str());
        for properties in [
            MessageProperties { content_type: text(1_000), ..Default::default() },
            MessageProperties { response_topic: text(1_000), ..Default::default() },
            MessageProperties { correlation_data: Some(Bytes::from(vec![0; 1_000])), ..Default::default() },
            MessageProperties { user_properties: vec![(text(500).unwrap(), text(500).unwrap())], ..Default::default() },
        ] {
            assert!(message(Some(properties)).weight() >= plain + 1_000);
        }
        let empty = MessageProperties { user_properties: vec![("".into(), "".into()); 1_000], ..Default::default() };
        assert!(message(Some(empty)).weight() >= plain + 32_000, "empty properties take memory too");
    }
}
