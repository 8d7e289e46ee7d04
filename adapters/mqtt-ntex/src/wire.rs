//! Bytes to packets and back, for the version that the CONNECT of a connection announced.
//!
//! A packet reaches the codec only when all of it is there and [`frame::check`] has passed, so a PUBLISH always comes
//! with its whole payload. A PUBLISH without properties is written here and not by the codec, which would copy topic and
//! payload twice for each subscriber.

use std::cell::Cell;

use ntex::codec::{Decoder, Encoder};
use ntex::util::{BufMut, BytePages, Bytes, BytesMut};
use ntex_mqtt::{v3, v5};
use pocket_mqtt_core::{Packet, ProtocolVersion, Publish, ReasonCode};

use crate::frame::{self, Header};
use crate::{v3 as convert3, v5 as convert5};

/// Both codecs of one connection.
pub(crate) struct Wire {
    version: Cell<Option<ProtocolVersion>>,
    v3: v3::codec::Codec,
    v5: v5::codec::Codec,
    maximum: u32,
}

/// A packet as its codec left it.
#[derive(Debug)]
pub(crate) enum Frame {
    V3(v3::codec::Decoded),
    V5(v5::codec::Decoded),
}

impl Frame {
    /// The packet, which borrows from the frame; `None` for a part of a packet, which [`Wire`] never lets through.
    pub(crate) fn packet(&self) -> Option<Packet<'_>> {
        match self {
            Self::V3(decoded) => convert3::packet(decoded),
            Self::V5(decoded) => convert5::packet(decoded),
        }
    }
}

impl Wire {
    /// For packets of up to `maximum` bytes after the fixed header.
    pub(crate) fn new(maximum: u32) -> Self {
        Self { version: Cell::new(None), v3: v3::codec::Codec::new(), v5: v5::codec::Codec::new(), maximum }
    }

    /// The version, once a CONNECT announced one.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.version.get()
    }

    /// Appends the bytes of a packet; `false` when the codec cannot write it. A packet that the version does not have is nothing.
    pub(crate) fn write(&self, packet: Packet<'_>, pages: &mut BytePages) -> bool {
        let packet = match packet {
            Packet::Publish(publish) if is_plain(&publish) => {
                write_plain(self.version.get(), &publish, pages);
                return true;
            }
            packet => packet,
        };
        if self.version.get() == Some(ProtocolVersion::V5) {
            convert5::encoded(packet).is_none_or(|item| self.v5.encodev(item, pages).is_ok())
        } else {
            convert3::encoded(packet).is_none_or(|item| self.v3.encodev(item, pages).is_ok())
        }
    }

    /// The bytes of a packet by themselves.
    pub(crate) fn bytes(&self, packet: Packet<'_>) -> Option<Bytes> {
        if let Packet::Publish(publish) = &packet
            && is_plain(publish)
        {
            let mut bytes = BytesMut::with_capacity(PLAIN_OVERHEAD + publish.topic.len() + publish.payload.len());
            write_plain(self.version.get(), publish, &mut bytes);
            return Some(bytes.freeze());
        }
        let mut pages = BytePages::default();
        self.write(packet, &mut pages).then(|| pages.freeze())
    }
}

/// The most bytes of a plain PUBLISH beside topic and payload: fixed header, two lengths, packet id, alias.
const PLAIN_OVERHEAD: usize = 5 + 2 + 2 + 1 + 3;
/// The property Topic Alias.
const TOPIC_ALIAS: u8 = 0x23;

/// Whether a PUBLISH carries nothing but topic, topic alias, packet id and payload.
fn is_plain(publish: &Publish<'_>) -> bool {
    publish.properties.is_none() && publish.message_expiry.is_none() && publish.subscription_ids.is_empty()
}

/// Writes a plain PUBLISH. The sizes were checked when the message came in.
fn write_plain(version: Option<ProtocolVersion>, publish: &Publish<'_>, out: &mut impl BufMut) {
    let is_v5 = version == Some(ProtocolVersion::V5);
    let flags = u8::from(publish.dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain);
    out.put_u8(0x30 | flags);
    let id_len = if publish.packet_id.is_some() { 2 } else { 0 };
    let alias = publish.topic_alias.filter(|_| is_v5);
    let alias_len = if alias.is_some() { 3 } else { 0 };
    let mut rest = 2 + publish.topic.len() + id_len + usize::from(is_v5) + alias_len + publish.payload.len();
    while rest > 0x7f {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
    out.put_u16(publish.topic.len() as u16);
    out.put_slice(publish.topic.as_bytes());
    if let Some(packet_id) = publish.packet_id {
        out.put_u16(packet_id.get());
    }
    if is_v5 {
        out.put_u8(alias_len as u8);
    }
    if let Some(alias) = alias {
        out.put_u8(TOPIC_ALIAS);
        out.put_u16(alias);
    }
    out.put_slice(publish.payload);
}

impl Decoder for Wire {
    type Item = Frame;
    type Error = ReasonCode;

    fn decode(&self, src: &mut BytesMut) -> Result<Option<Frame>, ReasonCode> {
        let Some(header) = Header::read(src)? else { return Ok(None) };
        // [MQTT-3.1.0-1] the first packet is a CONNECT; other bytes are not waited for
        if self.version.get().is_none() && !header.is_connect() {
            return Err(ReasonCode::ProtocolError);
        }
        if header.remaining > self.maximum {
            return Err(ReasonCode::PacketTooLarge);
        }
        if src.len() < header.total() {
            return Ok(None);
        }
        let body = &src[header.len..header.total()];
        let version = match self.version.get() {
            Some(version) => version,
            None => {
                let version = frame::version_of_connect(body)?;
                self.version.set(Some(version));
                version
            }
        };
        frame::check(version, header.first, body)?;
        let frame = match version {
            ProtocolVersion::V311 => self.v3.decode(src).map(|decoded| decoded.map(Frame::V3)),
            ProtocolVersion::V5 => self.v5.decode(src).map(|decoded| decoded.map(Frame::V5)),
        };
        frame.map_err(|error| crate::reason::of_decode_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use pocket_mqtt_core::{PacketId, QoS};
    use proptest::prelude::*;

    use super::*;

    fn through_codec(version: ProtocolVersion, publish: &Publish<'_>) -> Vec<u8> {
        let mut pages = BytePages::default();
        let packet = Packet::Publish(publish.clone());
        let written = match version {
            ProtocolVersion::V311 => v3::codec::Codec::new().encodev(convert3::encoded(packet).unwrap(), &mut pages),
            ProtocolVersion::V5 => v5::codec::Codec::new().encodev(convert5::encoded(packet).unwrap(), &mut pages),
        };
        written.unwrap();
        pages.freeze().to_vec()
    }

    proptest! {
        #[test]
        fn a_plain_publish_is_what_the_codec_would_write(
            (dup, retain) in any::<(bool, bool)>(),
            qos in prop::sample::select(QoS::ALL.as_slice()),
            id in 1u16..,
            topic_alias in prop::option::of(1u16..),
            topic in "[a-z/]{1,300}",
            payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), Just(vec![7; 20_000])],
        ) {
            let publish = Publish {
                dup,
                qos,
                retain,
                topic: &topic,
                packet_id: (qos > QoS::AtMostOnce).then(|| PacketId::new(id).unwrap()),
                payload: &payload,
                topic_alias,
                message_expiry: None,
                subscription_ids: &[],
                properties: None,
            };
            for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
                let wire = Wire::new(1_000);
                wire.version.set(Some(version));
                let expected = through_codec(version, &publish);
                prop_assert_eq!(&wire.bytes(Packet::Publish(publish.clone())).unwrap()[..], &expected[..]);
                let mut pages = BytePages::default();
                prop_assert!(wire.write(Packet::Publish(publish.clone()), &mut pages));
                prop_assert_eq!(&pages.freeze()[..], &expected[..]);
            }
        }
    }
}
