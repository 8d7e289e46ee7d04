//! What a PUBLISH was about that is larger than packets may be, for its owner to be told.

use crate::frame::Header;

/// The most bytes of a topic.
const MOST_TOPIC: usize = 1_024;
/// Bytes of a payload that are shown, if they are there.
const SHOWN: usize = 96;

/// The beginning of a PUBLISH that was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Oversized {
    /// Its topic.
    pub(crate) topic: String,
    /// Bytes of the packet.
    pub(crate) bytes: usize,
    /// What came of it after the topic.
    pub(crate) beginning: Box<[u8]>,
}

impl Oversized {
    /// Reads what is there of a packet; `None` when it is no PUBLISH, or its topic is not there.
    pub(crate) fn read(header: &Header, bytes: &[u8]) -> Option<Self> {
        if !header.is_publish() {
            return None;
        }
        let (length, rest) = bytes.get(header.len..)?.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (topic, rest) = rest.split_at_checked(length)?;
        let topic = std::str::from_utf8(topic).ok().filter(|topic| !topic.is_empty() && topic.len() <= MOST_TOPIC)?;
        // The packet id of QoS 1 and 2. The properties of 5.0 are shown with the payload.
        let skipped = if header.first & 0x06 == 0 { 0 } else { 2 };
        let beginning = rest.get(skipped..).unwrap_or_default();
        let beginning = beginning[..beginning.len().min(SHOWN)].into();
        Some(Self { topic: topic.to_owned(), bytes: header.total(), beginning })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Oversized> {
        Oversized::read(&Header::read(bytes).unwrap().unwrap(), bytes)
    }

    #[test]
    fn a_publish_is_known_by_its_topic() {
        let oversized = read(b"\x32\xff\xff\x7f\0\x03a/b\0\x01{\"x\"").unwrap();
        assert_eq!((oversized.topic.as_str(), oversized.bytes), ("a/b", 2_097_155));
        assert_eq!(&*oversized.beginning, b"{\"x\"");
        let unknown = [
            &b"\x30\xff\xff\x7f\0\x03a/"[..],
            b"\x30\xff\xff\x7f\0",
            b"\x82\xff\xff\x7f\0\x01a",
            b"\x30\xff\xff\x7f\0\0",
            b"\x30\xff\xff\x7f\0\x01\xff",
        ];
        for bytes in unknown {
            assert_eq!(read(bytes), None);
        }
    }
}
