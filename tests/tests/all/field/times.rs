//! The time that a message says it is about.

use serde_json::{Value, json};

use super::stage::Stage;

#[tokio::test]
async fn a_time_is_taken_as_the_time_that_it_plainly_is() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    let november = "2025-11-24T16:00:00.000Z";
    for (number, ts, expected) in [
        (30, "1764000000", november),
        (32, "\"1764000000000\"", november),
        (33, "1.764e12", november),
        (34, "1764000000000.5", november),
        (35, "1764000000000e0", november),
        (37, "\"2025-11-24T16:00:00Z\"", november),
        (0, "1451649600512", "2016-01-01T12:00:00.512Z"),
        (0, "1764000000.25", "2025-11-24T16:00:00.250Z"),
        (0, "1764000000000000", november),
        (0, "1764000000000000000", november),
        (0, "\"1764000000\"", november),
        (0, "\"2025-11-24T17:00:00+01:00\"", november),
    ] {
        let payload = format!(r#"{{"ts":{ts},"values":{{"a":1}}}}"#);
        assert!(wire.publish("t", payload.as_bytes()).await);
        let payload: Value = serde_json::from_str(&payload).unwrap();
        let rows = stage.admin.telemetry("topic=t&limit=1000").await;
        let times: Vec<&Value> =
            rows.iter().filter(|row| row["payload"] == payload).map(|row| &row["timestamp"]).collect();
        assert!(!times.is_empty() && times.iter().all(|time| **time == expected), "{number} {ts}: {times:?}");
    }
    // 31 the same over HTTP
    let body = json!([{ "deviceId": stage.device.id, "topic": "h", "payload": { "ts": 1_764_000_000, "values": { "a": 1 } } }]);
    stage.admin.post("/api/v1/telemetry", body).await.expect(201);
    assert_eq!(stage.admin.telemetry("topic=h").await[0]["timestamp"], november);
}

#[tokio::test]
async fn what_is_no_time_is_refused_with_words() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    for ts in ["18446744073709551616", "null", "true", "[]", "{}", "-1", "\"soon\"", "\"\"", "0", "12345", "1e300"] {
        let payload = format!(r#"{{"ts":{ts},"values":{{"a":1}}}}"#);
        assert!(wire.publish("t", payload.as_bytes()).await);
        let beginning = &payload[..payload.len().min(60)];
        let rejection = stage.rejection(beginning).await;
        let reason = rejection["reason"].as_str().unwrap();
        assert!(reason.contains("ts is milliseconds since 1970, or") && reason.contains("got "), "{ts}: {reason}");
        assert_eq!(rejection["topic"], "t");
    }
    assert_eq!(stage.rows().await, Vec::<Value>::new());
    let body = json!({ "deviceId": stage.device.id, "topic": "h", "payload": { "ts": "soon", "values": {} } });
    let answer = stage.admin.post("/api/v1/telemetry", body).await.expect(422);
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("got \"soon\""), "{answer}");
}

#[tokio::test]
async fn without_values_ts_is_a_value_and_without_ts_values_are_of_now() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    assert!(wire.publish("t", br#"{"ts":1768151705,"rssi":-49}"#).await);
    assert!(wire.publish("t", br#"{"values":{"a":1}}"#).await);
    assert!(wire.publish("t", br#"{"ts":"soon","rssi":-49}"#).await);
    let rows = stage.rows().await;
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(row["timestamp"], row["receivedAt"], "{row}");
    }
}
