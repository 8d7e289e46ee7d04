//! Lines of JSON, pushed in.

use std::borrow::Cow;

use pocket_application::{ImportRow, WrongLine};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fields::Fields;

/// What some editors write before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Empty lines in a row that are passed over.
const MOST_EMPTY: u64 = 10_000;

/// Cuts a text into lines and reads each.
pub(crate) struct Lines {
    longest: usize,
    /// The lines that are over.
    over: u64,
    /// Empty lines since the last one that was none.
    empty: u64,
    /// What has come of the present line.
    begun: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(longest: usize) -> Self {
        Self { longest, over: 0, empty: 0, begun: Vec::new() }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8], rows: &mut Vec<ImportRow>) -> Result<(), WrongLine> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.begun.is_empty() {
                self.check_length(line.len())?;
                self.end(line, rows)?;
            } else {
                self.keep(line)?;
                let line = std::mem::take(&mut self.begun);
                self.end(&line, rows)?;
            }
        }
        self.keep(bytes)
    }

    pub(crate) fn finish(&mut self, rows: &mut Vec<ImportRow>) -> Result<(), WrongLine> {
        let line = std::mem::take(&mut self.begun);
        self.end(&line, rows)
    }

    fn check_length(&self, length: usize) -> Result<(), WrongLine> {
        if length > self.longest {
            return Err(WrongLine::whole(self.over + 1, format!("must be at most {} bytes long", self.longest)));
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), WrongLine> {
        self.check_length(self.begun.len() + bytes.len())?;
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, line: &[u8], rows: &mut Vec<ImportRow>) -> Result<(), WrongLine> {
        self.over += 1;
        let line = if self.over == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        let line = line.trim_ascii();
        if !line.is_empty() {
            self.empty = 0;
            rows.push(row(line, self.over)?);
            return Ok(());
        }
        self.empty += 1;
        if self.empty > MOST_EMPTY {
            return Err(WrongLine::whole(self.over, format!("must not follow {MOST_EMPTY} empty lines")));
        }
        Ok(())
    }
}

/// The fields as the JSON they are, so that each is parsed by itself and named when it is wrong.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default, rename = "id")]
    _id: Option<&'a RawValue>,
    #[serde(borrow)]
    device_id: &'a RawValue,
    #[serde(borrow)]
    topic: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow, default)]
    payload_text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    received_at: Option<&'a RawValue>,
}

fn row(line: &[u8], number: u64) -> Result<ImportRow, WrongLine> {
    let text = std::str::from_utf8(line)
        .map_err(|error| WrongLine::whole(number, format!("is not UTF-8 from byte {} on", error.valid_up_to())))?;
    // An array would pass as the fields in their order.
    if !text.starts_with('{') {
        return Err(WrongLine::whole(number, "must be a JSON object"));
    }
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| wrong(number, &error))?;
    let (device_id, topic) = (string(number, "deviceId", line.device_id)?, string(number, "topic", line.topic)?);
    let payload = line.payload_text.map(|raw| string(number, "payloadText", raw)).transpose()?;
    let timestamp = line.timestamp.map(|raw| time(number, "timestamp", raw)).transpose()?;
    let received_at = line.received_at.map(|raw| time(number, "receivedAt", raw)).transpose()?;
    let fields = Fields {
        device_id: &device_id,
        topic: &topic,
        payload: payload.as_deref().unwrap_or(line.payload.get()),
        timestamp: timestamp.as_deref(),
        received_at: received_at.as_deref(),
    };
    fields.parse(number)
}

fn wrong(line: u64, error: &serde_json::Error) -> WrongLine {
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or_default();
    let named = ["missing field `", "unknown field `", "duplicate field `"];
    match named.iter().find_map(|start| what.strip_prefix(start)?.split('`').next()) {
        Some(field) => WrongLine::field(line, field, what),
        None => WrongLine::whole(line, format!("is not JSON: {what}, at column {}", error.column())),
    }
}

fn string<'a>(line: u64, field: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, WrongLine> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Result<Text<'_>, _> = serde_json::from_str(raw.get());
    text.map(|text| text.0).map_err(|_| WrongLine::field(line, field, "must be a string"))
}

/// A time as a string, or as a number that says what it would say as a string.
fn time<'a>(line: u64, field: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, WrongLine> {
    if raw.get().starts_with('"') { string(line, field, raw) } else { Ok(Cow::Borrowed(raw.get())) }
}
