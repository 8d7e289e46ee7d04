//! Acknowledgements and DISCONNECT of 5.0 without what may be left out.
//!
//! The codec always writes a code and a length of properties. Where there are no properties their length is left out, and
//! then a code of success, too (sections 3.4.2.1, 3.5.2.1, 3.6.2.1, 3.7.2.1 and 3.14.2.1). Of properties the broker sends
//! only a reason string in these packets.

use ntex::util::BufMut;
use ntex_mqtt::v5::codec::{Encoded, Packet};

/// Writes a packet that has such a form; `false` when the codec is to write it. A client that does not want words is not
/// sent any. [MQTT-3.1.2-29]
pub(crate) fn write(item: &Encoded, wants_words: bool, out: &mut impl BufMut) -> bool {
    let Encoded::Packet(packet) = item else { return false };
    let (first, packet_id, reason) = match packet {
        Packet::PublishAck(ack) if ack.reason_string.is_none() || !wants_words => {
            (0x40, Some(ack.packet_id), u8::from(ack.reason_code))
        }
        Packet::PublishReceived(ack) if ack.reason_string.is_none() || !wants_words => {
            (0x50, Some(ack.packet_id), u8::from(ack.reason_code))
        }
        Packet::PublishRelease(ack) if ack.reason_string.is_none() => {
            (0x62, Some(ack.packet_id), u8::from(ack.reason_code))
        }
        Packet::PublishComplete(ack) if ack.reason_string.is_none() => {
            (0x70, Some(ack.packet_id), u8::from(ack.reason_code))
        }
        Packet::Disconnect(packet) if packet.reason_string.is_none() => (0xe0, None, u8::from(packet.reason_code)),
        _ => return false,
    };
    let id_len = if packet_id.is_some() { 2 } else { 0 };
    out.put_slice(&[first, id_len + u8::from(reason != 0)]);
    if let Some(packet_id) = packet_id {
        out.put_u16(packet_id.get());
    }
    if reason != 0 {
        out.put_u8(reason);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use ntex::util::BytesMut;
    use pocket_mqtt_core::{Ack, Disconnect, ReasonCode};

    use super::*;
    use crate::v5;

    fn written(packet: pocket_mqtt_core::Packet<'_>, wants_words: bool) -> Option<Vec<u8>> {
        let mut bytes = BytesMut::new();
        write(&v5::encoded(packet).unwrap(), wants_words, &mut bytes).then(|| bytes.to_vec())
    }

    fn ack(reason: ReasonCode, words: Option<&str>) -> Ack {
        Ack { packet_id: NonZeroU16::new(0x102).unwrap(), reason, reason_string: words.map(Box::from) }
    }

    #[test]
    fn success_is_a_packet_id_and_a_failure_has_its_code() {
        use ReasonCode::{NotAuthorized, PacketIdentifierNotFound, Success};
        use pocket_mqtt_core::Packet::{PublishAck, PublishComplete, PublishReceived, PublishRelease};
        for (packet, bytes) in [
            (PublishAck(ack(Success, None)), b"\x40\x02\x01\x02".as_slice()),
            (PublishAck(ack(NotAuthorized, None)), b"\x40\x03\x01\x02\x87"),
            (PublishReceived(ack(Success, None)), b"\x50\x02\x01\x02"),
            (PublishReceived(ack(NotAuthorized, None)), b"\x50\x03\x01\x02\x87"),
            (PublishRelease(ack(Success, None)), b"\x62\x02\x01\x02"),
            (PublishRelease(ack(PacketIdentifierNotFound, None)), b"\x62\x03\x01\x02\x92"),
            (PublishComplete(ack(Success, None)), b"\x70\x02\x01\x02"),
            (PublishComplete(ack(PacketIdentifierNotFound, None)), b"\x70\x03\x01\x02\x92"),
        ] {
            assert_eq!(written(packet, true).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn words_are_for_the_codec_unless_the_client_does_not_want_them() {
        let refused = || pocket_mqtt_core::Packet::PublishAck(ack(ReasonCode::NotAuthorized, Some("no")));
        assert_eq!(written(refused(), true), None);
        assert_eq!(written(refused(), false).unwrap(), b"\x40\x03\x01\x02\x87");
    }

    #[test]
    fn a_disconnect_is_its_code_or_nothing() {
        let disconnect = |reason| {
            pocket_mqtt_core::Packet::Disconnect(Disconnect { reason, session_expiry: None, reason_string: None })
        };
        assert_eq!(written(disconnect(ReasonCode::Success), true).unwrap(), b"\xe0\0");
        assert_eq!(written(disconnect(ReasonCode::ProtocolError), true).unwrap(), b"\xe0\x01\x82");
        assert_eq!(written(pocket_mqtt_core::Packet::PingResponse, true), None);
    }
}
