use pocket_domain::{Payload, Telemetry, TelemetryId, Timestamp, TopicName};

use super::*;
use crate::GZIP_MAGIC;
use crate::write::Writer;

const DEVICE: &str = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
const FORMATS: [Format; 2] = [Format::Ndjson, Format::Csv];

fn read(format: Format, text: &[u8], piece: usize) -> Result<Vec<ImportRow>, Unreadable> {
    let mut reader = Reader::new(format, text.starts_with(&GZIP_MAGIC), 1_000);
    let mut rows = Vec::new();
    for bytes in text.chunks(piece) {
        reader.push(bytes, &mut rows)?;
    }
    reader.finish(&mut rows)?;
    Ok(rows)
}

fn odd_rows() -> Vec<Telemetry> {
    let payloads = [
        "12345678901234567890",
        "-0",
        "1e300",
        "\"\\u0000\"",
        "{\"raw\":\"21.5 \\\"C\\\"\\r\\n\"}",
        " { \"a\" :\n 1 } ",
        " 21.5\t",
        "\"a,b\"",
        "\"Grüße 世界 🌡\"",
        "null",
        "\"\"",
        "[\"\",\r\n\"\\\"\"]",
    ];
    let row = |(number, payload): (u64, &&str)| Telemetry {
        id: TelemetryId::from_key(number),
        device_id: DEVICE.parse().unwrap(),
        topic: TopicName::parse(["a/b", "a, \"b\"\n", "Grüße"][number as usize % 3]).unwrap(),
        payload: Payload::from_stored(*payload),
        timestamp: Timestamp::from_millis(number as i64).unwrap(),
        received_at: Timestamp::MAX,
    };
    (0..).zip(&payloads).map(row).collect()
}

#[test]
fn what_is_written_is_read_as_it_was_in_whatever_pieces_it_comes() {
    for (format, gzip) in FORMATS.iter().flat_map(|format| [(*format, false), (*format, true)]) {
        let stored = odd_rows();
        let mut writer = Writer::new(format, gzip);
        let mut text = writer.write(&stored);
        text.extend(writer.finish());
        for piece in [1, 2, 3, 7, 50, 10_000] {
            let rows = read(format, &text, piece).unwrap();
            assert_eq!(rows.len(), stored.len());
            for (row, stored) in rows.iter().zip(&stored) {
                assert_eq!((row.device_id, &row.topic), (stored.device_id, &stored.topic));
                assert_eq!(row.payload, stored.payload.as_str());
                assert_eq!((row.timestamp, row.received_at), (Some(stored.timestamp), Some(stored.received_at)));
            }
        }
        if gzip {
            for length in [text.len() - 1, text.len() - 8, text.len() / 2, 5] {
                assert!(matches!(read(format, &text[..length], 50), Err(Unreadable::NotGzip(_))), "{length}");
            }
        }
    }
}

#[track_caller]
fn refused(format: Format, text: &str) -> String {
    read(format, text.as_bytes(), 10).unwrap_err().to_string()
}

#[test]
fn a_wrong_line_of_json_is_named() {
    let line = |rest: &str| format!("{{\"deviceId\":\"{DEVICE}\",\"topic\":\"a\",\"payload\":1{rest}}}\n");
    for (wrong, message) in [
        (line(",\"colour\":1"), "line 4: colour: unknown field `colour`"),
        (line(",\"topic\":\"b\""), "line 4: topic: duplicate field `topic`"),
        (line(",\"timestamp\":true"), "line 4: timestamp: must be RFC 3339"),
        (line(",\"timestamp\":\"soon\""), "line 4: timestamp: must be RFC 3339"),
        (line(",\"receivedAt\":-1"), "line 4: receivedAt: must be between 1970-01-01"),
        (line("x"), "line 4: is not JSON: expected `,` or `}`, at column"),
        ("{\"topic\":\"a\",\"payload\":1}".into(), "line 4: deviceId: missing field `deviceId`"),
        (line("").replace("\"a\"", "5"), "line 4: topic: must be a string"),
        (line("").replace("\"a\"", "\"a/#\""), "line 4: topic: must not contain"),
        (line("").replace(DEVICE, "x"), "line 4: deviceId: must be"),
        ("[]".into(), "line 4: must be a JSON object"),
        ("{".into(), "line 4: is not JSON: EOF while parsing an object, at column 1"),
    ] {
        // Empty lines count, and a last line need not have an end.
        let error = refused(Format::Ndjson, &format!("{}\r\n{}{wrong}", line(""), line(",\"timestamp\":5")));
        assert!(error.starts_with(message), "{error}");
    }
    let text = format!("{}\u{feff}{}", "", line("")).into_bytes();
    assert_eq!(read(Format::Ndjson, &text, 1).unwrap().len(), 1);
    assert!(
        read(Format::Ndjson, b"\xff\n", 1).unwrap_err().to_string().starts_with("line 1: is not UTF-8 from byte 0")
    );
}

#[test]
fn a_wrong_record_is_named_by_the_line_on_which_it_begins() {
    for end in ["\n", "\r\n"] {
        let text = |wrong: &str| {
            let rows = [
                "payload,deviceId,topic,timestamp".to_owned(),
                format!("\"[1,{end}2]\",{DEVICE},a,5"),
                String::new(),
                format!("1,{DEVICE},a,"),
                wrong.to_owned(),
            ];
            rows.join(end)
        };
        let right = read(Format::Csv, text(&format!("\"\"\"x\"\"\",{DEVICE},a,6")).as_bytes(), 7).unwrap();
        assert_eq!(right.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5, 6]);
        assert_eq!((right[1].timestamp, &*right[2].payload), (None, "\"x\""));
        for (wrong, message) in [
            ("1,x,a,5".to_owned(), "line 6: deviceId: must be"),
            (format!("1,{DEVICE},a/#,5"), "line 6: topic: must not contain"),
            (format!("1,{DEVICE},a,soon"), "line 6: timestamp: must be RFC 3339"),
            (format!("1,{DEVICE},a"), "line 6: must have 4 values, as there are columns; it has 3"),
            (format!("1,{DEVICE},a,5,6{end}"), "line 6: must have 4 values, as there are columns; it has 5"),
            (format!("\"1{end}{end}\",{DEVICE},a{end}"), "line 6: must have 4 values, as there are columns; it has 3"),
            (format!("\"1,{DEVICE},a,5"), "line 6: must have 4 values, as there are columns; it has 1"),
        ] {
            let error = refused(Format::Csv, &text(&wrong));
            assert!(error.starts_with(message), "{error}");
        }
    }
}

#[test]
fn columns_are_named_once_and_those_that_are_needed_are_there() {
    for (names, message) in [
        ("", "line 1: must name the columns: id,deviceId,topic,payload,timestamp,receivedAt"),
        ("deviceId,topic", "line 1: payload: must be among the columns"),
        ("deviceId,topic,payload,topic", "line 1: topic: must be named once"),
        ("deviceId,topic,payload,colour", "line 1: colour: is no column; there may be id,deviceId"),
    ] {
        let error = refused(Format::Csv, names);
        assert!(error.starts_with(message), "{error}");
    }
    assert_eq!(read(Format::Csv, "\u{feff}deviceId,topic,payload\r\n".as_bytes(), 1), Ok(Vec::new()));
    assert!(refused(Format::Csv, &"a,".repeat(100)).starts_with("line 1: must have at most 64 values"));
}

#[test]
fn a_line_that_is_too_long_is_refused_before_it_is_over() {
    for (format, begin) in [(Format::Ndjson, "{\"deviceId\":\""), (Format::Csv, "deviceId,topic,payload\n\"")] {
        let mut reader = Reader::new(format, false, 1_000);
        let mut rows = Vec::new();
        reader.push(begin.as_bytes(), &mut rows).unwrap();
        let piece = [b'x'; 1_000];
        let error = (0..100).find_map(|_| reader.push(&piece, &mut rows).err()).unwrap().to_string();
        assert!(error.ends_with(": must be at most 24384 bytes long"), "{error}");
    }
}
