//! Bytes to packets and back, for the version that the CONNECT of a connection announced.
//!
//! A packet reaches the codec only when all of it is there and [`frame::check`] has passed, so a PUBLISH always comes
//! with its whole payload. PUBLISH is written by [`publish`] and all else by the codec.

use std::cell::Cell;

use ntex::codec::{Decoder, Encoder};
use ntex::util::{BytePages, Bytes, BytesMut};
use ntex_mqtt::{v3, v5};
use pocket_mqtt_core::{Packet, ProtocolVersion, ReasonCode};

use crate::frame::{self, Header};
use crate::properties::Notes;
use crate::publish::{self, Size};
use crate::traffic::Traffic;
use crate::{v3 as convert3, v5 as convert5};

/// Both codecs of one connection.
pub(crate) struct Wire {
    version: Cell<Option<ProtocolVersion>>,
    v3: v3::codec::Codec,
    v5: v5::codec::Codec,
    maximum: u32,
    pub(crate) traffic: Traffic,
}

/// A packet as its codec left it, with what the codec of 5.0 cannot say of it.
#[derive(Debug)]
pub(crate) enum Frame {
    V3(v3::codec::Decoded),
    V5(v5::codec::Decoded, Notes),
}

impl Frame {
    /// The packet, which borrows from the frame; `None` for a part of a packet, which [`Wire`] never lets through.
    pub(crate) fn packet(&self) -> Option<Packet<'_>> {
        match self {
            Self::V3(decoded) => convert3::packet(decoded),
            Self::V5(decoded, notes) => convert5::packet(decoded, *notes),
        }
    }
}

impl Wire {
    /// For packets of up to `maximum` bytes.
    pub(crate) fn new(maximum: u32) -> Self {
        Self {
            version: Cell::new(None),
            v3: v3::codec::Codec::new(),
            v5: v5::codec::Codec::new(),
            maximum,
            traffic: Traffic::default(),
        }
    }

    /// The version, once a CONNECT announced one.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.version.get()
    }

    /// Appends the bytes of a packet; `false` when the codec cannot write it. A packet that the version does not have is nothing.
    pub(crate) fn write(&self, packet: Packet<'_>, pages: &mut BytePages) -> bool {
        if let Packet::Publish(publish) = &packet {
            publish::write(&Size::of(self.version.get(), publish), publish, pages);
            return true;
        }
        if self.version.get() == Some(ProtocolVersion::V5) {
            convert5::encoded(packet).is_none_or(|item| self.v5.encodev(item, pages).is_ok())
        } else {
            convert3::encoded(packet).is_none_or(|item| self.v3.encodev(item, pages).is_ok())
        }
    }

    /// The bytes of a packet by themselves.
    pub(crate) fn bytes(&self, packet: Packet<'_>) -> Option<Bytes> {
        if let Packet::Publish(publish) = &packet {
            let size = Size::of(self.version.get(), publish);
            let mut bytes = BytesMut::with_capacity(size.total());
            publish::write(&size, publish, &mut bytes);
            return Some(bytes.freeze());
        }
        let mut pages = BytePages::default();
        self.write(packet, &mut pages).then(|| pages.freeze())
    }
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
        if header.total() > self.maximum as usize {
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
        // [MQTT-1.5.5-1] of 5.0
        if version == ProtocolVersion::V5 && !header.is_minimal() {
            return Err(ReasonCode::MalformedPacket);
        }
        let notes = frame::check(version, header.first, body)?;
        if let Some(at) = notes.zero_expiry {
            // The codec refuses a message expiry of 0: it is shown a 1.
            src[header.len + at + 3] = 1;
        }
        self.traffic.received(header.total());
        let frame = match version {
            ProtocolVersion::V311 => self.v3.decode(src).map(|decoded| decoded.map(Frame::V3)),
            ProtocolVersion::V5 => self.v5.decode(src).map(|decoded| decoded.map(|packet| Frame::V5(packet, notes))),
        };
        frame.map_err(|error| crate::reason::of_decode_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pocket_domain::{DeviceId, Principal, TenantId, Timestamp};
    use pocket_mqtt_core::{Action, Handshake, Limits, TenantAuthorizer, TopicCache};
    use proptest::prelude::*;

    use super::*;

    const CONNECT3: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x";
    const CONNECT5: &[u8] = b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x11\0\0\0\x05\0\x01x";

    /// Packets of both versions that are right, or nearly so.
    const PACKETS: &[&[u8]] = &[
        CONNECT3,
        CONNECT5,
        b"\x10\x2a\0\x04MQTT\x05\xee\0\x0a\x03\x21\0\x09\0\x01x\x05\x18\0\0\0\x01\0\x01w\0\x01m\0\x01u\0\x01p",
        b"\x30\x05\0\x01t{}",
        b"\x3b\x07\0\x01t\0\x01{}",
        b"\x34\x07\0\x01t\0\x02{}",
        b"\x32\x0b\0\x01t\0\x03\x03\x23\0\x01{}",
        b"\x30\x13\0\x01t\x0e\x01\x01\x02\0\0\0\x05\x26\0\x01k\0\x01v{",
        b"\x40\x02\0\x01",
        b"\x50\x04\0\x01\0\0",
        b"\x62\x02\0\x01",
        b"\x70\x02\0\x01",
        b"\x82\x06\0\x01\0\x01t\x01",
        b"\x82\x09\0\x01\x02\x0b\x01\0\x01t\x2d",
        b"\x82\x10\0\x01\0\0\x0a$share/g/t\x01",
        b"\xa2\x05\0\x02\0\x01t",
        b"\xa2\x06\0\x02\0\0\x01t",
        b"\xc0\0",
        b"\xe0\0",
        b"\xe0\x07\0\x05\x11\0\0\0\0",
        b"\xf0\x02\x18\0",
    ];

    /// A packet with some of its bytes changed, left out or repeated.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 0..4);
        (prop::sample::select(PACKETS), damage).prop_map(|(packet, damage)| {
            let mut bytes = packet.to_vec();
            for (place, byte, how) in damage {
                let place = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
                match how {
                    _ if bytes.is_empty() => bytes.push(byte),
                    0 => bytes[place] = byte,
                    1 => drop(bytes.remove(place)),
                    2 => bytes.insert(place, byte),
                    _ => bytes.truncate(place),
                }
            }
            bytes
        })
    }

    /// Decodes all there is and acts on it as a connection does, until something is refused.
    fn serve(stream: &[u8], chunk: usize) {
        let wire = Wire::new(1_000);
        let mut buffer = BytesMut::new();
        let mut connection = None;
        for bytes in stream.chunks(chunk) {
            buffer.extend_from_slice(bytes);
            while let Some(frame) = match wire.decode(&mut buffer) {
                Ok(frame) => frame,
                Err(_) => return,
            } {
                let packet = frame.packet().expect("only whole packets pass");
                let Some(connection) = &mut connection else {
                    let Packet::Connect(connect) = packet else { panic!("the first packet is CONNECT") };
                    let Ok(handshake) = Handshake::begin(*connect, [0; 8]) else { return };
                    let device = Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10]));
                    let client = handshake.client(TenantId::new(Timestamp::MIN, [1; 10]), device);
                    connection = Some(handshake.open(client, None, &Arc::new(Limits::default())).connection);
                    continue;
                };
                match connection.on_packet(packet, &TopicCache::<()>::default(), &TenantAuthorizer) {
                    Action::Close(_) => return,
                    Action::Send(packet) => assert!(wire.bytes(packet).is_some()),
                    Action::Subscribe(_, ack) => assert!(wire.bytes(Packet::SubscribeAck(ack)).is_some()),
                    Action::Unsubscribe(_, ack) => assert!(wire.bytes(Packet::UnsubscribeAck(ack)).is_some()),
                    _ => {}
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn no_damaged_packet_makes_it_panic(
            five: bool,
            packets in prop::collection::vec(damaged(), 1..6),
            chunk in 1usize..40,
        ) {
            let connect = if five { CONNECT5 } else { CONNECT3 };
            serve(&[connect, &packets.concat()].concat(), chunk);
        }

        #[test]
        fn no_bytes_make_it_panic(connected: bool, five: bool, bytes: Vec<u8>, chunk in 1usize..40) {
            let connect = if five { CONNECT5 } else { CONNECT3 };
            serve(&[if connected { connect } else { b"" }, &bytes].concat(), chunk);
        }
    }

    #[test]
    fn the_packets_of_the_test_above_are_right() {
        let accepted = |connect: &[u8], packet: &[u8]| {
            let wire = Wire::new(1_000);
            let mut buffer = BytesMut::from([connect, packet].concat().as_slice());
            wire.decode(&mut buffer).is_ok_and(|frame| frame.is_some())
                && matches!(wire.decode(&mut buffer), Ok(Some(_)))
        };
        for packet in PACKETS.iter().filter(|packet| packet[0] != 0x10) {
            assert!(accepted(CONNECT3, packet) || accepted(CONNECT5, packet), "{packet:02x?}");
        }
    }
}
