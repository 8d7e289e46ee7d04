//! Any JSON text, with what is rare in good company: duplicate keys, escapes, white space, odd numbers.

use proptest::prelude::*;

/// Numbers that a careless codec would change.
const ODD_NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "0.0",
    "1.50",
    "1E5",
    "1e5",
    "1e+5",
    "1e-7",
    "1e300",
    "-1e-300",
    "5e-324",
    "1.7976931348623157e308",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.1",
    "0.10",
    "0.30000000000000004",
    "3.141592653589793",
    "0.000001",
    "1e-400",
    "123456789.123456789",
    "0.000000000000000001",
    "922337203685477580.7",
    "100",
    "1.0",
    "21.5",
    "-21.5",
];

const KEYS: &[&str] =
    &["a", "b", "a.b", "", "$", ".", r"\u0061", r#"\""#, r"\\", "é", "😀", r"\ud83d\ude00", " ", "ts", "values"];

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(ODD_NUMBERS).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (-500i64..500).prop_map(|tenths| format!("{:.1}", tenths as f64 / 10.0)),
        1 => prop::num::f64::NORMAL.prop_map(|number| serde_json::to_string(&number).unwrap()),
        1 => (-1e15..1e15f64).prop_map(|number| format!("{number}")),
        1 => "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&[r#""""#, r#""ok""#, r#""warn""#, r#""\u00e9""#, "true", "false", "null"][..])
            .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just(""), 1 => prop::sample::select(&[" ", "\n", "\t", "\r\n", "  "][..])]
}

/// One JSON value with any white space around it.
pub(crate) fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![2 => number(), 1 => text()];
    let spaced = |inner: BoxedStrategy<String>| {
        (space(), inner, space()).prop_map(|(before, inner, after)| format!("{before}{inner}{after}")).boxed()
    };
    scalar.boxed().prop_recursive(5, 24, 4, move |inner| {
        let inner = spaced(inner.boxed());
        let key = (space(), prop::sample::select(KEYS), space()).prop_map(|(a, key, b)| format!("{a}\"{key}\"{b}"));
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        let object = |members: Vec<String>| format!("{{{}}}", members.join(","));
        let array = |values: Vec<String>| format!("[{}]", values.join(","));
        prop_oneof![
            4 => prop::collection::vec(member, 0..5).prop_map(object),
            1 => prop::collection::vec(inner, 0..4).prop_map(array),
        ]
    })
}

/// Payloads of a device: some shapes that come again with other values, and among them anything.
pub(crate) fn payloads() -> impl Strategy<Value = Vec<String>> {
    let again =
        (number(), number(), text()).prop_map(|(a, b, text)| format!(r#"{{"a":{a},"b":{{"c":{b}}},"s":{text}}}"#));
    let steady = (-500i64..500).prop_map(|n| format!(r#"{{"t":{:.1},"n":{n}}}"#, n as f64 / 10.0));
    prop::collection::vec(prop_oneof![2 => steady, 2 => again, 1 => number(), 2 => value()], 1..40)
}
