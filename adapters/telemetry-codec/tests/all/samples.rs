//! Rows that tests of several kinds use.

use pocket_telemetry_codec::{OwnedRow, Row, encode};

/// Rows with these payloads, ten seconds apart.
pub(crate) fn rows<T: AsRef<str>>(payloads: impl IntoIterator<Item = T>) -> Vec<OwnedRow> {
    let row = |(n, payload): (u64, T)| {
        let timestamp = 1_780_000_000_000 + 10_000 * n as i64 + (n * 7 % 13) as i64;
        let payload = payload.as_ref().to_owned();
        OwnedRow { id: 100 + 3 * n + n % 2, timestamp, received_at: timestamp + (n * 5 % 11) as i64, topic: 7, payload }
    };
    (0..).zip(payloads).map(row).collect()
}

/// A sensor's messages: a slow wave of one decimal, a counter, and a status that seldom changes.
pub(crate) fn sensor(count: u64) -> Vec<OwnedRow> {
    rows((0..count).map(|n| {
        let wave = n * 37 % 41 + n / 9 % 50;
        let status = if n % 29 == 0 { "warn" } else { "ok" };
        format!(r#"{{"temperature":{}.{},"seq":{n},"status":"{status}"}}"#, 20 + wave / 10, wave % 10)
    }))
}

/// One payload of each kind that is hard to give back.
pub(crate) const HARD: &[&str] = &[
    "9007199254740993",
    "-0",
    r#"{"a":-0,"b":-0.0,"c":0}"#,
    r#"{"a":1e300,"b":1.50,"c":1E5}"#,
    r#"{"a":123456789012345678901234567890,"b":9223372036854775807,"c":-9223372036854775808}"#,
    " { \"a\" : 1 ,\t\"b\"\r\n: 2 } ",
    r#"{"a":1,"a":2,"a":"x"}"#,
    r#"{"a":{"b":1},"a":{"b":2},"a.b":3}"#,
    r#"{"a":"1","b":true,"c":null}"#,
    r#"{"é":"😀","\u0061":"\ud83d\ude00","\"":"\\"}"#,
    r#"{"":{"":{"":0.1}}}"#,
    r#"[1,2.50,{"a":1},[]]"#,
    r#"{"a":[1,2],"b":{},"c":[]}"#,
    r#""text""#,
    "null",
    r#"{"raw":"21.5 \"C\"\n"}"#,
    r#"{"base64":"/wA="}"#,
    r#"{"ts":1700000000000,"values":{"t":21.5}}"#,
];

/// A chunk of rows.
pub(crate) fn chunk(rows: &[OwnedRow]) -> Vec<u8> {
    encode(&rows.iter().map(OwnedRow::as_row).collect::<Vec<Row<'_>>>()).expect("rows in order")
}
