//! Several readings in one message.

use serde_json::{Value, json};

use super::stage::{Connect, Stage};

fn payloads_and_times(rows: &[Value]) -> Vec<(Value, Value)> {
    rows.iter().map(|row| (row["payload"].clone(), row["timestamp"].clone())).collect()
}

#[tokio::test]
async fn an_array_of_readings_becomes_rows_of_their_own_times() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 47
    let array = br#"[{"ts":1559673838361,"values":{"temp":1}},{"ts":1559673902031,"values":{"temp":2}}]"#;
    assert!(wire.publish("v1/devices/me/telemetry", array).await);
    assert_eq!(
        payloads_and_times(&stage.rows().await),
        [
            (json!({"ts":1_559_673_838_361_i64,"values":{"temp":1}}), json!("2019-06-04T18:43:58.361Z")),
            (json!({"ts":1_559_673_902_031_i64,"values":{"temp":2}}), json!("2019-06-04T18:45:02.031Z")),
        ]
    );
    // 48, and two of one moment
    assert!(wire.publish_with(0x34, "v1/devices/me/telemetry", br#"[{"temp":21.5},{"temp":22.5,"hum":40}]"#).await);
    let path = format!("/api/v1/telemetry/aggregate?deviceId={}&key=temp&interval=1d&agg=count", stage.device.id);
    let count = |answer: Value| -> f64 {
        let text = answer.to_string();
        let buckets = answer["data"][0]["points"].as_array().or(answer["data"][0]["buckets"].as_array());
        buckets.unwrap_or_else(|| panic!("{text}")).iter().filter_map(|bucket| bucket["value"].as_f64()).sum()
    };
    let from = "&from=2019-06-01T00:00:00Z&to=2019-07-01T00:00:00Z";
    assert_eq!(count(stage.admin.get(&format!("{path}{from}")).await.expect(200)), 2.0);
    assert_eq!(stage.rows().await.len(), 4);
}

#[tokio::test]
async fn subscribers_get_an_array_as_it_came() {
    let stage = Stage::start().await;
    let mut listener = stage.connected().await;
    listener.subscribe("#").await;
    let connect = Connect { client_id: "two".to_owned(), ..Connect::of(&stage.device.id, &stage.device.token) };
    let mut wire = stage.accepted(&connect).await;
    let array = br#" [ {"temp":1}, {"temp":2} ] "#;
    assert!(wire.publish("t", array).await);
    assert_eq!(listener.message().await.2, array);
    for whole in [&b"[1,2,3]"[..], b"[]", br#"[{"a":1},2]"#] {
        let before = stage.rows().await.len();
        assert!(wire.publish("t", whole).await);
        assert_eq!(stage.rows().await.len(), before + 1);
    }
}

#[tokio::test]
async fn senml_becomes_readings_by_name() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 49 RFC 8428, 5.1.2
    let pack =
        br#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]"#;
    assert!(wire.publish("senml", pack).await);
    let rows = stage.rows().await;
    let whole = json!({"urn:dev:ow:10e2073a01080063:voltage":120.1,"urn:dev:ow:10e2073a01080063:current":1.2});
    assert_eq!(rows.iter().map(|row| &row["payload"]).collect::<Vec<_>>(), [&whole]);
    let pack = br#"[{"bn":"d/","bt":1.276020076e9,"n":"a","v":1},{"n":"a","t":-5,"v":2},{"n":"on","vb":true,"t":1}]"#;
    assert!(wire.publish("senml", pack).await);
    assert_eq!(
        payloads_and_times(&stage.rows().await)[..3],
        [
            (json!({"d/a":2}), json!("2010-06-08T18:01:11.000Z")),
            (json!({"d/a":1}), json!("2010-06-08T18:01:16.000Z")),
            (json!({"d/on":true}), json!("2010-06-08T18:01:17.000Z")),
        ]
    );
}

#[tokio::test]
async fn wrapped_and_plain_values_are_one_series() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    // 50
    for payload in [r#"{"temp":1}"#, r#"{"ts":1764000000000,"values":{"temp":2}}"#, r#"{"values":{"temp":3,"hum":4}}"#]
    {
        assert!(wire.publish("t", payload.as_bytes()).await);
    }
    let latest = stage.admin.get(&format!("/api/v1/devices/{}/latest", stage.device.id)).await.expect(200);
    let text = latest.to_string();
    assert!(text.contains("\"temp\"") && text.contains("\"hum\"") && !text.contains("values."), "{text}");
    let keys = stage.admin.get(&format!("/api/v1/devices/{}/keys", stage.device.id)).await.expect(200).to_string();
    assert!(keys.contains("\"temp\"") && !keys.contains("values."), "{keys}");
}

#[tokio::test]
async fn an_array_over_http_is_taken_apart_and_its_times_count() {
    let stage = Stage::start().await;
    let payload = json!([{ "ts": 1_764_000_000, "values": { "a": 1 } }, { "a": 2 }]);
    let body =
        json!({ "deviceId": stage.device.id, "topic": "h", "payload": payload, "timestamp": "2025-01-01T00:00:00Z" });
    let answer = stage.admin.post("/api/v1/telemetry", body).await.expect(201);
    assert_eq!(answer["ids"].as_array().map(Vec::len).or(answer["data"].as_array().map(Vec::len)), Some(2), "{answer}");
    let times: Vec<Value> = stage.rows().await.iter().map(|row| row["timestamp"].clone()).collect();
    assert_eq!(times, ["2025-01-01T00:00:00.000Z", "2025-11-24T16:00:00.000Z"]);
}

#[tokio::test]
async fn too_many_readings_are_refused_with_words() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    let array = |count: usize| format!("[{}]", vec!["{\"a\":1}"; count].join(","));
    assert!(wire.publish("t", array(1_000).as_bytes()).await);
    assert_eq!(stage.rows().await.len(), 1_000);
    assert!(wire.publish("t", array(1_001).as_bytes()).await);
    let rejection = stage.rejection("1001 readings is longer than the 1000 allowed").await;
    assert_eq!(rejection["topic"], "t");
}
