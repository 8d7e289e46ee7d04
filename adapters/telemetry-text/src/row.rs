//! A row as JSON.

use pocket_domain::Telemetry;
use serde::Serialize;
use serde_json::value::RawValue;

/// A stored message as it is shown: times as RFC 3339 in UTC with milliseconds, the payload as it was published.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TextRow<'a> {
    id: String,
    device_id: String,
    topic: &'a str,
    payload: &'a RawValue,
    timestamp: String,
    received_at: String,
}

impl<'a> TextRow<'a> {
    /// The row of a stored message.
    ///
    /// # Errors
    /// When a stored payload is not JSON.
    pub fn of(row: &'a Telemetry) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: row.id.to_string(),
            device_id: row.device_id.to_string(),
            topic: row.topic.as_str(),
            payload: serde_json::from_str(row.payload.as_str())?,
            timestamp: row.timestamp.to_string(),
            received_at: row.received_at.to_string(),
        })
    }
}
