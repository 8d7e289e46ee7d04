//! The fields of a row that is read.

use pocket_application::{ImportRow, WrongLine};
use pocket_domain::{Invalid, TopicName};

/// The texts of a row's fields, before they are parsed.
pub(crate) struct Fields<'a> {
    pub(crate) device_id: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) timestamp: Option<&'a str>,
    pub(crate) received_at: Option<&'a str>,
}

impl Fields<'_> {
    pub(crate) fn parse(self, line: u64) -> Result<ImportRow, WrongLine> {
        let wrong = |field: &'static str| move |error: Invalid| WrongLine::field(line, field, error.message);
        let time = |field: &'static str, text: Option<&str>| text.map(str::parse).transpose().map_err(wrong(field));
        Ok(ImportRow {
            line,
            device_id: self.device_id.parse().map_err(wrong("deviceId"))?,
            topic: TopicName::parse(self.topic).map_err(wrong("topic"))?,
            payload: self.payload.to_owned(),
            timestamp: time("timestamp", self.timestamp)?,
            received_at: time("receivedAt", self.received_at)?,
        })
    }
}
