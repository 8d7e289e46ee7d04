//! Bytes to packets and back of one connection, for measurements.

use ntex::codec::Decoder;
use ntex::util::{Bytes, BytesMut};
use pocket_mqtt_core::{Packet, PacketId, ProtocolVersion, Publish, QoS};

use super::wire_of;
use crate::wire::Wire;

/// The codec of a connection after its CONNECT.
pub struct Codec(Wire);

impl Codec {
    /// One that speaks 5.0, or 3.1.1 with any other number.
    pub fn of_version(version: u8) -> Self {
        Self(wire_of(if version == 5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 }))
    }

    /// How many packets there are in a read.
    ///
    /// # Panics
    /// When one is not whole or not allowed.
    pub fn decode(&self, read: &[u8]) -> usize {
        let (mut buffer, mut packets) = (BytesMut::from(read), 0);
        while let Some(frame) = self.0.decode(&mut buffer).expect("what is allowed") {
            std::hint::black_box(frame.packet().expect("only whole packets pass"));
            packets += 1;
        }
        assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
        packets
    }

    /// The bytes of a PUBLISH; at QoS 1 and 2 with the packet id 1.
    ///
    /// # Panics
    /// When there is no such QoS.
    pub fn publish(&self, topic: &str, payload: &[u8], qos: u8) -> Bytes {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: if qos == QoS::AtMostOnce { None } else { Some(PacketId::MIN) },
            payload,
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: None,
        };
        self.0.bytes(Packet::Publish(publish)).expect("a PUBLISH can be written")
    }
}
