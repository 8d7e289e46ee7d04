use ntex::web::test::TestRequest;
use serde_json::{Value, json};

use super::platform::Platform;

const TELEMETRY: &str = "/api/v1/telemetry";

async fn start() -> (Platform, String, String) {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let device = platform.device(&admin, "a").await;
    (platform, admin, device)
}

#[ntex::test]
async fn one_message_is_stored_and_read_back() {
    let (platform, admin, device) = start().await;
    let body = json!({"deviceId": device, "topic": "boiler/1", "payload": {"celsius": 21.5},
        "timestamp": "2027-01-15T07:00:00.250Z"});
    let stored = platform.post(&admin, TELEMETRY, body).await.expect(201);
    let page = platform.get(&admin, TELEMETRY).await.expect(200);
    assert_eq!(page["pagination"], json!({"limit": 100, "next": null}));
    assert_eq!(
        page["data"],
        json!([{"id": stored["ids"][0], "deviceId": device, "topic": "boiler/1", "payload": {"celsius": 21.5},
            "timestamp": "2027-01-15T07:00:00.250Z", "receivedAt": "2027-01-15T08:00:00.000Z"}])
    );
}

#[ntex::test]
async fn a_payload_comes_back_as_it_was_sent() {
    let (platform, admin, device) = start().await;
    let payload = r#"{"b":1.50, "a":[12345678901234567890,1e-7,"\u00e9"]}"#;
    let body = format!(r#"{{"deviceId":"{device}","topic":"a","payload":{payload}}}"#);
    let request = TestRequest::post().uri(TELEMETRY).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {admin}")).set_payload(body);
    platform.send(request).await.expect(201);
    let page = platform.get(&admin, TELEMETRY).await;
    assert!(page.text.contains(&format!(r#""payload":{payload},"#)), "{}", page.text);
}

#[ntex::test]
async fn the_cursor_leads_through_the_history_in_both_directions() {
    let (platform, admin, device) = start().await;
    let entries = |range: std::ops::Range<i64>| -> Value {
        range
            .map(|n| json!({"deviceId": device, "topic": format!("t/{}", n % 3), "payload": n, "timestamp": n}))
            .collect()
    };
    let stored = platform.post(&admin, TELEMETRY, entries(0..250)).await.expect(201);
    assert_eq!(stored["ids"].as_array().unwrap().len(), 250);
    for (order, expected) in [("asc", (0..250).collect::<Vec<_>>()), ("desc", (0..250).rev().collect())] {
        let mut seen = Vec::new();
        let mut path = format!("{TELEMETRY}?order={order}&limit=100");
        loop {
            let page = platform.get(&admin, &path).await.expect(200);
            seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["payload"].as_i64().unwrap()));
            let Some(next) = page["pagination"]["next"].as_str() else { break };
            path = format!("{TELEMETRY}?order={order}&limit=100&cursor={next}");
        }
        assert_eq!(seen, expected, "{order}");
    }
    let count = async |query: &str| {
        let page = platform.get(&admin, &format!("{TELEMETRY}?limit=1000&{query}")).await.expect(200);
        page["data"].as_array().unwrap().len()
    };
    assert_eq!(count("topic=t/0").await, 84);
    assert_eq!(count("topic=t/%2B").await, 250);
    assert_eq!(count("topic=%23&from=10&to=1970-01-01T00:00:00.020Z").await, 10);
    assert_eq!(count(&format!("deviceId={device}")).await, 250);
}

#[ntex::test]
async fn a_wrong_entry_is_named_and_nothing_is_stored() {
    let (platform, admin, device) = start().await;
    let unknown = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    let right = json!({"deviceId": device, "topic": "a", "payload": 1});
    let with = |key: &str, value: Value| {
        let mut entry = right.clone();
        entry[key] = value;
        entry
    };
    for (entry, status, code, field) in [
        (with("deviceId", json!(unknown)), 404, "NOT_FOUND", "deviceId"),
        (with("deviceId", json!("x")), 422, "INVALID", "deviceId"),
        (with("topic", json!("$SYS/x")), 422, "INVALID", "topic"),
        (with("topic", json!("a/#")), 422, "INVALID", "topic"),
        (with("topic", json!("a".repeat(1_025))), 422, "INVALID", "topic"),
        (with("payload", json!("x".repeat(65_535))), 422, "INVALID", "payload"),
        (with("timestamp", json!(-1)), 422, "INVALID", "timestamp"),
        (with("timestamp", json!(null)), 422, "INVALID", "timestamp"),
        (with("colour", json!("red")), 422, "INVALID", "colour"),
    ] {
        let reply = platform.post(&admin, TELEMETRY, entry.clone()).await;
        assert_eq!(reply.problem(status, code), [field]);
        let reply = platform.post(&admin, TELEMETRY, json!([right, entry])).await;
        assert_eq!(reply.problem(status, code), [format!("[1].{field}")]);
    }
    let several = json!([right, with("topic", json!("")), with("topic", json!("+"))]);
    assert_eq!(platform.post(&admin, TELEMETRY, several).await.problem(422, "INVALID"), ["[1].topic", "[2].topic"]);
    assert_eq!(platform.get(&admin, TELEMETRY).await.expect(200)["data"], json!([]));
}

#[ntex::test]
async fn wrong_questions_are_refused() {
    let (platform, admin, _) = start().await;
    for (query, field) in [
        ("topic=a%23", "topic"),
        ("topic=", "topic"),
        ("from=soon", "from"),
        ("from=2&to=1", "from"),
        ("order=up", "order"),
        ("limit=1001", "limit"),
        ("cursor=x", "cursor"),
        ("deviceId=x", "deviceId"),
        ("offset=1", "offset"),
    ] {
        let reply = platform.get(&admin, &format!("{TELEMETRY}?{query}")).await;
        assert_eq!(reply.problem(422, "INVALID"), [field], "{query}");
    }
    let unknown = "deviceId=0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    platform.get(&admin, &format!("{TELEMETRY}?{unknown}")).await.problem(404, "NOT_FOUND");
}
