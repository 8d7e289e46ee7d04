//! The properties of a packet of 5.0, walked through before the codec sees them.
//!
//! The codec calls everything that is wrong with them malformed. The specification tells a property that is no property of
//! the packet (malformed) from one that stands twice or has a value that is not allowed (a protocol error), and it wants
//! two things passed on that the codec cannot say: a message expiry of 0, and a payload format indicator of 0.

use pocket_mqtt_core::ReasonCode;

use crate::frame::Body;

use ReasonCode::{MalformedPacket, ProtocolError, TopicAliasInvalid};

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
const SESSION_EXPIRY: u8 = 0x11;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
const WILL_DELAY: u8 = 0x18;
const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
const REASON_STRING: u8 = 0x1f;
const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// Where properties stand, and which of them may stand there. Table 2-4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(&'static [u8]);

impl Place {
    pub(crate) const CONNECT: Self = Self(&[
        SESSION_EXPIRY,
        AUTHENTICATION_METHOD,
        AUTHENTICATION_DATA,
        REQUEST_PROBLEM_INFORMATION,
        REQUEST_RESPONSE_INFORMATION,
        RECEIVE_MAXIMUM,
        TOPIC_ALIAS_MAXIMUM,
        MAXIMUM_PACKET_SIZE,
    ]);
    pub(crate) const WILL: Self =
        Self(&[PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, WILL_DELAY]);
    pub(crate) const PUBLISH: Self = Self(&[
        PAYLOAD_FORMAT,
        MESSAGE_EXPIRY,
        CONTENT_TYPE,
        RESPONSE_TOPIC,
        CORRELATION_DATA,
        SUBSCRIPTION_IDENTIFIER,
        TOPIC_ALIAS,
    ]);
    pub(crate) const ACKNOWLEDGEMENT: Self = Self(&[REASON_STRING]);
    pub(crate) const SUBSCRIBE: Self = Self(&[SUBSCRIPTION_IDENTIFIER]);
    pub(crate) const UNSUBSCRIBE: Self = Self(&[]);
    pub(crate) const DISCONNECT: Self = Self(&[SESSION_EXPIRY, REASON_STRING]);
    pub(crate) const AUTH: Self = Self(&[AUTHENTICATION_METHOD, AUTHENTICATION_DATA, REASON_STRING]);

    fn allows(self, property: u8) -> bool {
        property == USER_PROPERTY || self.0.contains(&property)
    }
}

/// What the codec cannot say about a message or a will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Where the four bytes of a message expiry of 0 begin, in the body of the packet.
    pub(crate) zero_expiry: Option<usize>,
    /// The payload format indicator.
    pub(crate) payload_is_utf8: Option<bool>,
}

/// Walks through properties of which the length was read: all that is left of `body`.
pub(crate) fn check(place: Place, body: &mut Body<'_>) -> Result<Notes, ReasonCode> {
    let mut notes = Notes::default();
    let mut seen = 0u64;
    while !body.is_empty() {
        let property = body.byte()?;
        if !place.allows(property) {
            return Err(MalformedPacket);
        }
        // Identifiers are below 64. Only user properties may be repeated.
        if property != USER_PROPERTY && seen & 1 << property != 0 {
            return Err(ProtocolError);
        }
        seen |= 1 << property;
        value(property, body, &mut notes)?;
    }
    // Section 3.1.2.11.10: no data without a method
    if seen & 1 << AUTHENTICATION_DATA != 0 && seen & 1 << AUTHENTICATION_METHOD == 0 {
        return Err(ProtocolError);
    }
    Ok(notes)
}

/// Reads one value and judges it.
fn value(property: u8, body: &mut Body<'_>, notes: &mut Notes) -> Result<(), ReasonCode> {
    match property {
        PAYLOAD_FORMAT => notes.payload_is_utf8 = Some(flag(body)?),
        REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION => drop(flag(body)?),
        RECEIVE_MAXIMUM => refuse_zero(body.number::<2>()?, ProtocolError)?,
        // [MQTT-3.3.2-8]
        TOPIC_ALIAS => refuse_zero(body.number::<2>()?, TopicAliasInvalid)?,
        TOPIC_ALIAS_MAXIMUM => body.skip(2)?,
        MESSAGE_EXPIRY => {
            let at = body.place();
            if body.number::<4>()? == 0 {
                notes.zero_expiry = Some(at);
            }
        }
        MAXIMUM_PACKET_SIZE => refuse_zero(body.number::<4>()?, ProtocolError)?,
        SESSION_EXPIRY | WILL_DELAY => body.skip(4)?,
        SUBSCRIPTION_IDENTIFIER => refuse_zero(body.varint()?, ProtocolError)?,
        CORRELATION_DATA | AUTHENTICATION_DATA => drop(body.field()?),
        RESPONSE_TOPIC => {
            // [MQTT-3.3.2-14] no wildcards, and as any topic not empty
            let topic = body.text()?;
            if topic.is_empty() || topic.iter().any(|byte| matches!(byte, b'+' | b'#')) {
                return Err(ProtocolError);
            }
        }
        USER_PROPERTY => {
            body.text()?;
            body.text()?;
        }
        // Content type, authentication method, reason string.
        _ => drop(body.text()?),
    }
    Ok(())
}

fn flag(body: &mut Body<'_>) -> Result<bool, ReasonCode> {
    match body.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ProtocolError),
    }
}

fn refuse_zero(value: u32, reason: ReasonCode) -> Result<(), ReasonCode> {
    if value == 0 { Err(reason) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_bytes(place: Place, bytes: &[u8]) -> Result<Notes, ReasonCode> {
        check(place, &mut Body::new(bytes))
    }

    #[test]
    fn a_property_of_another_packet_is_malformed() {
        assert_eq!(check_bytes(Place::PUBLISH, b"\x21\0\x01"), Err(MalformedPacket));
        assert_eq!(check_bytes(Place::CONNECT, b"\x21\0\x01"), Ok(Notes::default()));
        assert_eq!(check_bytes(Place::PUBLISH, b"\x7f"), Err(MalformedPacket));
        assert_eq!(check_bytes(Place::UNSUBSCRIBE, b"\x0b\x01"), Err(MalformedPacket));
    }

    #[test]
    fn only_user_properties_may_stand_twice() {
        assert_eq!(check_bytes(Place::WILL, b"\x18\0\0\0\x01\x18\0\0\0\x01"), Err(ProtocolError));
        assert_eq!(check_bytes(Place::WILL, b"\x26\0\x01a\0\x01b\x26\0\x01a\0\x01b"), Ok(Notes::default()));
    }

    #[test]
    fn a_value_that_is_cut_off_is_malformed() {
        for bytes in [b"\x01".as_slice(), b"\x02\0\0\0", b"\x03\0\x02a", b"\x23\0", b"\x0b\x80", b"\x26\0\x01a"] {
            assert_eq!(check_bytes(Place::PUBLISH, bytes), Err(MalformedPacket), "{bytes:02x?}");
        }
    }

    #[test]
    fn values_that_are_not_allowed_have_their_reasons() {
        for (place, bytes, reason) in [
            (Place::CONNECT, b"\x17\x02".as_slice(), ProtocolError),
            (Place::CONNECT, b"\x21\0\0", ProtocolError),
            (Place::CONNECT, b"\x27\0\0\0\0", ProtocolError),
            (Place::CONNECT, b"\x16\0\x01x", ProtocolError),
            (Place::PUBLISH, b"\x01\x02", ProtocolError),
            (Place::PUBLISH, b"\x23\0\0", TopicAliasInvalid),
            (Place::PUBLISH, b"\x08\0\x03a/#", ProtocolError),
            (Place::PUBLISH, b"\x08\0\0", ProtocolError),
            (Place::PUBLISH, b"\x03\0\x01\0", MalformedPacket),
            (Place::SUBSCRIBE, b"\x0b\0", ProtocolError),
            (Place::SUBSCRIBE, b"\x0b\x81\0", MalformedPacket),
        ] {
            assert_eq!(check_bytes(place, bytes), Err(reason), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_the_codec_cannot_say_is_noted() {
        let notes = check_bytes(Place::PUBLISH, b"\x01\0\x02\0\0\0\0").unwrap();
        assert_eq!(notes, Notes { zero_expiry: Some(3), payload_is_utf8: Some(false) });
        let notes = check_bytes(Place::WILL, b"\x02\0\0\0\x01\x01\x01").unwrap();
        assert_eq!(notes, Notes { zero_expiry: None, payload_is_utf8: Some(true) });
    }
}
