//! Packets of 5.0 between the codec and the broker.
//!
//! That a client wants no reason strings (request problem information 0) the codec remembers from CONNECT by itself.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use ntex::util::ByteString;
use ntex_mqtt::v5::codec::{self as v5, Decoded, Encoded};
use pocket_mqtt_core::{
    Ack, Auth, Connect, ConnectAck, Disconnect, MessageProperties, Packet, ProtocolVersion, Publish, ReasonCode,
    RetainHandling, Subscribe, SubscribeAck, SubscribeRequest, SubscriptionOptions, Unsubscribe, UnsubscribeAck,
    WillRequest,
};

use crate::properties::Notes;
use crate::reason;
use crate::v3::{encoded_qos, qos};

/// A packet from the codec; `None` for a part of a packet.
pub(crate) fn packet(decoded: &Decoded, notes: Notes) -> Option<Packet<'_>> {
    match decoded {
        Decoded::Publish(publish, payload, _) => Some(Packet::Publish(Publish {
            dup: publish.dup,
            qos: qos(publish.qos),
            retain: publish.retain,
            topic: &publish.topic,
            packet_id: publish.packet_id,
            payload,
            topic_alias: publish.properties.topic_alias.map(u16::from),
            message_expiry: message_expiry(publish.properties.message_expiry_interval, notes),
            subscription_ids: &publish.properties.subscription_ids,
            properties: publish_properties(&publish.properties, notes),
        })),
        Decoded::Packet(packet, _) => Some(control_packet(packet, notes)),
        Decoded::PayloadChunk(..) => None,
    }
}

/// What the codec was shown in place of a message expiry of 0 is that again.
fn message_expiry(seconds: Option<NonZeroU32>, notes: Notes) -> Option<u32> {
    if notes.zero_expiry.is_some() { Some(0) } else { seconds.map(u32::from) }
}

fn control_packet(packet: &v5::Packet, notes: Notes) -> Packet<'static> {
    match packet {
        v5::Packet::Connect(packet) => Packet::Connect(Box::new(connect(packet, notes))),
        v5::Packet::ConnectAck(_) => Packet::ConnectAck(Box::default()),
        v5::Packet::PublishAck(ack) => Packet::PublishAck(publish_ack(ack)),
        v5::Packet::PublishReceived(ack) => Packet::PublishReceived(publish_ack(ack)),
        v5::Packet::PublishRelease(ack) => Packet::PublishRelease(publish_ack2(ack)),
        v5::Packet::PublishComplete(ack) => Packet::PublishComplete(publish_ack2(ack)),
        v5::Packet::Subscribe(packet) => Packet::Subscribe(Subscribe {
            packet_id: packet.packet_id,
            identifier: packet.id,
            requests: packet.topic_filters.iter().map(request).collect(),
        }),
        v5::Packet::SubscribeAck(packet) => {
            Packet::SubscribeAck(SubscribeAck { packet_id: packet.packet_id, reasons: Vec::new() })
        }
        v5::Packet::Unsubscribe(packet) => Packet::Unsubscribe(Unsubscribe {
            packet_id: packet.packet_id,
            filters: packet.topic_filters.iter().map(ToString::to_string).collect(),
        }),
        v5::Packet::UnsubscribeAck(packet) => {
            Packet::UnsubscribeAck(UnsubscribeAck { packet_id: packet.packet_id, reasons: Vec::new() })
        }
        v5::Packet::PingRequest => Packet::PingRequest,
        v5::Packet::PingResponse => Packet::PingResponse,
        v5::Packet::Disconnect(packet) => Packet::Disconnect(Disconnect {
            reason: disconnect_reason(packet.reason_code),
            session_expiry: packet.session_expiry_interval_secs,
            reason_string: packet.reason_string.as_ref().map(ToString::to_string),
        }),
        v5::Packet::Auth(packet) => Packet::Auth(Box::new(Auth {
            reason: match packet.reason_code {
                v5::AuthReasonCode::Success => ReasonCode::Success,
                v5::AuthReasonCode::ContinueAuth => ReasonCode::ContinueAuthentication,
                v5::AuthReasonCode::ReAuth => ReasonCode::ReAuthenticate,
            },
            method: packet.auth_method.as_ref().map(ToString::to_string),
            data: packet.auth_data.as_ref().map(|data| Bytes::copy_from_slice(data)),
        })),
    }
}

fn connect(packet: &v5::Connect, notes: Notes) -> Connect {
    Connect {
        version: ProtocolVersion::V5,
        clean_start: packet.clean_start,
        keep_alive: packet.keep_alive,
        client_id: packet.client_id.to_string(),
        username: packet.username.as_ref().map(ToString::to_string),
        password: packet.password.as_ref().map(|password| Bytes::copy_from_slice(password)),
        will: packet.last_will.as_ref().map(|last_will| will(last_will, notes)),
        session_expiry: packet.session_expiry_interval_secs,
        receive_maximum: packet.receive_max.map_or(u16::MAX, u16::from),
        maximum_packet_size: packet.max_packet_size.map(u32::from),
        topic_alias_maximum: packet.topic_alias_max,
        authentication_method: packet.auth_method.as_ref().map(ToString::to_string),
    }
}

fn will(will: &v5::LastWill, notes: Notes) -> WillRequest {
    let properties = MessageProperties {
        payload_is_utf8: notes.payload_is_utf8,
        content_type: will.content_type.as_deref().map(Box::from),
        response_topic: will.response_topic.as_deref().map(Box::from),
        correlation_data: will.correlation_data.as_ref().map(|data| Bytes::copy_from_slice(data)),
        user_properties: user_properties(&will.user_properties),
    };
    WillRequest {
        topic: will.topic.to_string(),
        payload: Bytes::copy_from_slice(&will.message),
        qos: qos(will.qos),
        retain: will.retain,
        delay: will.will_delay_interval_sec.unwrap_or(0),
        message_expiry: message_expiry(will.message_expiry_interval, notes),
        properties: (properties != MessageProperties::default()).then(|| Arc::new(properties)),
    }
}

fn publish_properties(properties: &v5::PublishProperties, notes: Notes) -> Option<Arc<MessageProperties>> {
    let plain = properties.content_type.is_none()
        && properties.response_topic.is_none()
        && properties.correlation_data.is_none()
        && properties.user_properties.is_empty()
        && notes.payload_is_utf8.is_none();
    (!plain).then(|| {
        Arc::new(MessageProperties {
            payload_is_utf8: notes.payload_is_utf8,
            content_type: properties.content_type.as_deref().map(Box::from),
            response_topic: properties.response_topic.as_deref().map(Box::from),
            correlation_data: properties.correlation_data.as_ref().map(|data| Bytes::copy_from_slice(data)),
            user_properties: user_properties(&properties.user_properties),
        })
    })
}

fn user_properties(properties: &v5::UserProperties) -> Vec<(Box<str>, Box<str>)> {
    properties.iter().map(|(name, value)| (Box::from(&**name), Box::from(&**value))).collect()
}

fn publish_ack(ack: &v5::PublishAck) -> Ack {
    let reason = if u8::from(ack.reason_code) >= 0x80 { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
    Ack::with(ack.packet_id, reason)
}

fn publish_ack2(ack: &v5::PublishAck2) -> Ack {
    let reason = match ack.reason_code {
        v5::PublishAck2Reason::Success => ReasonCode::Success,
        v5::PublishAck2Reason::PacketIdNotFound => ReasonCode::PacketIdentifierNotFound,
    };
    Ack::with(ack.packet_id, reason)
}

fn disconnect_reason(code: v5::DisconnectReasonCode) -> ReasonCode {
    match code {
        v5::DisconnectReasonCode::NormalDisconnection => ReasonCode::Success,
        v5::DisconnectReasonCode::DisconnectWithWillMessage => ReasonCode::DisconnectWithWill,
        // Which of the client's own troubles it was makes no difference: the will is published.
        _ => ReasonCode::UnspecifiedError,
    }
}

fn request((filter, options): &(ByteString, v5::SubscriptionOptions)) -> SubscribeRequest {
    let retain_handling = match options.retain_handling {
        v5::RetainHandling::AtSubscribe => RetainHandling::AtSubscribe,
        v5::RetainHandling::AtSubscribeNew => RetainHandling::AtSubscribeNew,
        v5::RetainHandling::NoAtSubscribe => RetainHandling::Never,
    };
    SubscribeRequest {
        filter: filter.to_string(),
        options: SubscriptionOptions {
            qos: qos(options.qos),
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            retain_handling,
        },
    }
}

/// A packet for the codec; `None` for PUBLISH, which it does not write, and for those that only a client sends.
pub(crate) fn encoded(packet: Packet<'_>) -> Option<Encoded> {
    let packet = match packet {
        Packet::ConnectAck(ack) => v5::Packet::ConnectAck(Box::new(connect_ack(*ack))),
        Packet::PublishAck(ack) => v5::Packet::PublishAck(encoded_ack(ack)),
        Packet::PublishReceived(ack) => v5::Packet::PublishReceived(encoded_ack(ack)),
        Packet::PublishRelease(ack) => v5::Packet::PublishRelease(encoded_ack2(&ack)),
        Packet::PublishComplete(ack) => v5::Packet::PublishComplete(encoded_ack2(&ack)),
        Packet::SubscribeAck(ack) => v5::Packet::SubscribeAck(v5::SubscribeAck {
            packet_id: ack.packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: ack.reasons.into_iter().map(reason::of_subscription).collect(),
        }),
        Packet::UnsubscribeAck(ack) => v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
            packet_id: ack.packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: ack.reasons.into_iter().map(reason::of_unsubscription).collect(),
        }),
        Packet::Disconnect(disconnect) => v5::Packet::Disconnect(
            v5::Disconnect::new(reason::of_disconnect(disconnect.reason))
                .reason_string(disconnect.reason_string.map(ByteString::from)),
        ),
        Packet::PingResponse => v5::Packet::PingResponse,
        Packet::Publish(_)
        | Packet::Connect(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingRequest
        | Packet::Auth(_) => return None,
    };
    Some(Encoded::Packet(packet))
}

fn connect_ack(ack: ConnectAck) -> v5::ConnectAck {
    v5::ConnectAck {
        session_present: ack.session_present,
        reason_code: reason::of_connection(ack.reason),
        session_expiry_interval_secs: ack.session_expiry,
        receive_max: ack.receive_maximum.try_into().unwrap_or(std::num::NonZeroU16::MAX),
        max_qos: encoded_qos(ack.maximum_qos),
        max_packet_size: ack.maximum_packet_size,
        assigned_client_id: ack.assigned_client_id.map(ByteString::from),
        topic_alias_max: ack.topic_alias_maximum,
        retain_available: ack.retain_available,
        subscription_identifiers_available: ack.subscription_identifiers_available,
        shared_subscription_available: ack.shared_subscriptions_available,
        server_keepalive_sec: ack.server_keep_alive,
        reason_string: ack.reason_string.map(ByteString::from),
        ..Default::default()
    }
}

fn encoded_ack(ack: Ack) -> v5::PublishAck {
    v5::PublishAck {
        packet_id: ack.packet_id,
        reason_code: reason::of_publication(ack.reason),
        properties: Vec::new(),
        reason_string: ack.reason_string.map(|text| ByteString::from(&*text)),
    }
}

fn encoded_ack2(ack: &Ack) -> v5::PublishAck2 {
    let reason_code = match ack.reason {
        ReasonCode::PacketIdentifierNotFound => v5::PublishAck2Reason::PacketIdNotFound,
        _ => v5::PublishAck2Reason::Success,
    };
    v5::PublishAck2 { packet_id: ack.packet_id, reason_code, properties: Vec::new(), reason_string: None }
}
