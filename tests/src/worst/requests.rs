//! Calls of the REST API.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Request, Scene, Way, Worst};
use crate::{Api, Tenant};

pub(super) const ALL: &[Worst] = &[
    request("GET /devices/{id}/latest", |s, _| get(&s.viewer, &format!("/devices/{}/latest", s.device.id))),
    request("GET /devices/{id}/keys", |s, _| get(&s.viewer, &format!("/devices/{}/keys", s.device.id))),
    request("GET /devices/{id}/events", |s, _| get(&s.viewer, &format!("/devices/{}/events?limit=100", s.device.id))),
    request("GET /devices/{id}/access", |s, _| {
        get(&s.viewer, &format!("/devices/{}/access?topic={}&action=publish", s.device.id, "a/".repeat(400)))
    }),
    request("GET /devices", |s, _| get(&s.viewer, "/devices?limit=1000&name=*a*b*c*d*e*f*g*")),
    request("GET /telemetry, newest", |s, _| get(&s.viewer, "/telemetry?limit=1000")),
    request("GET /telemetry, oldest of a device", |s, _| {
        get(&s.viewer, &format!("/telemetry?deviceId={}&order=asc&limit=1000", s.device.id))
    }),
    request("GET /telemetry, by topic", |s, _| get(&s.viewer, "/telemetry?topic=%2B/%23&limit=1")),
    request("GET /telemetry/aggregate", |s, _| get(&s.viewer, &aggregate(s))),
    request("GET /telemetry/export", |s, _| get(&s.viewer, "/telemetry/export")),
    request("GET /telemetry/export, gzip", |s, _| get(&s.viewer, "/telemetry/export?format=csv&gzip=true")),
    request("GET /latest", |s, _| get(&s.viewer, "/latest?limit=1000")),
    request("GET /topics", |s, _| get(&s.viewer, "/topics?limit=1000")),
    request("GET /tenants/{id}/usage", |s, _| get(&s.admin, &format!("/tenants/{}/usage", s.tenant))),
    request("GET /users", |s, _| get(&s.admin, "/users?limit=1000")),
    request("GET /access-rules", |s, _| get(&s.viewer, "/access-rules?limit=1000")),
    request("GET /dead-letters", |s, _| get(&s.operator, "/dead-letters?limit=1000")),
    request("POST /telemetry", |s, n| {
        let row = json!({ "deviceId": s.device.id, "topic": "w/post", "payload": { "n": n, "text": "x".repeat(200) } });
        post(&s.operator, "/telemetry", &Value::from(vec![row; 1_000]))
    }),
    request("POST /telemetry/import, empty lines", |s, _| import(s, vec![b'\n'; 4_000_000])),
    request("POST /telemetry/import, rows", |s, n| import(s, rows(s, n))),
    request("POST /devices", |s, n| post(&s.operator, "/devices", &json!({ "name": format!("worst-{n}") }))),
    request("PATCH /devices/{id}", |s, n| Request {
        method: Method::PATCH,
        ..post(&s.operator, &format!("/devices/{}", s.device.id), &json!({ "notes": n.to_string() }))
    }),
    request("POST /access-rules", |s, n| {
        let rule = json!({ "action": "publish", "effect": "allow", "topic": format!("w/{n}/#") });
        post(&s.admin, "/access-rules", &rule)
    }),
    request("POST /users", |s, n| {
        let user = json!({ "username": format!("worst-{n}"), "password": Tenant::PASSWORD, "role": "viewer" });
        post(&s.admin, "/users", &user)
    }),
    request("POST /users/{id}/password, wrong", |s, n| {
        let change = json!({ "password": Tenant::PASSWORD, "currentPassword": format!("not the password {n}") });
        post(&s.viewer, &format!("/users/{}/password", s.viewer_id), &change)
    }),
    request("POST /auth/login, wrong", |s, n| {
        let guess = json!({ "username": "viewer", "password": format!("not the password {n}"), "tenant": "a" });
        post(&s.stranger, "/auth/login", &guess)
    }),
    request("POST /auth/login, 1 MB", |s, _| {
        post(&s.stranger, "/auth/login", &json!({ "username": "x".repeat(1_000_000), "password": "y" }))
    }),
    request("POST /auth/refresh", |s, _| post(&s.viewer, "/auth/refresh", &Value::Null)),
    request("GET /auth/me, with 60 kB of parameters", |s, _| {
        let parameters: Vec<String> = (0..8_000).map(|number| format!("a{number}")).collect();
        get(&s.stranger, &format!("/auth/me?{}", parameters.join("&")))
    }),
    request("GET /ready", |s, _| Request { path: "/ready".into(), ..get(&s.stranger, "") }),
    request("GET /health", |s, _| Request { path: "/health".into(), ..get(&s.stranger, "") }),
    request("GET /metrics", |s, _| Request { path: "/metrics".into(), ..get(&s.stranger, "") }),
    request("GET /api/openapi.json", |s, _| Request { path: "/api/openapi.json".into(), ..get(&s.stranger, "") }),
];

const fn request(name: &'static str, of: fn(&Scene, u64) -> Request) -> Worst {
    Worst { name, way: Way::Request(of) }
}

fn get(caller: &Api, path: &str) -> Request {
    let path = format!("/api/v1{path}");
    Request { caller: caller.clone(), method: Method::GET, path, body: Vec::new(), content_type: "application/json" }
}

fn post(caller: &Api, path: &str, body: &Value) -> Request {
    Request { method: Method::POST, body: body.to_string().into_bytes(), ..get(caller, path) }
}

fn import(scene: &Scene, body: Vec<u8>) -> Request {
    let request = get(&scene.operator, "/telemetry/import");
    Request { method: Method::POST, body, content_type: "application/x-ndjson", ..request }
}

/// All keys that there may be in one question, in as many buckets.
fn aggregate(scene: &Scene) -> String {
    let keys: Vec<String> = (0..20).map(|key| format!("key=w{key}")).collect();
    format!("/telemetry/aggregate?deviceId={}&{}&agg=avg&interval=60000", scene.device.id, keys.join("&"))
}

/// Lines of an import, of other times for each number.
fn rows(scene: &Scene, number: u64) -> Vec<u8> {
    let line = |row: u64| {
        let timestamp = number * 1_000 + row;
        format!("{{\"deviceId\":\"{}\",\"topic\":\"w/i\",\"payload\":1,\"timestamp\":{timestamp}}}\n", scene.device.id)
    };
    (0..1_000).map(line).collect::<String>().into_bytes()
}
