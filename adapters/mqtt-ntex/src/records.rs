//! What storage keeps of the broker's things, and the things again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_domain::{Invalid, Principal, TenantId, TopicFilter, TopicName};
use pocket_mqtt_core::{
    Client as Owner, ClientId, Delivery, GroupName, LeftDelivery, LeftSession, Message, MessageProperties, PacketId,
    QoS, RetainHandling, SessionChange, StoreKey, StoredAs, Subscription, SubscriptionOptions, Will,
};
use pocket_ports::{
    BrokerChange, BrokerKey, DeliveryRecord, MessageRecord, Progress, StoredSession, SubscriptionRecord,
};
use serde::{Deserialize, Serialize};

/// The properties of 5.0, as JSON.
#[derive(Serialize, Deserialize, Default)]
struct Properties {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    utf8: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_topic: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_data: Option<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user: Vec<(Box<str>, Box<str>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<Publisher>,
}

/// Who published a retained message: a device or a person.
#[derive(Serialize, Deserialize)]
struct Publisher {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    client_id: Box<str>,
}

/// A will, as JSON. Times are seconds.
#[derive(Serialize, Deserialize)]
struct WillText {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    delay: u64,
    expiry: Option<u64>,
    properties: Option<Properties>,
}

fn text_of(properties: &MessageProperties) -> Properties {
    Properties {
        utf8: properties.payload_is_utf8,
        content_type: properties.content_type.clone(),
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.as_ref().map(|data| data.to_vec()),
        user: properties.user_properties.clone(),
        publisher: None,
    }
}

fn properties_of(text: Properties) -> Arc<MessageProperties> {
    Arc::new(MessageProperties {
        payload_is_utf8: text.utf8,
        content_type: text.content_type,
        response_topic: text.response_topic,
        correlation_data: text.correlation_data.map(Bytes::from),
        user_properties: text.user,
    })
}

fn bytes_of(value: &impl Serialize) -> Box<[u8]> {
    serde_json::to_vec(value).expect("text and numbers are JSON").into()
}

fn not_understood<E: std::fmt::Display>(error: E) -> Invalid {
    tracing::debug!(%error, "a stored text cannot be read");
    Invalid::new("broker state", "is from another version of this program")
}

fn qos(number: u8) -> Result<QoS, Invalid> {
    QoS::ALL.into_iter().find(|qos| qos.index() == usize::from(number)).ok_or_else(|| not_understood("qos"))
}

/// A QoS as storage has it.
fn level(qos: QoS) -> u8 {
    match qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 1,
        QoS::ExactlyOnce => 2,
    }
}

/// A message under a key.
pub(crate) fn message_record(key: StoreKey, message: &Message) -> MessageRecord {
    MessageRecord {
        key,
        topic: message.topic.clone(),
        payload: message.payload.clone(),
        qos: level(message.qos),
        retain: message.retain,
        expires_at: message.expires_at,
        properties: message.properties.as_deref().map(|properties| bytes_of(&text_of(properties))),
    }
}

/// A message that is retained.
pub(crate) fn retained_record(key: StoreKey, message: &Message, publisher: Option<&Owner>) -> MessageRecord {
    let Some(publisher) = publisher.and_then(publisher_text) else { return message_record(key, message) };
    let text = message.properties.as_deref().map(text_of).unwrap_or_default();
    let properties = bytes_of(&Properties { publisher: Some(publisher), ..text });
    MessageRecord { properties: Some(properties), ..message_record(key, message) }
}

fn publisher_text(owner: &Owner) -> Option<Publisher> {
    let (device, person) = match owner.principal {
        Principal::Device(device) => (Some(device.to_string()), None),
        Principal::User(person) => (None, Some(person.to_string())),
        Principal::Host => return None,
    };
    Some(Publisher { device, person, client_id: owner.client_id.as_str().into() })
}

fn publisher(tenant_id: TenantId, text: &Publisher) -> Result<Owner, Invalid> {
    let principal = match (&text.device, &text.person) {
        (Some(device), _) => Principal::Device(device.parse()?),
        (None, Some(person)) => Principal::User(person.parse()?),
        (None, None) => return Err(not_understood("a publisher without a name")),
    };
    Ok(Owner { tenant_id, principal, client_id: ClientId::parse(&text.client_id)? })
}

/// A retained message of a tenant, with its publisher.
pub(crate) fn retained(tenant_id: TenantId, record: &MessageRecord) -> Result<(Message, Option<Owner>), Invalid> {
    let text = properties_text(record)?;
    let publisher = text.and_then(|text| text.publisher).map(|text| publisher(tenant_id, &text)).transpose()?;
    Ok((message(record)?, publisher))
}

fn properties_text(record: &MessageRecord) -> Result<Option<Properties>, Invalid> {
    record.properties.as_deref().map(serde_json::from_slice).transpose().map_err(not_understood)
}

/// The message of a record.
pub(crate) fn message(record: &MessageRecord) -> Result<Message, Invalid> {
    let properties = properties_text(record)?.map(properties_of);
    Ok(Message {
        topic: record.topic.clone(),
        payload: record.payload.clone(),
        qos: qos(record.qos)?,
        retain: record.retain,
        properties: properties.filter(|properties| **properties != MessageProperties::default()),
        expires_at: record.expires_at,
    })
}

/// A delivery to a session; `None` when it is not stored.
pub(crate) fn delivery_record(session: StoreKey, delivery: &Delivery) -> Option<DeliveryRecord> {
    Some(DeliveryRecord {
        key: delivery.stored?.delivery,
        session,
        qos: level(delivery.qos),
        retain: delivery.retain,
        identifiers: delivery.identifiers.clone(),
        group: delivery.group.as_ref().map(|group| group.as_str().into()),
    })
}

/// A will as bytes.
pub(crate) fn will_bytes(will: &Will) -> Box<[u8]> {
    let Will { message, delay, expiry } = will;
    bytes_of(&WillText {
        topic: message.topic.as_str().to_owned(),
        payload: message.payload.to_vec(),
        qos: level(message.qos),
        retain: message.retain,
        delay: delay.as_secs(),
        expiry: expiry.map(|expiry| expiry.as_secs()),
        properties: message.properties.as_deref().map(text_of),
    })
}

/// The will of bytes.
pub(crate) fn will(bytes: &[u8]) -> Result<Will, Invalid> {
    let text: WillText = serde_json::from_slice(bytes).map_err(not_understood)?;
    let message = Message {
        topic: TopicName::parse(&text.topic)?,
        payload: Bytes::from(text.payload),
        qos: qos(text.qos)?,
        retain: text.retain,
        properties: text.properties.map(properties_of),
        expires_at: None,
    };
    Ok(Will { message, delay: Duration::from_secs(text.delay), expiry: text.expiry.map(Duration::from_secs) })
}

/// A change of a session.
pub(crate) fn change(session: StoreKey, change: SessionChange) -> BrokerChange {
    match change {
        SessionChange::Subscribed(subscription) => {
            BrokerChange::Subscribed(session, subscription_record(&subscription))
        }
        SessionChange::Unsubscribed(filter, group) => {
            BrokerChange::Unsubscribed(session, filter.as_str().into(), group.map(|group| group.as_str().into()))
        }
        SessionChange::Received(packet_id) => BrokerChange::Received(session, packet_id.get()),
        SessionChange::Completed(packet_id) => BrokerChange::Completed(session, packet_id.get()),
        SessionChange::Progressed { delivery, packet_id, released } => {
            BrokerChange::Progressed(delivery, Progress { packet_id: packet_id.get(), released })
        }
        SessionChange::Delivered(stored) => delivered(stored),
    }
}

/// A delivery is over.
pub(crate) fn delivered(stored: StoredAs) -> BrokerChange {
    BrokerChange::Delivered { delivery: stored.delivery, message: stored.message }
}

/// The options byte of SUBSCRIBE, section 3.8.3.1 of 5.0.
fn subscription_record(subscription: &Subscription) -> SubscriptionRecord {
    let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } = subscription.options;
    let handling = match retain_handling {
        RetainHandling::AtSubscribe => 0,
        RetainHandling::AtSubscribeNew => 1,
        RetainHandling::Never => 2,
    };
    SubscriptionRecord {
        filter: subscription.filter.as_str().into(),
        group: subscription.group.as_ref().map(|group| group.as_str().into()),
        options: level(qos) | u8::from(no_local) << 2 | u8::from(retain_as_published) << 3 | handling << 4,
        identifier: subscription.identifier,
    }
}

fn subscription(record: &SubscriptionRecord) -> Result<Subscription, Invalid> {
    let options = SubscriptionOptions {
        qos: qos(record.options & 0b11)?,
        no_local: record.options & 0b100 != 0,
        retain_as_published: record.options & 0b1000 != 0,
        retain_handling: match record.options >> 4 {
            0 => RetainHandling::AtSubscribe,
            1 => RetainHandling::AtSubscribeNew,
            _ => RetainHandling::Never,
        },
    };
    Ok(Subscription {
        filter: TopicFilter::parse(&record.filter)?,
        group: record.group.as_deref().map(GroupName::parse).transpose()?,
        options,
        identifier: record.identifier,
    })
}

/// Messages that were read, by their keys.
pub(crate) type Messages = HashMap<BrokerKey, Arc<Message>>;

/// A session as it was left.
///
/// `messages` has those of other sessions: one that waits for thousands is there once.
pub(crate) fn left_session(stored: &StoredSession, messages: &mut Messages) -> Result<LeftSession, Invalid> {
    let deliveries = stored.deliveries.iter().map(|(record, content, progress)| {
        let message = match messages.get(&content.key) {
            Some(message) => Arc::clone(message),
            None => Arc::clone(messages.entry(content.key).or_insert(Arc::new(message(content)?))),
        };
        let delivery = Delivery {
            message,
            qos: qos(record.qos)?,
            retain: record.retain,
            identifiers: record.identifiers.clone(),
            group: record.group.as_deref().map(GroupName::parse).transpose()?,
            stored: Some(StoredAs { delivery: record.key, message: content.key }),
        };
        let progress = progress.and_then(|progress| Some((PacketId::new(progress.packet_id)?, progress.released)));
        Ok(LeftDelivery { delivery, progress })
    });
    Ok(LeftSession {
        key: stored.session.key,
        subscriptions: stored.subscriptions.iter().map(subscription).collect::<Result<_, Invalid>>()?,
        received: stored.received.iter().copied().filter_map(PacketId::new).collect(),
        deliveries: deliveries.collect::<Result<_, Invalid>>()?,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use pocket_domain::{DeviceId, Timestamp, UserId};

    use super::*;

    fn a_message() -> Message {
        let properties = MessageProperties {
            payload_is_utf8: Some(true),
            content_type: Some("text/plain".into()),
            response_topic: Some("r".into()),
            correlation_data: Some(Bytes::from_static(b"\0\xff")),
            user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        };
        Message {
            topic: TopicName::parse("Grüße/x").unwrap(),
            payload: Bytes::from_static(b"\0\xff"),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: Some(Arc::new(properties)),
            expires_at: Some(Timestamp::MIN),
        }
    }

    #[test]
    fn a_message_and_a_will_come_back_as_they_were() {
        let record = message_record(StoreKey::MIN, &a_message());
        assert_eq!(message(&record), Ok(a_message()));
        let bare = Message { properties: None, expires_at: None, qos: QoS::AtMostOnce, ..a_message() };
        assert_eq!(message(&message_record(StoreKey::MIN, &bare)), Ok(bare));
        let a_will = Will {
            message: Message { expires_at: None, ..a_message() },
            delay: Duration::from_secs(5),
            expiry: Some(Duration::from_secs(9)),
        };
        assert_eq!(will(&will_bytes(&a_will)), Ok(a_will));
        assert!(will(b"{}").is_err());
    }

    #[test]
    fn a_retained_message_comes_back_with_its_publisher() {
        let tenant_id = TenantId::new(Timestamp::MIN, [1; 10]);
        let device = Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10]));
        let person = Principal::User(UserId::new(Timestamp::MIN, [3; 10]));
        for message in [a_message(), Message { properties: None, ..a_message() }] {
            for principal in [device, person] {
                let owner = Owner { tenant_id, principal, client_id: ClientId::parse("c\"1").unwrap() };
                let record = retained_record(StoreKey::MIN, &message, Some(&owner));
                assert_eq!(retained(tenant_id, &record), Ok((message.clone(), Some(owner))));
            }
            let record = retained_record(StoreKey::MIN, &message, None);
            assert_eq!(retained(tenant_id, &record), Ok((message.clone(), None)));
        }
    }

    #[test]
    fn a_subscription_comes_back_as_it_was() {
        for retain_handling in [RetainHandling::AtSubscribe, RetainHandling::AtSubscribeNew, RetainHandling::Never] {
            for (qos, no_local, retain_as_published) in
                [(QoS::AtMostOnce, true, false), (QoS::AtLeastOnce, false, true), (QoS::ExactlyOnce, true, true)]
            {
                let held = Subscription {
                    filter: TopicFilter::parse("a/+/#").unwrap(),
                    group: Some(GroupName::parse("g").unwrap()),
                    options: SubscriptionOptions { qos, no_local, retain_as_published, retain_handling },
                    identifier: NonZeroU32::new(7),
                };
                assert_eq!(subscription(&subscription_record(&held)), Ok(held));
            }
        }
    }
}
