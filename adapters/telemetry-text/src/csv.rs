//! Comma-separated values (RFC 4180).

use pocket_domain::Telemetry;

/// The columns of what is written, in their order.
pub(crate) const COLUMNS: [&str; 6] = ["id", "deviceId", "topic", "payload", "timestamp", "receivedAt"];

/// Adds the line of names.
pub(crate) fn write_names(text: &mut Vec<u8>) {
    text.extend_from_slice(COLUMNS.join(",").as_bytes());
    text.extend_from_slice(b"\r\n");
}

/// Adds a row. For a spreadsheet, values that it would take for a formula begin with an apostrophe.
pub(crate) fn write_row(text: &mut Vec<u8>, row: &Telemetry, for_spreadsheet: bool) {
    // Ids and times have nothing that needs quotes.
    for plain in [row.id.to_string(), row.device_id.to_string()] {
        text.extend_from_slice(plain.as_bytes());
        text.push(b',');
    }
    for quoted in [row.topic.as_str(), row.payload.as_str()] {
        if for_spreadsheet && is_formula(quoted) {
            write_text(text, &format!("'{quoted}"));
        } else {
            write_text(text, quoted);
        }
        text.push(b',');
    }
    text.extend_from_slice(&row.timestamp.text());
    text.push(b',');
    text.extend_from_slice(&row.received_at.text());
    text.extend_from_slice(b"\r\n");
}

/// Whether a spreadsheet would compute the value (OWASP, "CSV Injection"). Numbers, which may be negative, are harmless.
fn is_formula(value: &str) -> bool {
    value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) && value.parse::<f64>().is_err()
}

fn write_text(text: &mut Vec<u8>, value: &str) {
    if !value.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
        text.extend_from_slice(value.as_bytes());
        return;
    }
    text.push(b'"');
    for part in value.split_inclusive('"') {
        text.extend_from_slice(part.as_bytes());
        if part.ends_with('"') {
            text.push(b'"');
        }
    }
    text.push(b'"');
}
