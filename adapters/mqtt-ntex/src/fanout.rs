//! One message to many clients of one worker: what they can share is made once.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ntex::util::Bytes as NtexBytes;
use pocket_domain::{TenantId, Timestamp, TopicName};
use pocket_mqtt_core::{Delivery, GroupName, Inbound, Match, Message, Packet, ProtocolVersion, Publish, QoS, StoredAs};

use crate::client::Client;
use crate::subscriber::SubscriberId;

/// A message that is being delivered.
pub(crate) struct Fanout<'a> {
    tenant: TenantId,
    topic: &'a TopicName,
    now: Timestamp,
    /// The message as a PUBLISH of QoS 0.
    plain: Publish<'a>,
    qos: QoS,
    retain: bool,
    expires_at: Option<Timestamp>,
    message: OnceCell<Arc<Message>>,
    encoded: [OnceCell<Option<NtexBytes>>; 2],
}

impl<'a> Fanout<'a> {
    /// Of a message that was just read. Nothing is copied unless a subscriber needs it.
    pub(crate) fn of_inbound(tenant: TenantId, inbound: &'a Inbound<'a>, now: Timestamp) -> Self {
        Self {
            tenant,
            topic: &inbound.topic,
            now,
            plain: Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: inbound.topic.as_str(),
                packet_id: None,
                payload: inbound.payload,
                topic_alias: None,
                message_expiry: inbound.message_expiry,
                subscription_ids: &[],
                properties: inbound.properties.clone(),
            },
            qos: inbound.qos,
            retain: inbound.retain,
            expires_at: inbound.message_expiry.map(|seconds| Message::expiry(now, Duration::from_secs(seconds.into()))),
            message: OnceCell::new(),
            encoded: Default::default(),
        }
    }

    /// Of a message that came from elsewhere.
    pub(crate) fn of_message(tenant: TenantId, message: &'a Arc<Message>, now: Timestamp) -> Self {
        Self {
            tenant,
            topic: &message.topic,
            now,
            plain: publish(message, now),
            qos: message.qos,
            retain: message.retain,
            expires_at: message.expires_at,
            message: OnceCell::from(Arc::clone(message)),
            encoded: Default::default(),
        }
    }

    /// In whose part of the broker it was published.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Where it was published.
    pub(crate) fn topic(&self) -> &TopicName {
        self.topic
    }

    /// When it is delivered.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Bytes of its payload.
    pub(crate) fn payload_len(&self) -> usize {
        self.plain.payload.len()
    }

    /// The QoS at which it was published.
    pub(crate) fn qos(&self) -> QoS {
        self.qos
    }

    /// The QoS at which a subscriber gets it.
    pub(crate) fn qos_for(&self, found: &Match<SubscriberId>) -> QoS {
        // [MQTT-3.8.4-8] the lower of the two
        self.qos.min(found.qos)
    }

    /// The retain flag that a subscriber sees.
    fn retain_for(&self, found: &Match<SubscriberId>) -> bool {
        // [MQTT-3.3.1-12] [MQTT-3.3.1-13] 0 unless the subscription wants it as published
        self.retain && found.retain_as_published
    }

    /// The message to keep; copied on the first call.
    pub(crate) fn message(&self) -> &Arc<Message> {
        self.message.get_or_init(|| {
            Arc::new(Message {
                topic: self.topic.clone(),
                payload: Bytes::copy_from_slice(self.plain.payload),
                qos: self.qos,
                retain: self.retain,
                properties: self.plain.properties.clone(),
                expires_at: self.expires_at,
            })
        })
    }

    /// The message for one subscriber's queue.
    pub(crate) fn delivery(
        &self,
        found: &Match<SubscriberId>,
        group: Option<&GroupName>,
        stored: Option<StoredAs>,
    ) -> Delivery {
        Delivery {
            message: Arc::clone(self.message()),
            qos: self.qos_for(found),
            retain: self.retain_for(found),
            identifiers: found.identifiers.clone(),
            group: group.cloned(),
            stored,
        }
    }

    /// The PUBLISH of QoS 0 for one subscriber.
    pub(crate) fn plain_for<'b>(&'b self, found: &'b Match<SubscriberId>) -> Publish<'b> {
        let retain = self.retain_for(found);
        Publish { retain, subscription_ids: &found.identifiers, ..self.plain.clone() }
    }

    /// The bytes that all subscribers of QoS 0 and of one version share; `None` for one whose packet differs.
    pub(crate) fn shared_bytes(&self, client: &Client, found: &Match<SubscriberId>) -> Option<NtexBytes> {
        if !found.identifiers.is_empty() || client.maximum_packet_size.is_some() || self.retain_for(found) {
            return None;
        }
        let place = usize::from(client.wire.version() == Some(ProtocolVersion::V5));
        let encode = || client.wire.bytes(Packet::Publish(self.plain.clone()));
        self.encoded[place].get_or_init(encode).clone()
    }
}

/// A message as a PUBLISH of QoS 0 that leaves now.
pub(crate) fn publish(message: &Message, now: Timestamp) -> Publish<'_> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: message.topic.as_str(),
        packet_id: None,
        payload: &message.payload,
        topic_alias: None,
        message_expiry: message.remaining_expiry(now),
        subscription_ids: &[],
        properties: message.properties.clone(),
    }
}
