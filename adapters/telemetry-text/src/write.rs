//! Rows become text.

use std::fmt::Debug;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use pocket_domain::Telemetry;

use crate::{Format, csv, json};

/// Compression that costs about as much as writing the rows; the best takes four times as long for a tenth less.
const LEVEL: u32 = 4;

/// Turns rows into the bytes of a text. What has been written is taken out from time to time; a text that was not
/// [finished](Self::finish) can be told from a whole one when it is gzip.
pub(crate) struct Writer {
    format: Format,
    gzip: Option<Box<GzEncoder<Vec<u8>>>>,
    begun: bool,
    for_spreadsheet: bool,
}

impl Writer {
    /// A text without rows.
    pub(crate) fn new(format: Format, gzip: bool) -> Self {
        let gzip = gzip.then(|| Box::new(GzEncoder::new(Vec::new(), Compression::new(LEVEL))));
        Self { format, gzip, begun: false, for_spreadsheet: false }
    }

    /// Writes CSV so that a spreadsheet takes no value for a formula.
    pub(crate) fn for_spreadsheet(mut self) -> Self {
        self.for_spreadsheet = true;
        self
    }

    /// Adds rows and takes out bytes of the text, which may be none: compression holds some back. A line of JSON whose payload is
    /// damaged is left out.
    pub(crate) fn write(&mut self, rows: &[Telemetry]) -> Vec<u8> {
        let mut text = Vec::with_capacity(rows.len() * 192);
        self.begin(&mut text);
        for row in rows {
            match self.format {
                Format::Csv => csv::write_row(&mut text, row, self.for_spreadsheet),
                Format::Ndjson => json::write_line(&mut text, row),
            }
        }
        match &mut self.gzip {
            None => text,
            Some(encoder) => {
                into_memory(encoder.write_all(&text));
                std::mem::take(encoder.get_mut())
            }
        }
    }

    /// Ends the text and gives its last bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.begin(&mut text);
        match self.gzip {
            None => text,
            Some(mut encoder) => {
                into_memory(encoder.write_all(&text));
                into_memory(encoder.finish())
            }
        }
    }

    fn begin(&mut self, text: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) && self.format == Format::Csv {
            csv::write_names(text);
        }
    }
}

/// What writing into memory gives.
pub(crate) fn into_memory<T, E: Debug>(result: Result<T, E>) -> T {
    result.expect("a vector takes all that is written to it")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use pocket_domain::{Payload, TelemetryId, Timestamp, TopicName};

    use super::*;

    fn row(topic: &str, payload: &str) -> Telemetry {
        let at = Timestamp::from_millis(1_000).unwrap();
        Telemetry {
            id: TelemetryId::from_key(10),
            device_id: "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f".parse().unwrap(),
            topic: TopicName::parse(topic).unwrap(),
            payload: Payload::from_stored(payload),
            timestamp: at,
            received_at: at,
        }
    }

    fn written(format: Format, rows: &[Telemetry]) -> String {
        let mut writer = Writer::new(format, false);
        let mut text = writer.write(rows);
        text.extend(writer.finish());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_line_keeps_the_payload_as_it_was_published() {
        assert_eq!(
            written(Format::Ndjson, &[row("a/\"b\"", "{\"b\": 1.50,\"a\":\"\\u0000\"}")]),
            concat!(
                r#"{"id":"00000000000a","deviceId":"0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f","topic":"a/\"b\"","#,
                r#""payload":{"b": 1.50,"a":"\u0000"},"timestamp":"1970-01-01T00:00:01.000Z","#,
                r#""receivedAt":"1970-01-01T00:00:01.000Z"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_payload_with_line_breaks_is_on_one_line_and_beside_it_to_the_letter() {
        let text = written(Format::Ndjson, &[row("a", "{\"a\":\r\n\"\\n\"}")]);
        assert_eq!(text.lines().count(), 1);
        let expected = r#""payload":{"a":  "\n"},"payloadText":"{\"a\":\r\n\"\\n\"}","timestamp""#;
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn values_stand_in_quotes_where_csv_needs_them() {
        let rows = [row("a", "1"), row("a,\"b\"", "{\"a\": 1,\n\"b\":\"\"}")];
        let at = "1970-01-01T00:00:01.000Z";
        let device = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
        assert_eq!(
            written(Format::Csv, &rows),
            format!(
                "id,deviceId,topic,payload,timestamp,receivedAt\r\n00000000000a,{device},a,1,{at},{at}\r\n\
                 00000000000a,{device},\"a,\"\"b\"\"\",\"{{\"\"a\"\": 1,\n\"\"b\"\":\"\"\"\"}}\",{at},{at}\r\n"
            )
        );
    }

    #[test]
    fn for_a_spreadsheet_no_value_is_a_formula() {
        let formula = "=cmd|' /C calc'!A0";
        let rows = [row(formula, "-5"), row("@a,b", "\"=1\""), row("-1", "1"), row("－x", "2"), row("a=b", "3")];
        let mut writer = Writer::new(Format::Csv, false).for_spreadsheet();
        let text = String::from_utf8(writer.write(&rows)).unwrap();
        let values: Vec<_> = text.lines().skip(1).map(|line| line.splitn(3, ',').nth(2).unwrap()).collect();
        for (value, begin) in
            values.iter().zip(["'=cmd|' /C calc'!A0,-5,", "\"'@a,b\",\"\"\"=1\"\"\",", "-1,1,", "'－x,2,", "a=b,3,"])
        {
            assert!(value.starts_with(begin), "{value}");
        }
        assert!(written(Format::Csv, &rows).contains(",=cmd|"));
    }

    #[test]
    fn a_text_without_rows_has_its_names() {
        assert_eq!(written(Format::Csv, &[]), "id,deviceId,topic,payload,timestamp,receivedAt\r\n");
        assert_eq!(written(Format::Ndjson, &[]), "");
    }

    #[test]
    fn gzip_that_is_not_finished_can_be_told() {
        let mut writer = Writer::new(Format::Ndjson, true);
        let mut bytes = Vec::new();
        for number in 0..20_000 {
            bytes.extend(writer.write(&[row("a", &number.to_string())]));
        }
        assert!(bytes.len() > 10_000);
        let mut text = String::new();
        assert!(GzDecoder::new(&bytes[..]).read_to_string(&mut text).is_err());
        bytes.extend(writer.finish());
        text.clear();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 20_000);
    }

    #[test]
    fn a_damaged_payload_leaves_the_others() {
        let text = written(Format::Ndjson, &[row("a", "{"), row("b", "2")]);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r#""topic":"b","payload":2"#), "{text}");
    }
}
