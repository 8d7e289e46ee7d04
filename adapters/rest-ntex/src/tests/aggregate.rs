use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::platform::Platform;

const AGGREGATE: &str = "/api/v1/telemetry/aggregate";
const NOBODY: &str = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
/// A range of three buckets of a minute.
const MINUTES: &str = "interval=1m&from=2027-01-15T07:00:30Z&to=2027-01-15T07:03:00Z";

/// A platform with the devices `boiler`, which has messages, and `silent`, both with the label `hall`.
async fn start() -> (Platform, String, String, String) {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let mut ids = Vec::new();
    for name in ["boiler", "silent"] {
        let body = json!({"name": name, "labels": ["hall"]});
        let device = platform.post(&admin, "/api/v1/devices", body).await.expect(201);
        ids.push(device["id"].as_str().unwrap().to_owned());
    }
    let entry = |time: &str, topic: &str, payload: Value| {
        let timestamp = format!("2027-01-15T07:{time}Z");
        json!({"deviceId": ids[0], "topic": topic, "payload": payload, "timestamp": timestamp})
    };
    let entries = json!([
        entry("00:00", "plant/boiler", json!({"t": 1_000})),
        entry("00:30", "plant/boiler", json!({"t": 20.5, "a": {"b": 1}})),
        entry("00:59", "plant/boiler", json!({"t": 21.5, "a": {"b": "high"}})),
        entry("02:00", "plant/boiler", json!({"t": -3, "a": {"b": 2}})),
        entry("02:10", "other", json!({"t": 7})),
    ]);
    platform.post(&admin, "/api/v1/telemetry", entries).await.expect(201);
    let silent = ids.pop().unwrap();
    (platform, admin, ids.pop().unwrap(), silent)
}

async fn data(platform: &Platform, token: &str, query: &str) -> Value {
    let body = platform.get(token, &format!("{AGGREGATE}?{query}")).await.expect(200);
    assert_eq!(body.as_object().unwrap().len(), 1);
    body["data"].clone()
}

fn bucket(time: &str, value: impl Into<Value>, count: u64) -> Value {
    json!({"start": format!("2027-01-15T07:{time}:00.000Z"), "value": value.into(), "count": count})
}

#[ntex::test]
async fn numbers_come_in_buckets() {
    let (platform, admin, boiler, _) = start().await;
    for (agg, first, last) in [
        ("avg", 21.0, 2.0),
        ("min", 20.5, -3.0),
        ("max", 21.5, 7.0),
        ("sum", 42.0, 4.0),
        ("count", 2.0, 2.0),
        ("first", 20.5, -3.0),
        ("last", 21.5, 7.0),
    ] {
        let found = data(&platform, &admin, &format!("deviceId={boiler}&key=t&agg={agg}&{MINUTES}")).await;
        let buckets = [bucket("00", first, 2), bucket("02", last, 2)];
        let warning = found[0]["warning"].as_str().unwrap();
        assert!(warning.contains("2 topics") && warning.contains("groupBy=topic"), "{warning}");
        let series = json!({"deviceId": boiler, "key": "t", "topics": 2, "warning": warning, "buckets": buckets});
        assert_eq!(found, json!([series]), "{agg}");
    }
}

#[ntex::test]
async fn gaps_are_filled_when_that_is_asked_for() {
    let (platform, admin, boiler, silent) = start().await;
    let query = format!("deviceId={boiler},{silent}&key=t&agg=max&{MINUTES}");
    let gap = |time| bucket(time, Value::Null, 0);
    let filled = data(&platform, &admin, &format!("{query}&fill=null")).await;
    assert_eq!(filled[0]["buckets"], json!([bucket("00", 21.5, 2), gap("01"), bucket("02", 7.0, 2)]));
    assert_eq!(filled[1]["buckets"], json!([gap("00"), gap("01"), gap("02")]));
    let sparse = data(&platform, &admin, &format!("{query}&fill=none")).await;
    assert_eq!(sparse[0]["buckets"].as_array().unwrap().len(), 2);
    assert_eq!(sparse[1], json!({"deviceId": silent, "key": "t", "buckets": []}));
}

#[ntex::test]
async fn devices_and_keys_are_listed_in_two_ways_and_answered_in_that_order() {
    let (platform, admin, boiler, silent) = start().await;
    let expected = [(&silent, "a.b"), (&silent, "t"), (&boiler, "a.b"), (&boiler, "t")];
    for lists in [
        format!("deviceId={silent}&key=a.b&deviceId={boiler}&key=t"),
        format!("deviceId={silent},{boiler}&key=a.b,t"),
        format!("deviceId={silent}%2C{boiler}%2C{silent}&key=a.b%2Ct&key=t"),
    ] {
        let found = data(&platform, &admin, &format!("{lists}&agg=sum&{MINUTES}")).await;
        let found: Vec<_> =
            found.as_array().unwrap().iter().map(|row| (row["deviceId"].clone(), &row["key"])).collect();
        let expected = expected.map(|(device, key)| (json!(device), json!(key)));
        let found: Vec<_> = found.into_iter().map(|(device, key)| (device, key.clone())).collect();
        assert_eq!(found, expected, "{lists}");
    }
}

#[ntex::test]
async fn devices_are_named_by_id_by_label_and_by_topic() {
    let (platform, admin, boiler, silent) = start().await;
    let other = platform.device(&admin, "elsewhere").await;
    for (named, expected) in [
        ("label=hall".to_owned(), vec![(&boiler, 46.0), (&silent, 0.0)]),
        ("label=attic".to_owned(), vec![]),
        (format!("deviceId={other}&deviceId={silent}&label=hall"), vec![(&silent, 0.0)]),
        ("topic=plant/%23".to_owned(), vec![(&boiler, 39.0)]),
        ("topic=nowhere".to_owned(), vec![]),
        ("label=hall&topic=other".to_owned(), vec![(&boiler, 7.0), (&silent, 0.0)]),
        (format!("deviceId={boiler}&topic=nowhere"), vec![(&boiler, 0.0)]),
    ] {
        let found = data(&platform, &admin, &format!("{named}&key=t&agg=sum&{MINUTES}")).await;
        let sum = |row: &Value| -> f64 {
            row["buckets"].as_array().unwrap().iter().map(|bucket| bucket["value"].as_f64().unwrap()).sum()
        };
        // Those that a label names come in the order of their ids, which is that of two draws.
        let found: BTreeMap<_, _> =
            found.as_array().unwrap().iter().map(|row| (row["deviceId"].as_str().unwrap(), sum(row))).collect();
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(device, sum)| (device.as_str(), sum)).collect();
        assert_eq!(found, expected, "{named}");
    }
}

#[ntex::test]
async fn a_question_without_times_is_about_the_last_day() {
    let (platform, admin, boiler, _) = start().await;
    let days = |query: String| {
        let (platform, admin) = (&platform, &admin);
        async move { data(platform, admin, &query).await[0]["buckets"][0]["count"].clone() }
    };
    let query = format!("deviceId={boiler}&key=t&agg=count&interval=1d");
    assert_eq!(days(query.clone()).await, 5);
    assert_eq!(days(format!("{query}&to=2027-01-15T07:00:30Z")).await, 1);
    assert_eq!(days(format!("{query}&to=2027-01-16T07:00:31Z")).await, 3);
    assert_eq!(days(format!("{query}&from=2027-01-15T07:02:00Z")).await, 2);
}

#[ntex::test]
async fn a_sum_that_json_cannot_write_is_null() {
    let (platform, admin, boiler, _) = start().await;
    let entry = json!({"deviceId": boiler, "topic": "a", "payload": {"huge": 1.7e308}, "timestamp": 5});
    platform.post(&admin, "/api/v1/telemetry", json!([entry, entry])).await.expect(201);
    let query = format!("deviceId={boiler}&key=huge&interval=1h&from=0&to=10");
    for (agg, value) in [("sum", Value::Null), ("avg", Value::Null), ("max", json!(1.7e308)), ("count", json!(2.0))] {
        let found = data(&platform, &admin, &format!("{query}&agg={agg}")).await;
        let start = "1970-01-01T00:00:00.000Z";
        assert_eq!(found[0]["buckets"], json!([{"start": start, "value": value, "count": 2}]), "{agg}");
    }
}

#[ntex::test]
async fn wrong_questions_are_refused_with_the_field_and_the_limit() {
    let (platform, admin, boiler, _) = start().await;
    let right = format!("deviceId={boiler}&key=t&agg=avg&interval=1m");
    let without = |name: &str| {
        right.split('&').filter(|pair| !pair.starts_with(&format!("{name}="))).collect::<Vec<_>>().join("&")
    };
    let many = |name: &str, count: usize| (0..count).map(|n| format!("&{name}=k{n}")).collect::<String>();
    for (query, field, says) in [
        (without("key"), "key", "missing"),
        (without("agg"), "agg", "missing"),
        (without("interval"), "interval", "missing"),
        (without("deviceId"), "deviceId", "label or topic"),
        (format!("{}&agg=median", without("agg")), "agg", "avg, min, max, sum, count, first or last"),
        (format!("{}&interval=1w", without("interval")), "interval", "s, m, h or d"),
        (format!("{}&interval=0s", without("interval")), "interval", "1s to 366d"),
        (format!("{}&interval=367d", without("interval")), "interval", "1s to 366d"),
        (format!("{right}&from=2&to=1"), "from", "must not be after to"),
        (format!("{right}&from=2099-01-01T00:00:00Z"), "from", "must not be after to"),
        (format!("{right}&from=0&to=600000001"), "interval", "10000"),
        (format!("{right}&from=soon"), "from", "RFC 3339"),
        (format!("{right}&fill=zero"), "fill", "null or none"),
        (format!("{right}&agg=avg"), "agg", "duplicate"),
        (format!("{right}{}", many("key", 20)), "key", "1 to 20"),
        (format!("{right}&key="), "key", "empty"),
        (format!("{right}&key={}", "k".repeat(256)), "key", "1 to 255 bytes"),
        (format!("{right}&deviceId=x"), "deviceId", "UUID"),
        (format!("{right}&topic=a%23"), "topic", "last level"),
        (format!("{right}&label=%20"), "label", "64"),
        (format!("{right}&limit=1"), "limit", "unknown"),
    ] {
        let reply = platform.get(&admin, &format!("{AGGREGATE}?{query}")).await;
        assert_eq!(reply.problem(422, "INVALID"), [field], "{query}");
        assert!(reply.json()["detail"].as_str().unwrap().contains(says), "{query}: {}", reply.text);
    }
    let at_the_limits = format!("{right}{}&from=0&to=1", many("key", 19));
    platform.get(&admin, &format!("{AGGREGATE}?{at_the_limits}")).await.expect(200);
    platform.get(&admin, &format!("{AGGREGATE}?{right}&from=0&to=600000000")).await.expect(200);
    platform.get(&admin, &format!("{AGGREGATE}?{right}&deviceId={NOBODY}")).await.problem(404, "NOT_FOUND");
}

#[ntex::test]
async fn more_devices_than_a_question_may_have_are_refused() {
    let (platform, admin, boiler, _) = start().await;
    let question = "key=t&agg=avg&interval=1d";
    let mut ids = vec![boiler];
    for n in 0..98 {
        ids.push(platform.device(&admin, &format!("d{n}")).await);
    }
    let ask = async |named: &str| platform.get(&admin, &format!("{AGGREGATE}?{question}&{named}")).await;
    assert_eq!(ask("topic=%23").await.expect(200)["data"].as_array().unwrap().len(), 1);
    let body = json!({"name": "one more", "labels": ["hall"]});
    ids.push(platform.post(&admin, "/api/v1/devices", body).await.expect(201)["id"].as_str().unwrap().to_owned());
    assert_eq!(ask("topic=%23").await.problem(422, "INVALID"), ["topic"]);
    assert_eq!(ask("topic=%23&label=hall").await.expect(200)["data"].as_array().unwrap().len(), 3);
    let named = ids.join(",");
    assert_eq!(ask(&format!("deviceId={named}")).await.expect(200)["data"].as_array().unwrap().len(), 100);
    let reply = ask(&format!("deviceId={named},{NOBODY}")).await;
    assert_eq!(reply.problem(422, "INVALID"), ["deviceId"]);
    let reply = ask(&format!("deviceId={named}&interval=1s")).await;
    assert_eq!(reply.problem(422, "INVALID"), ["interval"]);
    for id in &ids {
        let body = json!({"labels": ["hall"]});
        platform.call(&admin, "PATCH", &format!("/api/v1/devices/{id}"), body).await.expect(200);
    }
    assert_eq!(ask("label=hall").await.problem(422, "INVALID"), ["label"]);
}
