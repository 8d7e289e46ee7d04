//! Leaves by example, and against `serde_json::Value`.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

/// Path and text of each leaf.
fn leaves(text: &str) -> Vec<(String, String)> {
    let payload = Payload::from_stored(text);
    payload.leaves().iter().map(|leaf| (leaf.path.to_string(), leaf.value.json().to_owned())).collect()
}

#[track_caller]
fn assert_leaves(text: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(path, json)| ((*path).to_owned(), (*json).to_owned())).collect();
    assert_eq!(leaves(text), expected, "{text}");
}

#[test]
fn keys_are_joined_and_texts_stay_as_they_were() {
    assert_leaves(
        r#" {"b" : {"c":{"d": 1.50}, "é\u0041":"\u00e9"}, "a":[ 1, {"x":2} ], "t":true, "f":false, "n":null} "#,
        &[
            ("b.c.d", "1.50"),
            ("b.éA", "\"\\u00e9\""),
            ("a", "[ 1, {\"x\":2} ]"),
            ("t", "true"),
            ("f", "false"),
            ("n", "null"),
        ],
    );
}

#[test]
fn values_are_the_keys_of_the_payload_itself() {
    assert_leaves(r#"{"ts":1,"values":{"t":2,"b":{"mv":3}}}"#, &[("ts", "1"), ("t", "2"), ("b.mv", "3")]);
    assert_leaves(r#"{"values":{"t":2},"seq":7}"#, &[("t", "2"), ("seq", "7")]);
    assert_leaves(r#"{"values":{"t":2},"t":1}"#, &[("t", "2")]);
    assert_leaves(r#"{"t":1,"values":{"t":2}}"#, &[("t", "2")]);
    assert_leaves(r#"{"a":{"values":{"t":2}},"values":1}"#, &[("a.values.t", "2"), ("values", "1")]);
    assert_eq!(LeafPath::parse("values.t"), LeafPath::parse("t"));
    assert_eq!(LeafPath::parse("values.").unwrap().as_str(), "values.");
}

#[test]
fn a_payload_that_is_no_object_is_one_leaf() {
    for text in ["21.5", "-0", "\"on\"", "true", "null", "[]", "[{\"a\":1}]", "12345678901234567890"] {
        assert_leaves(text, &[("$", text)]);
        assert_leaves(&format!("\n {text}\t"), &[("$", text)]);
    }
}

#[test]
fn an_object_without_keys_is_no_leaf() {
    assert_leaves("{}", &[]);
    assert_leaves(r#"{"a":{},"b":{"c":{}},"d":[]}"#, &[("d", "[]")]);
}

#[test]
fn of_a_repeated_key_the_last_one_counts() {
    assert_leaves(r#"{"a":1,"b":2,"a":3}"#, &[("b", "2"), ("a", "3")]);
    assert_leaves(r#"{"a":{"b":1,"c":1},"a":{"c":2}}"#, &[("a.c", "2")]);
    assert_leaves(r#"{"a":1,"a":{}}"#, &[]);
    assert_leaves(r#"{"a":1,"\u0061":2}"#, &[("a", "2")]);
}

#[test]
fn of_several_leaves_of_one_path_the_last_one_counts() {
    assert_leaves(r#"{"a.b":1,"a":{"b":2}}"#, &[("a.b", "2")]);
    assert_leaves(r#"{"a":{"b":2},"a.b":1}"#, &[("a.b", "1")]);
}

#[test]
fn a_number_is_the_nearest_double() {
    for (text, number) in [
        ("0", 0.0),
        ("-0", -0.0),
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("12345678901234567890", 12_345_678_901_234_567_890.0),
        ("1e300", 1e300),
        ("5e-324", 5e-324),
        ("1.00000000000000000000000000000001", 1.0),
    ] {
        let payload = Payload::from_stored(text);
        assert_eq!(payload.leaves()[0].value, LeafValue::Number(number, text));
    }
    assert_eq!(LeafValue::Text("\"1\"").number(), None);
    assert_eq!(LeafValue::Bool(true).number(), None);
}

#[test]
fn a_path_has_a_most_of_bytes() {
    let key = "k".repeat(LeafPath::MAX_BYTES - 2);
    assert_leaves(&format!(r#"{{"{key}":{{"a":1,"bb":2}}}}"#), &[(&format!("{key}.a"), "1")]);
    assert!(LeafPath::parse(&"k".repeat(LeafPath::MAX_BYTES)).is_ok());
    assert_eq!(LeafPath::parse(&"k".repeat(LeafPath::MAX_BYTES + 1)).unwrap_err().field, "key");
    assert_eq!(LeafPath::parse("").unwrap_err().field, "key");
}

#[test]
fn what_is_not_json_has_no_leaves() {
    for text in ["", "{", "{\"a\":1", "nan", "{\"a\":1}{", "01"] {
        assert_leaves(text, &[]);
    }
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(leaves(&nested(MAX_DEPTH)).len(), 1);
    assert_eq!(leaves(&nested(MAX_DEPTH + 1)).len(), 0);
    assert_eq!(leaves(&nested(10_000)).len(), 0);
}

#[test]
fn the_key_dollar_of_an_object_is_not_the_payload_itself() {
    let path = |text: &str| leaves(text)[0].0.clone();
    for (text, expected) in [
        ("1", "$"),
        (r#"{"$":1}"#, "$.$"),
        (r#" {"values":{"$":1}}"#, "$.$"),
        (r#"{"$":{"$":1}}"#, "$.$.$"),
        (r#"{"$":{"a":1}}"#, "$.a"),
        (r#"{"a":{"$":1}}"#, "a.$"),
        (r#"{"$state":1}"#, "$state"),
    ] {
        assert_eq!(path(text), expected, "{text}");
        assert_eq!(LeafPath::parse(expected).unwrap().as_str(), expected);
    }
    for (path, member) in
        [("$", None), ("$.$", Some("$")), ("$.$.$", Some("$.$")), ("$.a", Some("$.a")), ("a", Some("a"))]
    {
        assert_eq!(LeafPath::parse(path).unwrap().member(), member, "{path}");
    }
    assert_eq!(LeafPath::parse("values.$").unwrap().as_str(), "$.$");
}

/// Any JSON value whose keys have no `.`, so that each leaf has a path of its own.
fn json() -> impl Strategy<Value = Value> {
    let number = any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite());
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        number.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[^.]{0,3}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn expected(value: &Value, path: Option<&str>, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let path = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
                expected(value, Some(&path), leaves);
            }
        }
        leaf => {
            let path = match path {
                None => "$".to_owned(),
                Some(path) if path.split('.').all(|key| key == "$") => format!("$.{path}"),
                Some(path) => path.to_owned(),
            };
            leaves.push((path, leaf.clone()));
        }
    }
}

proptest! {
    #[test]
    fn leaves_are_those_of_the_parsed_value(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut wanted = Vec::new();
        expected(&value, None, &mut wanted);
        let payload = Payload::from_stored(text.as_str());
        let found = payload.leaves();
        prop_assert_eq!(found.len(), wanted.len());
        for (leaf, (path, value)) in found.iter().zip(wanted) {
            prop_assert_eq!(leaf.path.as_str(), path);
            prop_assert_eq!(leaf.value.number(), value.as_f64());
            let read: Value = serde_json::from_str(leaf.value.json()).unwrap();
            match leaf.value {
                // The parser of `Value` may be off by the last bit of a double.
                LeafValue::Number(_, text) => prop_assert_eq!(text, value.to_string()),
                LeafValue::Text(_) => prop_assert!(value.is_string() && read == value),
                LeafValue::Bool(truth) => prop_assert_eq!(value, truth),
                LeafValue::Null => prop_assert!(value.is_null()),
                LeafValue::Array(_) => prop_assert!(value.is_array()),
            }
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text: String, members in "[{}\":,a.1 \\[\\]]{0,40}") {
        for text in [text, members] {
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
            let payload = Payload::from_stored(text);
            prop_assert!(is_json || payload.leaves().is_empty());
        }
    }
}
