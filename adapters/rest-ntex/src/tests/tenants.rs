use serde_json::json;

use super::platform::Platform;

const TENANTS: &str = "/api/v1/tenants";

#[ntex::test]
async fn a_tenant_is_added_shown_listed_changed_and_deleted() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let reply = platform.post(&admin, TENANTS, json!({"name": "acme", "payloadPolicy": "any"})).await;
    let tenant = reply.expect(201);
    let path = format!("{TENANTS}/{}", tenant["id"].as_str().unwrap());
    assert_eq!(reply.header("location"), path);
    assert_eq!((&tenant["name"], &tenant["payloadPolicy"]), (&json!("acme"), &json!("any")));
    assert_eq!(tenant["createdAt"], "2027-01-15T08:00:00.000Z");
    assert_eq!(platform.get(&admin, &path).await.expect(200), tenant);

    let list = platform.get(&admin, &format!("{TENANTS}?limit=1&offset=1")).await.expect(200);
    assert_eq!(list["pagination"], json!({"total": 2, "limit": 1, "offset": 1}));
    assert_eq!(list["data"].as_array().unwrap().len(), 1);

    let changed = platform.call(&admin, "PATCH", &path, json!({"name": "umbrella"})).await.expect(200);
    assert_eq!((&changed["name"], &changed["payloadPolicy"]), (&json!("umbrella"), &json!("any")));

    for wrong in ["", "?confirm=acme"] {
        let reply = platform.call(&admin, "DELETE", &format!("{path}{wrong}"), json!(null)).await;
        assert_eq!(reply.problem(422, "INVALID"), ["confirm"]);
    }
    platform.call(&admin, "DELETE", &format!("{path}?confirm=umbrella"), json!(null)).await.expect(204);
    platform.get(&admin, &path).await.problem(404, "NOT_FOUND");
}

#[ntex::test]
async fn names_are_checked_and_unique() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": "Acme"}), "name"),
        (json!({"name": "a".repeat(64)}), "name"),
        (json!({"name": null}), "name"),
        (json!({"name": "acme", "payloadPolicy": "xml"}), "payloadPolicy"),
        (json!({"name": "acme", "color": "red"}), "color"),
    ] {
        assert_eq!(platform.post(&admin, TENANTS, body).await.problem(422, "INVALID"), [field]);
    }
    platform.tenant(&admin, &"a".repeat(63)).await;
    let reply = platform.post(&admin, TENANTS, json!({"name": "default"})).await;
    assert_eq!(reply.problem(409, "TENANT_NAME_TAKEN"), ["name"]);
}

#[ntex::test]
async fn the_tenant_default_keeps_its_name_and_stays() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let me = platform.get(&admin, "/api/v1/auth/me").await.expect(200);
    let path = format!("{TENANTS}/{}", me["tenantId"].as_str().unwrap());
    platform.call(&admin, "PATCH", &path, json!({"name": "other"})).await.problem(409, "DEFAULT_TENANT");
    platform.call(&admin, "PATCH", &path, json!({"payloadPolicy": "any"})).await.expect(200);
    let reply = platform.call(&admin, "DELETE", &format!("{path}?confirm=default"), json!(null)).await;
    reply.problem(409, "DEFAULT_TENANT");
}
