use ntex::web::test::TestRequest;
use serde_json::json;

use super::platform::Platform;

const DEVICES: &str = "/api/v1/devices";

#[ntex::test]
async fn a_device_is_registered_with_a_token_that_is_shown_once() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let body = json!({"name": "boiler-1", "labels": ["hall", "hot", "hall"], "notes": "by the door",
        "tokenExpiresAt": "2027-02-01T00:00:00+01:00"});
    let reply = platform.post(&admin, DEVICES, body).await;
    let mut device = reply.expect(201);
    assert_eq!(reply.header("cache-control"), "no-store");
    let path = format!("{DEVICES}/{}", device["id"].as_str().unwrap());
    assert_eq!(reply.header("location"), path);
    let token = device.as_object_mut().unwrap().remove("token").unwrap();
    assert_eq!(token.as_str().unwrap().len(), 14);
    assert_eq!(
        device,
        json!({"id": device["id"], "tenantId": device["tenantId"], "name": "boiler-1", "labels": ["hall", "hot"],
            "notes": "by the door", "enabled": true, "username": null, "tokenExpiresAt": "2027-01-31T23:00:00.000Z",
            "createdAt": "2027-01-15T08:00:00.000Z", "updatedAt": "2027-01-15T08:00:00.000Z",
            "online": false, "connectedAt": null, "remoteAddress": null, "protocol": null, "lastSeenAt": null,
            "lastRejection": null})
    );
    assert_eq!(platform.get(&admin, &path).await.expect(200), device);
    let list = platform.get(&admin, DEVICES).await;
    assert_eq!(list.expect(200)["data"], json!([device]));
    assert!(!list.text.contains("oken\":") && !list.text.contains("ash"), "{}", list.text);
}

#[ntex::test]
async fn a_patch_tells_absent_from_null() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let body = json!({"name": "a", "labels": ["x"], "notes": "y", "tokenExpiresAt": 1_900_000_000_000_i64});
    let device = platform.post(&admin, DEVICES, body).await.expect(201);
    let path = format!("{DEVICES}/{}", device["id"].as_str().unwrap());
    let patch = async |body| platform.call(&admin, "PATCH", &path, body).await;

    let same = patch(json!({"enabled": false})).await.expect(200);
    assert_eq!((&same["enabled"], &same["labels"], &same["notes"]), (&json!(false), &json!(["x"]), &json!("y")));
    assert_eq!(same["tokenExpiresAt"], device["tokenExpiresAt"]);
    let emptied = patch(json!({"labels": null, "notes": null, "tokenExpiresAt": null})).await.expect(200);
    assert_eq!((&emptied["labels"], &emptied["notes"]), (&json!([]), &json!("")));
    assert_eq!(emptied["tokenExpiresAt"], json!(null));
    patch(json!({})).await.expect(200);
    for (body, field) in [
        (json!({"name": null}), "name"),
        (json!({"enabled": null}), "enabled"),
        (json!({"enabled": "yes"}), "enabled"),
        (json!({"token": "0000-0000-0000"}), "token"),
        (json!({"labels": ["a", ""]}), "labels[1]"),
        (json!({"labels": vec!["a"; 33]}), "labels"),
        (json!({"notes": "a".repeat(4_097)}), "notes"),
        (json!([]), "body"),
    ] {
        assert_eq!(patch(body).await.problem(422, "INVALID"), [field]);
    }
}

#[ntex::test]
async fn names_are_unique_and_expiries_in_the_future() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    platform.device(&admin, "a").await;
    let taken = platform.post(&admin, DEVICES, json!({"name": "a"})).await;
    assert_eq!(taken.problem(409, "DEVICE_NAME_TAKEN"), ["name"]);
    let past = json!({"name": "b", "tokenExpiresAt": "2020-01-01T00:00:00Z"});
    assert_eq!(platform.post(&admin, DEVICES, past).await.problem(422, "INVALID"), ["tokenExpiresAt"]);
}

#[ntex::test]
async fn a_token_is_renewed_with_and_without_a_body() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let id = platform.device(&admin, "a").await;
    let path = format!("{DEVICES}/{id}/regenerate-token");
    let bare = platform.post(&admin, &path, json!(null)).await.expect(201);
    let request = TestRequest::post().uri(&path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {admin}"));
    platform.send(request.set_payload(" null ")).await.expect(201);
    let graceful = platform.post(&admin, &path, json!({"graceSeconds": 60})).await.expect(201);
    assert_ne!(bare["token"], graceful["token"]);
    assert_eq!(graceful["id"], json!(id));
    for (body, field) in [
        (json!({"graceSeconds": 2_592_001}), "graceSeconds"),
        (json!({"graceSeconds": -1}), "graceSeconds"),
        (json!({"tokenExpiresAt": 0}), "tokenExpiresAt"),
    ] {
        assert_eq!(platform.post(&admin, &path, body).await.problem(422, "INVALID"), [field]);
    }
}

#[ntex::test]
async fn a_list_is_filtered_and_paged() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    for name in ["boiler-1", "boiler-2", "pump-1"] {
        platform.post(&admin, DEVICES, json!({"name": name, "labels": [&name[..4]]})).await.expect(201);
    }
    let total = async |query: &str| {
        let list = platform.get(&admin, &format!("{DEVICES}?{query}")).await.expect(200);
        list["pagination"]["total"].as_u64().unwrap()
    };
    assert_eq!(total("name=boiler-*").await, 2);
    assert_eq!(total("label=pump").await, 1);
    assert_eq!(total("online=true").await, 0);
    assert_eq!(total("label=boil&name=*-2&online=false").await, 1);
    let page = platform.get(&admin, &format!("{DEVICES}?limit=2&offset=2")).await.expect(200);
    assert_eq!(page["pagination"], json!({"total": 3, "limit": 2, "offset": 2}));
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("offset=-1", "offset"),
        ("offset=9223372036854775808", "offset"),
        ("online=1", "online"),
        ("label=", "label"),
        ("name=%00", "name"),
        ("tenantId=acme", "tenantId"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
    ] {
        let reply = platform.get(&admin, &format!("{DEVICES}?{query}")).await;
        assert_eq!(reply.problem(422, "INVALID"), [field], "{query}");
    }
}

#[ntex::test]
async fn a_deleted_device_is_gone() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let id = platform.device(&admin, "a").await;
    let path = format!("{DEVICES}/{id}");
    platform.call(&admin, "DELETE", &path, json!(null)).await.expect(204);
    for (method, path, body) in [
        ("GET", path.clone(), json!(null)),
        ("PATCH", path.clone(), json!({})),
        ("DELETE", path.clone(), json!(null)),
        ("POST", format!("{path}/regenerate-token"), json!({})),
        ("GET", format!("{DEVICES}/no-id"), json!(null)),
    ] {
        platform.call(&admin, method, &path, body).await.problem(404, "NOT_FOUND");
    }
}
