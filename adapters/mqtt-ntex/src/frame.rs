//! What the codecs of ntex-mqtt 8.2 do not check, checked on the bytes of a whole packet before they see it.
//!
//! Without these checks the codec's arithmetic overflows on a PUBLISH whose topic or properties are longer than the packet,
//! and packets with reserved bits, missing or trailing parts pass. A message expiry of 0, which 5.0 allows, is refused by
//! the codec itself and stays refused.

use pocket_mqtt_core::{ProtocolVersion, ReasonCode};

use ReasonCode::{MalformedPacket, ProtocolError};

/// The fixed header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Packet type and flags.
    pub(crate) first: u8,
    /// Bytes of the header.
    pub(crate) len: usize,
    /// Bytes after the header.
    pub(crate) remaining: u32,
}

impl Header {
    /// Reads a fixed header; `None` when more bytes are needed.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, ReasonCode> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        Ok(varint(rest)?.map(|(remaining, len)| Self { first, len: 1 + len, remaining }))
    }

    /// The whole packet.
    pub(crate) fn total(&self) -> usize {
        self.len + self.remaining as usize
    }

    /// Whether it is that of a CONNECT.
    pub(crate) fn is_connect(&self) -> bool {
        self.first == 0x10
    }
}

/// The version that a CONNECT asks for; an error when it is neither of the two.
pub(crate) fn version_of_connect(body: &[u8]) -> Result<ProtocolVersion, ReasonCode> {
    // [MQTT-3.1.2-1]
    let Some(rest) = body.strip_prefix(b"\0\x04MQTT") else {
        return Err(ReasonCode::UnsupportedProtocolVersion);
    };
    match rest.first() {
        Some(4) => Ok(ProtocolVersion::V311),
        Some(5) => Ok(ProtocolVersion::V5),
        _ => Err(ReasonCode::UnsupportedProtocolVersion),
    }
}

/// Checks a packet of which the codec would accept too much.
pub(crate) fn check(version: ProtocolVersion, first: u8, body: &[u8]) -> Result<(), ReasonCode> {
    let mut body = Body(body);
    match first >> 4 {
        1 => connect(version, &mut body),
        3 => publish(version, first, &mut body),
        8 => subscribe(version, &mut body),
        10 => unsubscribe(version, &mut body),
        12 => body.end(),
        14 if version == ProtocolVersion::V311 => body.end(),
        _ => Ok(()),
    }
}

fn connect(version: ProtocolVersion, body: &mut Body<'_>) -> Result<(), ReasonCode> {
    body.skip(7)?;
    let flags = body.byte()?;
    let has = |bit: u8| flags & bit != 0;
    // [MQTT-3.1.2-3] the reserved bit
    // [MQTT-3.1.2-11] [MQTT-3.1.2-13] without a will no QoS and no retain of it
    if has(0x01) || (!has(0x04) && has(0x38)) {
        return Err(MalformedPacket);
    }
    // 3.1.1 [MQTT-3.1.2-22] a password needs a user name
    if version == ProtocolVersion::V311 && has(0x40) && !has(0x80) {
        return Err(MalformedPacket);
    }
    body.skip(2)?;
    body.properties(version)?;
    body.field()?;
    if has(0x04) {
        body.properties(version)?;
        body.field()?;
        body.field()?;
    }
    for bit in [0x80, 0x40] {
        if has(bit) {
            body.field()?;
        }
    }
    body.end()
}

fn publish(version: ProtocolVersion, first: u8, body: &mut Body<'_>) -> Result<(), ReasonCode> {
    let qos = first >> 1 & 3;
    // [MQTT-3.3.1-4] no QoS 3; [MQTT-3.3.1-2] no DUP with QoS 0
    if qos == 3 || (qos == 0 && first & 8 != 0) {
        return Err(MalformedPacket);
    }
    body.field()?;
    if qos > 0 {
        body.skip(2)?;
    }
    body.properties(version)
}

fn subscribe(version: ProtocolVersion, body: &mut Body<'_>) -> Result<(), ReasonCode> {
    // [MQTT-3.8.3-4] of 3.1.1, [MQTT-3.8.3-5] of 5.0: reserved bits are 0
    let reserved = if version == ProtocolVersion::V311 { 0xfc } else { 0xc0 };
    body.skip(2)?;
    body.properties(version)?;
    // [MQTT-3.8.3-2] at least one filter
    if body.is_empty() {
        return Err(ProtocolError);
    }
    while !body.is_empty() {
        body.field()?;
        if body.byte()? & reserved != 0 {
            return Err(MalformedPacket);
        }
    }
    Ok(())
}

fn unsubscribe(version: ProtocolVersion, body: &mut Body<'_>) -> Result<(), ReasonCode> {
    body.skip(2)?;
    body.properties(version)?;
    // [MQTT-3.10.3-2] at least one filter
    if body.is_empty() { Err(ProtocolError) } else { Ok(()) }
}

/// The rest of a packet that is being walked through.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn end(&self) -> Result<(), ReasonCode> {
        if self.is_empty() { Ok(()) } else { Err(MalformedPacket) }
    }

    fn skip(&mut self, bytes: usize) -> Result<(), ReasonCode> {
        self.0 = self.0.get(bytes..).ok_or(MalformedPacket)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ReasonCode> {
        let (&byte, rest) = self.0.split_first().ok_or(MalformedPacket)?;
        self.0 = rest;
        Ok(byte)
    }

    /// Text or binary data with two bytes of length before it.
    fn field(&mut self) -> Result<(), ReasonCode> {
        let (len, _) = self.0.split_first_chunk::<2>().ok_or(MalformedPacket)?;
        self.skip(2 + usize::from(u16::from_be_bytes(*len)))
    }

    fn properties(&mut self, version: ProtocolVersion) -> Result<(), ReasonCode> {
        if version == ProtocolVersion::V311 {
            return Ok(());
        }
        let (len, read) = varint(self.0)?.ok_or(MalformedPacket)?;
        self.skip(read + len as usize)
    }
}

/// A variable byte integer with its length; `None` when more bytes are needed.
fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, ReasonCode> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    // [MQTT-1.5.5-1] at most four bytes
    if bytes.len() >= 4 { Err(MalformedPacket) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProtocolVersion::{V5, V311};

    #[test]
    fn a_fixed_header_has_at_most_five_bytes() {
        assert_eq!(Header::read(b"\xc0"), Ok(None));
        assert_eq!(Header::read(b"\x30\x80\x80"), Ok(None));
        assert_eq!(Header::read(b"\x30\xff\xff\xff\x7f").unwrap().unwrap().remaining, 268_435_455);
        assert_eq!(Header::read(b"\x30\xff\xff\xff\xff"), Err(MalformedPacket));
        assert_eq!(Header::read(b"\xc0\0").unwrap().unwrap().total(), 2);
    }

    #[test]
    fn a_topic_must_fit_into_its_packet() {
        assert_eq!(check(V311, 0x30, b"\0\x01a"), Ok(()));
        assert_eq!(check(V311, 0x30, b"\0\x02a"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x32, b"\0\x01a\0"), Err(MalformedPacket));
        assert_eq!(check(V5, 0x30, b"\0\x01a\x01"), Err(MalformedPacket));
        assert_eq!(check(V5, 0x30, b"\0\x01a"), Err(MalformedPacket));
    }

    #[test]
    fn the_flags_of_a_publish_are_checked() {
        assert_eq!(check(V311, 0x36, b"\0\x01a\0\x01"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x38, b"\0\x01a"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x3a, b"\0\x01a\0\x01"), Ok(()));
    }

    #[test]
    fn a_connect_ends_where_its_flags_say() {
        let packet = |flags: u8, rest: &[u8]| [b"\0\x04MQTT\x04".as_slice(), &[flags], b"\0\x3c", rest].concat();
        assert_eq!(check(V311, 0x10, &packet(0x02, b"\0\x01a")), Ok(()));
        assert_eq!(check(V311, 0x10, &packet(0x02, b"\0\x01ax")), Err(MalformedPacket));
        assert_eq!(check(V311, 0x10, &packet(0x0a, b"\0\x01a")), Err(MalformedPacket));
        assert_eq!(check(V311, 0x10, &packet(0x42, b"\0\x01a\0\x01p")), Err(MalformedPacket));
        assert_eq!(check(V311, 0x10, &packet(0xc2, b"\0\x01a\0\x01u\0\x01p")), Ok(()));
        assert_eq!(check(V311, 0x10, &packet(0xc2, b"\0\x01a\0\x01u")), Err(MalformedPacket));
    }

    #[test]
    fn reserved_bits_and_empty_lists_of_filters_are_refused() {
        assert_eq!(check(V311, 0x82, b"\0\x01\0\x01a\x02"), Ok(()));
        assert_eq!(check(V311, 0x82, b"\0\x01\0\x01a\x04"), Err(MalformedPacket));
        assert_eq!(check(V5, 0x82, b"\0\x01\0\0\x01a\x04"), Ok(()));
        assert_eq!(check(V5, 0x82, b"\0\x01\0\0\x01a\x40"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x82, b"\0\x01"), Err(ProtocolError));
        assert_eq!(check(V5, 0xa2, b"\0\x01\0"), Err(ProtocolError));
        assert_eq!(check(V311, 0xc0, b"x"), Err(MalformedPacket));
    }

    #[test]
    fn only_the_two_versions_are_known() {
        assert_eq!(version_of_connect(b"\0\x04MQTT\x04"), Ok(V311));
        assert_eq!(version_of_connect(b"\0\x04MQTT\x05"), Ok(V5));
        for other in [b"\0\x04MQTT\x03".as_slice(), b"\0\x06MQIsdp\x03", b"\0\x04MQTT", b""] {
            assert_eq!(version_of_connect(other), Err(ReasonCode::UnsupportedProtocolVersion));
        }
    }
}
