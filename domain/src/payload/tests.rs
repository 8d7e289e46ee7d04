//! Payloads by example and by property.

use proptest::prelude::*;

use super::*;

const MAX: usize = 65_536;

fn json(bytes: &[u8]) -> Result<ReadPayload, PayloadError> {
    Payload::read(bytes, PayloadPolicy::Json, MAX)
}

#[test]
fn every_kind_of_json_value_is_kept_as_it_came() {
    for text in
        ["{}", "[1, 2]", "-0", "1e300", "12345678901234567890", "\"\\u00e9 é\"", "true", "null", " {\"a\" : 1 } "]
    {
        assert_eq!(json(text.as_bytes()).unwrap().payload.as_str(), text);
    }
}

#[test]
fn what_is_not_json_is_refused_with_the_place() {
    for text in ["", "{", "{]", "21.5 C", "nan", "{\"a\":1}{", "'a'", "\"\\ud800\"", "01", "1e999"] {
        assert!(matches!(json(text.as_bytes()), Err(PayloadError::NotJson(_))), "{text}");
    }
    assert_eq!(json(b"\"a\xff\""), Err(PayloadError::NotUtf8(2)));
    assert_eq!(
        json(b"{").unwrap_err().to_string(),
        "payload is not JSON: EOF while parsing an object at line 1 column 1"
    );
}

#[test]
fn nesting_and_size_have_a_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
    assert!(json(nested(MAX_JSON_DEPTH + 1).as_bytes()).is_err());
    assert!(json(nested(MAX / 2).as_bytes()).is_err());
    assert!(Payload::read(b"1234", PayloadPolicy::Any, 4).is_ok());
    assert_eq!(Payload::read(b"12345", PayloadPolicy::Any, 4), Err(PayloadError::TooLarge { bytes: 5, allowed: 4 }));
}

#[test]
fn keys_of_objects_are_counted_but_not_those_inside_arrays() {
    for (text, keys) in [
        ("21.5", 0),
        ("{}", 0),
        (r#"{"a":1,"a":2}"#, 2),
        (r#"{"a":{"b":{},"c":1}}"#, 3),
        (r#"{"a":[{"b":1},{"c":{"d":1}}],"e":2}"#, 2),
        (r#"[{"a":1}]"#, 0),
    ] {
        assert_eq!(json(text.as_bytes()).unwrap().keys, keys, "{text}");
    }
}

#[test]
fn ts_beside_values_is_the_messages_own_time() {
    let time = |text: &str| match json(text.as_bytes()).unwrap().own_time {
        Some(OwnTime::At(time)) => Some(time.as_millis()),
        other => panic!("{other:?}"),
    };
    for ts in [
        "1764000000000",
        "1764000000",
        "1764000000000000",
        "1764000000000000000",
        "1.764e12",
        "1764000000000.5",
        "1764000000000e0",
        "\"1764000000000\"",
        "\"2025-11-24T16:00:00Z\"",
    ] {
        assert_eq!(time(&format!(r#"{{"ts":{ts},"values":{{}}}}"#)), Some(1_764_000_000_000), "{ts}");
        assert_eq!(time(&format!(r#"{{"values":{{"a":1}},"ts":{ts}}}"#)), Some(1_764_000_000_000), "{ts}");
    }
    for without in [
        r#"{"ts":1768151705,"rssi":-49}"#,
        r#"{"ts":"soon"}"#,
        r#"{"ts":null,"values":[1]}"#,
        r#"{"values":{"a":1}}"#,
        r#"{"a":{"ts":1764000000000,"values":{}}}"#,
    ] {
        assert_eq!(json(without.as_bytes()).unwrap().own_time, None, "{without}");
    }
    for wrong in
        ["-1", "0", "5", "18446744073709551616", "null", "true", "[]", "{}", "\"\"", "\"soon\"", "253402300800000"]
    {
        let error = json(format!(r#"{{"ts":{wrong},"values":{{}}}}"#).as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("ts is milliseconds since 1970, or"), "{wrong}: {error}");
    }
}

#[test]
fn a_history_that_is_read_again_keeps_what_has_no_time() {
    let text = r#"{"ts":null,"values":{"a":1}}"#;
    let read = Payload::read_again(text.as_bytes(), PayloadPolicy::Json, MAX).unwrap();
    assert_eq!((read.payload.as_str(), read.own_time), (text, None));
}

#[test]
fn policy_any_wraps_what_is_not_json() {
    let any = |bytes: &[u8]| Payload::read(bytes, PayloadPolicy::Any, MAX).unwrap().payload.as_str().to_owned();
    assert_eq!(any(b"21.5 \"C\"\n"), r#"{"raw":"21.5 \"C\"\n"}"#);
    assert_eq!(any(b"\xff\x00"), r#"{"base64":"/wA="}"#);
    assert_eq!(any(b""), r#"{"raw":""}"#);
    assert_eq!(any(b"{\"a\":1}"), r#"{"a":1}"#);
}

#[test]
fn what_was_wrapped_comes_back_though_wrapping_made_it_longer() {
    let again = |text: &str| Payload::read_again(text.as_bytes(), PayloadPolicy::Json, 10);
    for longest in [&[0x01; 10][..], &[0xff; 10], b"[[[[[[[[[["] {
        let wrapped = Payload::read(longest, PayloadPolicy::Any, 10).unwrap().payload;
        assert!(wrapped.as_str().len() > 10);
        assert_eq!(again(wrapped.as_str()).unwrap().payload, wrapped);
    }
    for other in [
        r#"{"raw":"12345678901"}"#,
        r#"{"base64":"AAAAAAAAAAAAAAA="}"#,
        r#"{"base64":"***********"}"#,
        r#"{"raw":"1","base64":""}"#,
        r#"{"other":"1"}"#,
        r#""12345678901""#,
    ] {
        assert!(matches!(again(other), Err(PayloadError::TooLarge { .. })), "{other}");
    }
    assert!(again("{").is_err() && again("1").is_ok());
}

fn auto(bytes: &[u8]) -> Result<String, PayloadError> {
    Payload::read(bytes, PayloadPolicy::Auto, MAX).map(|read| read.payload.as_str().to_owned())
}

#[test]
fn policy_auto_keeps_json_as_it_came_and_any_other_text_as_a_string() {
    for text in ["{}", " [1, 2]", "-0", "21.50", "true", "null", "\"ON\"", "1e300"] {
        assert_eq!(auto(text.as_bytes()).as_deref(), Ok(text));
    }
    for text in
        ["ON", "Online", "23.5 C", "nan", ".5", "01", "1e999", "ON\n", " ", "\"half", "2026-11-25T12:00:00Z", "{"]
    {
        match auto(text.as_bytes()) {
            Ok(kept) => assert_eq!(serde_json::from_str::<String>(&kept).unwrap(), text),
            Err(error) => assert!(text == "{", "{text}: {error}"),
        }
    }
    assert_eq!(auto(b"\x08\x96\xff").as_deref(), Ok(r#"{"base64":"CJb/"}"#));
}

#[test]
fn policy_auto_refuses_what_begins_like_a_document_and_is_none() {
    for text in
        ["{\"a\":nan}", "{temperature:25}", " \n[1,", "\u{feff}{", "\0{\"value\":15}", "{\"value\":15}\0", "[21.5 C]"]
    {
        assert!(matches!(auto(text.as_bytes()), Err(PayloadError::NotJson(_))), "{text}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_in_every_policy() {
    for policy in [PayloadPolicy::Auto, PayloadPolicy::Json, PayloadPolicy::Any] {
        for json in ["{\"a\":1}", "21.5", " [1]"] {
            let read = Payload::read(format!("\u{feff}{json}").as_bytes(), policy, MAX).unwrap();
            assert_eq!(read.payload.as_str(), json);
        }
    }
}

#[test]
fn a_refusal_names_what_is_no_json() {
    for (text, name) in [
        ("{\"a\":nan}", "`nan` is no JSON value"),
        ("{\"a\":-nan}", "`-nan` is no JSON value"),
        ("{\"a\":[1,Infinity]}", "`Infinity` is no JSON value"),
        ("{\"a\": None}", "`None` is no JSON value"),
        ("{\"a\": True}", "`True` is no JSON value"),
        ("nan", "`nan` is no JSON value"),
        ("{\"a\":-1e400}", "out of range at line 1 column 11: numbers are kept up to about 1.8e308"),
        ("{temperature:25}", "keys need double quotes"),
        ("{'temp': 21.5}", "double quotes"),
        ("{\"value\":15}\0", "zero byte at byte 12"),
        ("\0{\"value\":15}", "zero byte at byte 0"),
        ("{\"a\":\"\\ud83d\"}", "half of a surrogate pair"),
        ("{\"a\":\"\\ude00\"}", "half of a surrogate pair"),
        ("{\"a\":1,}", "comma"),
    ] {
        let error = json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(name), "{text}: {error}");
    }
}

#[test]
fn the_beginning_of_a_payload_can_be_shown() {
    assert_eq!(beginning(b"{\"a\":nan}"), "{\"a\":nan}");
    assert_eq!(beginning("\u{feff}\0é".as_bytes()), "\\u{feff}\\u{0}é");
    assert_eq!(beginning(&[b'x'; 100]), format!("{}…", "x".repeat(64)));
    assert_eq!(beginning(&[0x08, 0x96, 0xff]), "bytes 08 96 ff");
    assert_eq!(beginning(b""), "nothing");
    let cut_within_a_character = "é".repeat(50);
    assert_eq!(beginning(cut_within_a_character.as_bytes()), format!("{}…", "é".repeat(32)));
}

proptest! {
    #[test]
    fn any_bytes_have_a_beginning_that_is_short(bytes: Vec<u8>) {
        prop_assert!(beginning(&bytes).len() <= 700);
    }

    #[test]
    fn whatever_is_accepted_is_json(bytes: Vec<u8>) {
        for policy in [PayloadPolicy::Auto, PayloadPolicy::Json, PayloadPolicy::Any] {
            if let Ok(read) = Payload::read(&bytes, policy, MAX) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(read.payload.as_str()).is_ok());
            }
        }
    }

    #[test]
    fn whatever_serde_json_writes_is_accepted(number: f64, text: String, key: String) {
        let value = serde_json::json!({ key: [number, text] });
        prop_assert!(json(value.to_string().as_bytes()).is_ok());
    }
}
