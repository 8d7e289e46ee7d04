//! REST on the real binary: who may do what, what tenants see of each other, and what bad input is answered.

use pocket_tests::{Api, Launch, Platform, PostgresDatabase};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

const PASSWORD: &str = "another horse battery";
const NOBODY: &str = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("the API answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("the answer is complete");
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Reply { status, headers, body }
}

async fn call(api: &Api, method: &str, path: &str, body: &Value) -> Reply {
    let request = api.request(method.parse::<Method>().expect("a method"), &format!("/api/v1{path}"));
    send(if body.is_null() { request } else { request.json(body) }).await
}

impl Reply {
    /// Asserts the shape that every problem has, and gives the fields that are named.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> Vec<&str> {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert!(self.headers.contains_key("x-request-id"));
        assert_eq!(self.body["status"], status);
        for text in ["type", "title", "detail", "instance"] {
            assert!(self.body[text].is_string(), "{text}: {}", self.body);
        }
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["field"].as_str().expect("a field has a name")).collect()
    }
}

/// A tenant of this name, and somebody of each role in it, the least first.
async fn tenant(root: &Api, anyone: &Api, name: &str) -> (String, Vec<Api>) {
    let tenant = root.post("/api/v1/tenants", json!({ "name": name })).await.expect(201);
    let id = tenant["id"].as_str().expect("a tenant has an id").to_owned();
    let mut people = Vec::new();
    for role in ["viewer", "operator", "admin"] {
        let user = json!({ "username": role, "password": PASSWORD, "role": role });
        root.post(&format!("/api/v1/users?tenantId={id}"), user).await.expect(201);
        people.push(anyone.log_in_to(name, role, PASSWORD).await);
    }
    (id, people)
}

#[tokio::test]
async fn each_role_may_do_what_the_contract_says() {
    let platform = Launch::default().start().await;
    let root = platform.admin().await;
    let (tenant_id, mut callers) = tenant(&root, &platform.api(), "acme").await;
    let (device, _) = callers[1].register_device("boiler").await;
    callers.push(root);
    let entry = json!({ "deviceId": device, "topic": "a", "payload": 1 });
    let user = json!({ "username": "viewer", "password": PASSWORD, "role": "viewer" });
    // The least role that may, the call, and what it is answered to whoever may.
    let table = [
        (0, "GET", "/auth/me".to_owned(), Value::Null, 200),
        (0, "POST", "/auth/refresh".to_owned(), Value::Null, 200),
        (0, "GET", "/devices".to_owned(), Value::Null, 200),
        (0, "GET", format!("/devices/{device}"), Value::Null, 200),
        (0, "GET", format!("/devices/{device}/latest"), Value::Null, 200),
        (0, "GET", format!("/devices/{device}/keys"), Value::Null, 200),
        (0, "GET", "/telemetry".to_owned(), Value::Null, 200),
        (1, "POST", "/telemetry".to_owned(), entry, 201),
        (1, "POST", "/devices".to_owned(), json!({ "name": "boiler" }), 409),
        (1, "PATCH", format!("/devices/{device}"), json!({ "notes": "hot" }), 200),
        (1, "POST", format!("/devices/{device}/regenerate-token"), Value::Null, 201),
        (1, "DELETE", format!("/devices/{NOBODY}"), Value::Null, 404),
        (2, "GET", "/users".to_owned(), Value::Null, 200),
        (2, "POST", "/users".to_owned(), user, 409),
        (2, "GET", format!("/users/{NOBODY}"), Value::Null, 404),
        (2, "PATCH", format!("/users/{NOBODY}"), json!({ "role": "viewer" }), 404),
        (2, "DELETE", format!("/users/{NOBODY}"), Value::Null, 404),
        (2, "POST", format!("/users/{NOBODY}/password"), json!({ "password": PASSWORD }), 404),
    ];
    for (least, method, path, body, expected) in table {
        call(&platform.api(), method, &path, &body).await.problem(401, "UNAUTHENTICATED");
        for (role, caller) in callers.iter().enumerate() {
            let within = if role == 3 { format!("{path}?tenantId={tenant_id}") } else { path.clone() };
            let within = if path.starts_with("/auth") { path.clone() } else { within };
            let reply = call(caller, method, &within, &body).await;
            let expected = if role >= least { expected } else { 403 };
            assert_eq!(reply.status, expected, "role {role}: {method} {path}: {}", reply.body);
        }
    }
    let of_tenants = [
        ("GET", "/tenants".to_owned(), Value::Null, 200),
        ("POST", "/tenants".to_owned(), json!({ "name": "acme" }), 409),
        ("GET", format!("/tenants/{tenant_id}"), Value::Null, 200),
        ("PATCH", format!("/tenants/{tenant_id}"), json!({ "payloadPolicy": "json" }), 200),
        ("DELETE", format!("/tenants/{tenant_id}"), Value::Null, 422),
    ];
    for (method, path, body, expected) in of_tenants {
        call(&platform.api(), method, &path, &body).await.problem(401, "UNAUTHENTICATED");
        for (role, caller) in callers.iter().enumerate() {
            let reply = call(caller, method, &path, &body).await;
            assert_eq!(reply.status, if role == 3 { expected } else { 403 }, "role {role}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn tenants_see_nothing_of_each_other_in_sqlite() {
    tenants_see_nothing_of_each_other(Launch::default().start().await).await;
}

#[tokio::test]
async fn tenants_see_nothing_of_each_other_in_postgresql() {
    let database = PostgresDatabase::create().await;
    tenants_see_nothing_of_each_other(Launch::default().env("DATABASE_URL", &database.url()).start().await).await;
}

async fn tenants_see_nothing_of_each_other(platform: Platform) {
    let root = platform.admin().await;
    let (acme, ours) = tenant(&root, &platform.api(), "acme").await;
    let (umbrella, theirs) = tenant(&root, &platform.api(), "umbrella").await;
    let (ours, theirs) = (&ours[2], &theirs[2]);
    let (device, _) = ours.register_device("boiler").await;
    let (other_device, _) = theirs.register_device("boiler").await;
    let entry = |device: &str, payload: &str| json!({ "deviceId": device, "topic": "t", "payload": payload });
    ours.post("/api/v1/telemetry", entry(&device, "ours")).await.expect(201);
    theirs.post("/api/v1/telemetry", entry(&other_device, "theirs")).await.expect(201);
    let me = ours.get("/api/v1/auth/me").await.expect(200);
    let user = me["id"].as_str().expect("a user has an id");

    for (method, path, body) in [
        ("GET", format!("/devices/{device}"), Value::Null),
        ("PATCH", format!("/devices/{device}"), json!({ "name": "mine" })),
        ("DELETE", format!("/devices/{device}"), Value::Null),
        ("POST", format!("/devices/{device}/regenerate-token"), Value::Null),
        ("GET", format!("/users/{user}"), Value::Null),
        ("PATCH", format!("/users/{user}"), json!({ "role": "viewer" })),
        ("DELETE", format!("/users/{user}"), Value::Null),
        ("POST", format!("/users/{user}/password"), json!({ "password": PASSWORD })),
        ("GET", format!("/telemetry?deviceId={device}"), Value::Null),
        ("POST", "/telemetry".to_owned(), entry(&device, "forged")),
        ("POST", "/telemetry".to_owned(), json!([entry(&other_device, "good"), entry(&device, "forged")])),
    ] {
        call(theirs, method, &path, &body).await.problem(404, "NOT_FOUND");
    }
    for path in ["/devices", "/users", "/telemetry"] {
        call(theirs, "GET", &format!("{path}?tenantId={acme}"), &Value::Null).await.problem(403, "FORBIDDEN");
        let list = call(theirs, "GET", path, &Value::Null).await.body;
        assert!(!list.to_string().contains(&device) && !list.to_string().contains(user), "{list}");
        assert!(!list.to_string().contains("ours"), "{list}");
    }
    let payloads = |rows: Vec<Value>| rows.into_iter().map(|row| row["payload"].clone()).collect::<Vec<_>>();
    assert_eq!(payloads(ours.telemetry("topic=%23").await), ["ours"]);
    assert_eq!(payloads(theirs.telemetry("topic=%23").await), ["theirs"]);
    assert_eq!(payloads(root.telemetry(&format!("tenantId={acme}")).await), ["ours"]);
    assert!(root.telemetry("limit=1").await.is_empty());

    root.delete(&format!("/api/v1/tenants/{umbrella}?confirm=umbrella")).await.expect(204);
    call(theirs, "GET", "/auth/me", &Value::Null).await.problem(401, "UNAUTHENTICATED");
    assert_eq!(payloads(ours.telemetry("topic=t").await), ["ours"]);
}

#[tokio::test]
async fn bad_input_is_a_problem_that_names_what_is_wrong() {
    let platform = Launch::default().start().await;
    let root = platform.admin().await;
    let devices = || root.request(Method::POST, "/api/v1/devices");
    let json_text = |text: &'static str| devices().header("content-type", "application/json").body(text);

    send(json_text(r#"{"name":"#)).await.problem(400, "MALFORMED_JSON");
    send(json_text("")).await.problem(400, "MALFORMED_JSON");
    let broken = devices().header("content-type", "application/json").body(b"{\"name\":\"\xff\"}".to_vec());
    send(broken).await.problem(400, "MALFORMED_JSON");
    send(devices().body("{}")).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(1 << 20));
    let large = devices().header("content-type", "application/json").body(large);
    send(large).await.problem(413, "PAYLOAD_TOO_LARGE");
    for (body, fields) in [
        (json!({}), vec!["name"]),
        (json!([]), vec!["body"]),
        (json!({ "name": 5 }), vec!["name"]),
        (json!({ "name": "a", "colour": "red" }), vec!["colour"]),
        (json!({ "name": "a\u{0}b", "notes": "\u{0}", "labels": ["", "b"] }), vec!["labels[0]", "name", "notes"]),
        (json!({ "name": "a", "tokenExpiresAt": "soon" }), vec!["tokenExpiresAt"]),
    ] {
        assert_eq!(send(devices().json(&body)).await.problem(422, "INVALID"), fields, "{body}");
    }
    for (path, field) in [
        ("/devices?limit=1001", "limit"),
        ("/devices?colour=red", "colour"),
        ("/devices?name=%00", "name"),
        ("/devices?label=%ff", "label"),
        ("/telemetry?topic=a%23", "topic"),
        ("/telemetry?topic=%00", "topic"),
        ("/telemetry?cursor=x", "cursor"),
        ("/telemetry?from=2&to=1", "from"),
    ] {
        assert_eq!(call(&root, "GET", path, &Value::Null).await.problem(422, "INVALID"), [field], "{path}");
    }
    call(&root, "GET", "/devices/no-id", &Value::Null).await.problem(404, "NOT_FOUND");
    call(&root, "GET", "/nothing", &Value::Null).await.problem(404, "NOT_FOUND");
    let wrong_method = call(&root, "PUT", "/devices", &Value::Null).await;
    wrong_method.problem(405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong_method.headers["allow"], "POST, GET, HEAD, OPTIONS");
    root.register_device("still alive").await;
}

#[tokio::test]
async fn u_0000_in_a_payload_does_not_block_a_batch_in_postgresql() {
    let database = PostgresDatabase::create().await;
    let platform = Launch::default().env("DATABASE_URL", &database.url()).start().await;
    let root = platform.admin().await;
    let (device, _) = root.register_device("boiler").await;
    let entry = |payload: Value| json!({ "deviceId": device, "topic": "t", "payload": payload });
    root.post("/api/v1/telemetry", entry(json!("nul \u{0}"))).await;
    root.post("/api/v1/telemetry", json!([entry(json!(1)), entry(json!(2))])).await.expect(201);
    let rows = root.telemetry("order=asc").await;
    let payloads: Vec<_> = rows.iter().map(|row| &row["payload"]).collect();
    assert!(payloads.ends_with(&[&json!(1), &json!(2)]), "{payloads:?}");
}

#[tokio::test]
async fn what_was_answered_with_201_survives_a_power_cut() {
    let mut platform = Launch::default().start().await;
    let root = platform.admin().await;
    let (device, _) = root.register_device("boiler").await;
    let entries: Value = (0..100).map(|n| json!({ "deviceId": device, "topic": "t", "payload": n })).collect();
    let stored = root.post("/api/v1/telemetry", entries).await.expect(201);
    platform.kill().await;
    platform.start_again().await;
    let rows = platform.admin().await.telemetry("order=asc&limit=30").await;
    let ids: Value = rows.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, stored["ids"]);
    assert_eq!(rows[99]["payload"], 99);
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let platform = Launch::default().start().await;
    let wrong = json!({ "username": "admin", "password": "wrong" });
    let mut last = None;
    for _ in 0..11 {
        last = Some(call(&platform.api(), "POST", "/auth/login", &wrong).await);
    }
    let last = last.unwrap();
    last.problem(429, "TOO_MANY_ATTEMPTS");
    let wait: u64 = last.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let right = json!({ "username": "admin", "password": Platform::ADMIN_PASSWORD });
    call(&platform.api(), "POST", "/auth/login", &right).await.problem(429, "TOO_MANY_ATTEMPTS");
}

#[tokio::test]
async fn the_document_is_served_and_describes_the_server_that_serves_it() {
    let platform = Launch::default().start().await;
    let document = platform.api().get("/api/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let version = document["info"]["version"].as_str().unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    for path in document["paths"].as_object().unwrap().keys().filter(|path| !path.contains('{')) {
        let request = platform.api().request(Method::OPTIONS, path);
        assert_eq!(send(request).await.status, 204, "{path}");
    }
}
