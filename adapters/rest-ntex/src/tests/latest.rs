use ntex::web::test::TestRequest;
use serde_json::json;

use super::platform::Platform;

const NOBODY: &str = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";

#[ntex::test]
async fn the_last_value_of_each_key_is_shown_as_it_was_published() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let device = platform.device(&admin, "boiler").await;
    let path = format!("/api/v1/devices/{device}");
    assert_eq!(platform.get(&admin, &format!("{path}/latest")).await.expect(200), json!({"data": []}));
    assert_eq!(platform.get(&admin, &format!("{path}/keys")).await.expect(200), json!({"data": []}));
    let payload = r#"{"b":1.50,"a":{"big":12345678901234567890,"s":"\u00e9"},"l":[1, {"x":2}],"n":null}"#;
    let body = format!(
        r#"[{{"deviceId":"{device}","topic":"a","payload":{payload},"timestamp":1000}},
            {{"deviceId":"{device}","topic":"b","payload":{{"b":false}},"timestamp":2000}},
            {{"deviceId":"{device}","topic":"b","payload":7,"timestamp":500}}]"#
    );
    let request = TestRequest::post().uri("/api/v1/telemetry").header("content-type", "application/json");
    platform.send(request.header("authorization", format!("Bearer {admin}")).set_payload(body)).await.expect(201);
    let latest = platform.get(&admin, &format!("{path}/latest")).await;
    latest.expect(200);
    let time = |second: &str| format!(r#""timestamp":"1970-01-01T00:00:{second}Z"}}"#);
    let expected = [
        format!(r#"{{"key":"$","topic":"b","value":7,{}"#, time("00.500")),
        format!(r#"{{"key":"a.big","topic":"a","value":12345678901234567890,{}"#, time("01.000")),
        format!(r#"{{"key":"a.s","topic":"a","value":"\u00e9",{}"#, time("01.000")),
        format!(r#"{{"key":"b","topic":"b","value":false,{}"#, time("02.000")),
        format!(r#"{{"key":"b","topic":"a","value":1.50,{}"#, time("01.000")),
        format!(r#"{{"key":"l","topic":"a","value":[1, {{"x":2}}],{}"#, time("01.000")),
        format!(r#"{{"key":"n","topic":"a","value":null,{}"#, time("01.000")),
    ];
    assert_eq!(latest.text, format!(r#"{{"data":[{}]}}"#, expected.join(",")));
    let keys = platform.get(&admin, &format!("{path}/keys")).await.expect(200);
    assert_eq!(keys["data"], json!(["$", "a.big", "a.s", "b", "l", "n"]));
    assert_eq!(keys["series"][3], json!({"key": "b", "topic": "b"}));
    assert_eq!(keys["series"][4], json!({"key": "b", "topic": "a"}));
    let on_b = platform.get(&admin, &format!("{path}/latest?topic=b")).await.expect(200);
    let values: Vec<_> = on_b["data"].as_array().unwrap().iter().map(|row| (&row["key"], &row["value"])).collect();
    assert_eq!(values, [(&json!("$"), &json!(7)), (&json!("b"), &json!(false))]);
    let on_a = platform.get(&admin, &format!("{path}/keys?topic=%2B&topic=a")).await;
    assert_eq!(on_a.problem(422, "INVALID"), ["topic"]);
    let on_a = platform.get(&admin, &format!("{path}/keys?topic=a")).await.expect(200);
    assert_eq!(on_a["data"], json!(["a.big", "a.s", "b", "l", "n"]));
    for call in ["latest", "keys"] {
        let reply = platform.get(&admin, &format!("{path}/{call}?topic=a/%23/b")).await;
        assert_eq!(reply.problem(422, "INVALID"), ["topic"]);
    }
}

#[ntex::test]
async fn an_unknown_device_has_no_values_and_no_keys() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    for call in ["latest", "keys"] {
        platform.get(&admin, &format!("/api/v1/devices/{NOBODY}/{call}")).await.problem(404, "NOT_FOUND");
        platform.get(&admin, &format!("/api/v1/devices/x/{call}")).await.problem(404, "NOT_FOUND");
    }
    let device = platform.device(&admin, "boiler").await;
    let reply = platform.get(&admin, &format!("/api/v1/devices/{device}/latest?limit=1")).await;
    assert_eq!(reply.problem(422, "INVALID"), ["limit"]);
}
