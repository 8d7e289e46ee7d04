//! A row as JSON.

use std::borrow::Cow;
use std::fmt;

use pocket_domain::{DeviceId, Telemetry, TelemetryId, Timestamp};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A stored message as it is shown: times as RFC 3339 in UTC with milliseconds, the payload as it was published.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TextRow<'a> {
    #[serde(serialize_with = "text")]
    id: TelemetryId,
    #[serde(serialize_with = "text")]
    device_id: DeviceId,
    topic: &'a str,
    payload: Cow<'a, RawValue>,
    /// The payload to the letter, where `payload` is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<&'a str>,
    #[serde(serialize_with = "text")]
    timestamp: Timestamp,
    #[serde(serialize_with = "text")]
    received_at: Timestamp,
}

/// Writes what has a short text without the detour of a `String`.
fn text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl<'a> TextRow<'a> {
    /// The row of a stored message.
    ///
    /// # Errors
    /// When a stored payload is not JSON.
    fn of(row: &'a Telemetry) -> Result<Self, serde_json::Error> {
        let payload = Cow::Borrowed(serde_json::from_str(row.payload.as_str())?);
        Ok(Self::with(row, payload, None))
    }

    /// The row of a stored message, unless its payload is damaged, which is told to the operator and leaves the others.
    pub fn readable(row: &'a Telemetry) -> Option<Self> {
        told(row, Self::of(row))
    }

    /// The row on one line, unless its payload is damaged.
    pub(crate) fn readable_on_one_line(row: &'a Telemetry) -> Option<Self> {
        told(row, Self::on_one_line(row))
    }

    /// The row on one line. Line breaks of a payload are between its values, as strings have none; they become spaces.
    ///
    /// # Errors
    /// When a stored payload is not JSON.
    fn on_one_line(row: &'a Telemetry) -> Result<Self, serde_json::Error> {
        let text = row.payload.as_str();
        if !text.contains(['\n', '\r']) {
            return Self::of(row);
        }
        let payload = RawValue::from_string(text.replace(['\n', '\r'], " "))?;
        Ok(Self::with(row, Cow::Owned(payload), Some(text)))
    }

    fn with(row: &'a Telemetry, payload: Cow<'a, RawValue>, payload_text: Option<&'a str>) -> Self {
        Self {
            id: row.id,
            device_id: row.device_id,
            topic: row.topic.as_str(),
            payload,
            payload_text,
            timestamp: row.timestamp,
            received_at: row.received_at,
        }
    }
}

fn told<T>(row: &Telemetry, shown: Result<T, serde_json::Error>) -> Option<T> {
    let damaged = |error: &serde_json::Error| {
        let (device, time) = (row.device_id, row.timestamp);
        tracing::error!(%device, %time, id = %row.id, %error, "a stored payload is not JSON; the row is left out");
    };
    shown.inspect_err(damaged).ok()
}
