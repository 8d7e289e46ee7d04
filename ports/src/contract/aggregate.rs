//! Cases of [`TelemetryStore::aggregate`](crate::TelemetryStore::aggregate).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use std::collections::BTreeMap;

use super::fixture::{at, device, message, new_device_id, new_tenant_id, tenant};
use super::reading::{TOPIC, append, append_payloads};
use crate::{Storage, StorageError};
use pocket_domain::{
    Aggregate, AggregateQuery, DeviceId, GroupBy, LeafPath, NewTelemetry, Payload, Series, TenantId, Timestamp,
    TopicFilter, TopicName, TopicRules,
};

pub(super) const ALL: [Aggregate; 7] = [
    Aggregate::Avg,
    Aggregate::Min,
    Aggregate::Max,
    Aggregate::Sum,
    Aggregate::Count,
    Aggregate::First,
    Aggregate::Last,
];

/// The key `t` of the device by the minute, from the second 0 to the second 600. The moment at which cases begin is 20 s
/// after a full minute.
pub(super) fn of(device: DeviceId, aggregate: Aggregate) -> AggregateQuery {
    AggregateQuery {
        devices: vec![device],
        keys: vec![LeafPath::parse("t").unwrap()],
        aggregate,
        interval: "1m".parse().unwrap(),
        from: at(0),
        to: at(600),
        topic: None,
        group_by: GroupBy::Device,
        rules: TopicRules::default(),
    }
}

pub(super) fn keys(keys: &[&str]) -> Vec<LeafPath> {
    keys.iter().map(|key| LeafPath::parse(key).unwrap()).collect()
}

pub(super) async fn ask(storage: &Storage, tenant: TenantId, query: &AggregateQuery) -> Vec<Series> {
    query.check().unwrap();
    storage.telemetry.aggregate(tenant, query).await.unwrap()
}

/// Start in seconds after the beginning, value and count of each bucket of the only series.
pub(super) async fn buckets(storage: &Storage, tenant: TenantId, query: &AggregateQuery) -> Vec<(i64, f64, u64)> {
    let series = ask(storage, tenant, query).await;
    assert_eq!(series.len(), 1);
    shape(&series[0])
}

pub(super) fn shape(series: &Series) -> Vec<(i64, f64, u64)> {
    let second = |time: Timestamp| (time.as_millis() - at(0).as_millis()) / 1_000;
    series.buckets.iter().map(|bucket| (second(bucket.start), bucket.value, bucket.count)).collect()
}

pub async fn every_aggregate_is_of_the_points_of_its_bucket(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let payloads = [
        (0, r#"{"t":3}"#),
        (39, r#"{"t":-1.5}"#),
        (40, r#"{"t":8}"#),
        (41, r#"{"t":2}"#),
        (99, r#"{"t":5}"#),
        (300, r#"{"t":0}"#),
    ];
    append_payloads(storage, acme, boiler, &payloads).await;
    for (aggregate, [first, second, third]) in [
        (Aggregate::Avg, [0.75, 5.0, 0.0]),
        (Aggregate::Min, [-1.5, 2.0, 0.0]),
        (Aggregate::Max, [3.0, 8.0, 0.0]),
        (Aggregate::Sum, [1.5, 15.0, 0.0]),
        (Aggregate::Count, [2.0, 3.0, 1.0]),
        (Aggregate::First, [3.0, 8.0, 0.0]),
        (Aggregate::Last, [-1.5, 5.0, 0.0]),
    ] {
        let expected = [(-20, first, 2), (40, second, 3), (280, third, 1)];
        assert_eq!(buckets(storage, acme, &of(boiler, aggregate)).await, expected, "{aggregate:?}");
    }
}

pub async fn buckets_begin_at_multiples_of_the_interval(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let message = |millis: i64| NewTelemetry {
        timestamp: Timestamp::from_millis(millis).unwrap(),
        payload: Payload::from_stored(r#"{"t":1}"#),
        ..message(acme, boiler, TOPIC, 0)
    };
    let day = 86_400_000;
    let times = [0, 1, day - 1, day, 7 * day - 1, 7 * day, 20_000 * day + 3_599_999, 20_000 * day + 3_600_000];
    append(storage, times.into_iter().map(message).collect()).await;
    for interval in ["1s", "90s", "1h", "1d", "7d", "366d"] {
        let query = AggregateQuery { interval: interval.parse().unwrap(), ..of(boiler, Aggregate::Count) };
        let mut expected = BTreeMap::new();
        for time in times {
            *expected.entry(time / query.interval.as_millis() * query.interval.as_millis()).or_insert(0) += 1;
        }
        let mut found = BTreeMap::new();
        for time in times {
            // The whole of time has too many short buckets, so each point is asked for by itself.
            let at = |millis: i64| Timestamp::from_millis(millis).unwrap();
            let query = AggregateQuery { from: at(time), to: at(time + 1), ..query.clone() };
            for bucket in &ask(storage, acme, &query).await[0].buckets {
                *found.entry(bucket.start.as_millis()).or_insert(0) += bucket.count;
            }
        }
        assert_eq!(found, expected, "{interval}");
    }
}

pub async fn only_points_of_the_range_count(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let payloads: Vec<(u64, &str)> = [39, 40, 41, 99, 100, 101].map(|second| (second, r#"{"t":1}"#)).into();
    append_payloads(storage, acme, boiler, &payloads).await;
    for (from, to, expected) in [
        (40, 100, vec![(40, 3)]),
        (39, 101, vec![(-20, 1), (40, 3), (100, 1)]),
        (41, 99, vec![(40, 1)]),
        (40, 41, vec![(40, 1)]),
        (40, 40, vec![]),
        (0, 39, vec![]),
        (102, 600, vec![]),
    ] {
        let query = AggregateQuery { from: at(from), to: at(to), ..of(boiler, Aggregate::Sum) };
        let found = buckets(storage, acme, &query).await;
        let expected: Vec<_> = expected.into_iter().map(|(start, count)| (start, count as f64, count)).collect();
        assert_eq!(found, expected, "{from}..{to}");
    }
}

pub async fn series_come_in_the_order_asked_for(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let silent = device(storage, acme, "silent").await;
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":1,"u":2}"#), (70, r#"{"t":3}"#)]).await;
    append_payloads(storage, acme, pump, &[(2, r#"{"u":4}"#)]).await;
    let unknown = new_device_id();
    for devices in [vec![boiler, silent, pump, unknown], vec![unknown, pump, silent, boiler], vec![]] {
        for named in [keys(&["u", "t", "none"]), keys(&["none", "t", "u"])] {
            let query = AggregateQuery { devices: devices.clone(), keys: named.clone(), ..of(boiler, Aggregate::Sum) };
            let found = ask(storage, acme, &query).await;
            let pairs = devices.iter().flat_map(|device| named.iter().map(move |key| (*device, key.clone())));
            assert_eq!(
                found.iter().map(|series| (series.device_id, series.key.clone())).collect::<Vec<_>>(),
                pairs.collect::<Vec<_>>()
            );
            for series in found {
                let expected = match (series.device_id, series.key.as_str()) {
                    (device, "t") if device == boiler => vec![(-20, 1.0, 1), (40, 3.0, 1)],
                    (device, "u") if device == boiler => vec![(-20, 2.0, 1)],
                    (device, "u") if device == pump => vec![(-20, 4.0, 1)],
                    _ => vec![],
                };
                assert_eq!(shape(&series), expected, "{series:?}");
            }
        }
    }
}

pub async fn devices_and_keys_are_told_apart(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":1,"T":2,"a":{"t":4},"t.t":8,"":{"t":16}}"#), (2, "32")]).await;
    append_payloads(storage, acme, pump, &[(1, r#"{"t":64}"#)]).await;
    for (key, sum) in [("t", 1.0), ("T", 2.0), ("a.t", 4.0), ("t.t", 8.0), (".t", 16.0), ("$", 32.0)] {
        let query = AggregateQuery { keys: keys(&[key]), ..of(boiler, Aggregate::Sum) };
        assert_eq!(buckets(storage, acme, &query).await, [(-20, sum, 1)], "{key}");
    }
    for key in ["a", "a.t.t", "tt", "%", "_"] {
        let query = AggregateQuery { keys: keys(&[key]), ..of(boiler, Aggregate::Sum) };
        assert_eq!(buckets(storage, acme, &query).await, [], "{key}");
    }
}

pub async fn anything_but_a_number_is_no_point(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let others = [r#""7""#, r#""true""#, "null", "[7]", "{}", r#"{"x":7}"#, r#""NaN""#];
    let mut texts: Vec<String> = others.map(|other| format!(r#"{{"t":{other}}}"#)).into();
    texts.extend(["{\"u\":7}".to_owned(), "7".to_owned(), "\"t\"".to_owned()]);
    texts.insert(3, r#"{"t":2}"#.to_owned());
    texts.insert(4, r#"{"t":7,"t":4}"#.to_owned());
    texts.push(r#"{"t":7,"t":"gone"}"#.to_owned());
    let payloads: Vec<(u64, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    append_payloads(storage, acme, boiler, &payloads).await;
    for (aggregate, value) in ALL.into_iter().zip([3.0, 2.0, 4.0, 6.0, 2.0, 2.0, 4.0]) {
        assert_eq!(buckets(storage, acme, &of(boiler, aggregate)).await, [(-20, value, 2)], "{aggregate:?}");
    }
}

pub async fn late_messages_count_in_their_bucket(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(50, r#"{"t":5}"#), (200, r#"{"t":20}"#)]).await;
    append_payloads(storage, acme, boiler, &[(45, r#"{"t":4}"#), (99, r#"{"t":9}"#), (130, r#"{"t":13}"#)]).await;
    for (aggregate, value) in ALL.into_iter().zip([6.0, 4.0, 9.0, 18.0, 3.0, 4.0, 9.0]) {
        let found = buckets(storage, acme, &of(boiler, aggregate)).await;
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], (40, value, 3), "{aggregate:?}");
    }
}

pub async fn of_points_of_one_time_the_id_tells_the_first_and_the_last(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    append_payloads(storage, acme, boiler, &[(5, r#"{"t":2}"#), (5, r#"{"t":1}"#), (5, r#"{"t":"x"}"#)]).await;
    append_payloads(storage, acme, boiler, &[(5, r#"{"t":3}"#), (5, r#"{"u":9}"#)]).await;
    assert_eq!(buckets(storage, acme, &of(boiler, Aggregate::First)).await, [(-20, 2.0, 3)]);
    assert_eq!(buckets(storage, acme, &of(boiler, Aggregate::Last)).await, [(-20, 3.0, 3)]);
}

pub async fn points_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, other, "pump").await);
    append_payloads(storage, acme, boiler, &[(1, r#"{"t":1}"#)]).await;
    append_payloads(storage, other, pump, &[(1, r#"{"t":2}"#)]).await;
    let both = AggregateQuery { devices: vec![boiler, pump], ..of(boiler, Aggregate::Sum) };
    for topic in [None, Some(TopicFilter::parse("#").unwrap()), Some(TopicFilter::parse(TOPIC).unwrap())] {
        let query = AggregateQuery { topic, ..both.clone() };
        for (tenant, expected) in [(acme, [1, 0]), (other, [0, 1]), (new_tenant_id(), [0, 0])] {
            let found = ask(storage, tenant, &query).await;
            assert_eq!(found.iter().map(|series| series.buckets.len()).collect::<Vec<_>>(), expected);
        }
    }
}

pub async fn a_topic_filter_leaves_out_other_points(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let topics = ["a", "a/b", "a/b/c", "b", "$SYS/a"];
    let message = |(n, topic): (u32, &str)| NewTelemetry {
        payload: Payload::from_stored(format!(r#"{{"t":{}}}"#, 1 << n)),
        ..message(acme, boiler, topic, 1)
    };
    append(storage, (0..).zip(topics).map(message).collect()).await;
    for (filter, sum) in
        [("#", 15.0), ("a/#", 7.0), ("a/+", 2.0), ("b", 8.0), ("$SYS/#", 16.0), ("none", 0.0), ("+/c", 0.0)]
    {
        let topic = Some(TopicFilter::parse(filter).unwrap());
        let found = buckets(storage, acme, &AggregateQuery { topic, ..of(boiler, Aggregate::Sum) }).await;
        assert_eq!(found.iter().map(|(_, value, _)| value).sum::<f64>(), sum, "{filter}");
    }
}

pub async fn a_deleted_device_has_no_points(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    for device in [boiler, pump] {
        append_payloads(storage, acme, device, &[(1, r#"{"t":1}"#)]).await;
    }
    storage.devices.delete(acme, boiler).await.unwrap();
    let query = AggregateQuery { devices: vec![boiler, pump], ..of(boiler, Aggregate::Sum) };
    let found = ask(storage, acme, &query).await;
    assert_eq!(found.iter().map(shape).collect::<Vec<_>>(), [vec![], vec![(-20, 1.0, 1)]]);
}

pub(super) fn on(tenant: TenantId, device: DeviceId, second: u64, topic: &str, payload: &str) -> NewTelemetry {
    NewTelemetry {
        payload: Payload::from_stored(payload),
        topic: TopicName::parse(topic).unwrap(),
        ..message(tenant, device, TOPIC, second)
    }
}

/// Topic, how many topics, and the count and value of each bucket.
pub(super) async fn by_topic(storage: &Storage, tenant: TenantId, query: &AggregateQuery) -> Vec<String> {
    let told = |series: &Series| {
        let topic = series.topic.as_ref().map_or("-", TopicName::as_str);
        let buckets: Vec<String> =
            series.buckets.iter().map(|bucket| format!("{}x{}", bucket.count, bucket.value)).collect();
        format!("{topic} {} {} {}", series.topics, series.key, buckets.join(","))
    };
    storage.telemetry.aggregate(tenant, query).await.unwrap().iter().map(told).collect()
}

pub async fn each_topic_has_a_series_where_that_is_asked_for(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    // Many, so that older ones are kept in another form.
    let mut messages: Vec<NewTelemetry> = Vec::new();
    for n in 0..1_500_u64 {
        let (topic, payload) = match n % 3 {
            0 => ("b/temp", "21".to_owned()),
            1 => ("a/temp", "9".to_owned()),
            _ => ("a/other", format!(r#"{{"t":{n}}}"#)),
        };
        messages.push(on(acme, boiler, n % 600, topic, &payload));
    }
    append(storage, messages).await;
    let together =
        AggregateQuery { keys: keys(&["$", "t"]), interval: "1h".parse().unwrap(), ..of(boiler, Aggregate::Avg) };
    assert_eq!(by_topic(storage, acme, &together).await[0], "- 2 $ 1000x15");
    assert!(by_topic(storage, acme, &together).await[1].starts_with("- 1 t 500x"));
    let apart = AggregateQuery { group_by: GroupBy::Topic, ..together.clone() };
    let told = by_topic(storage, acme, &apart).await;
    assert_eq!(told[..2], ["a/temp 1 $ 500x9", "b/temp 1 $ 500x21"]);
    assert!(told.len() == 3 && told[2].starts_with("a/other 1 t 500x"), "{told:?}");
    let of_topic = AggregateQuery { topic: Some(TopicFilter::parse("+/temp").unwrap()), ..apart.clone() };
    assert_eq!(by_topic(storage, acme, &of_topic).await, told[..2]);
    let of_one = AggregateQuery { topic: Some(TopicFilter::parse("a/#").unwrap()), ..together };
    assert_eq!(by_topic(storage, acme, &of_one).await[0], "- 1 $ 500x9");
    let of_nothing = AggregateQuery { from: at(7_000), to: at(8_000), ..apart };
    assert!(by_topic(storage, acme, &of_nothing).await.is_empty());
}

pub async fn truth_values_are_one_and_zero(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let (boiler, lamp) = (device(storage, acme, "boiler").await, device(storage, acme, "lamp").await);
    let text = |n: u64| match n % 4 {
        0 => r#"{"t":true,"u":"true"}"#.to_owned(),
        1 => r#"{"values":{"t":false,"on":true}}"#.to_owned(),
        2 => format!(r#"{{"t":{n},"s":"21.5","l":[true]}}"#),
        _ => r#"{"t":"on","n":null,"s":"7"}"#.to_owned(),
    };
    let messages = (0..1_600).map(|n| on(acme, boiler, n % 300, TOPIC, &text(n)));
    append(storage, messages.collect()).await;
    append(storage, (0..4).map(|n| on(acme, lamp, n, TOPIC, ["true", "false"][n as usize / 3])).collect()).await;
    let numbers: u64 = (0..1_600).filter(|n| n % 4 == 2).sum();
    for (aggregate, value) in [
        (Aggregate::Count, 1_200.0),
        (Aggregate::Sum, (numbers + 400) as f64),
        (Aggregate::Min, 0.0),
        (Aggregate::Max, 1_598.0),
    ] {
        let query = AggregateQuery { interval: "1h".parse().unwrap(), ..of(boiler, aggregate) };
        assert_eq!(by_topic(storage, acme, &query).await, [format!("- 1 t 1200x{value}")], "{aggregate:?}");
    }
    let none = AggregateQuery {
        keys: keys(&["u", "s", "l", "n", "on"]),
        interval: "1h".parse().unwrap(),
        ..of(boiler, Aggregate::Sum)
    };
    assert_eq!(by_topic(storage, acme, &none).await, ["- 0 u ", "- 0 s ", "- 0 l ", "- 0 n ", "- 1 on 400x400"]);
    let share = AggregateQuery { keys: keys(&["$"]), interval: "1h".parse().unwrap(), ..of(lamp, Aggregate::Avg) };
    assert_eq!(by_topic(storage, acme, &share).await, ["- 1 $ 4x0.75"]);
    let last = AggregateQuery { aggregate: Aggregate::Last, ..share };
    assert_eq!(by_topic(storage, acme, &last).await, ["- 1 $ 4x0"]);
}

pub async fn a_number_and_the_key_dollar_are_told_apart(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let text = |n: u64| match n % 5 {
        0 => "1",
        1 => r#"{"$":10}"#,
        2 => r#" {"values":{"$":100}}"#,
        3 => "true",
        _ => r#"{"$":{"$":1000}}"#,
    };
    append(storage, (0..1_500).map(|n| on(acme, boiler, n % 300, TOPIC, text(n))).collect()).await;
    let query = AggregateQuery {
        keys: keys(&["$", "$.$", "$.$.$", "values.$"]),
        interval: "1h".parse().unwrap(),
        ..of(boiler, Aggregate::Sum)
    };
    let told = by_topic(storage, acme, &query).await;
    assert_eq!(told, ["- 1 $ 600x600", "- 1 $.$ 600x33000", "- 1 $.$.$ 300x300000", "- 1 $.$ 600x33000"]);
}

pub async fn too_many_series_by_topic_are_refused(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let most = AggregateQuery::MAX_SERIES as u64;
    append(storage, (0..most).map(|n| on(acme, boiler, 1, &format!("n/{n}"), "1")).collect()).await;
    let query = AggregateQuery {
        keys: keys(&["$"]),
        interval: "1h".parse().unwrap(),
        group_by: GroupBy::Topic,
        ..of(boiler, Aggregate::Sum)
    };
    assert_eq!(storage.telemetry.aggregate(acme, &query).await.unwrap().len() as u64, most);
    let by_second = AggregateQuery { interval: "1s".parse().unwrap(), ..query.clone() };
    for (query, word) in [(&by_second, "interval"), (&query, "1000 series")] {
        match storage.telemetry.aggregate(acme, query).await {
            Err(StorageError::TooMuch(words)) => assert!(words.contains(word), "{words}"),
            other => panic!("{other:?}"),
        }
        append(storage, vec![on(acme, boiler, 1, "one/more", "1")]).await;
    }
}
