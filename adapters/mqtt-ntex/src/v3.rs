//! Packets of 3.1.1 between the codec and the broker.

use bytes::Bytes;
use ntex::util::ByteString;
use ntex_mqtt::v3::codec::{self as v3, Decoded, Encoded};
use pocket_mqtt_core::{
    Ack, Connect, ConnectAck, ConnectReturnCode, Disconnect, Packet, ProtocolVersion, Publish, QoS, ReasonCode,
    Subscribe, SubscribeAck, SubscribeRequest, SubscriptionOptions, Unsubscribe, UnsubscribeAck, WillRequest,
};

/// A packet from the codec; `None` for a part of a packet.
pub(crate) fn packet(decoded: &Decoded) -> Option<Packet<'_>> {
    match decoded {
        Decoded::Publish(publish, payload, _) => Some(Packet::Publish(Publish {
            dup: publish.dup,
            qos: qos(publish.qos),
            retain: publish.retain,
            topic: &publish.topic,
            packet_id: publish.packet_id,
            payload,
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: None,
        })),
        Decoded::Packet(packet, _) => Some(control_packet(packet)),
        Decoded::PayloadChunk(..) => None,
    }
}

fn control_packet(packet: &v3::Packet) -> Packet<'static> {
    match packet {
        v3::Packet::Connect(packet) => Packet::Connect(Box::new(connect(packet))),
        v3::Packet::ConnectAck(_) => Packet::ConnectAck(Box::default()),
        v3::Packet::PublishAck { packet_id } => Packet::PublishAck(Ack::success(*packet_id)),
        v3::Packet::PublishReceived { packet_id } => Packet::PublishReceived(Ack::success(*packet_id)),
        v3::Packet::PublishRelease { packet_id } => Packet::PublishRelease(Ack::success(*packet_id)),
        v3::Packet::PublishComplete { packet_id } => Packet::PublishComplete(Ack::success(*packet_id)),
        v3::Packet::Subscribe { packet_id, topic_filters } => Packet::Subscribe(Subscribe {
            packet_id: *packet_id,
            identifier: None,
            requests: topic_filters.iter().map(request).collect(),
        }),
        v3::Packet::SubscribeAck { packet_id, .. } => {
            Packet::SubscribeAck(SubscribeAck { packet_id: *packet_id, reasons: Vec::new() })
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => Packet::Unsubscribe(Unsubscribe {
            packet_id: *packet_id,
            filters: topic_filters.iter().map(ToString::to_string).collect(),
        }),
        v3::Packet::UnsubscribeAck { packet_id } => {
            Packet::UnsubscribeAck(UnsubscribeAck { packet_id: *packet_id, reasons: Vec::new() })
        }
        v3::Packet::PingRequest => Packet::PingRequest,
        v3::Packet::PingResponse => Packet::PingResponse,
        v3::Packet::Disconnect => {
            Packet::Disconnect(Disconnect { reason: ReasonCode::Success, session_expiry: None, reason_string: None })
        }
    }
}

fn connect(packet: &v3::Connect) -> Connect {
    Connect {
        version: ProtocolVersion::V311,
        clean_start: packet.clean_session,
        keep_alive: packet.keep_alive,
        client_id: packet.client_id.to_string(),
        username: packet.username.as_ref().map(ToString::to_string),
        password: packet.password.as_ref().map(|password| Bytes::copy_from_slice(password)),
        will: packet.last_will.as_ref().map(will),
        session_expiry: if packet.clean_session { 0 } else { u32::MAX },
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        authentication_method: None,
    }
}

fn will(will: &v3::LastWill) -> WillRequest {
    WillRequest {
        topic: will.topic.to_string(),
        payload: Bytes::copy_from_slice(&will.message),
        qos: qos(will.qos),
        retain: will.retain,
        delay: 0,
        message_expiry: None,
        properties: None,
    }
}

fn request((filter, level): &(ByteString, v3::QoS)) -> SubscribeRequest {
    SubscribeRequest {
        filter: filter.to_string(),
        options: SubscriptionOptions { qos: qos(*level), ..Default::default() },
    }
}

/// A packet for the codec; `None` for PUBLISH, which it does not write, and where 3.1.1 has no such packet from a server.
pub(crate) fn encoded(packet: Packet<'_>) -> Option<Encoded> {
    let packet = match packet {
        Packet::ConnectAck(ack) => v3::Packet::ConnectAck(connect_ack(&ack)?),
        Packet::PublishAck(ack) => v3::Packet::PublishAck { packet_id: ack.packet_id },
        Packet::PublishReceived(ack) => v3::Packet::PublishReceived { packet_id: ack.packet_id },
        Packet::PublishRelease(ack) => v3::Packet::PublishRelease { packet_id: ack.packet_id },
        Packet::PublishComplete(ack) => v3::Packet::PublishComplete { packet_id: ack.packet_id },
        Packet::SubscribeAck(ack) => v3::Packet::SubscribeAck {
            packet_id: ack.packet_id,
            status: ack.reasons.into_iter().map(return_code).collect(),
        },
        Packet::UnsubscribeAck(ack) => v3::Packet::UnsubscribeAck { packet_id: ack.packet_id },
        Packet::PingResponse => v3::Packet::PingResponse,
        Packet::Publish(_)
        | Packet::Connect(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingRequest
        | Packet::Disconnect(_)
        | Packet::Auth(_) => return None,
    };
    Some(Encoded::Packet(packet))
}

fn connect_ack(ack: &ConnectAck) -> Option<v3::ConnectAck> {
    let return_code = match ack.reason.connect_return_code()? {
        ConnectReturnCode::Accepted => v3::ConnectAckReason::ConnectionAccepted,
        ConnectReturnCode::UnacceptableProtocolVersion => v3::ConnectAckReason::UnacceptableProtocolVersion,
        ConnectReturnCode::IdentifierRejected => v3::ConnectAckReason::IdentifierRejected,
        ConnectReturnCode::ServerUnavailable => v3::ConnectAckReason::ServiceUnavailable,
        ConnectReturnCode::BadUserNameOrPassword => v3::ConnectAckReason::BadUserNameOrPassword,
        ConnectReturnCode::NotAuthorized => v3::ConnectAckReason::NotAuthorized,
    };
    Some(v3::ConnectAck { return_code, session_present: ack.session_present })
}

fn return_code(reason: ReasonCode) -> v3::SubscribeReturnCode {
    match reason {
        ReasonCode::Success => v3::SubscribeReturnCode::Success(v3::QoS::AtMostOnce),
        ReasonCode::GrantedQoS1 => v3::SubscribeReturnCode::Success(v3::QoS::AtLeastOnce),
        ReasonCode::GrantedQoS2 => v3::SubscribeReturnCode::Success(v3::QoS::ExactlyOnce),
        _ => v3::SubscribeReturnCode::Failure,
    }
}

/// A level of the codecs, which share the type.
pub(crate) fn qos(level: v3::QoS) -> QoS {
    match level {
        v3::QoS::AtMostOnce => QoS::AtMostOnce,
        v3::QoS::AtLeastOnce => QoS::AtLeastOnce,
        v3::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// A level for the codecs.
pub(crate) fn encoded_qos(level: QoS) -> v3::QoS {
    match level {
        QoS::AtMostOnce => v3::QoS::AtMostOnce,
        QoS::AtLeastOnce => v3::QoS::AtLeastOnce,
        QoS::ExactlyOnce => v3::QoS::ExactlyOnce,
    }
}
