//! The one packet type between the broker and the codecs of both versions.
//!
//! What only 5.0 has are fields that a packet of 3.1.1 leaves empty. Field names follow chapter 3 of the
//! specifications. A PUBLISH borrows topic and payload, so that receiving one copies nothing.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;

use crate::{MessageProperties, QoS, ReasonCode, SubscriptionOptions};

/// Identifies an unacknowledged packet of one connection in one direction.
pub type PacketId = NonZeroU16;

/// The version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client begins.
    Connect(Box<Connect>),
    /// The server accepts or refuses.
    ConnectAck(Box<ConnectAck>),
    /// A message.
    Publish(Publish<'a>),
    /// Acknowledges QoS 1.
    PublishAck(Ack),
    /// QoS 2, first answer.
    PublishReceived(Ack),
    /// QoS 2, third packet.
    PublishRelease(Ack),
    /// QoS 2, the end.
    PublishComplete(Ack),
    /// A client wants messages.
    Subscribe(Subscribe),
    /// Answers SUBSCRIBE.
    SubscribeAck(SubscribeAck),
    /// A client does not want them any more.
    Unsubscribe(Unsubscribe),
    /// Answers UNSUBSCRIBE.
    UnsubscribeAck(UnsubscribeAck),
    /// A client is alive.
    PingRequest,
    /// The server is alive.
    PingResponse,
    /// The end, with a reason in 5.0.
    Disconnect(Disconnect),
    /// A step of an enhanced authentication, 5.0 only.
    Auth(Box<Auth>),
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The version of the packet.
    pub version: ProtocolVersion,
    /// Clean start, or clean session in 3.1.1.
    pub clean_start: bool,
    /// Seconds; 0: none.
    pub keep_alive: u16,
    /// Empty when the server shall choose.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password; any bytes.
    pub password: Option<Bytes>,
    /// What to publish when the connection breaks.
    pub will: Option<WillRequest>,
    /// Seconds that the session outlives the connection.
    pub session_expiry: u32,
    /// Messages of QoS 1 and 2 that the client accepts at a time; 65,535 when it said nothing.
    pub receive_maximum: u16,
    /// The largest packet that the client accepts.
    pub maximum_packet_size: Option<u32>,
    /// How many topic aliases the client accepts.
    pub topic_alias_maximum: u16,
    /// Enhanced authentication.
    pub authentication_method: Option<String>,
}

/// The will of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillRequest {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// How.
    pub qos: QoS,
    /// Whether to keep it.
    pub retain: bool,
    /// Seconds to wait for the client to come back.
    pub delay: u32,
    /// Seconds until nobody wants it.
    pub message_expiry: Option<u32>,
    /// 5.0 only.
    pub properties: Option<Arc<MessageProperties>>,
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectAck {
    /// Whether a stored session goes on.
    pub session_present: bool,
    /// Success or why not.
    pub reason: ReasonCode,
    /// Seconds that the session outlives the connection, where this differs from what was asked for.
    pub session_expiry: Option<u32>,
    /// Messages of QoS 1 and 2 that the server accepts at a time.
    pub receive_maximum: u16,
    /// The highest QoS the server accepts.
    pub maximum_qos: QoS,
    /// Whether retained messages work.
    pub retain_available: bool,
    /// The largest packet the server accepts.
    pub maximum_packet_size: Option<u32>,
    /// The client id that the server chose.
    pub assigned_client_id: Option<String>,
    /// How many topic aliases the server accepts.
    pub topic_alias_maximum: u16,
    /// Whether subscription identifiers work.
    pub subscription_identifiers_available: bool,
    /// Whether shared subscriptions work.
    pub shared_subscriptions_available: bool,
    /// The keep-alive in seconds, where the server wants another one than the client.
    pub server_keep_alive: Option<u16>,
    /// For people.
    pub reason_string: Option<String>,
}

impl Default for ConnectAck {
    /// Success, with the values that 5.0 assumes where nothing is said.
    fn default() -> Self {
        Self {
            session_present: false,
            reason: ReasonCode::Success,
            session_expiry: None,
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            subscription_identifiers_available: true,
            shared_subscriptions_available: true,
            server_keep_alive: None,
            reason_string: None,
        }
    }
}

/// PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// It may have been sent before.
    pub dup: bool,
    /// How.
    pub qos: QoS,
    /// Keep it, or: it was kept.
    pub retain: bool,
    /// Where; empty when only an alias is given.
    pub topic: &'a str,
    /// For QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// What.
    pub payload: &'a [u8],
    /// A number in place of the topic, this time and later.
    pub topic_alias: Option<u16>,
    /// Seconds until nobody wants it.
    pub message_expiry: Option<u32>,
    /// Which subscriptions it was sent for.
    pub subscription_ids: &'a [NonZeroU32],
    /// What is passed on to subscribers as it came.
    pub properties: Option<Arc<MessageProperties>>,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub packet_id: PacketId,
    /// Success or why not.
    pub reason: ReasonCode,
    /// For people.
    pub reason_string: Option<Box<str>>,
}

impl Ack {
    /// Success.
    pub fn success(packet_id: PacketId) -> Self {
        Self { packet_id, reason: ReasonCode::Success, reason_string: None }
    }

    /// A reason without words.
    pub fn with(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, reason_string: None }
    }
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// For the answer.
    pub packet_id: PacketId,
    /// A number that comes with every message sent for these subscriptions.
    pub identifier: Option<NonZeroU32>,
    /// What is asked for; at least one.
    pub requests: Vec<SubscribeRequest>,
}

/// One line of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The filter as it came.
    pub filter: String,
    /// How.
    pub options: SubscriptionOptions,
}

/// SUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeAck {
    /// That of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each request.
    pub reasons: Vec<ReasonCode>,
}

/// UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// For the answer.
    pub packet_id: PacketId,
    /// The filters as they came; at least one.
    pub filters: Vec<String>,
}

/// UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeAck {
    /// That of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter; 3.1.1 does not send them.
    pub reasons: Vec<ReasonCode>,
}

/// DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: ReasonCode,
    /// A new session expiry, from the client only.
    pub session_expiry: Option<u32>,
    /// For people.
    pub reason_string: Option<String>,
}

/// AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Which step.
    pub reason: ReasonCode,
    /// How.
    pub method: Option<String>,
    /// What.
    pub data: Option<Bytes>,
}
