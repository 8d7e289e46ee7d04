//! Rules by which a tenant names what its devices publish, one value a topic.

use std::time::{Duration, Instant};

use pocket_tests::{Device, Launch, PostgresDatabase, TwoTenants};
use serde_json::{Value, json};

use super::stage::{Stage, Wire};

const RULES: &str = "/api/v1/topic-rules";
const PREVIEW: &str = "/api/v1/topic-rules/preview";

async fn publish(wire: &mut Wire, messages: &[(&str, &str)]) {
    for (topic, payload) in messages {
        assert!(wire.publish(topic, payload.as_bytes()).await, "{topic} {payload}");
    }
}

/// What is told last, without the times.
async fn latest(stage: &Stage, query: &str) -> Value {
    let path = format!("/api/v1/devices/{}/latest{query}", stage.device.id);
    let mut answer = stage.admin.get(&path).await.expect(200)["data"].take();
    for row in answer.as_array_mut().expect("rows") {
        row.as_object_mut().expect("a row").remove("timestamp").expect("a time");
    }
    answer
}

async fn keys(stage: &Stage) -> Value {
    stage.admin.get(&format!("/api/v1/devices/{}/keys", stage.device.id)).await.expect(200)
}

/// Series of sums, the buckets put together and without the device.
async fn sums(stage: &Stage, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/telemetry/aggregate?deviceId={}&interval=366d&agg=sum&{query}", stage.device.id);
    let mut answer = stage.admin.get(&path).await.expect(200)["data"].take();
    for series in answer.as_array_mut().expect("series") {
        let series = series.as_object_mut().expect("a series");
        let buckets = series.remove("buckets").expect("buckets");
        let values = buckets.as_array().expect("buckets").iter().filter_map(|bucket| bucket["value"].as_f64());
        series.insert("sum".to_owned(), values.sum::<f64>().into());
        series.remove("deviceId").expect("a device");
    }
    answer.as_array().expect("series").clone()
}

fn home() -> Value {
    json!({ "rules": [{ "topic": "home/+room/+quantity", "key": "{quantity}" }] })
}

fn of_kitchen(key: &str, value: u32) -> Value {
    let topic = format!("home/kitchen/{key}");
    json!({ "key": key, "rawKey": "$", "labels": { "room": "kitchen" }, "topic": topic, "value": value })
}

async fn topics_become_keys_and_labels(launch: Launch) {
    let stage = Stage::of(launch).await;
    let mut wire = stage.connected().await;
    // What was stored before there is a rule is named by it as well.
    publish(&mut wire, &[("home/kitchen/temp", "21")]).await;
    assert_eq!(stage.admin.get(RULES).await.expect(200), json!({ "rules": [] }));
    assert_eq!(latest(&stage, "").await, json!([{ "key": "$", "topic": "home/kitchen/temp", "value": 21 }]));
    assert_eq!(stage.admin.put(RULES, home()).await.expect(200), home());
    assert_eq!(stage.admin.get(RULES).await.expect(200), home());
    publish(&mut wire, &[("home/kitchen/hum", "60"), ("boiler", "7")]).await;
    let plain = json!({ "key": "$", "topic": "boiler", "value": 7 });
    assert_eq!(latest(&stage, "").await, json!([plain, of_kitchen("hum", 60), of_kitchen("temp", 21)]));
    assert_eq!(latest(&stage, "?topic=home/%23").await, json!([of_kitchen("hum", 60), of_kitchen("temp", 21)]));
    let known = keys(&stage).await;
    assert_eq!(known["data"], json!(["$", "hum", "temp"]));
    let hum = json!({ "key": "hum", "rawKey": "$", "labels": { "room": "kitchen" }, "topic": "home/kitchen/hum" });
    assert_eq!(known["series"][1], hum);
    // Of one key in several rooms the newest comes first.
    publish(&mut wire, &[("home/attic/temp", "15"), ("home/kitchen/temp", "22")]).await;
    let told = latest(&stage, "?topic=home/%2B/temp").await;
    let rooms: Vec<_> =
        told.as_array().expect("rows").iter().map(|row| (&row["labels"]["room"], &row["value"])).collect();
    assert_eq!(rooms, [(&json!("kitchen"), &json!(22)), (&json!("attic"), &json!(15))]);
    // Numbers over time by the key of the rule, with those that were stored before it, and by the key as it is stored.
    for query in ["key=temp&topic=home/kitchen/%23", "key=$&topic=home/kitchen/temp"] {
        let told = sums(&stage, query).await;
        assert_eq!(told, [json!({ "key": query[4..query.find('&').expect("&")], "sum": 43.0 })], "{query}");
    }
    assert_eq!(stage.admin.delete(RULES).await.status, 204);
    assert_eq!(stage.admin.delete(RULES).await.status, 204, "there are none any more");
    assert_eq!(stage.admin.get(RULES).await.expect(200), json!({ "rules": [] }));
    assert_eq!(keys(&stage).await["data"], json!(["$"]));
}

async fn rules_are_those_of_their_tenant(launch: Launch) {
    let tenants = TwoTenants::start(launch).await;
    let (a, b) = (&tenants.a, &tenants.b);
    a.admin.put(RULES, home()).await.expect(200);
    for tenant in [a, b] {
        let row = json!({ "deviceId": tenant.device.id, "topic": "home/kitchen/temp", "payload": 21 });
        tenant.operator.post("/api/v1/telemetry", row).await.expect(201);
    }
    for (tenant, key) in [(a, "temp"), (b, "$")] {
        let told = tenant.viewer.get(&format!("/api/v1/devices/{}/latest", tenant.device.id)).await.expect(200);
        assert_eq!(told["data"][0]["key"], key);
    }
    assert_eq!(a.viewer.get(RULES).await.expect(200), home());
    assert_eq!(b.admin.get(RULES).await.expect(200), json!({ "rules": [] }));
    for caller in [&a.viewer, &a.operator] {
        assert_eq!(caller.put(RULES, home()).await.status, 403);
        assert_eq!(caller.delete(RULES).await.status, 403);
    }
    assert_eq!(a.viewer.post(PREVIEW, home()).await.status, 403);
    let theirs = json!({ "rules": home()["rules"], "deviceId": b.device.id });
    assert_eq!(a.operator.post(PREVIEW, theirs).await.status, 404);
    let seen = a.operator.post(PREVIEW, home()).await.expect(200);
    let kitchen = json!({ "topic": "home/kitchen/temp", "rule": 0, "key": "temp", "labels": { "room": "kitchen" } });
    assert_eq!(seen, json!({ "data": [kitchen] }));
    let of_a = format!("{RULES}?tenantId={}", a.id);
    assert_eq!(tenants.root.get(&of_a).await.expect(200), home());
    assert_eq!(b.admin.put(&of_a, home()).await.status, 403);
}

#[tokio::test]
async fn topics_become_keys_and_labels_in_sqlite() {
    topics_become_keys_and_labels(Launch::default()).await;
}

#[tokio::test]
async fn topics_become_keys_and_labels_in_postgresql() {
    let database = PostgresDatabase::create().await;
    topics_become_keys_and_labels(Launch::default().set("database.url", &database.url())).await;
}

#[tokio::test]
async fn rules_are_those_of_their_tenant_in_sqlite() {
    rules_are_those_of_their_tenant(Launch::default()).await;
}

#[tokio::test]
async fn rules_are_those_of_their_tenant_in_postgresql() {
    let database = PostgresDatabase::create().await;
    rules_are_those_of_their_tenant(Launch::default().set("database.url", &database.url())).await;
}

#[tokio::test]
async fn keys_of_objects_follow_the_key_of_their_topic() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    let messages = [
        ("zigbee2mqtt/kitchen", r#"{"temperature":21,"update":{"state":"idle"}}"#),
        ("homie/car/engine/temperature", "90.5"),
        ("homie/car/engine/$name", "Car engine"),
    ];
    publish(&mut wire, &messages).await;
    let rules = json!({ "rules": [
        { "topic": "homie/+/+node/$name", "key": "name" },
        { "topic": "homie/+car/+node/+property", "key": "{node}.{property}" },
        { "topic": "zigbee2mqtt/+place", "key": "climate" },
        { "topic": "#", "key": "never" },
    ]});
    stage.admin.put(RULES, rules).await.expect(200);
    let told = latest(&stage, "").await;
    let row = |row: &Value| (row["key"].clone(), row["rawKey"].clone(), row["labels"].clone());
    let told: Vec<_> = told.as_array().expect("rows").iter().map(row).collect();
    let place = json!({ "place": "kitchen" });
    let expected = [
        (json!("climate.temperature"), json!("temperature"), place.clone()),
        (json!("climate.update.state"), json!("update.state"), place),
        (json!("engine.temperature"), json!("$"), json!({ "car": "car" })),
        (json!("name"), json!("$"), json!({ "node": "engine" })),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn numbers_of_several_rooms_are_told_apart_or_told_to_be_several() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    let messages = [
        ("home/kitchen/temp", "21"),
        ("home/attic/temp", "15"),
        ("home/kitchen/door", "true"),
        ("home/kitchen/mode", "ON"),
        ("boiler", r#"{"temp":64}"#),
    ];
    publish(&mut wire, &messages).await;
    // Before there is a rule the key is that of the message.
    assert_eq!(sums(&stage, "key=temp").await, [json!({ "key": "temp", "sum": 64.0 })]);
    stage.admin.put(RULES, home()).await.expect(200);
    let together = sums(&stage, "key=temp").await;
    assert_eq!((&together[0]["sum"], &together[0]["topics"]), (&json!(100.0), &json!(3)));
    assert!(together[0]["warning"].as_str().is_some_and(|words| words.contains("groupBy=topic")), "{together:?}");
    let of_room = |room: &str, sum: f64| {
        let topic = format!("home/{room}/temp");
        json!({ "key": "temp", "rawKey": "$", "labels": { "room": room }, "topic": topic, "sum": sum })
    };
    let boiler = json!({ "key": "temp", "topic": "boiler", "sum": 64.0 });
    let apart = sums(&stage, "key=temp&groupBy=topic").await;
    assert_eq!(apart, [boiler, of_room("attic", 15.0), of_room("kitchen", 21.0)]);
    let one = sums(&stage, "key=temp,door,mode&topic=home/kitchen/%2B").await;
    let plain = |key: &str, sum: f64| json!({ "key": key, "sum": sum });
    assert_eq!(one, [plain("temp", 21.0), plain("door", 1.0), plain("mode", 0.0)]);
    stage.admin.delete(RULES).await;
    assert_eq!(sums(&stage, "key=temp").await, [plain("temp", 64.0)]);
}

#[tokio::test]
async fn rules_that_one_process_sets_count_in_another_within_seconds() {
    let database = PostgresDatabase::create().await;
    let launch = |mode: &str| {
        Launch::default()
            .set("mode", mode)
            .set("database.url", &database.url())
            .set("auth.jwt_secret", &"j".repeat(32))
            .set("auth.token_key", &"t".repeat(32))
    };
    let (one, other) = (launch("all").start().await, launch("api").start().await);
    let admin = one.admin().await;
    let beside = other.admin().await;
    let device = Device::register(&admin, "boiler-1").await;
    let row = json!({ "deviceId": device.id, "topic": "home/kitchen/temp", "payload": 21 });
    admin.post("/api/v1/telemetry", row).await.expect(201);
    let path = format!("/api/v1/devices/{}/latest", device.id);
    for (rules, expected) in [(home(), "temp"), (json!({ "rules": [] }), "$"), (home(), "temp")] {
        // The other process knows the rules as they were.
        beside.get(&path).await.expect(200);
        admin.put(RULES, rules).await.expect(200);
        assert_eq!(admin.get(&path).await.expect(200)["data"][0]["key"], expected);
        assert_eq!(beside.get(RULES).await.expect(200), admin.get(RULES).await.expect(200));
        let began = Instant::now();
        while beside.get(&path).await.expect(200)["data"][0]["key"] != expected {
            assert!(began.elapsed() < Duration::from_secs(5), "the other process has the rules");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_preview_shows_what_rules_would_do_and_stores_nothing() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    publish(&mut wire, &[("home/kitchen/temp", "21"), ("home/kitchen/hum", "60"), ("boiler", "7")]).await;
    let preview = async |rest: Value| {
        let mut body = home();
        body.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        stage.admin.post(PREVIEW, body).await.expect(200)
    };
    let named = |topic: &str, key: &str, room: &str| json!({ "topic": topic, "rule": 0, "key": key, "labels": { "room": room } });
    let plain = |topic: &str| json!({ "topic": topic, "rule": null, "key": "$", "labels": {} });
    let given = preview(json!({ "topics": ["home/attic/co2", "garden"] })).await;
    assert_eq!(given, json!({ "data": [named("home/attic/co2", "co2", "attic"), plain("garden")] }));
    let all =
        [plain("boiler"), named("home/kitchen/hum", "hum", "kitchen"), named("home/kitchen/temp", "temp", "kitchen")];
    assert_eq!(preview(json!({ "deviceId": stage.device.id })).await, json!({ "data": all }));
    let mut of_tenant = preview(json!({})).await["data"].as_array().expect("topics").clone();
    of_tenant.sort_by_key(|topic| topic["topic"].to_string());
    assert_eq!(of_tenant, all);
    for rest in [json!({ "limit": 2 }), json!({ "limit": 2, "deviceId": stage.device.id })] {
        let some = preview(rest.clone()).await;
        assert_eq!((some["data"].as_array().map(Vec::len), &some["hasMore"]), (Some(2), &json!(true)), "{rest}");
    }
    assert_eq!(preview(json!({ "limit": 3 })).await.get("hasMore"), None);
    assert_eq!(preview(json!({ "topics": [] })).await, json!({ "data": [] }));
    assert_eq!(stage.admin.get(RULES).await.expect(200), json!({ "rules": [] }));
}

#[tokio::test]
async fn wrong_rules_are_refused_with_words_and_those_that_are_there_stay() {
    let stage = Stage::start().await;
    stage.admin.put(RULES, home()).await.expect(200);
    let rule = |topic: &str, key: &str| json!({ "topic": topic, "key": key });
    for (wrong, field, words) in [
        (rule("a/#/b", "k"), "rules[1].topic", "# must be the whole last level"),
        (rule("a/+b-c", "k"), "rules[1].topic", "letters, digits and _"),
        (rule("+a/+a", "k"), "rules[1].topic", "a stands twice"),
        (rule("", "k"), "rules[1].topic", "1 to 1024 bytes"),
        (rule("$SYS/#", "k"), "rules[1].topic", "must not begin with $"),
        (rule("+a", "{b}"), "rules[1].key", "{b} is no name of a level; the topic has a"),
        (rule("+a", ""), "rules[1].key", "1 to 255 bytes"),
        (rule("+a", &"k".repeat(256)), "rules[1].key", "1 to 255 bytes"),
        (rule("+a", "{a"), "rules[1].key", "{ without }"),
        (json!({ "topic": "a" }), "rules[1].key", "missing field"),
        (json!({ "topic": "a", "key": "k", "unit": "C" }), "rules[1].unit", "unknown field"),
    ] {
        let body = json!({ "rules": [rule("a", "k"), wrong] });
        let refusals = [stage.admin.put(RULES, body.clone()).await, stage.admin.post(PREVIEW, body.clone()).await];
        for refused in refusals {
            let error = &refused.body["errors"][0];
            let message = error["message"].as_str().unwrap_or_default();
            assert!(
                refused.status == 422 && error["field"] == field && message.contains(words),
                "{body}: {}",
                refused.body
            );
        }
    }
    let many = json!({ "rules": vec![rule("a", "k"); 101] });
    let refused = stage.admin.put(RULES, many).await;
    assert!(refused.status == 422 && refused.body.to_string().contains("at most 100"), "{}", refused.body);
    for (rest, field) in [
        (json!({ "rules": [], "topics": ["a/#"] }), "topics"),
        (json!({ "rules": [], "topics": ["a"], "deviceId": stage.device.id }), "topics"),
        (json!({ "rules": [], "topics": vec!["a"; 1_001] }), "topics"),
        (json!({ "rules": [], "limit": 0 }), "limit"),
        (json!({ "rules": [], "limit": 1_001 }), "limit"),
    ] {
        let refused = stage.admin.post(PREVIEW, rest).await;
        assert!(refused.status == 422 && refused.body["errors"][0]["field"] == field, "{}", refused.body);
    }
    assert_eq!(stage.admin.get(RULES).await.expect(200), home());
}
