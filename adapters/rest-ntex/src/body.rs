//! JSON bodies: read up to a limit, decoded, and checked field by field.

use std::time::Duration;

use garde::Validate;
use ntex::http::{Payload, header};
use ntex::util::BytesMut;
use ntex::web::{DefaultError, FromRequest, HttpRequest};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::error::Category;
use serde_path_to_error::Track;
use tokio::time::Instant;

use crate::budget::Held;
use crate::code::Code;
use crate::config::BodyLimits;
use crate::dto::access_rules::CreateAccessRule;
use crate::dto::auth::Login;
use crate::dto::device_credentials::DeviceCredentials;
use crate::dto::devices::{CreateDevice, RegenerateToken, UpdateDevice};
use crate::dto::object::Object;
use crate::dto::telemetry::TelemetryEntries;
use crate::dto::tenants::{CreateTenant, UpdateTenant};
use crate::dto::topic_rules::{PreviewTopicRules, TopicRuleList};
use crate::dto::users::{CreateUser, SetPassword, UpdateUser};
use crate::extract::{Shared, bearer};
use crate::fields;
use crate::large::{self, LARGE};
use crate::problem::Problem;

/// Memory for a body whose length nobody named, and the most that is set aside before the first byte has arrived.
const FIRST_BYTES: usize = 8 * 1_024;

/// How long a client may take for all of a body: 16 MiB over half a megabit per second.
const WHOLE: Duration = Duration::from_secs(300);
/// How long a client may take at first, and how many bytes a second it must send on the average beyond that.
const GRACE: Duration = Duration::from_secs(5);
const LEAST_RATE: f64 = 1_024.0;
/// The largest body of a log-in.
const LOGIN_BYTES: usize = 4_096;

/// How large the body of a call may be; `None` of one that is read as it comes.
pub(crate) fn limit_of(path: &str, limits: &BodyLimits) -> Option<usize> {
    match path {
        "/auth/login" => Some(Login::limit(limits)),
        "/telemetry" => Some(TelemetryEntries::limit(limits)),
        "/telemetry/import" => None,
        _ => Some(limits.other),
    }
}

/// A type that is read from a body.
pub(crate) trait Body: DeserializeOwned + Validate<Context = ()> {
    /// How large the body may be.
    fn limit(limits: &BodyLimits) -> usize {
        limits.other
    }

    /// What an absent body stands for, where it may be absent.
    fn absent() -> Option<Self> {
        None
    }

    /// How JSON becomes the value: an object, if nothing else is said.
    fn from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize(deserializer).map(|object| object.0)
    }
}

impl Body for Login {
    fn limit(limits: &BodyLimits) -> usize {
        limits.other.min(LOGIN_BYTES)
    }
}

impl Body for CreateTenant {}
impl Body for UpdateTenant {}
impl Body for CreateUser {}
impl Body for UpdateUser {}
impl Body for SetPassword {}
impl Body for CreateAccessRule {}
impl Body for TopicRuleList {}
impl Body for PreviewTopicRules {}
impl Body for CreateDevice {}
impl Body for UpdateDevice {}
impl Body for DeviceCredentials {}

impl Body for RegenerateToken {
    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

impl Body for TelemetryEntries {
    fn limit(limits: &BodyLimits) -> usize {
        limits.telemetry
    }

    fn from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// The body of a request, with the room that its bytes take until it is dealt with.
pub(crate) struct Json<T>(pub(crate) T, #[allow(dead_code, reason = "only its end matters")] Option<Held>);

impl<T: Body + Send + 'static> FromRequest<DefaultError> for Json<T> {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Problem> {
        let limit = T::limit(&Shared::of(request)?.body_limits);
        let media_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        if let Some(media_type) = media_type {
            check_media_type(media_type)?;
        }
        let (bytes, held) = read(request, payload, limit).await?;
        match T::absent().filter(|_| matches!(bytes.trim_ascii(), b"" | b"null")) {
            Some(absent) => Ok(Self(absent, held)),
            None if media_type.is_none() => Err(unsupported("it has no content-type")),
            None => {
                let tenant = held.as_ref().map(Held::tenant);
                let value = match tenant.filter(|_| bytes.len() > LARGE) {
                    Some(tenant) => {
                        let places = &Shared::of(request)?.decoding;
                        large::aside(places, tenant, move |_| decode(&bytes)).await??
                    }
                    None => decode(&bytes)?,
                };
                Ok(Self(value, held))
            }
        }
    }
}

fn check_media_type(media_type: &str) -> Result<(), Problem> {
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let other_charset = parts.any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if is_json && !other_charset { Ok(()) } else { Err(unsupported("its content-type is another")) }
}

fn unsupported(found: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, format!("the body must be application/json in UTF-8; {found}"))
}

async fn read(request: &HttpRequest, payload: &mut Payload, limit: usize) -> Result<(BytesMut, Option<Held>), Problem> {
    let too_large = || Problem::new(Code::PayloadTooLarge, format!("the body must be at most {limit} bytes"));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(length.unwrap_or(FIRST_BYTES).min(FIRST_BYTES));
    let mut held = None;
    let began = Instant::now();
    loop {
        let earned = Duration::from_secs_f64(bytes.len() as f64 / LEAST_RATE);
        let until = began + WHOLE.min(GRACE + earned);
        let next = tokio::time::timeout_at(until, payload.recv()).await;
        let next = next.map_err(|_| {
            Problem::new(Code::RequestTimeout, "the body arrived too slowly; at least 1 KiB per second is required")
        })?;
        let Some(chunk) = next else { return Ok((bytes, held)) };
        let chunk =
            chunk.map_err(|error| Problem::new(Code::BadRequest, format!("the body did not arrive: {error}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        if bytes.len() + chunk.len() > LARGE {
            let first = if held.is_none() { bytes.len() } else { 0 };
            hold(request, &mut held, first + chunk.len())?;
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Counts bytes of a large body. Who sends such a one has shown a bearer token.
fn hold(request: &HttpRequest, held: &mut Option<Held>, bytes: usize) -> Result<(), Problem> {
    let shared = Shared::of(request)?;
    if held.is_none() {
        let tenant = bearer(request.headers()).and_then(|token| shared.application.auth.glance(token));
        *held = tenant.map(|(tenant, _)| shared.bodies.hold(tenant));
    }
    held.as_mut().map_or(Ok(()), |held| held.grow(bytes))
}

fn decode<T: Body>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed = |detail: String| Problem::new(Code::MalformedJson, detail);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| malformed(format!("the body is not UTF-8 from byte {} on", error.valid_up_to())))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = T::from_json(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let value = value.map_err(|error| match error.classify() {
        Category::Data => locate::<T>(text),
        Category::Syntax | Category::Eof | Category::Io => malformed(format!("the body is not JSON: {error}")),
    })?;
    value.validate().map_err(|report| fields::refused(&report))?;
    Ok(value)
}

/// Decodes a second time what failed, now keeping track of the path; bodies that are right do not pay for it.
fn locate<T: Body>(text: &str) -> Problem {
    let mut track = Track::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match T::from_json(serde_path_to_error::Deserializer::new(&mut deserializer, &mut track)) {
        Err(error) => fields::wrong("body", &track.path(), &error),
        Ok(_) => Problem::internal("a body failed to decode once but not twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";

    fn refused<T: Body>(json: &str) -> String {
        decode::<T>(json.as_bytes()).err().map_or_else(String::new, |problem| problem.to_string())
    }

    #[test]
    fn malformed_json_is_told_with_the_place() {
        assert_eq!(
            refused::<CreateTenant>(r#"{"name":"#),
            "MALFORMED_JSON: the body is not JSON: EOF while parsing a value at line 1 column 8"
        );
        assert!(refused::<CreateTenant>("").starts_with("MALFORMED_JSON"));
        assert!(refused::<CreateTenant>(r#"{"name":"a"} x"#).starts_with("MALFORMED_JSON"));
        let broken = decode::<CreateTenant>(b"{\"name\":\"\xff\"}").err().unwrap().to_string();
        assert_eq!(broken, "MALFORMED_JSON: the body is not UTF-8 from byte 9 on");
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (json, expected) in [
            ("{}", "INVALID: name: missing field `name`"),
            ("5", "INVALID: body: invalid type: integer `5`, expected an object"),
            (r#"["a"]"#, "INVALID: body: invalid type: sequence, expected an object"),
            (r#"{"name":5}"#, "INVALID: name: invalid type: integer `5`, expected a string"),
            (r#"{"name":"a","name":"b"}"#, "INVALID: name: duplicate field `name`"),
            (r#"{"name":"a","labels":[1]}"#, "INVALID: labels[0]: invalid type: integer `1`, expected a string"),
            (
                r#"{"name":"a","tokenExpiresAt":"soon"}"#,
                "INVALID: tokenExpiresAt: must be RFC 3339 such as 2026-11-23T11:14:00Z, or milliseconds since 1970",
            ),
        ] {
            assert_eq!(refused::<CreateDevice>(json), expected, "{json}");
        }
        assert!(refused::<CreateDevice>(r#"{"nam":"a"}"#).starts_with("INVALID: nam: unknown field `nam`"));
    }

    #[test]
    fn all_wrong_texts_are_named_at_once() {
        assert_eq!(
            refused::<CreateDevice>(r#"{"name":"","labels":["a",""]}"#),
            "INVALID: labels[1]: each must be 1 to 64 characters, not blank, without control characters; \
             name: must be 1 to 128 characters, not blank, without control characters"
        );
    }

    #[test]
    fn entries_of_telemetry_are_named() {
        let entry = |rest: &str| format!(r#"{{"deviceId":"{ID}","topic":"a","payload":1{rest}}}"#);
        assert_eq!(refused::<TelemetryEntries>(&entry("")), "");
        assert_eq!(refused::<TelemetryEntries>(&format!("[{},{}]", entry(""), entry(""))), "");
        let wrong = entry(r#","timestamp":true"#);
        assert!(refused::<TelemetryEntries>(&wrong).starts_with("INVALID: timestamp: invalid type: boolean"));
        let second = format!("[{},{wrong}]", entry(""));
        assert!(refused::<TelemetryEntries>(&second).starts_with("INVALID: [1].timestamp: invalid type: boolean"));
        let topic = format!(r##"[{{"deviceId":"{ID}","topic":"#","payload":1}}]"##);
        assert!(refused::<TelemetryEntries>(&topic).starts_with("INVALID: [0].topic: must not contain"));
        let nested = r#"[["a","b",1]]"#;
        assert_eq!(refused::<TelemetryEntries>(nested), "INVALID: [0]: invalid type: sequence, expected an object");
        let missing = format!(r#"[{{"deviceId":"{ID}","topic":"a"}}]"#);
        assert_eq!(refused::<TelemetryEntries>(&missing), "INVALID: [0].payload: missing field `payload`");
    }

    #[test]
    fn telemetry_has_1_to_1000_entries() {
        let entries = |count: usize| {
            let entry = format!(r#"{{"deviceId":"{ID}","topic":"a","payload":null}}"#);
            format!("[{}]", vec![entry; count].join(","))
        };
        assert_eq!(refused::<TelemetryEntries>(&entries(1_000)), "");
        for count in [0, 1_001] {
            let problem = refused::<TelemetryEntries>(&entries(count));
            assert_eq!(
                problem,
                format!("INVALID: body: invalid length {count}, expected an object or an array of 1 to 1000 objects")
            );
        }
    }

    #[test]
    fn a_payload_keeps_its_text() {
        let json = format!(r#"{{"deviceId":"{ID}","topic":"a","payload": {{ "a" : 1.50, "a":2 }} }}"#);
        let input = decode::<TelemetryEntries>(json.as_bytes()).ok().unwrap().parse().unwrap().remove(0);
        assert_eq!(input.payload, r#"{ "a" : 1.50, "a":2 }"#);
    }

    #[test]
    fn only_json_in_utf_8_is_taken() {
        for right in ["application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json"] {
            assert!(check_media_type(right).is_ok(), "{right}");
        }
        for wrong in ["", "text/plain", "text/json", "application/json; charset=latin1", "application/x-json"] {
            assert!(check_media_type(wrong).is_err(), "{wrong}");
        }
    }
}
