//! A row as a JSON object: times as RFC 3339 in UTC with milliseconds, the payload as it was published.
//!
//! It is written without a serializer: a page has hundreds of names, ids and times, of which nothing has to be escaped.

use std::io::Write;

use pocket_domain::Telemetry;
use serde_json::value::RawValue;

use crate::write::into_memory;

/// Adds a row, unless its payload is damaged: that is told to the operator and leaves the others. Whether it was added.
pub fn write_json(text: &mut Vec<u8>, row: &Telemetry) -> bool {
    let payload = readable(row);
    if let Some(payload) = payload {
        write(text, row, payload, None);
    }
    payload.is_some()
}

/// Adds a row as a line, unless its payload is damaged. Line breaks of a payload are between its values, as strings have none;
/// they become spaces, and the payload to the letter stands beside it. So it does when there is something around its value.
pub(crate) fn write_line(text: &mut Vec<u8>, row: &Telemetry) {
    let Some(payload) = readable(row) else { return };
    let stored = row.payload.as_str();
    if payload.contains(['\n', '\r']) {
        write(text, row, &payload.replace(['\n', '\r'], " "), Some(stored));
    } else {
        write(text, row, payload, Some(stored).filter(|stored| *stored != payload));
    }
    text.push(b'\n');
}

fn write(text: &mut Vec<u8>, row: &Telemetry, payload: &str, to_the_letter: Option<&str>) {
    into_memory(write!(text, r#"{{"id":"{}","deviceId":""#, row.id));
    let mut device = [0; 36];
    text.extend_from_slice(row.device_id.as_uuid().hyphenated().encode_lower(&mut device).as_bytes());
    text.extend_from_slice(br#"","topic":"#);
    write_string(text, row.topic.as_str());
    text.extend_from_slice(br#","payload":"#);
    text.extend_from_slice(payload.as_bytes());
    if let Some(payload) = to_the_letter {
        text.extend_from_slice(br#","payloadText":"#);
        write_string(text, payload);
    }
    text.extend_from_slice(br#","timestamp":""#);
    text.extend_from_slice(&row.timestamp.text());
    text.extend_from_slice(br#"","receivedAt":""#);
    text.extend_from_slice(&row.received_at.text());
    text.extend_from_slice(br#""}"#);
}

fn write_string(text: &mut Vec<u8>, string: &str) {
    into_memory(serde_json::to_writer(text, string));
}

/// The payload without what is around its value, if it is JSON; what is not is told.
fn readable(row: &Telemetry) -> Option<&str> {
    let damaged = |error: &serde_json::Error| {
        let (device, time) = (row.device_id, row.timestamp);
        tracing::error!(%device, %time, id = %row.id, %error, "a stored payload is not JSON; the row is skipped");
    };
    serde_json::from_str::<&RawValue>(row.payload.as_str()).inspect_err(damaged).ok().map(RawValue::get)
}
