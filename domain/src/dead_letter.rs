//! Messages that the database refused, each with the reason: the last so many of them, the newest first.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{DeviceId, Invalid, PageLimit, Timestamp, TopicName};

/// The most dead letters that a tenant keeps; its oldest go first. A device that sends nothing else must not fill the disk.
pub const MAX_DEAD_LETTERS: u64 = 10_000;
/// The most dead letters of all tenants together; beyond them, the oldest of the tenant that has most go first.
pub const MAX_DEAD_LETTERS_IN_ALL: u64 = 50_000;

/// A message that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The device that published it.
    pub device_id: DeviceId,
    /// Where.
    pub topic: TopicName,
    /// What was published: bytes, because they may be the reason.
    pub payload: Vec<u8>,
    /// The time it is about.
    pub timestamp: Timestamp,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Why the database refused it, in the words of the database.
    pub reason: String,
    /// When it became a dead letter.
    pub at: Timestamp,
}

impl DeadLetter {
    /// The payload, when it is text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }

    /// The payload in base64 (RFC 4648, 4).
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.payload)
    }
}

/// Identifies a dead letter. Those put aside later have larger ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(u64);

impl DeadLetterId {
    /// Takes the key that a database gave; adapters use positive 63-bit integers.
    pub fn from_key(key: u64) -> Self {
        Self(key)
    }

    /// The database's key.
    pub fn as_key(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl FromStr for DeadLetterId {
    type Err = Invalid;

    /// # Errors
    /// When the text is not what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let key = u64::from_str_radix(text, 16).ok().filter(|key| is_hex && *key <= i64::MAX.unsigned_abs());
        key.map(Self).ok_or_else(|| Invalid::new("id", "must be the id of a dead letter, such as 00000000002a"))
    }
}

/// Which dead letters to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DeadLetterQuery {
    /// Only this device.
    pub device_id: Option<DeviceId>,
    /// Continue after this one, towards the older ones.
    pub cursor: Option<DeadLetterId>,
    /// How many.
    pub page_limit: PageLimit,
}

/// One page of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// The letters, the newest first.
    pub letters: Vec<DeadLetter>,
    /// Where the next page begins; `None` when nothing follows.
    pub next: Option<DeadLetterId>,
}

impl DeadLetterPage {
    /// Makes a page of letters that were read with one more than `limit`, which tells whether anything follows.
    pub fn from_letters(mut letters: Vec<DeadLetter>, limit: PageLimit) -> Self {
        let limit = limit.get() as usize;
        let more = letters.len() > limit;
        letters.truncate(limit);
        let next = letters.last().filter(|_| more).map(|last| last.id);
        Self { letters, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_from_its_text() {
        for key in [0, 42, i64::MAX.unsigned_abs()] {
            let id = DeadLetterId::from_key(key);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "+1", "-1", "x", "2A", "8000000000000000", "ffffffffffffffffff"] {
            assert_eq!(wrong.parse::<DeadLetterId>().unwrap_err().field, "id", "{wrong}");
        }
    }

    #[test]
    fn a_payload_that_is_no_text_is_told_in_base64() {
        let letter = |payload: &[u8]| DeadLetter {
            id: DeadLetterId::from_key(1),
            device_id: DeviceId::new(Timestamp::MIN, [1; 10]),
            topic: TopicName::parse("t").unwrap(),
            payload: payload.to_vec(),
            timestamp: Timestamp::MIN,
            received_at: Timestamp::MIN,
            reason: String::new(),
            at: Timestamp::MIN,
        };
        assert_eq!(letter(b"\"\0\"").text(), Some("\"\0\""));
        assert_eq!((letter(b"\xff\0").text(), letter(b"\xff\0").base64()), (None, "/wA=".to_owned()));
    }
}
