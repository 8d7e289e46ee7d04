//! One topic a value, gateways that speak for many sensors, and truth values: what `latest`, `keys` and `aggregate` tell.

use serde_json::{Value, json};

use super::stage::{Stage, Wire};

async fn publish(wire: &mut Wire, messages: &[(&str, &str)]) {
    for (topic, payload) in messages {
        assert!(wire.publish(topic, payload.as_bytes()).await, "{topic} {payload}");
    }
}

/// Key, topic and value of what is told last, with a filter of topics or without.
async fn latest(stage: &Stage, filter: &str) -> Vec<(String, String, Value)> {
    let answer = stage.admin.get(&format!("/api/v1/devices/{}/latest{filter}", stage.device.id)).await.expect(200);
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let rows = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
    rows.iter().map(|row| (text(&row["key"]), text(&row["topic"]), row["value"].clone())).collect()
}

#[track_caller]
fn has(told: &[(String, String, Value)], key: &str, topic: &str, value: &Value) {
    let is_it = |row: &(String, String, Value)| row.0 == key && row.1 == topic && row.2 == *value;
    assert!(told.iter().any(is_it), "{key} of {topic} is {value}: {told:?}");
}

async fn keys(stage: &Stage, filter: &str) -> Value {
    stage.admin.get(&format!("/api/v1/devices/{}/keys{filter}", stage.device.id)).await.expect(200)
}

/// The series of an aggregate in one large bucket.
async fn series(stage: &Stage, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/telemetry/aggregate?deviceId={}&interval=366d&{query}", stage.device.id);
    let answer = stage.admin.get(&path).await.expect(200);
    answer["data"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

fn total(series: &Value) -> f64 {
    series["buckets"].as_array().expect("buckets").iter().filter_map(|bucket| bucket["value"].as_f64()).sum()
}

#[tokio::test]
async fn rooms_of_one_gateway_do_not_hide_each_other() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 43, 44
    let messages = [
        ("zigbee2mqtt/kitchen", r#"{"temperature":21,"battery":80}"#),
        ("zigbee2mqtt/cellar", r#"{"temperature":9,"battery":75}"#),
        ("zigbee2mqtt/kitchen", r#"{"temperature":22,"battery":80}"#),
    ];
    publish(&mut wire, &messages).await;
    let told = latest(&stage, "").await;
    has(&told, "temperature", "zigbee2mqtt/kitchen", &json!(22));
    has(&told, "temperature", "zigbee2mqtt/cellar", &json!(9));
    let first = told.iter().find(|row| row.0 == "temperature").expect("a temperature");
    assert_eq!(first.2, json!(22), "of one key the newest comes first: {told:?}");
    let cellar = latest(&stage, "?topic=zigbee2mqtt/cellar").await;
    assert_eq!(cellar.len(), 2, "{cellar:?}");
    has(&cellar, "temperature", "zigbee2mqtt/cellar", &json!(9));
    assert_eq!(latest(&stage, "?topic=zigbee2mqtt/%2B").await.len(), 4);
    let known = keys(&stage, "").await;
    assert_eq!(known["data"], json!(["battery", "temperature"]));
    assert_eq!(known["series"].as_array().map(Vec::len), Some(4), "{known}");
    let averages = series(&stage, "key=temperature&agg=avg&groupBy=topic").await;
    let averages: Vec<_> = averages.iter().map(|series| (&series["topic"], total(series))).collect();
    assert_eq!(averages, [(&json!("zigbee2mqtt/cellar"), 9.0), (&json!("zigbee2mqtt/kitchen"), 21.5)]);
    let mixed = series(&stage, "key=temperature&agg=count").await;
    assert_eq!((mixed.len(), total(&mixed[0]), &mixed[0]["topics"]), (1, 3.0, &json!(2)));
    let warning = mixed[0]["warning"].as_str().expect("a warning");
    assert!(warning.contains("groupBy=topic") && warning.contains("2 topics"), "{warning}");
    let of_one = series(&stage, "key=temperature&agg=count&topic=zigbee2mqtt/cellar").await;
    assert_eq!((total(&of_one[0]), of_one[0].get("warning")), (1.0, None));
}

#[tokio::test]
async fn a_message_with_very_many_keys_does_not_hide_what_comes_later() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 45, as zigbee2mqtt tells its configuration
    publish(&mut wire, &[("zigbee2mqtt/attic", r#"{"temperature":15}"#)]).await;
    let devices: Vec<String> = (0..1_100).map(|n| format!(r#""0x00158d00{n:08x}":"sensor {n}""#)).collect();
    let info = format!(r#"{{"version":"1.40.2","config":{{"devices":{{{}}}}}}}"#, devices.join(","));
    let messages = [("zigbee2mqtt/bridge/info", info.as_str()), ("zigbee2mqtt/kitchen", r#"{"temperature":21}"#)];
    publish(&mut wire, &messages).await;
    let answer = stage.admin.get(&format!("/api/v1/devices/{}/latest", stage.device.id)).await.expect(200);
    assert_eq!((answer["data"].as_array().map(Vec::len), &answer["hasMore"]), (Some(1_000), &json!(true)));
    has(&latest(&stage, "").await, "temperature", "zigbee2mqtt/kitchen", &json!(21));
    let rooms = latest(&stage, "?topic=zigbee2mqtt/%2B").await;
    assert_eq!(rooms.len(), 2, "{rooms:?}");
    has(&rooms, "temperature", "zigbee2mqtt/attic", &json!(15));
    let known = keys(&stage, "").await;
    assert!(known["data"].as_array().is_some_and(|keys| keys.contains(&json!("temperature"))));
    assert_eq!(known["hasMore"], json!(true));
    assert_eq!(keys(&stage, "?topic=zigbee2mqtt/kitchen").await["data"], json!(["temperature"]));
}

#[tokio::test]
async fn values_of_a_victron_installation_are_told_by_topic() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 46
    let messages = [
        ("N/c0619ab1c2d3/pvinverter/20/Ac/Power", r#"{"value":1450}"#),
        ("N/c0619ab1c2d3/battery/258/Soc", r#"{"value":87.5}"#),
        ("N/c0619ab1c2d3/vebus/276/Mode", r#"{"value":3}"#),
        ("N/c0619ab1c2d3/battery/258/Soc", r#"{"value":88.5}"#),
    ];
    publish(&mut wire, &messages).await;
    let told = latest(&stage, "").await;
    assert_eq!(told.len(), 3, "{told:?}");
    has(&told, "value", "N/c0619ab1c2d3/battery/258/Soc", &json!(88.5));
    has(&told, "value", "N/c0619ab1c2d3/pvinverter/20/Ac/Power", &json!(1450));
    assert_eq!(latest(&stage, "?topic=N/%2B/battery/%23").await.len(), 1);
    let soc = series(&stage, "key=value&agg=avg&topic=N/%2B/battery/%2B/Soc").await;
    assert_eq!(total(&soc[0]), 88.0);
    assert_eq!(series(&stage, "key=value&agg=last&groupBy=topic").await.len(), 3);
}

#[tokio::test]
async fn one_topic_a_value_is_readable_as_homie_shelly_and_esphome_send_it() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    let messages = [
        ("home/kitchen/temp", "21"),
        ("home/kitchen/hum", "60"),
        ("homie/super-car/engine/temperature", "90.5"),
        ("homie/super-car/engine/$name", "Car engine"),
        ("homie/super-car/$state", "ready"),
        ("shellies/shelly1pm-A4CF12/relay/0", "on"),
        ("shellies/shelly1pm-A4CF12/relay/0/power", "60.54"),
        ("shellies/shelly1pm-A4CF12/temperature", "51.2"),
        ("esphome-node/sensor/living_room/state", "19.8"),
        ("esphome-node/binary_sensor/door/state", "ON"),
    ];
    publish(&mut wire, &messages).await;
    let told = latest(&stage, "").await;
    assert_eq!(told.len(), messages.len(), "{told:?}");
    assert!(told.iter().all(|row| row.0 == "$"));
    has(&told, "$", "home/kitchen/temp", &json!(21));
    has(&told, "$", "home/kitchen/hum", &json!(60));
    has(&told, "$", "homie/super-car/$state", &json!("ready"));
    has(&told, "$", "shellies/shelly1pm-A4CF12/relay/0", &json!("on"));
    has(&told, "$", "esphome-node/binary_sensor/door/state", &json!("ON"));
    assert_eq!(keys(&stage, "").await["data"], json!(["$"]));
    let humidity = series(&stage, "key=$&agg=avg&topic=home/%2B/hum").await;
    assert_eq!(total(&humidity[0]), 60.0);
    // Texts are no points.
    assert_eq!(series(&stage, "key=$&agg=last&groupBy=topic").await.len(), 6);
}

#[tokio::test]
async fn a_gateway_with_two_hundred_sensors_is_readable() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    for sensor in 0..200 {
        publish(&mut wire, &[(&format!("gateway/{sensor:03}/temp"), &format!("{sensor}.5"))]).await;
    }
    assert_eq!(latest(&stage, "").await.len(), 200);
    let all = series(&stage, "key=$&agg=avg&groupBy=topic").await;
    assert_eq!(all.len(), 200);
    assert_eq!((&all[7]["topic"], total(&all[7])), (&json!("gateway/007/temp"), 7.5));
    let path = format!(
        "/api/v1/telemetry/aggregate?deviceId={}&key=$&agg=avg&groupBy=topic&interval=1m&from=0&to=60000000",
        stage.device.id
    );
    assert_eq!(stage.admin.get(&path).await.expect(200)["data"], json!([]), "nothing is that old");
    let path =
        format!("/api/v1/telemetry/aggregate?deviceId={}&key=$&agg=avg&groupBy=topic&interval=10s", stage.device.id);
    let refused = stage.admin.get(&path).await;
    assert!(
        refused.body.to_string().contains("groupBy=topic gives 200 series")
            && refused.body.to_string().contains("interval"),
        "{}",
        refused.body
    );
    let wrong = stage.admin.get(&path.replace("groupBy=topic", "groupBy=room")).await;
    assert!(wrong.body.to_string().contains("must be device or topic"), "{}", wrong.body);
}

#[tokio::test]
async fn truth_values_are_counted_and_averaged() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 77, and a contact of zigbee2mqtt, a plain truth value, SenML
    let messages = [
        ("lamp", r#"{"on":true}"#),
        ("lamp", r#"{"on":false}"#),
        ("lamp", r#"{"on":true,"text":"1"}"#),
        ("lamp", r#"{"values":{"on":true}}"#),
        ("zigbee2mqtt/door", r#"{"contact":false,"battery":97,"linkquality":120}"#),
        ("plain", "true"),
        ("plain", "false"),
        ("senml", r#"[{"bn":"dev/","n":"open","vb":true}]"#),
    ];
    publish(&mut wire, &messages).await;
    for (query, value) in [
        ("key=on&agg=count", 4.0),
        ("key=on&agg=avg", 0.75),
        ("key=on&agg=sum", 3.0),
        ("key=on&agg=min", 0.0),
        ("key=on&agg=max", 1.0),
        ("key=on&agg=last", 1.0),
        ("key=contact&agg=count", 1.0),
        ("key=$&agg=avg", 0.5),
        ("key=dev/open&agg=sum", 1.0),
        ("key=text&agg=count", 0.0),
    ] {
        assert_eq!(total(&series(&stage, query).await[0]), value, "{query}");
    }
}

#[tokio::test]
async fn the_key_dollar_of_an_object_is_not_a_plain_value() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 81
    publish(&mut wire, &[("a", r#"{"$":1}"#), ("a", "5"), ("a", r#"{"values":{"$":3}}"#)]).await;
    let told = latest(&stage, "").await;
    assert_eq!(told.len(), 2, "{told:?}");
    has(&told, "$", "a", &json!(5));
    has(&told, "$.$", "a", &json!(3));
    assert_eq!(total(&series(&stage, "key=$&agg=sum").await[0]), 5.0);
    assert_eq!(total(&series(&stage, "key=$.$&agg=sum").await[0]), 4.0);
    assert_eq!(keys(&stage, "").await["data"], json!(["$", "$.$"]));
}

#[tokio::test]
async fn a_wrong_filter_is_refused_as_for_messages() {
    let stage = Stage::start().await;
    for filter in ["a/%23/b", "a%2B", ""] {
        let path = |call: &str| format!("/api/v1/{call}topic={filter}");
        let of_messages = stage.admin.get(&path("telemetry?")).await.expect(422)["errors"].clone();
        for call in ["latest", "keys"] {
            let refused = stage.admin.get(&path(&format!("devices/{}/{call}?", stage.device.id))).await.expect(422);
            assert_eq!(refused["errors"], of_messages, "{call} {filter}");
        }
    }
}

#[tokio::test]
async fn filters_that_are_not_percent_encoded_are_understood_or_refused_with_words() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    publish(&mut wire, &[("home/kitchen/temp", "21"), ("home/attic/temp", "15"), ("slash/", "7")]).await;
    let id = &stage.device.id;
    let paths = [
        "/api/v1/telemetry?topic=".to_owned(),
        format!("/api/v1/telemetry?deviceId={id}&topic="),
        "/api/v1/telemetry/export?topic=".to_owned(),
        format!("/api/v1/devices/{id}/latest?topic="),
        format!("/api/v1/devices/{id}/keys?topic="),
        format!("/api/v1/telemetry/aggregate?deviceId={id}&key=$&agg=sum&interval=1h&groupBy=topic&topic="),
    ];
    for path in &paths {
        let told = async |topic: &str| {
            let response =
                stage.admin.request(reqwest::Method::GET, &format!("{path}{topic}")).send().await.expect("an answer");
            (response.status().as_u16(), response.text().await.expect("a body"))
        };
        for topic in ["home/+/temp", "home%2F+/temp", "+/+/+", "home/+/%23"] {
            let (status, body) = told(topic).await;
            assert!(
                status == 200 && body.contains("home/kitchen/temp") && body.contains("home/attic/temp"),
                "{path}{topic}: {body}"
            );
        }
        let (status, body) = told("slash/").await;
        assert!(status == 200 && body.contains("slash/"), "a topic may end with /: {path}: {body}");
        // A client drops an unescaped # with all that follows.
        for topic in ["home/", "home/kitchen/", "", "/"] {
            let (status, body) = told(topic).await;
            assert!(status == 422 && body.contains("%23") && body.contains("topic"), "{path}{topic}: {status} {body}");
        }
        let (status, body) = told("home/%20/temp").await;
        assert!(
            status == 200 && !body.contains("home/kitchen"),
            "a blank that is written as such is one: {path}: {body}"
        );
    }
}
