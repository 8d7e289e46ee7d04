//! What a telemetry message may carry, and how it is kept.
//!
//! A JSON value is kept as it was published. What a policy accepts beside JSON is kept as JSON that stands for it. An
//! empty message is no telemetry; whoever calls [`Payload::read`] looks for that first.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::json::{self, Shape};
use crate::{Invalid, Timestamp, TooManyTopics};

mod readings;
mod words;

pub use words::beginning;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// How deep the arrays and objects of a payload may nest.
pub const MAX_JSON_DEPTH: usize = json::MAX_DEPTH;

/// What telemetry payloads a tenant accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PayloadPolicy {
    /// Everything but broken JSON. A text that begins like an object or array (`{`, `[`) must be JSON. Any other text that
    /// is not JSON is kept as a JSON string, and what is not UTF-8 as `{"base64":"…"}`.
    #[default]
    Auto,
    /// JSON only; anything else is refused.
    Json,
    /// Everything; what is not JSON is kept as `{"raw":"text"}` or, where it is not UTF-8, as `{"base64":"…"}`.
    Any,
}

impl PayloadPolicy {
    /// The policy as it is written in requests, answers and databases.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Any => "any",
        }
    }
}

impl FromStr for PayloadPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "any" => Ok(Self::Any),
            _ => Err(Invalid::new("payloadPolicy", "must be auto, json or any")),
        }
    }
}

/// A telemetry payload: the text of one JSON value, exactly as it was published.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Box<str>);

/// A payload that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPayload {
    /// What is stored.
    pub payload: Payload,
    /// The time that `{"ts":…,"values":{…}}` carries, or a record of SenML.
    pub own_time: Option<OwnTime>,
    /// How many keys its objects have, those inside arrays aside.
    pub keys: usize,
}

/// The time that a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTime {
    /// This moment.
    At(Timestamp),
    /// So many milliseconds after its arrival, or before it where they are negative (RFC 8428, section 4.5.3).
    SinceArrival(i64),
}

impl OwnTime {
    /// The moment for a message of this arrival.
    pub fn moment(self, received_at: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::SinceArrival(millis) => {
                let millis = received_at.as_millis().saturating_add(millis);
                Timestamp::from_millis(millis.clamp(Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis()))
                    .unwrap_or(received_at)
            }
        }
    }
}

impl ReadPayload {
    /// The time that it is about: its own, or that of its arrival.
    pub fn time(&self, received_at: Timestamp) -> Timestamp {
        self.own_time.map_or(received_at, |time| time.moment(received_at))
    }
}

/// What a message holds: one payload, or the readings of an array, each of its own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The first.
    pub first: ReadPayload,
    /// Those after it.
    pub more: Vec<ReadPayload>,
}

impl IntoIterator for Readings {
    type Item = ReadPayload;
    type IntoIter = std::iter::Chain<std::iter::Once<ReadPayload>, std::vec::IntoIter<ReadPayload>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.more)
    }
}

/// Why a payload is refused. The text is shown to the people of the device's tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// More bytes than the platform accepts.
    #[error("payload of {bytes} bytes is larger than the {allowed} allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        allowed: usize,
    },
    /// Its objects have more keys than the platform accepts.
    #[error("payload has {keys} keys, more than the {allowed} allowed")]
    TooManyKeys {
        /// Its keys, those inside arrays aside.
        keys: usize,
        /// The limit.
        allowed: usize,
    },
    /// Not UTF-8, so not JSON.
    #[error("payload is not JSON: not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// Not one JSON value.
    #[error("payload is not JSON: {0}")]
    NotJson(String),
    /// `ts` beside `values` is no time.
    #[error("ts is milliseconds since 1970, or seconds, micro- or nanoseconds, or RFC 3339; got {0}")]
    NoTime(String),
    /// An array of more readings than one message may have.
    #[error("an array of {readings} readings is longer than the {allowed} allowed")]
    TooManyReadings {
        /// How many.
        readings: usize,
        /// The limit.
        allowed: usize,
    },
    /// It is fine, but its topic is one too many.
    #[error(transparent)]
    TooManyTopics(#[from] TooManyTopics),
}

impl Payload {
    /// The most readings of one message.
    pub const MAX_READINGS: usize = readings::MAX_READINGS;

    /// Reads what a device published, and takes an array of readings apart: an array whose elements are all objects, or
    /// SenML (RFC 8428). Each reading is stored as a row of its own.
    ///
    /// # Errors
    /// When it is larger than `max_bytes`, the policy does not accept it, or it has too many readings.
    pub fn read_all(bytes: &[u8], policy: PayloadPolicy, max_bytes: usize) -> Result<Readings, PayloadError> {
        let first = Self::read(bytes, policy, max_bytes)?;
        match readings::take_apart(first.payload.as_str())? {
            Some(readings) => Ok(readings),
            None => Ok(Readings { first, more: Vec::new() }),
        }
    }

    /// Reads what a device published as one payload.
    ///
    /// # Errors
    /// When it is larger than `max_bytes` or the policy does not accept it.
    pub fn read(bytes: &[u8], policy: PayloadPolicy, max_bytes: usize) -> Result<ReadPayload, PayloadError> {
        if bytes.len() > max_bytes {
            return Err(PayloadError::TooLarge { bytes: bytes.len(), allowed: max_bytes });
        }
        let read = Self::read_json(bytes);
        match (&read, policy) {
            (Err(PayloadError::NotUtf8(_) | PayloadError::NotJson(_)), PayloadPolicy::Json) => read,
            (Err(PayloadError::NotUtf8(_)), _) => Ok(Self::wrapped("base64", &STANDARD.encode(bytes))),
            (Err(PayloadError::NotJson(_)), PayloadPolicy::Auto) if looks_like_a_document(bytes) => read,
            (Err(PayloadError::NotJson(_)), PayloadPolicy::Auto) => Ok(Self::string(&String::from_utf8_lossy(bytes))),
            (Err(PayloadError::NotJson(_)), PayloadPolicy::Any) => {
                Ok(Self::wrapped("raw", &String::from_utf8_lossy(bytes)))
            }
            _ => read,
        }
    }

    /// Reads what comes from a history that was written out: like [`read`](Self::read), but what was wrapped there may be
    /// longer than `max_bytes` by what wrapping added to it, and a `ts` that is no time is none.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_again(bytes: &[u8], policy: PayloadPolicy, max_bytes: usize) -> Result<ReadPayload, PayloadError> {
        match Self::read(bytes, policy, max_bytes) {
            Err(PayloadError::TooLarge { .. }) if Self::is_wrapped(bytes, max_bytes) => Self::read_json(bytes),
            Err(PayloadError::NoTime(_)) => {
                let text = String::from_utf8_lossy(bytes);
                let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
                Ok(ReadPayload { payload: Self(text.into()), own_time: None, keys: 0 })
            }
            read => read,
        }
    }

    /// Whether this is what became of at most `max_bytes` that were no JSON.
    fn is_wrapped(bytes: &[u8], max_bytes: usize) -> bool {
        // A byte takes six where it is a control character.
        if bytes.len() > 6 * max_bytes + 16 {
            return false;
        }
        if let Ok(text) = serde_json::from_slice::<String>(bytes) {
            return text.len() <= max_bytes;
        }
        let Ok(wrapped) = serde_json::from_slice::<std::collections::BTreeMap<&str, String>>(bytes) else {
            return false;
        };
        let length = match (wrapped.get("raw"), wrapped.get("base64")) {
            (Some(text), None) => text.len(),
            (None, Some(text)) => STANDARD.decode(text).map_or(usize::MAX, |bytes| bytes.len()),
            _ => return false,
        };
        wrapped.len() == 1 && length <= max_bytes
    }

    fn read_json(bytes: &[u8]) -> Result<ReadPayload, PayloadError> {
        let text = std::str::from_utf8(bytes).map_err(|error| PayloadError::NotUtf8(error.valid_up_to()))?;
        // RFC 8259, section 8.1: a byte order mark may be passed over, and is not to be kept.
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let (shape, keys) = json::check(text).map_err(|error| PayloadError::NotJson(words::explain(text, &error)))?;
        let own_time = match shape {
            Shape::Object { own_time: Some(time) } => Some(OwnTime::At(time.map_err(PayloadError::NoTime)?)),
            _ => None,
        };
        Ok(ReadPayload { payload: Self(text.into()), own_time, keys })
    }

    fn wrapped(key: &str, text: &str) -> ReadPayload {
        let value = serde_json::Value::from(text);
        ReadPayload { payload: Self(format!("{{\"{key}\":{value}}}").into()), own_time: None, keys: 1 }
    }

    fn string(text: &str) -> ReadPayload {
        ReadPayload { payload: Self(serde_json::Value::from(text).to_string().into()), own_time: None, keys: 0 }
    }

    /// Takes the JSON text that a database kept.
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is meant to be an object or array, whatever harmless or harmful bytes stand before it.
fn looks_like_a_document(text: &[u8]) -> bool {
    let text = text.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(text);
    let first = text.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0));
    matches!(first, Some(b'{' | b'['))
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
