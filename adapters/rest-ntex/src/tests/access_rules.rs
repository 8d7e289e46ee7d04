use serde_json::{Value, json};

use super::platform::Platform;

const RULES: &str = "/api/v1/access-rules";

fn deny(topic: &str) -> Value {
    json!({"effect": "deny", "action": "publish", "topic": topic})
}

fn deny_of(device: &str, topic: &str) -> Value {
    json!({"deviceId": device, "effect": "deny", "action": "publish", "topic": topic})
}

#[ntex::test]
async fn a_rule_is_added_listed_shown_and_removed() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let device = platform.device(&admin, "boiler").await;
    let reply = platform.post(&admin, RULES, deny("alarms/#")).await;
    let for_all = reply.expect(201);
    let path = format!("{RULES}/{}", for_all["id"].as_str().unwrap());
    assert_eq!(reply.header("location"), path);
    assert_eq!(
        for_all,
        json!({"id": for_all["id"], "tenantId": for_all["tenantId"], "deviceId": null, "effect": "deny",
            "action": "publish", "topic": "alarms/#", "createdAt": "2027-01-15T08:00:00.000Z"})
    );
    let for_one = platform.post(&admin, RULES, deny_of(&device, "devices/%d")).await.expect(201);
    assert_eq!(for_one["deviceId"], json!(device));

    assert_eq!(platform.get(&admin, &path).await.expect(200), for_all);
    let list = platform.get(&admin, RULES).await.expect(200);
    assert_eq!(list, json!({"data": [for_all], "pagination": {"total": 1, "limit": 100, "offset": 0}}));
    let of_device = platform.get(&admin, &format!("{RULES}?deviceId={device}&limit=1")).await.expect(200);
    assert_eq!(of_device, json!({"data": [for_one], "pagination": {"total": 1, "limit": 1, "offset": 0}}));

    platform.call(&admin, "DELETE", &path, json!(null)).await.expect(204);
    platform.call(&admin, "DELETE", &path, json!(null)).await.problem(404, "NOT_FOUND");
    platform.get(&admin, &path).await.problem(404, "NOT_FOUND");
}

#[ntex::test]
async fn what_is_wrong_with_a_rule_is_named() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let with = |field: &str, value: Value| {
        let mut body = deny("a");
        body[field] = value;
        body
    };
    for (body, field) in [
        (with("effect", json!("maybe")), "effect"),
        (with("action", json!("read")), "action"),
        (with("topic", json!("a/#/b")), "topic"),
        (with("topic", json!("$SYS/#")), "topic"),
        (with("topic", json!("dev-%d")), "topic"),
        (with("topic", json!("a".repeat(1_025))), "topic"),
        (with("deviceId", json!("boiler")), "deviceId"),
        (with("priority", json!(1)), "priority"),
        (json!({"effect": "deny", "topic": "a"}), "action"),
    ] {
        assert_eq!(platform.post(&admin, RULES, body).await.problem(422, "INVALID"), [field]);
    }
    let nobody = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    platform.post(&admin, RULES, deny_of(nobody, "a")).await.problem(404, "NOT_FOUND");
    platform.get(&admin, &format!("{RULES}?deviceId={nobody}")).await.problem(404, "NOT_FOUND");
}

#[ntex::test]
async fn a_hundred_rules_are_enough() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let device = platform.device(&admin, "boiler").await;
    for number in 0..100 {
        platform.post(&admin, RULES, deny(&number.to_string())).await.expect(201);
    }
    platform.post(&admin, RULES, deny("more")).await.problem(409, "TOO_MANY_ACCESS_RULES");
    platform.post(&admin, RULES, deny_of(&device, "more")).await.expect(201);
}

#[ntex::test]
async fn operators_write_rules_of_devices_and_administrators_those_of_the_tenant() {
    let platform = Platform::start().await;
    let root = platform.admin().await;
    let tenant = platform.get(&root, "/api/v1/tenants").await.expect(200)["data"][0].clone();
    let (viewer, operator, admin) = (
        platform.user(&root, &tenant, "viewer").await,
        platform.user(&root, &tenant, "operator").await,
        platform.user(&root, &tenant, "admin").await,
    );
    let device = platform.device(&operator, "boiler").await;
    for (token, for_all, for_one) in [(&viewer, 403, 403), (&operator, 403, 201), (&admin, 201, 201)] {
        platform.post(token, RULES, deny("a")).await.expect(for_all);
        platform.post(token, RULES, deny_of(&device, "a")).await.expect(for_one);
        platform.get(token, RULES).await.expect(200);
    }
    let path_of = |rule: &Value| format!("{RULES}/{}", rule["id"].as_str().unwrap());
    let for_all = path_of(&platform.get(&viewer, RULES).await.expect(200)["data"][0]);
    let of_device = platform.get(&viewer, &format!("{RULES}?deviceId={device}")).await.expect(200);
    let for_one = path_of(&of_device["data"][0]);
    let delete = async |token: &str, path: &str| platform.call(token, "DELETE", path, Value::Null).await.status;
    assert_eq!((delete(&viewer, &for_one).await, delete(&operator, &for_all).await), (403, 403));
    assert_eq!((delete(&operator, &for_one).await, delete(&admin, &for_all).await), (204, 204));
}

#[ntex::test]
async fn rules_of_another_tenant_are_not_there() {
    let platform = Platform::start().await;
    let root = platform.admin().await;
    let acme = platform.tenant(&root, "acme").await;
    let theirs = platform.user(&root, &acme, "admin").await;
    let device = platform.device(&root, "boiler").await;
    let rule = platform.post(&root, RULES, deny_of(&device, "a")).await.expect(201);
    let path = format!("{RULES}/{}", rule["id"].as_str().unwrap());
    for (method, path, body) in [
        ("GET", path.clone(), Value::Null),
        ("DELETE", path, Value::Null),
        ("POST", RULES.to_owned(), deny_of(&device, "a")),
        ("GET", format!("{RULES}?deviceId={device}"), Value::Null),
        ("GET", format!("/api/v1/devices/{device}/access?action=publish&topic=a"), Value::Null),
    ] {
        platform.call(&theirs, method, &path, body).await.problem(404, "NOT_FOUND");
    }
}

#[ntex::test]
async fn a_verdict_is_explained_with_the_rule_that_decided() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let device = platform.device(&admin, "boiler").await;
    let explain = async |query: &str| {
        let path = format!("/api/v1/devices/{device}/access?{query}");
        let verdict = platform.get(&admin, &path).await.expect(200);
        (verdict["allowed"].as_bool().unwrap(), verdict["rule"]["topic"].as_str().unwrap_or_default().to_owned())
    };
    let verdict = |allowed, topic: &str| (allowed, topic.to_owned());
    assert_eq!(explain("action=publish&topic=a").await, verdict(true, ""));
    platform.post(&admin, RULES, deny("alarms/#")).await.expect(201);
    let list = json!({"deviceId": device, "effect": "allow", "action": "publish", "topic": "clients/%c"});
    platform.post(&admin, RULES, list).await.expect(201);
    assert_eq!(explain("action=publish&topic=alarms/fire").await, verdict(false, "alarms/#"));
    assert_eq!(explain("action=publish&topic=clients/x&clientId=x").await, verdict(true, "clients/%c"));
    assert_eq!(explain("action=publish&topic=clients/x&clientId=y").await, verdict(false, ""));
    assert_eq!(explain("action=publish&topic=clients/x").await, verdict(false, ""));
    assert_eq!(explain("action=subscribe&topic=alarms/%23").await, verdict(true, ""));
    assert_eq!(explain("action=subscribe&topic=$SYS/%23").await, verdict(false, ""));
    for (query, field) in [
        ("topic=a", "action"),
        ("action=publish", "topic"),
        ("action=publish&topic=a/%23", "topic"),
        ("action=subscribe&topic=a%23", "topic"),
        ("action=read&topic=a", "action"),
        ("action=publish&topic=a&colour=red", "colour"),
    ] {
        let reply = platform.get(&admin, &format!("/api/v1/devices/{device}/access?{query}")).await;
        assert_eq!(reply.problem(422, "INVALID"), [field], "{query}");
    }
}
