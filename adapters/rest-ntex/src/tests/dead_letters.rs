use pocket_domain::{DeviceId, NewTelemetry, Payload, TenantId, Timestamp, TopicName};
use serde_json::{Value, json};

use super::platform::Platform;

const PATH: &str = "/api/v1/dead-letters";

struct Site {
    tenant: Value,
    id: TenantId,
    operator: String,
    viewer: String,
    device: String,
}

async fn start() -> (Platform, String, Site) {
    let platform = Platform::start().await;
    let root = platform.admin().await;
    let tenant = platform.tenant(&root, "acme").await;
    let (operator, viewer) =
        (platform.user(&root, &tenant, "operator").await, platform.user(&root, &tenant, "viewer").await);
    let device = platform.device(&operator, "boiler").await;
    let id = tenant["id"].as_str().unwrap().parse().unwrap();
    (platform, root, Site { tenant, id, operator, viewer, device })
}

impl Site {
    async fn put_aside(&self, platform: &Platform, device: &str, payload: &str) {
        let device_id: DeviceId = device.parse().unwrap();
        let message = NewTelemetry {
            tenant_id: self.id,
            device_id,
            topic: TopicName::parse("boiler/t").unwrap(),
            payload: Payload::from_stored(payload),
            timestamp: Timestamp::from_millis(1_000).unwrap(),
            received_at: Timestamp::from_millis(2_000).unwrap(),
        };
        let at = Timestamp::from_millis(3_000).unwrap();
        platform.application.storage.telemetry.set_aside(&message, "refused", at).await.unwrap();
    }
}

#[ntex::test]
async fn a_viewer_sees_what_the_database_refused_and_why() {
    let (platform, _, site) = start().await;
    site.put_aside(&platform, &site.device, "{\"a\": \"\0\"}").await;
    let page = platform.get(&site.viewer, PATH).await.expect(200);
    let row = json!({
        "id": "000000000001",
        "deviceId": site.device,
        "topic": "boiler/t",
        "payload": "{\"a\": \"\0\"}",
        "timestamp": "1970-01-01T00:00:01.000Z",
        "receivedAt": "1970-01-01T00:00:02.000Z",
        "reason": "refused",
        "at": "1970-01-01T00:00:03.000Z",
    });
    assert_eq!(page, json!({ "data": [row], "pagination": { "limit": 100, "next": null } }));
}

#[ntex::test]
async fn letters_are_paged_and_those_of_one_device_are_found() {
    let (platform, _, site) = start().await;
    let pump = platform.device(&site.operator, "pump").await;
    for n in 0..5 {
        site.put_aside(&platform, if n == 2 { &pump } else { &site.device }, &n.to_string()).await;
    }
    let mut found = Vec::new();
    let mut query = format!("{PATH}?deviceId={}&limit=3", site.device);
    loop {
        let page = platform.get(&site.viewer, &query).await.expect(200);
        found.extend(page["data"].as_array().unwrap().iter().map(|row| row["payload"].as_str().unwrap().to_owned()));
        let Some(next) = page["pagination"]["next"].as_str() else { break };
        query = format!("{PATH}?deviceId={}&limit=3&cursor={next}", site.device);
    }
    assert_eq!(found, ["4", "3", "1", "0"]);
    for (query, field) in [("limit=0", "limit"), ("cursor=x", "cursor"), ("deviceId=x", "deviceId"), ("a=1", "a")] {
        assert_eq!(platform.get(&site.viewer, &format!("{PATH}?{query}")).await.problem(422, "INVALID"), [field]);
    }
    let unknown = format!("{PATH}?deviceId=0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f");
    platform.get(&site.viewer, &unknown).await.problem(404, "NOT_FOUND");
}

#[ntex::test]
async fn an_operator_removes_a_letter_and_a_viewer_does_not() {
    let (platform, _, site) = start().await;
    site.put_aside(&platform, &site.device, "1").await;
    let letter = format!("{PATH}/000000000001");
    platform.call(&site.viewer, "DELETE", &letter, Value::Null).await.problem(403, "FORBIDDEN");
    platform.post(&site.viewer, &format!("{letter}/retry"), Value::Null).await.problem(403, "FORBIDDEN");
    platform.call(&site.operator, "DELETE", &letter, Value::Null).await.expect(204);
    platform.call(&site.operator, "DELETE", &letter, Value::Null).await.problem(404, "NOT_FOUND");
    platform.call(&site.operator, "DELETE", &format!("{PATH}/no-id"), Value::Null).await.problem(404, "NOT_FOUND");
    assert_eq!(platform.get(&site.viewer, PATH).await.expect(200)["data"], json!([]));
}

#[ntex::test]
async fn a_letter_that_is_tried_again_becomes_a_row() {
    let (platform, _, site) = start().await;
    site.put_aside(&platform, &site.device, "21.5").await;
    let retry = format!("{PATH}/000000000001/retry");
    let stored = platform.post(&site.operator, &retry, Value::Null).await.expect(201);
    let rows = platform.get(&site.viewer, "/api/v1/telemetry").await.expect(200)["data"].clone();
    assert_eq!(rows[0]["id"], stored["ids"][0]);
    assert_eq!((&rows[0]["payload"], &rows[0]["timestamp"]), (&json!(21.5), &json!("1970-01-01T00:00:01.000Z")));
    assert_eq!(platform.get(&site.viewer, PATH).await.expect(200)["data"], json!([]));
    platform.post(&site.operator, &retry, Value::Null).await.problem(404, "NOT_FOUND");
}

#[ntex::test]
async fn letters_of_another_tenant_are_not_there() {
    let (platform, root, site) = start().await;
    site.put_aside(&platform, &site.device, "1").await;
    let umbrella = platform.tenant(&root, "umbrella").await;
    let theirs = platform.user(&root, &umbrella, "admin").await;
    assert_eq!(platform.get(&theirs, PATH).await.expect(200)["data"], json!([]));
    let letter = format!("{PATH}/000000000001");
    platform.call(&theirs, "DELETE", &letter, Value::Null).await.problem(404, "NOT_FOUND");
    platform.post(&theirs, &format!("{letter}/retry"), Value::Null).await.problem(404, "NOT_FOUND");
    let ours = format!("{PATH}?tenantId={}", site.tenant["id"].as_str().unwrap());
    platform.get(&theirs, &ours).await.problem(403, "FORBIDDEN");
    assert_eq!(platform.get(&root, &ours).await.expect(200)["data"][0]["id"], "000000000001");
}
