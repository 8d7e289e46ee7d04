//! What the codecs of ntex-mqtt 8.2 do not check, checked on the bytes of a whole packet before they see it.
//!
//! Without these checks the codec's arithmetic overflows on a PUBLISH whose topic or properties are longer than the packet,
//! and packets with reserved bits, U+0000, missing or trailing parts pass. Properties are looked at in [`properties`].

use pocket_mqtt_core::{ProtocolVersion, ReasonCode};

use crate::properties::{self, Notes, Place};

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

    /// Whether its length is written with as few bytes as possible.
    pub(crate) fn is_minimal(&self) -> bool {
        is_minimal(self.remaining, self.len - 1)
    }

    /// Whether it is that of a PUBLISH.
    pub(crate) fn is_publish(&self) -> bool {
        self.first >> 4 == 3
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

/// A CONNECT that other brokers and old clients send, as a CONNECT of 3.1.1 that says the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    /// The whole packet.
    pub(crate) packet: Vec<u8>,
    /// Whether the client is the bridge of another broker, which says so in the highest bit of the level.
    pub(crate) is_bridge: bool,
}

/// Translates a CONNECT of MQTT 3.1 (`MQIsdp`, level 3), or of a bridge; `None` when it is neither. The two versions differ in
/// the name and level alone, as far as a broker is concerned.
pub(crate) fn translate_connect(body: &[u8]) -> Option<Translated> {
    const BRIDGE: u8 = 0x80;
    let (level, rest) = match body.strip_prefix(b"\0\x06MQIsdp") {
        Some(rest) => rest.split_first().filter(|(level, _)| **level & !BRIDGE == 3)?,
        None => body.strip_prefix(b"\0\x04MQTT")?.split_first().filter(|(level, _)| **level == 4 | BRIDGE)?,
    };
    let mut packet = vec![0x10];
    let mut remaining = 7 + rest.len();
    while remaining > 0x7f {
        packet.push((remaining & 0x7f) as u8 | 0x80);
        remaining >>= 7;
    }
    packet.push(remaining as u8);
    packet.extend_from_slice(b"\0\x04MQTT\x04");
    packet.extend_from_slice(rest);
    Some(Translated { packet, is_bridge: level & BRIDGE != 0 })
}

/// Checks a packet of which the codec would accept too much, and notes what the codec cannot say of it.
pub(crate) fn check(version: ProtocolVersion, first: u8, body: &[u8]) -> Result<Notes, ReasonCode> {
    let mut body = Body::new(body);
    let body = &mut body;
    let is_v5 = version == ProtocolVersion::V5;
    match first >> 4 {
        1 => return connect(version, body),
        3 => return publish(version, first, body),
        4..=7 if is_v5 => acknowledgement(body)?,
        8 => subscribe(version, body)?,
        10 => unsubscribe(version, body)?,
        12 => body.end()?,
        14 if is_v5 => with_reason(Place::DISCONNECT, body)?,
        14 => body.end()?,
        15 if is_v5 => with_reason(Place::AUTH, body)?,
        _ => {}
    }
    Ok(Notes::default())
}

fn connect(version: ProtocolVersion, body: &mut Body<'_>) -> Result<Notes, ReasonCode> {
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
    body.properties(version, Place::CONNECT)?;
    body.text()?;
    let mut notes = Notes::default();
    if has(0x04) {
        notes = body.properties(version, Place::WILL)?;
        body.text()?;
        body.field()?;
    }
    if has(0x80) {
        body.text()?;
    }
    if has(0x40) {
        body.field()?;
    }
    body.end()?;
    Ok(notes)
}

fn publish(version: ProtocolVersion, first: u8, body: &mut Body<'_>) -> Result<Notes, ReasonCode> {
    let qos = first >> 1 & 3;
    // [MQTT-3.3.1-4] no QoS 3; [MQTT-3.3.1-2] no DUP with QoS 0
    if qos == 3 || (qos == 0 && first & 8 != 0) {
        return Err(MalformedPacket);
    }
    body.text()?;
    if qos > 0 {
        body.skip(2)?;
    }
    body.properties(version, Place::PUBLISH)
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP of 5.0; what is not there is success.
fn acknowledgement(body: &mut Body<'_>) -> Result<(), ReasonCode> {
    body.skip(2)?;
    with_reason(Place::ACKNOWLEDGEMENT, body)
}

/// A reason code and properties, or only the code, or nothing.
fn with_reason(place: Place, body: &mut Body<'_>) -> Result<(), ReasonCode> {
    if !body.is_empty() {
        body.skip(1)?;
    }
    if !body.is_empty() {
        body.properties(ProtocolVersion::V5, place)?;
    }
    body.end()
}

fn subscribe(version: ProtocolVersion, body: &mut Body<'_>) -> Result<(), ReasonCode> {
    // [MQTT-3.8.3-4] of 3.1.1, [MQTT-3.8.3-5] of 5.0: reserved bits are 0
    let reserved = if version == ProtocolVersion::V311 { 0xfc } else { 0xc0 };
    body.skip(2)?;
    body.properties(version, Place::SUBSCRIBE)?;
    // [MQTT-3.8.3-2] at least one filter
    if body.is_empty() {
        return Err(ProtocolError);
    }
    while !body.is_empty() {
        body.text()?;
        let options = body.byte()?;
        if options & reserved != 0 {
            return Err(MalformedPacket);
        }
        // Section 3.8.3.1 of 5.0: neither QoS 3 nor retain handling 3
        if options & 0x03 == 0x03 || options & 0x30 == 0x30 {
            return Err(ProtocolError);
        }
    }
    Ok(())
}

fn unsubscribe(version: ProtocolVersion, body: &mut Body<'_>) -> Result<(), ReasonCode> {
    body.skip(2)?;
    body.properties(version, Place::UNSUBSCRIBE)?;
    // [MQTT-3.10.3-2] at least one filter
    if body.is_empty() {
        return Err(ProtocolError);
    }
    while !body.is_empty() {
        body.text()?;
    }
    Ok(())
}

/// The rest of a packet that is being walked through.
pub(crate) struct Body<'a> {
    rest: &'a [u8],
    /// Bytes of the packet up to the end of `rest`.
    end: usize,
}

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: bytes.len() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How far into the packet it begins.
    pub(crate) fn place(&self) -> usize {
        self.end - self.rest.len()
    }

    fn end(&self) -> Result<(), ReasonCode> {
        if self.is_empty() { Ok(()) } else { Err(MalformedPacket) }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], ReasonCode> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(MalformedPacket)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn skip(&mut self, bytes: usize) -> Result<(), ReasonCode> {
        self.take(bytes).map(drop)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, ReasonCode> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A number of `BYTES` bytes, at most four.
    pub(crate) fn number<const BYTES: usize>(&mut self) -> Result<u32, ReasonCode> {
        Ok(self.take(BYTES)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// A variable byte integer of 5.0.
    pub(crate) fn varint(&mut self) -> Result<u32, ReasonCode> {
        let (value, len) = varint(self.rest)?.ok_or(MalformedPacket)?;
        // [MQTT-1.5.5-1] of 5.0: as few bytes as possible
        if !is_minimal(value, len) {
            return Err(MalformedPacket);
        }
        self.skip(len)?;
        Ok(value)
    }

    /// Text or binary data with two bytes of length before it.
    pub(crate) fn field(&mut self) -> Result<&'a [u8], ReasonCode> {
        let len = self.number::<2>()?;
        self.take(len as usize)
    }

    /// Text; that it is UTF-8 the codec checks.
    pub(crate) fn text(&mut self) -> Result<&'a [u8], ReasonCode> {
        let text = self.field()?;
        // [MQTT-1.5.3-2] of 3.1.1, [MQTT-1.5.4-2] of 5.0: no U+0000
        if text.contains(&0) { Err(MalformedPacket) } else { Ok(text) }
    }

    fn properties(&mut self, version: ProtocolVersion, place: Place) -> Result<Notes, ReasonCode> {
        if version == ProtocolVersion::V311 {
            return Ok(Notes::default());
        }
        let len = self.varint()? as usize;
        let begin = self.place();
        let mut properties = Body { rest: self.take(len)?, end: begin + len };
        properties::check(place, &mut properties)
    }
}

/// Whether a variable byte integer needs `len` bytes.
fn is_minimal(value: u32, len: usize) -> bool {
    len == 1 || value >> (7 * (len - 1)) > 0
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
    // Section 1.5.5: at most four bytes
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
        assert!(check(V311, 0x30, b"\0\x01a").is_ok());
        assert_eq!(check(V311, 0x30, b"\0\x02a"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x32, b"\0\x01a\0"), Err(MalformedPacket));
        assert_eq!(check(V5, 0x30, b"\0\x01a\x01"), Err(MalformedPacket));
        assert_eq!(check(V5, 0x30, b"\0\x01a"), Err(MalformedPacket));
    }

    #[test]
    fn the_flags_of_a_publish_are_checked() {
        assert_eq!(check(V311, 0x36, b"\0\x01a\0\x01"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x38, b"\0\x01a"), Err(MalformedPacket));
        assert!(check(V311, 0x3a, b"\0\x01a\0\x01").is_ok());
    }

    #[test]
    fn a_connect_ends_where_its_flags_say() {
        let packet = |flags: u8, rest: &[u8]| [b"\0\x04MQTT\x04".as_slice(), &[flags], b"\0\x3c", rest].concat();
        assert!(check(V311, 0x10, &packet(0x02, b"\0\x01a")).is_ok());
        assert_eq!(check(V311, 0x10, &packet(0x02, b"\0\x01ax")), Err(MalformedPacket));
        assert_eq!(check(V311, 0x10, &packet(0x0a, b"\0\x01a")), Err(MalformedPacket));
        assert_eq!(check(V311, 0x10, &packet(0x42, b"\0\x01a\0\x01p")), Err(MalformedPacket));
        assert!(check(V311, 0x10, &packet(0xc2, b"\0\x01a\0\x01u\0\x01p")).is_ok());
        assert_eq!(check(V311, 0x10, &packet(0xc2, b"\0\x01a\0\x01u")), Err(MalformedPacket));
    }

    #[test]
    fn reserved_bits_and_empty_lists_of_filters_are_refused() {
        assert!(check(V311, 0x82, b"\0\x01\0\x01a\x02").is_ok());
        assert_eq!(check(V311, 0x82, b"\0\x01\0\x01a\x04"), Err(MalformedPacket));
        assert!(check(V5, 0x82, b"\0\x01\0\0\x01a\x04").is_ok());
        assert_eq!(check(V5, 0x82, b"\0\x01\0\0\x01a\x40"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x82, b"\0\x01"), Err(ProtocolError));
        assert_eq!(check(V5, 0xa2, b"\0\x01\0"), Err(ProtocolError));
        assert_eq!(check(V311, 0xc0, b"x"), Err(MalformedPacket));
    }

    #[test]
    fn text_has_no_null_character() {
        assert_eq!(check(V311, 0x30, b"\0\x01\0"), Err(MalformedPacket));
        assert_eq!(check(V311, 0x82, b"\0\x01\0\x02a\0\0"), Err(MalformedPacket));
        assert_eq!(check(V311, 0xa2, b"\0\x01\0\x02a\0"), Err(MalformedPacket));
        assert!(check(V311, 0x30, b"\0\x01t\0").is_ok());
    }

    #[test]
    fn qos_and_retain_handling_of_a_subscription_are_not_3() {
        assert!(check(V5, 0x82, b"\0\x01\0\0\x01a\x2e").is_ok());
        assert_eq!(check(V5, 0x82, b"\0\x01\0\0\x01a\x03"), Err(ProtocolError));
        assert_eq!(check(V5, 0x82, b"\0\x01\0\0\x01a\x30"), Err(ProtocolError));
    }

    #[test]
    fn a_length_is_written_with_as_few_bytes_as_possible() {
        assert!(Header::read(b"\xc0\0").unwrap().unwrap().is_minimal());
        assert!(!Header::read(b"\xc0\x80\0").unwrap().unwrap().is_minimal());
        assert!(Header::read(b"\x30\x80\x01").unwrap().unwrap().is_minimal());
        assert_eq!(check(V5, 0x30, b"\0\x01a\x80\0"), Err(MalformedPacket));
    }

    #[test]
    fn a_message_expiry_of_0_is_found_in_publishes_and_wills() {
        let publish = b"\0\x01a\0\x07\x05\x02\0\0\0\0x";
        let at = check(V5, 0x32, publish).unwrap().zero_expiry.unwrap();
        assert_eq!(at, 7);
        let connect = b"\0\x04MQTT\x05\x06\0\0\x05\x11\0\0\0\x01\0\x01c\x05\x02\0\0\0\0\0\x01w\0\0";
        let at = check(V5, 0x10, connect).unwrap().zero_expiry.unwrap();
        assert_eq!(connect[at - 1..at + 5], *b"\x02\0\0\0\0\0");
        assert_eq!(at, 21);
    }

    #[test]
    fn only_the_two_versions_are_known() {
        assert_eq!(version_of_connect(b"\0\x04MQTT\x04"), Ok(V311));
        assert_eq!(version_of_connect(b"\0\x04MQTT\x05"), Ok(V5));
        for other in [b"\0\x04MQTT\x03".as_slice(), b"\0\x06MQIsdp\x04", b"\0\x04MQTT", b""] {
            assert_eq!(version_of_connect(other), Err(ReasonCode::UnsupportedProtocolVersion));
            assert_eq!(translate_connect(other), None);
        }
    }

    #[test]
    fn old_clients_and_bridges_are_translated() {
        let rest = b"\x02\0\x3c\0\x01a".as_slice();
        let plain = [b"\x10\x0d\0\x04MQTT\x04", rest].concat();
        for (begin, is_bridge) in
            [(b"\0\x06MQIsdp\x03".as_slice(), false), (b"\0\x06MQIsdp\x83", true), (b"\0\x04MQTT\x84", true)]
        {
            let translated = translate_connect(&[begin, rest].concat());
            assert_eq!(translated, Some(Translated { packet: plain.clone(), is_bridge }));
        }
        for known in [b"\0\x04MQTT\x04".as_slice(), b"\0\x04MQTT\x05", b"\0\x06MQIsdp"] {
            assert_eq!(translate_connect(&[known, rest].concat()), None);
        }
        let long = [b"\0\x06MQIsdp\x03", vec![7; 300].as_slice()].concat();
        let packet = translate_connect(&long).unwrap().packet;
        assert_eq!(Header::read(&packet).unwrap().unwrap().total(), packet.len());
    }
}
