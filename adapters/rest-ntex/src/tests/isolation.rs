use serde_json::{Value, json};

use super::platform::{PASSWORD, Platform};

#[ntex::test]
async fn what_belongs_to_another_tenant_is_not_there() {
    let platform = Platform::start().await;
    let root = platform.admin().await;
    let (acme, umbrella) = (platform.tenant(&root, "acme").await, platform.tenant(&root, "umbrella").await);
    let (ours, theirs) = (platform.user(&root, &acme, "admin").await, platform.user(&root, &umbrella, "admin").await);
    let device = platform.device(&ours, "boiler").await;
    platform.device(&theirs, "boiler").await;
    let us = platform.get(&ours, "/api/v1/auth/me").await.expect(200);
    let user = us["id"].as_str().unwrap();
    let entry = json!({"deviceId": device, "topic": "a", "payload": 1});
    platform.post(&ours, "/api/v1/telemetry", entry.clone()).await.expect(201);

    for (method, path, body) in [
        ("GET", format!("/api/v1/devices/{device}"), Value::Null),
        ("PATCH", format!("/api/v1/devices/{device}"), json!({"name": "mine"})),
        ("DELETE", format!("/api/v1/devices/{device}"), Value::Null),
        ("POST", format!("/api/v1/devices/{device}/regenerate-token"), Value::Null),
        (
            "PUT",
            format!("/api/v1/devices/{device}/credentials"),
            json!({"username": "tasmota-1", "password": "s3cr3t-x"}),
        ),
        ("DELETE", format!("/api/v1/devices/{device}/credentials"), Value::Null),
        ("POST", "/api/v1/topic-rules/preview".to_owned(), json!({"rules": [], "deviceId": device})),
        ("GET", format!("/api/v1/devices/{device}/sessions"), Value::Null),
        ("DELETE", format!("/api/v1/devices/{device}/sessions/one"), Value::Null),
        ("GET", format!("/api/v1/devices/{device}/events"), Value::Null),
        ("GET", format!("/api/v1/users/{user}"), Value::Null),
        ("PATCH", format!("/api/v1/users/{user}"), json!({"role": "viewer"})),
        ("DELETE", format!("/api/v1/users/{user}"), Value::Null),
        ("POST", format!("/api/v1/users/{user}/password"), json!({"password": PASSWORD})),
        ("GET", format!("/api/v1/telemetry?deviceId={device}"), Value::Null),
        ("GET", format!("/api/v1/telemetry/aggregate?deviceId={device}&key=$&agg=avg&interval=1h"), Value::Null),
        ("GET", format!("/api/v1/devices/{device}/latest"), Value::Null),
        ("GET", format!("/api/v1/devices/{device}/keys"), Value::Null),
        ("POST", "/api/v1/telemetry".to_owned(), entry),
    ] {
        platform.call(&theirs, method, &path, body).await.problem(404, "NOT_FOUND");
    }
    for path in ["/api/v1/devices", "/api/v1/users", "/api/v1/telemetry"] {
        let list = platform.get(&theirs, path).await;
        assert!(!list.text.contains(&device) && !list.text.contains(user), "{}", list.text);
        let query = format!("{path}?tenantId={}", acme["id"].as_str().unwrap());
        platform.get(&theirs, &query).await.problem(403, "FORBIDDEN");
        platform.get(&root, &query).await.expect(200);
    }
    let nowhere = "/api/v1/devices?tenantId=0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    platform.get(&root, nowhere).await.problem(404, "NOT_FOUND");
}

/// Every call, with the least role that may make it, and what it answers to somebody who may.
#[ntex::test]
async fn each_role_may_do_what_the_contract_says() {
    let platform = Platform::start().await;
    let root = platform.admin().await;
    let tenant = platform.get(&root, "/api/v1/tenants").await.expect(200)["data"][0].clone();
    let mut tokens = Vec::new();
    for role in ["viewer", "operator", "admin"] {
        tokens.push(platform.user(&root, &tenant, role).await);
    }
    tokens.push(root.clone());
    let device = platform.device(&root, "a").await;
    let entry = json!({"deviceId": device, "topic": "a", "payload": 1});
    let nobody = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    let user = json!({"username": "admin", "password": PASSWORD, "role": "viewer"});
    for (least, method, path, body, status) in [
        (0, "GET", "/auth/me".to_owned(), Value::Null, 200),
        (0, "POST", "/auth/refresh".to_owned(), Value::Null, 200),
        (0, "GET", "/devices".to_owned(), Value::Null, 200),
        (0, "GET", format!("/devices/{device}"), Value::Null, 200),
        (0, "GET", format!("/devices/{device}/events"), Value::Null, 200),
        (0, "GET", format!("/devices/{device}/latest"), Value::Null, 200),
        (0, "GET", format!("/devices/{device}/keys"), Value::Null, 200),
        (0, "GET", "/telemetry".to_owned(), Value::Null, 200),
        (0, "GET", format!("/telemetry/aggregate?deviceId={device}&key=$&agg=avg&interval=1h"), Value::Null, 200),
        (1, "POST", "/telemetry".to_owned(), entry, 201),
        (1, "POST", "/devices".to_owned(), json!({"name": "a"}), 409),
        (1, "PATCH", format!("/devices/{device}"), json!({}), 200),
        (1, "POST", format!("/devices/{device}/regenerate-token"), Value::Null, 201),
        (
            1,
            "PUT",
            format!("/devices/{device}/credentials"),
            json!({"username": "tasmota-1", "password": "s3cr3t-x"}),
            200,
        ),
        (1, "DELETE", format!("/devices/{device}/credentials"), Value::Null, 204),
        (1, "DELETE", format!("/devices/{nobody}"), Value::Null, 404),
        (2, "GET", "/users".to_owned(), Value::Null, 200),
        (2, "POST", "/users".to_owned(), user, 409),
        (2, "GET", format!("/users/{nobody}"), Value::Null, 404),
        (2, "PATCH", format!("/users/{nobody}"), json!({}), 404),
        (2, "DELETE", format!("/users/{nobody}"), Value::Null, 404),
        (2, "POST", format!("/users/{nobody}/password"), json!({"password": PASSWORD}), 404),
        (3, "GET", "/tenants".to_owned(), Value::Null, 200),
        (3, "POST", "/tenants".to_owned(), json!({"name": "default"}), 409),
        (3, "GET", format!("/tenants/{nobody}"), Value::Null, 404),
        (3, "PATCH", format!("/tenants/{nobody}"), json!({}), 404),
        (3, "DELETE", format!("/tenants/{nobody}"), Value::Null, 404),
    ] {
        for (role, token) in tokens.iter().enumerate() {
            let reply = platform.call(token, method, &format!("/api/v1{path}"), body.clone()).await;
            let expected = if role >= least { status } else { 403 };
            assert_eq!(reply.status, expected, "role {role}: {method} {path}: {}", reply.text);
        }
        platform.call("", method, &format!("/api/v1{path}"), body).await.problem(401, "UNAUTHENTICATED");
    }
}
