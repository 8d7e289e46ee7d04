//! A message on its way from one publisher to many subscribers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_domain::{Timestamp, TopicName};

use crate::QoS;

/// What a publisher may say about a payload in 5.0, passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// Whether the payload is said to be UTF-8, if anything is said.
    pub payload_is_utf8: Option<bool>,
    /// MIME type or whatever the clients agreed on.
    pub content_type: Option<Box<str>>,
    /// Where an answer is expected.
    pub response_topic: Option<Box<str>>,
    /// Which request an answer belongs to.
    pub correlation_data: Option<Bytes>,
    /// Names and values, in order; names may repeat.
    pub user_properties: Vec<(Box<str>, Box<str>)>,
}

impl MessageProperties {
    /// Whether they say that a payload is UTF-8 which is not.
    pub(crate) fn misdeclare(&self, payload: &[u8]) -> bool {
        self.payload_is_utf8 == Some(true) && std::str::from_utf8(payload).is_err()
    }
}

/// An accepted message. Shared between all who will get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// What was published.
    pub payload: Bytes,
    /// How it was published.
    pub qos: QoS,
    /// Whether it was published as retained.
    pub retain: bool,
    /// 5.0 only.
    pub properties: Option<Arc<MessageProperties>>,
    /// After this moment nobody wants it any more.
    pub expires_at: Option<Timestamp>,
}

impl Message {
    /// How long a message of expiry 0 may take from its publisher to those who are connected.
    pub const HANDOVER: Duration = Duration::from_millis(250);

    /// When a message expires that is published now and wanted for so long. One that is wanted for no time at all is for
    /// those who are connected: it lives as long as the way to them takes.
    pub fn expiry(now: Timestamp, interval: Duration) -> Timestamp {
        now.plus(interval.max(Self::HANDOVER))
    }

    /// Whether its time is so short that it is not worth keeping for a client that is away.
    pub fn is_passing(&self, now: Timestamp) -> bool {
        self.is_expired(now.plus(Self::HANDOVER))
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The seconds it still has for a PUBLISH that leaves now; `None` when it never expires. Rounded up, except at the very
    /// end, so that an expiry of 0 stays 0.
    pub fn remaining_expiry(&self, now: Timestamp) -> Option<u32> {
        // [MQTT-3.3.2-6] the interval sent is the one received minus the time it waited here
        let left = self.expires_at?.since(now).saturating_sub(Self::HANDOVER);
        Some(u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiring(at: Timestamp) -> Message {
        Message {
            topic: TopicName::parse("t").unwrap(),
            payload: Bytes::from_static(b"{}"),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: Some(at),
        }
    }

    #[test]
    fn an_expiry_of_0_lasts_for_the_way_to_those_who_are_connected() {
        let now = Timestamp::from_millis(1_000_000).unwrap();
        let message = expiring(Message::expiry(now, Duration::ZERO));
        assert_eq!(message.remaining_expiry(now), Some(0));
        assert!(!message.is_expired(now) && message.is_passing(now));
        assert!(message.is_expired(now.plus(Message::HANDOVER)));
        let longer = expiring(Message::expiry(now, Duration::from_secs(1)));
        assert_eq!(longer.remaining_expiry(now), Some(1));
        assert!(!longer.is_passing(now));
    }

    #[test]
    fn the_expiry_is_counted_down() {
        let now = Timestamp::from_millis(1_000_000).unwrap();
        let message = expiring(now.plus(Duration::from_secs(10)));
        assert_eq!(message.remaining_expiry(now), Some(10));
        assert_eq!(message.remaining_expiry(now.plus(Duration::from_millis(1_500))), Some(9));
        assert!(!message.is_expired(now.plus(Duration::from_millis(9_999))));
        assert!(message.is_expired(now.plus(Duration::from_secs(10))));
        assert_eq!(Message { expires_at: None, ..message }.remaining_expiry(now), None);
    }
}
