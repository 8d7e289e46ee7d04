//! PUBLISH written by hand, for both versions.
//!
//! The codec wants topic and payload in buffers of its own, a copy of both for each subscriber, and it can say neither that
//! a message expires at once nor that a payload is unspecified bytes. Properties stand in the codec's order.

use ntex::util::BufMut;
use pocket_mqtt_core::{MessageProperties, ProtocolVersion, Publish};

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;

/// The bytes of a packet before it is written. The sizes of its parts were checked when the message came in.
pub(crate) struct Size {
    properties: Option<usize>,
    remaining: usize,
}

impl Size {
    /// Of a packet of this version.
    pub(crate) fn of(version: Option<ProtocolVersion>, publish: &Publish<'_>) -> Self {
        let properties = (version == Some(ProtocolVersion::V5)).then(|| properties_len(publish));
        let id_len = if publish.packet_id.is_some() { 2 } else { 0 };
        let properties_len = properties.map_or(0, |len| varint_len(len) + len);
        let remaining = 2 + publish.topic.len() + id_len + properties_len + publish.payload.len();
        Self { properties, remaining }
    }

    /// All bytes of the packet.
    pub(crate) fn total(&self) -> usize {
        1 + varint_len(self.remaining) + self.remaining
    }
}

/// Writes a packet of this size.
pub(crate) fn write(size: &Size, publish: &Publish<'_>, out: &mut impl BufMut) {
    let flags = u8::from(publish.dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain);
    out.put_u8(0x30 | flags);
    put_varint(size.remaining, out);
    put_field(publish.topic.as_bytes(), out);
    if let Some(packet_id) = publish.packet_id {
        out.put_u16(packet_id.get());
    }
    if let Some(len) = size.properties {
        put_varint(len, out);
        if len > 0 {
            put_properties(publish, out);
        }
    }
    out.put_slice(publish.payload);
}

fn properties_len(publish: &Publish<'_>) -> usize {
    let alias = if publish.topic_alias.is_some() { 3 } else { 0 };
    let expiry = if publish.message_expiry.is_some() { 5 } else { 0 };
    let ids: usize = publish.subscription_ids.iter().map(|id| 1 + varint_len(id.get() as usize)).sum();
    alias + expiry + ids + publish.properties.as_deref().map_or(0, passed_on_len)
}

fn passed_on_len(properties: &MessageProperties) -> usize {
    let field = |len: Option<usize>| len.map_or(0, |len| 3 + len);
    let pairs = properties.user_properties.iter().map(|(name, value)| 5 + name.len() + value.len());
    field(properties.correlation_data.as_ref().map(|data| data.len()))
        + field(properties.content_type.as_ref().map(|text| text.len()))
        + if properties.payload_is_utf8.is_some() { 2 } else { 0 }
        + field(properties.response_topic.as_ref().map(|text| text.len()))
        + pairs.sum::<usize>()
}

fn put_properties(publish: &Publish<'_>, out: &mut impl BufMut) {
    let passed_on = publish.properties.as_deref();
    if let Some(alias) = publish.topic_alias {
        out.put_u8(TOPIC_ALIAS);
        out.put_u16(alias);
    }
    if let Some(data) = passed_on.and_then(|properties| properties.correlation_data.as_deref()) {
        out.put_u8(CORRELATION_DATA);
        put_field(data, out);
    }
    if let Some(seconds) = publish.message_expiry {
        out.put_u8(MESSAGE_EXPIRY);
        out.put_u32(seconds);
    }
    if let Some(text) = passed_on.and_then(|properties| properties.content_type.as_deref()) {
        out.put_u8(CONTENT_TYPE);
        put_field(text.as_bytes(), out);
    }
    if let Some(is_utf8) = passed_on.and_then(|properties| properties.payload_is_utf8) {
        out.put_slice(&[PAYLOAD_FORMAT, u8::from(is_utf8)]);
    }
    if let Some(text) = passed_on.and_then(|properties| properties.response_topic.as_deref()) {
        out.put_u8(RESPONSE_TOPIC);
        put_field(text.as_bytes(), out);
    }
    for id in publish.subscription_ids {
        out.put_u8(SUBSCRIPTION_IDENTIFIER);
        put_varint(id.get() as usize, out);
    }
    for (name, value) in passed_on.map_or(&[][..], |properties| &properties.user_properties) {
        out.put_u8(USER_PROPERTY);
        put_field(name.as_bytes(), out);
        put_field(value.as_bytes(), out);
    }
}

fn put_field(bytes: &[u8], out: &mut impl BufMut) {
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

fn put_varint(mut value: usize, out: &mut impl BufMut) {
    while value > 0x7f {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Bytes of a variable byte integer.
fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use bytes::Bytes;
    use ntex::codec::{Decoder, Encoder};
    use ntex::util::{BytePages, ByteString, Bytes as NtexBytes, BytesMut};
    use ntex_mqtt::{v3, v5};
    use pocket_mqtt_core::{PacketId, QoS};
    use proptest::prelude::*;

    use super::*;

    fn written(version: ProtocolVersion, publish: &Publish<'_>) -> Vec<u8> {
        let size = Size::of(Some(version), publish);
        let mut bytes = BytesMut::new();
        write(&size, publish, &mut bytes);
        assert_eq!(bytes.len(), size.total());
        bytes.to_vec()
    }

    fn by_codec3(publish: &Publish<'_>) -> Vec<u8> {
        let packet = v3::codec::Publish {
            dup: publish.dup,
            retain: publish.retain,
            qos: (publish.qos as u8).try_into().unwrap(),
            topic: ByteString::from(publish.topic),
            packet_id: publish.packet_id,
            payload_size: u32::try_from(publish.payload.len()).unwrap(),
        };
        let payload = NtexBytes::copy_from_slice(publish.payload);
        let mut pages = BytePages::default();
        v3::codec::Codec::new().encodev(v3::codec::Encoded::Publish(packet, Some(payload)), &mut pages).unwrap();
        pages.freeze().to_vec()
    }

    fn by_codec5(publish: &Publish<'_>) -> Vec<u8> {
        let passed_on = publish.properties.as_deref().cloned().unwrap_or_default();
        let pairs = passed_on.user_properties.iter();
        let packet = v5::codec::Publish {
            dup: publish.dup,
            retain: publish.retain,
            qos: (publish.qos as u8).try_into().unwrap(),
            topic: ByteString::from(publish.topic),
            packet_id: publish.packet_id,
            payload_size: u32::try_from(publish.payload.len()).unwrap(),
            properties: v5::codec::PublishProperties {
                topic_alias: publish.topic_alias.map(|alias| alias.try_into().unwrap()),
                message_expiry_interval: publish.message_expiry.map(|seconds| seconds.try_into().unwrap()),
                subscription_ids: publish.subscription_ids.to_vec(),
                is_utf8_payload: passed_on.payload_is_utf8.unwrap_or(false),
                content_type: passed_on.content_type.as_deref().map(ByteString::from),
                response_topic: passed_on.response_topic.as_deref().map(ByteString::from),
                correlation_data: passed_on.correlation_data.as_deref().map(NtexBytes::copy_from_slice),
                user_properties: pairs.map(|(name, value)| ((&**name).into(), (&**value).into())).collect(),
            },
        };
        let payload = NtexBytes::copy_from_slice(publish.payload);
        let mut pages = BytePages::default();
        v5::codec::Codec::new().encodev(v5::codec::Encoded::Publish(packet, Some(payload)), &mut pages).unwrap();
        pages.freeze().to_vec()
    }

    fn text() -> impl Strategy<Value = Box<str>> {
        "[a-z]{1,200}".prop_map(Box::from)
    }

    prop_compose! {
        fn properties()(
            payload_is_utf8 in prop::option::of(Just(true)),
            content_type in prop::option::of(text()),
            response_topic in prop::option::of(text()),
            correlation_data in prop::option::of(prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from)),
            user_properties in prop::collection::vec((text(), text()), 0..3),
        ) -> MessageProperties {
            MessageProperties { payload_is_utf8, content_type, response_topic, correlation_data, user_properties }
        }
    }

    proptest! {
        #[test]
        fn a_publish_is_what_the_codec_would_write(
            (dup, retain) in any::<(bool, bool)>(),
            qos in prop::sample::select(QoS::ALL.as_slice()),
            id in 1u16..,
            topic_alias in prop::option::of(1u16..),
            message_expiry in prop::option::of(1u32..),
            ids in prop::collection::vec(1u32..268_435_456, 0..3),
            properties in prop::option::of(properties()),
            topic in "[a-z/]{1,300}",
            payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), Just(vec![7; 20_000])],
        ) {
            let ids: Vec<NonZeroU32> = ids.into_iter().filter_map(NonZeroU32::new).collect();
            let publish = Publish {
                dup,
                qos,
                retain,
                topic: &topic,
                packet_id: (qos > QoS::AtMostOnce).then(|| PacketId::new(id).unwrap()),
                payload: &payload,
                topic_alias,
                message_expiry,
                subscription_ids: &ids,
                properties: properties.map(Arc::new),
            };
            prop_assert_eq!(written(ProtocolVersion::V311, &publish), by_codec3(&publish));
            prop_assert_eq!(written(ProtocolVersion::V5, &publish), by_codec5(&publish));
        }
    }

    #[test]
    fn what_the_codec_cannot_write_is_written() {
        let properties = MessageProperties { payload_is_utf8: Some(false), ..Default::default() };
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t",
            packet_id: None,
            payload: b"1",
            topic_alias: None,
            message_expiry: Some(0),
            subscription_ids: &[],
            properties: Some(Arc::new(properties)),
        };
        assert_eq!(written(ProtocolVersion::V5, &publish), b"\x30\x0c\0\x01t\x07\x02\0\0\0\0\x01\x001");
        assert_eq!(written(ProtocolVersion::V311, &publish), b"\x30\x04\0\x01t1");
    }

    #[test]
    fn a_packet_of_the_largest_length_of_each_size_can_be_read() {
        for len in [0, 122, 123, 16_378, 16_379, 2_097_146, 2_097_147] {
            let payload = vec![0; len];
            let publish = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: "ab",
                packet_id: None,
                payload: &payload,
                topic_alias: None,
                message_expiry: None,
                subscription_ids: &[],
                properties: None,
            };
            let bytes = written(ProtocolVersion::V5, &publish);
            let decoded = v5::codec::Codec::new().decode(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
            let v5::codec::Decoded::Publish(packet, read, _) = decoded else { panic!("{decoded:?}") };
            assert_eq!((&packet.topic[..], read.len()), ("ab", len));
        }
    }
}
