//! Cases of [`TelemetryStore::latest`](crate::TelemetryStore::latest) and [`TelemetryStore::keys`](crate::TelemetryStore::keys).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use super::fixture::{at, device, message, new_device_id, new_tenant_id, tenant};
use super::reading::{TOPIC, append, append_payloads};
use crate::Storage;
use pocket_domain::{DeviceId, MAX_DEVICE_KEYS, NewTelemetry, Payload, TenantId, TopicName};

/// Key, value and second of all that is told.
async fn latest(storage: &Storage, tenant: TenantId, device: DeviceId) -> Vec<(String, String, u64)> {
    let values = storage.telemetry.latest(tenant, device).await.unwrap();
    let told = |value: &pocket_domain::LatestValue| {
        (value.key.to_string(), value.value.to_string(), value.timestamp.since(at(0)).as_secs())
    };
    values.iter().map(told).collect()
}

async fn keys(storage: &Storage, tenant: TenantId, device: DeviceId) -> Vec<String> {
    let keys = storage.telemetry.keys(tenant, device).await.unwrap();
    keys.iter().map(|key| key.as_str().to_owned()).collect()
}

#[track_caller]
fn assert_told(told: &[(String, String, u64)], expected: &[(&str, &str, u64)]) {
    let told: Vec<_> = told.iter().map(|(key, value, second)| (key.as_str(), value.as_str(), *second)).collect();
    assert_eq!(told, expected);
}

pub async fn the_last_value_of_each_key_is_told(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    assert_told(&latest(storage, acme, boiler).await, &[]);
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":20,"a":{"b":1,"c":2}}"#), (2, r#"{"t":"hot"}"#)]).await;
    append_payloads(storage, acme, pump, &[(9, r#"{"t":99}"#)]).await;
    let elsewhere = NewTelemetry {
        payload: Payload::from_stored(r#"{"a":{"b":3},"Z":null}"#),
        topic: TopicName::parse("elsewhere").unwrap(),
        ..message(acme, boiler, TOPIC, 3)
    };
    append(storage, vec![elsewhere]).await;
    let expected = [("Z", "null", 3), ("a.b", "3", 3), ("a.c", "2", 1), ("t", "\"hot\"", 2)];
    assert_told(&latest(storage, acme, boiler).await, &expected);
    append_payloads(storage, acme, boiler, &[(4, "21.5"), (5, "[1]")]).await;
    let expected = [("$", "[1]", 5), ("Z", "null", 3), ("a.b", "3", 3), ("a.c", "2", 1), ("t", "\"hot\"", 2)];
    assert_told(&latest(storage, acme, boiler).await, &expected);
}

pub async fn a_late_message_replaces_no_later_value(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(10, r#"{"t":10,"u":10}"#), (20, r#"{"t":20}"#)]).await;
    append_payloads(storage, acme, boiler, &[(15, r#"{"t":15,"u":15,"v":15}"#), (5, r#"{"t":5,"w":5}"#)]).await;
    let expected = [("t", "20", 20), ("u", "15", 15), ("v", "15", 15), ("w", "5", 5)];
    assert_told(&latest(storage, acme, boiler).await, &expected);
}

pub async fn of_messages_of_one_time_the_id_tells_the_last(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(5, r#"{"t":1,"u":1}"#), (5, r#"{"t":2}"#)]).await;
    append_payloads(storage, acme, boiler, &[(5, r#"{"t":3}"#)]).await;
    assert_told(&latest(storage, acme, boiler).await, &[("t", "3", 5), ("u", "1", 5)]);
}

pub async fn values_come_back_as_they_were_published(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let payload = r#" {"n" : 1.50, "big":12345678901234567890, "e":1E300, "z":-0, "s":"\u00e9 \"", "l":[ 1, {"x":2} ],
        "o":{}, "b":false, "d":1, "d":2, "p.q":1, "p":{"q":2}} "#;
    append_payloads(storage, acme, boiler, &[(1, payload)]).await;
    let expected = [
        ("b", "false", 1),
        ("big", "12345678901234567890", 1),
        ("d", "2", 1),
        ("e", "1E300", 1),
        ("l", r#"[ 1, {"x":2} ]"#, 1),
        ("n", "1.50", 1),
        ("p.q", "2", 1),
        ("s", r#""\u00e9 \"""#, 1),
        ("z", "-0", 1),
    ];
    assert_told(&latest(storage, acme, boiler).await, &expected);
}

pub async fn values_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":1}"#)]).await;
    for (tenant, device) in [(other, boiler), (new_tenant_id(), boiler), (acme, new_device_id())] {
        assert_told(&latest(storage, tenant, device).await, &[]);
        assert!(keys(storage, tenant, device).await.is_empty());
    }
    assert_eq!(keys(storage, acme, boiler).await, ["t"]);
}

pub async fn a_deleted_device_has_no_values(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":1}"#)]).await;
    storage.devices.delete(acme, boiler).await.unwrap();
    assert_told(&latest(storage, acme, boiler).await, &[]);
    assert!(keys(storage, acme, boiler).await.is_empty());
}

pub async fn keys_are_those_of_all_messages(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let texts: Vec<String> = (0..2_500).map(|n| format!(r#"{{"k{}":{n}}}"#, n % 50)).collect();
    let payloads: Vec<(u64, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    append_payloads(storage, acme, boiler, &payloads).await;
    append_payloads(storage, acme, boiler, &[(0, r#"{"only":{"once":true},"B":1,"é":1,"none":{}}"#)]).await;
    append_payloads(storage, acme, pump, &[(0, r#"{"other":1}"#)]).await;
    let mut expected: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    expected.extend(["only.once", "B", "é"].map(str::to_owned));
    expected.sort();
    assert_eq!(keys(storage, acme, boiler).await, expected);
    let told = latest(storage, acme, boiler).await;
    assert_eq!(told.iter().map(|(key, _, _)| key.clone()).collect::<Vec<_>>(), expected);
    assert!(told.contains(&("k7".to_owned(), "2457".to_owned(), 2_457)));
}

pub async fn of_too_many_keys_the_first_are_told(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    // Three messages that share keys; the keys of the first and of the last would fill the answer by themselves.
    let object = |keys: std::ops::Range<usize>, value: u64| {
        let members: Vec<String> = keys.map(|n| format!("\"{n:05}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let payloads = [object(400..1_600, 1), object(300..800, 2), object(500..1_800, 3)];
    let payloads: Vec<(u64, &str)> = (1..).zip(payloads.iter().map(String::as_str)).collect();
    append_payloads(storage, acme, boiler, &payloads).await;
    let told = latest(storage, acme, boiler).await;
    let expected = (300..300 + MAX_DEVICE_KEYS).map(|n| {
        let last = if n < 500 { 2 } else { 3 };
        (format!("{n:05}"), last.to_string(), last)
    });
    assert_eq!(told, expected.collect::<Vec<_>>());
    assert_eq!(keys(storage, acme, boiler).await, told.into_iter().map(|(key, _, _)| key).collect::<Vec<_>>());
}
