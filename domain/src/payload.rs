//! What a telemetry message may carry, and how it is kept.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::json::{self, Shape};
use crate::{Invalid, Timestamp, TooManyTopics};

/// How deep the arrays and objects of a payload may nest.
pub const MAX_JSON_DEPTH: usize = json::MAX_DEPTH;

/// What telemetry payloads a tenant accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PayloadPolicy {
    /// JSON only; anything else is refused.
    #[default]
    Json,
    /// Everything; what is not JSON is kept as `{"raw":"text"}` or, where it is not UTF-8, as `{"base64":"…"}`.
    Any,
}

impl PayloadPolicy {
    /// The policy as it is written in requests, answers and databases.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Any => "any",
        }
    }
}

impl FromStr for PayloadPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "json" => Ok(Self::Json),
            "any" => Ok(Self::Any),
            _ => Err(Invalid::new("payloadPolicy", "must be json or any")),
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
    /// The time that `{"ts":<ms>,"values":{…}}` carries.
    pub own_time: Option<Timestamp>,
    /// How many keys its objects have, those inside arrays aside.
    pub keys: usize,
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
    /// `ts` beside `values` is not a moment between 1970 and 9999.
    #[error("ts must be milliseconds between 0 and 253402300799999")]
    TimeOutOfRange,
    /// It is fine, but its topic is one too many.
    #[error(transparent)]
    TooManyTopics(#[from] TooManyTopics),
}

impl Payload {
    /// Reads what a device published.
    ///
    /// # Errors
    /// When it is larger than `max_bytes` or the policy does not accept it.
    pub fn read(bytes: &[u8], policy: PayloadPolicy, max_bytes: usize) -> Result<ReadPayload, PayloadError> {
        if bytes.len() > max_bytes {
            return Err(PayloadError::TooLarge { bytes: bytes.len(), allowed: max_bytes });
        }
        match (Self::read_json(bytes), policy) {
            (Err(PayloadError::NotJson(_)), PayloadPolicy::Any) => {
                Ok(Self::wrapped("raw", &String::from_utf8_lossy(bytes)))
            }
            (Err(PayloadError::NotUtf8(_)), PayloadPolicy::Any) => Ok(Self::wrapped("base64", &STANDARD.encode(bytes))),
            (read, _) => read,
        }
    }

    /// Reads what comes from a history that was written out: like [`read`](Self::read), but what was wrapped there may be
    /// longer than `max_bytes` by what wrapping added to it.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_again(bytes: &[u8], policy: PayloadPolicy, max_bytes: usize) -> Result<ReadPayload, PayloadError> {
        match Self::read(bytes, policy, max_bytes) {
            Err(PayloadError::TooLarge { .. }) if Self::is_wrapped(bytes, max_bytes) => Self::read_json(bytes),
            read => read,
        }
    }

    /// Whether this is what became of at most `max_bytes` that were no JSON.
    fn is_wrapped(bytes: &[u8], max_bytes: usize) -> bool {
        // A byte takes six where it is a control character.
        if bytes.len() > 6 * max_bytes + 16 {
            return false;
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
        let (shape, keys) = json::check(text).map_err(|error| PayloadError::NotJson(error.to_string()))?;
        let own_time = match shape {
            Shape::Object { own_time: Some(millis) } => {
                Some(Timestamp::from_millis(millis).map_err(|_| PayloadError::TimeOutOfRange)?)
            }
            _ => None,
        };
        Ok(ReadPayload { payload: Self(text.into()), own_time, keys })
    }

    fn wrapped(key: &str, text: &str) -> ReadPayload {
        let value = serde_json::Value::from(text);
        ReadPayload { payload: Self(format!("{{\"{key}\":{value}}}").into()), own_time: None, keys: 1 }
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

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 65_536;

    fn json(bytes: &[u8]) -> Result<ReadPayload, PayloadError> {
        Payload::read(bytes, PayloadPolicy::Json, MAX)
    }

    #[test]
    fn every_kind_of_json_value_is_kept_as_it_came() {
        for text in
            ["{}", "[1, 2]", "-0", "1e300", "12345678901234567890", "\"\\u00e9 é\"", "true", "null", " {\"a\" : 1 } "]
        {
            assert_eq!(json(text.as_bytes()).unwrap().payload.as_str(), text);
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        for text in ["", "{", "{]", "21.5 C", "nan", "{\"a\":1}{", "'a'", "\"\\ud800\"", "01", "1e999"] {
            assert!(matches!(json(text.as_bytes()), Err(PayloadError::NotJson(_))), "{text}");
        }
        assert_eq!(json(b"\"a\xff\""), Err(PayloadError::NotUtf8(2)));
        assert_eq!(
            json(b"{").unwrap_err().to_string(),
            "payload is not JSON: EOF while parsing an object at line 1 column 1"
        );
    }

    #[test]
    fn nesting_and_size_have_a_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(json(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert!(json(nested(MAX_JSON_DEPTH + 1).as_bytes()).is_err());
        assert!(json(nested(MAX / 2).as_bytes()).is_err());
        assert!(Payload::read(b"1234", PayloadPolicy::Any, 4).is_ok());
        assert_eq!(
            Payload::read(b"12345", PayloadPolicy::Any, 4),
            Err(PayloadError::TooLarge { bytes: 5, allowed: 4 })
        );
    }

    #[test]
    fn keys_of_objects_are_counted_but_not_those_inside_arrays() {
        for (text, keys) in [
            ("21.5", 0),
            ("{}", 0),
            (r#"{"a":1,"a":2}"#, 2),
            (r#"{"a":{"b":{},"c":1}}"#, 3),
            (r#"{"a":[{"b":1},{"c":{"d":1}}],"e":2}"#, 2),
            (r#"[{"a":1}]"#, 0),
        ] {
            assert_eq!(json(text.as_bytes()).unwrap().keys, keys, "{text}");
        }
    }

    #[test]
    fn ts_beside_values_is_the_messages_own_time() {
        let time = |text: &str| json(text.as_bytes()).unwrap().own_time.map(Timestamp::as_millis);
        assert_eq!(time(r#"{"ts":1700000000000,"values":{"t":1}}"#), Some(1_700_000_000_000));
        assert_eq!(time(r#"{"values":{},"ts":5}"#), Some(5));
        for without in [
            r#"{"ts":5}"#,
            r#"{"ts":"2026-01-01","values":{}}"#,
            r#"{"ts":1.5,"values":{}}"#,
            r#"{"ts":5,"values":[1]}"#,
            r#"[{"ts":5,"values":{}}]"#,
        ] {
            assert_eq!(time(without), None, "{without}");
        }
        for wrong in ["-1", "253402300800000", "99999999999999999999", "18446744073709551615"] {
            let text = format!(r#"{{"ts":{wrong},"values":{{}}}}"#);
            let read = json(text.as_bytes());
            assert!(read == Err(PayloadError::TimeOutOfRange) || read.unwrap().own_time.is_none(), "{wrong}");
        }
    }

    #[test]
    fn policy_any_wraps_what_is_not_json() {
        let any = |bytes: &[u8]| Payload::read(bytes, PayloadPolicy::Any, MAX).unwrap().payload.as_str().to_owned();
        assert_eq!(any(b"21.5 \"C\"\n"), r#"{"raw":"21.5 \"C\"\n"}"#);
        assert_eq!(any(b"\xff\x00"), r#"{"base64":"/wA="}"#);
        assert_eq!(any(b""), r#"{"raw":""}"#);
        assert_eq!(any(b"{\"a\":1}"), r#"{"a":1}"#);
    }

    #[test]
    fn what_was_wrapped_comes_back_though_wrapping_made_it_longer() {
        let again = |text: &str| Payload::read_again(text.as_bytes(), PayloadPolicy::Json, 10);
        for longest in [&[0x01; 10][..], &[0xff; 10], b"[[[[[[[[[["] {
            let wrapped = Payload::read(longest, PayloadPolicy::Any, 10).unwrap().payload;
            assert!(wrapped.as_str().len() > 10);
            assert_eq!(again(wrapped.as_str()).unwrap().payload, wrapped);
        }
        for other in [
            r#"{"raw":"12345678901"}"#,
            r#"{"base64":"AAAAAAAAAAAAAAA="}"#,
            r#"{"base64":"***********"}"#,
            r#"{"raw":"1","base64":""}"#,
            r#"{"other":"1"}"#,
            r#""12345678901""#,
        ] {
            assert!(matches!(again(other), Err(PayloadError::TooLarge { .. })), "{other}");
        }
        assert!(again("{").is_err() && again("1").is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_json(bytes: Vec<u8>) {
            for policy in [PayloadPolicy::Json, PayloadPolicy::Any] {
                if let Ok(read) = Payload::read(&bytes, policy, MAX) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(read.payload.as_str()).is_ok());
                }
            }
        }

        #[test]
        fn whatever_serde_json_writes_is_accepted(number: f64, text: String, key: String) {
            let value = serde_json::json!({ key: [number, text] });
            prop_assert!(json(value.to_string().as_bytes()).is_ok());
        }
    }
}
