//! Cases of [`TelemetryStore::latest`](crate::TelemetryStore::latest).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use std::collections::BTreeMap;

use super::fixture::{at, device, message, new_device_id, new_tenant_id, tenant};
use super::reading::{TOPIC, append, append_payloads, of_device, oldest_first, paged};
use crate::{Storage, TenantUpdate};
use pocket_domain::{
    DeviceId, LatestQuery, LatestValue, LatestValues, MAX_DEVICE_KEYS, MaxAge, MaxBytes, NewTelemetry, Payload,
    RetentionUpdate, TenantId, TopicFilter, TopicName,
};

/// What is told of a device on all topics.
async fn all(storage: &Storage, tenant: TenantId, device: DeviceId) -> LatestValues {
    storage.telemetry.latest(tenant, device, &LatestQuery::default()).await.unwrap()
}

/// Key, value and second of the newest value of each key.
async fn latest(storage: &Storage, tenant: TenantId, device: DeviceId) -> Vec<(String, String, u64)> {
    let told =
        |value: &LatestValue| (value.key.to_string(), value.value.to_string(), value.timestamp.since(at(0)).as_secs());
    let mut values: Vec<_> = all(storage, tenant, device).await.values.iter().map(told).collect();
    values.dedup_by(|later, newest| later.0 == newest.0);
    values
}

/// Topic, key and value of what is told of topics that a filter matches.
async fn on(storage: &Storage, tenant: TenantId, device: DeviceId, filter: &str) -> Vec<String> {
    let query = LatestQuery { topic: Some(TopicFilter::parse(filter).unwrap()), ..LatestQuery::default() };
    let told = storage.telemetry.latest(tenant, device, &query).await.unwrap();
    assert!(!told.has_more);
    told.values.iter().map(|value| format!("{} {}={}", value.topic, value.key, value.value)).collect()
}

/// Messages of a device by the second, each with its topic and payload.
fn on_topics(tenant: TenantId, device: DeviceId, messages: &[(u64, &str, &str)]) -> Vec<NewTelemetry> {
    let message = |(second, topic, payload): &(u64, &str, &str)| NewTelemetry {
        payload: Payload::from_stored(*payload),
        topic: TopicName::parse(topic).unwrap(),
        ..message(tenant, device, TOPIC, *second)
    };
    messages.iter().map(message).collect()
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
    }
    assert_told(&latest(storage, acme, boiler).await, &[("t", "1", 1)]);
}

pub async fn a_deleted_device_has_no_values(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":1}"#)]).await;
    storage.devices.delete(acme, boiler).await.unwrap();
    assert_told(&latest(storage, acme, boiler).await, &[]);
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
    let told = latest(storage, acme, boiler).await;
    assert_eq!(told.iter().map(|(key, _, _)| key.clone()).collect::<Vec<_>>(), expected);
    assert!(told.contains(&("k7".to_owned(), "2457".to_owned(), 2_457)));
}

pub async fn of_too_many_keys_the_newest_are_told(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    // Three messages that share keys, the newest keys being the last in their order.
    let object = |keys: std::ops::Range<usize>, value: u64| {
        let members: Vec<String> = keys.map(|n| format!("\"{n:05}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let payloads = [object(400..1_600, 1), object(300..800, 2), object(1_200..1_900, 3)];
    let payloads: Vec<(u64, &str)> = (1..).zip(payloads.iter().map(String::as_str)).collect();
    append_payloads(storage, acme, boiler, &payloads).await;
    let expected = (300..600).chain(1_200..1_900).map(|n| {
        let last = if n < 600 { 2 } else { 3 };
        (format!("{n:05}"), last.to_string(), last)
    });
    let expected: Vec<_> = expected.collect();
    assert_eq!(latest(storage, acme, boiler).await, expected);
    assert!(all(storage, acme, boiler).await.has_more);
    let most = |most| LatestQuery { most, ..LatestQuery::default() };
    let told = storage.telemetry.latest(acme, boiler, &most(1_600)).await.unwrap();
    assert_eq!((told.values.len(), told.has_more), (1_600, false));
    let told = storage.telemetry.latest(acme, boiler, &most(1)).await.unwrap();
    assert_eq!((told.values[0].key.as_str(), told.values.len(), told.has_more), ("01200", 1, true));
}

pub async fn each_topic_has_its_own_value_of_a_key(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (gateway, other) = (device(storage, acme, "gateway").await, device(storage, acme, "other").await);
    let messages = [
        (1, "home/kitchen/temp", "21"),
        (2, "home/kitchen/hum", "60"),
        (3, "home/cellar/temp", "9"),
        (4, "lamp", r#"{"on":true,"$":5}"#),
        (5, "home/kitchen/temp", "22"),
        (2, "home/cellar/temp", "8"),
    ];
    append(storage, on_topics(acme, gateway, &messages)).await;
    append(storage, on_topics(acme, other, &[(9, "home/kitchen/temp", "99")])).await;
    let (kitchen, hum, cellar) = ("home/kitchen/temp $=22", "home/kitchen/hum $=60", "home/cellar/temp $=9");
    let all = on(storage, acme, gateway, "#").await;
    assert_eq!(all, [kitchen, cellar, hum, "lamp $.$=5", "lamp on=true"]);
    assert_eq!(on(storage, acme, gateway, "home/+/temp").await, [kitchen, cellar]);
    assert_eq!(on(storage, acme, gateway, "home/kitchen/hum").await, [hum]);
    assert!(on(storage, acme, gateway, "nowhere/#").await.is_empty());
    assert!(on(storage, acme, other, "lamp").await.is_empty());
}

pub async fn last_values_by_topic_are_those_of_the_log_and_of_what_is_older(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let gateway = device(storage, acme, "gateway").await;
    for part in 0..4_u64 {
        let texts: Vec<(u64, String, String)> = (0..600)
            .map(|n| (part * 600 + n, format!("n/{}/{}", n % 7, n % 3), format!(r#"{{"v":{n},"w{}":{part}}}"#, n % 5)))
            .collect();
        let messages: Vec<_> =
            texts.iter().map(|(at, topic, payload)| (*at, topic.as_str(), payload.as_str())).collect();
        append(storage, on_topics(acme, gateway, &messages)).await;
        let mut expected = BTreeMap::new();
        for row in paged(storage, acme, &of_device(gateway, oldest_first()), 1_000).await {
            for leaf in row.payload.leaves() {
                let told = format!("{} {}={}", row.topic, leaf.path, leaf.value.json());
                expected.insert((row.topic.clone(), leaf.path.clone()), told);
            }
        }
        for filter in ["#", "n/+/1", "n/3/#"] {
            let parsed = TopicFilter::parse(filter).unwrap();
            let wanted = expected.iter().filter(|((topic, _), _)| parsed.matches(topic.as_str()));
            let mut wanted: Vec<String> = wanted.map(|(_, told)| told.clone()).collect();
            let mut told = on(storage, acme, gateway, filter).await;
            wanted.sort();
            told.sort();
            assert_eq!(told, wanted, "{filter}");
        }
    }
}

pub async fn a_key_without_a_letter_has_a_value(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let nul = r#"{"\u0000":{"":true}}"#;
    append_payloads(storage, acme, boiler, &[(1, r#"{"":1}"#), (2, r#"{"":{"":2}}"#), (3, nul), (4, r#"{"":3}"#)])
        .await;
    assert_told(&latest(storage, acme, boiler).await, &[("", "3", 4), ("\0.", "true", 3), (".", "2", 2)]);
    append_payloads(storage, acme, boiler, &[(5, r#"{".":5}"#)]).await;
    assert_told(&latest(storage, acme, boiler).await, &[("", "3", 4), ("\0.", "true", 3), (".", "5", 5)]);
}

pub async fn each_of_thousands_of_shapes_has_its_value(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let gateway = device(storage, acme, "gateway").await;
    // As a gateway reports the devices around it.
    let texts: Vec<String> = (0..4_100).map(|n| format!(r#"{{"{:012x}":{n}}}"#, n * 7_919 % 4_100)).collect();
    let payloads: Vec<(u64, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    append_payloads(storage, acme, gateway, &payloads).await;
    let newest = 4_100 - MAX_DEVICE_KEYS as u64..4_100;
    let by_key: BTreeMap<String, u64> = newest.map(|n| (format!("{:012x}", n * 7_919 % 4_100), n)).collect();
    let expected = by_key.into_iter().map(|(key, n)| (key, n.to_string(), n));
    assert_eq!(latest(storage, acme, gateway).await, expected.collect::<Vec<_>>());
}

/// What the messages that are there say.
async fn by_hand(storage: &Storage, tenant: TenantId, device: DeviceId) -> Vec<(String, String, u64)> {
    let mut values = BTreeMap::new();
    for row in paged(storage, tenant, &of_device(device, oldest_first()), 1_000).await {
        for leaf in row.payload.leaves() {
            let second = row.timestamp.since(at(0)).as_secs();
            values.insert(leaf.path.to_string(), (leaf.value.json().to_owned(), second));
        }
    }
    values.into_iter().map(|(key, (value, second))| (key, value, second)).collect()
}

pub async fn what_is_imported_takes_its_place_among_the_values(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(100, r#"{"t":100}"#), (200, r#"{"t":200,"u":200}"#)]).await;
    assert_told(&latest(storage, acme, boiler).await, &[("t", "200", 200), ("u", "200", 200)]);
    let import = |second: u64, payload: &'static str| {
        let message = NewTelemetry { payload: Payload::from_stored(payload), ..message(acme, boiler, TOPIC, second) };
        storage.telemetry.import([message].into())
    };
    for (second, payload) in
        [(50, r#"{"t":50,"v":50}"#), (150, r#"{"v":150}"#), (60, r#"{"v":60}"#), (300, r#"{"u":300}"#)]
    {
        import(second, payload).await.unwrap();
        assert_eq!(latest(storage, acme, boiler).await, by_hand(storage, acme, boiler).await, "{payload}");
    }
    assert_told(&latest(storage, acme, boiler).await, &[("t", "200", 200), ("u", "300", 300), ("v", "150", 150)]);
}

async fn keep(storage: &Storage, tenant: TenantId, retention: RetentionUpdate) {
    storage.tenants.update(tenant, TenantUpdate { retention, ..TenantUpdate::default() }).await.unwrap();
}

async fn prune(storage: &Storage, now: u64) {
    for _ in 0..100_000 {
        if storage.telemetry.prune(at(now)).await.unwrap().is_done {
            return;
        }
    }
    panic!("pruning comes to no end");
}

/// Appends messages of a few keys each, of which one has a new name every hundred messages.
async fn append_changing_keys(storage: &Storage, tenant: TenantId, device: DeviceId, seconds: std::ops::Range<u64>) {
    let text = |second: u64| format!(r#"{{"t":{second},"n{}":{second}}}"#, second / 100);
    let texts: Vec<(u64, String)> = seconds.map(|second| (second, text(second))).collect();
    let payloads: Vec<(u64, &str)> = texts.iter().map(|(second, text)| (*second, text.as_str())).collect();
    append_payloads(storage, tenant, device, &payloads).await;
}

pub async fn what_is_removed_for_its_age_is_told_no_more(storage: &Storage) {
    const DAY: u64 = 86_400;
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let max_age = Some(Some(MaxAge::parse(DAY).unwrap()));
    keep(storage, acme, RetentionUpdate { max_age, max_bytes: None }).await;
    append_changing_keys(storage, acme, boiler, 0..6_000).await;
    assert_eq!(latest(storage, acme, boiler).await.len(), 61);
    for kept_from in [1_000, 5_000, 5_950] {
        prune(storage, DAY + kept_from).await;
        let told = latest(storage, acme, boiler).await;
        assert_eq!(told, by_hand(storage, acme, boiler).await, "{kept_from}");
        append_changing_keys(storage, acme, boiler, 5_990..6_001).await;
        assert_eq!(latest(storage, acme, boiler).await, by_hand(storage, acme, boiler).await, "{kept_from}");
    }
    prune(storage, 3 * DAY).await;
    assert_told(&latest(storage, acme, boiler).await, &[]);
    append_payloads(storage, acme, boiler, &[(2 * DAY, r#"{"w":1}"#)]).await;
    assert_told(&latest(storage, acme, boiler).await, &[("w", "1", 2 * DAY)]);
}

/// Appends long messages, of which every hundredth has a key of its own.
async fn append_noise(storage: &Storage, tenant: TenantId, device: DeviceId, seconds: std::ops::Range<u64>) {
    let text = |second: u64| {
        let mut state = second + 1;
        let word = |_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            format!("{:016x}", state ^ (state >> 29))
        };
        format!(r#"{{"n{}":{second},"s":"{}"}}"#, second / 100, (0..16).map(word).collect::<String>())
    };
    let texts: Vec<(u64, String)> = seconds.map(|second| (second, text(second))).collect();
    let payloads: Vec<(u64, &str)> = texts.iter().map(|(second, text)| (*second, text.as_str())).collect();
    append_payloads(storage, tenant, device, &payloads).await;
}

pub async fn what_is_removed_for_its_size_is_told_no_more(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let max_bytes = Some(Some(MaxBytes::parse(MaxBytes::MIN).unwrap()));
    keep(storage, acme, RetentionUpdate { max_age: None, max_bytes }).await;
    for part in 0..4 {
        append_noise(storage, acme, boiler, part * 4_000..(part + 1) * 4_000).await;
    }
    assert_eq!(latest(storage, acme, boiler).await.len(), 161);
    prune(storage, 20_000).await;
    let told = latest(storage, acme, boiler).await;
    assert_eq!(told, by_hand(storage, acme, boiler).await);
    assert!((2..161).contains(&told.len()), "{}", told.len());
    append_noise(storage, acme, boiler, 16_000..18_000).await;
    prune(storage, 20_000).await;
    assert_eq!(latest(storage, acme, boiler).await, by_hand(storage, acme, boiler).await);
}

pub async fn a_key_whose_last_message_went_has_the_one_before(storage: &Storage) {
    const DAY: u64 = 86_400;
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let max_age = Some(Some(MaxAge::parse(DAY).unwrap()));
    keep(storage, acme, RetentionUpdate { max_age, max_bytes: None }).await;
    // Late messages and young ones, mixed in many ways: whatever stays is told.
    for round in 0..6_u64 {
        let text = |n: u64| format!(r#"{{"a{}":{n},"b{}":{n}}}"#, n % 7, n % 11);
        let second = |n: u64| (n * 7_919 + round * 131) % 900 + if n.is_multiple_of(5) { 1_000 } else { 0 };
        let texts: Vec<(u64, String)> = (0..900).map(|n| (second(n), text(n))).collect();
        let payloads: Vec<(u64, &str)> = texts.iter().map(|(second, text)| (*second, text.as_str())).collect();
        append_payloads(storage, acme, boiler, &payloads).await;
        prune(storage, DAY + 100 * round + 400).await;
        assert_eq!(latest(storage, acme, boiler).await, by_hand(storage, acme, boiler).await, "{round}");
    }
}
