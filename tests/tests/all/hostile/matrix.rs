//! Each role of one tenant on each call of the REST API with each id of another tenant, in the path, the query and the body: it
//! is answered as an id that nobody has, and nothing of the other tenant is in the answer. The calls come from the OpenAPI
//! document of the server, so that a new one is among them.

use pocket_tests::{Api, Launch, PostgresDatabase, Tenant, TwoTenants};
use reqwest::Method;
use serde_json::{Value, json};

/// Stands in everything that the other tenant has.
const SECRET: &str = "alphasecret";
/// An id that nobody has.
const NOBODY: &str = "00000000-0000-7000-8000-00000000abcd";
/// Ids in queries and bodies.
const FIELDS: [&str; 2] = ["deviceId", "tenantId"];

/// A call with a place for an id.
struct Call {
    method: Method,
    /// With `{…}` in it, or not.
    path: String,
    /// Fields of the query that hold ids.
    fields: Vec<&'static str>,
}

impl Call {
    /// Whether it names nothing, and so finds its name taken the second time.
    fn makes_its_own(&self) -> bool {
        let is_collection = ["/devices", "/users", "/tenants"].iter().any(|end| self.path.ends_with(end));
        self.method == Method::POST && is_collection
    }
}

/// What a call was answered, without what differs from call to call.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    body: String,
}

fn calls(document: &Value) -> Vec<Call> {
    let mut calls = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("the document has paths") {
        // A log-out would end the log-in that the others need.
        if path.contains("/auth/") || !path.starts_with("/api/") {
            continue;
        }
        for (method, call) in methods.as_object().expect("a path has methods") {
            let Ok(method) = method.to_uppercase().parse() else { continue };
            let parameters = call["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            let is_there = |field: &&str| parameters.iter().any(|parameter| parameter["name"] == **field);
            let fields = FIELDS.into_iter().filter(is_there).collect();
            calls.push(Call { method, path: path.clone(), fields });
        }
    }
    calls
}

/// A body that would do something, if the id were the caller's.
fn body(path: &str, id: &str) -> Value {
    match path {
        _ if path.ends_with("/password") => json!({ "password": "one more horse battery" }),
        _ if path.ends_with("/telemetry") => json!([{ "deviceId": id, "topic": "t", "payload": 1 }]),
        _ if path.ends_with("/import") => json!({ "deviceId": id, "topic": "t", "payload": 1, "timestamp": 1 }),
        _ if path.ends_with("/credentials") => json!({ "username": "tasmota-1", "password": "one more horse" }),
        _ if path.ends_with("/topic-rules") => json!({ "rules": [{ "topic": "+a", "key": "{a}" }] }),
        _ if path.ends_with("/topic-rules/preview") => json!({ "rules": [], "deviceId": id }),
        _ if path.contains("/access-rules") => {
            json!({ "deviceId": id, "action": "publish", "effect": "deny", "topic": "#" })
        }
        _ if path.contains("/users/") => json!({ "role": "viewer" }),
        _ if path.contains("/devices/") => json!({ "notes": "changed" }),
        _ => json!({ "name": "changed" }),
    }
}

async fn told(caller: &Api, method: &Method, path: &str, id: &str) -> Told {
    let request = caller.request(method.clone(), path);
    let request = if *method == Method::GET {
        request
    } else {
        let is_lines = path.contains("/import");
        let content_type = if is_lines { "application/x-ndjson" } else { "application/json" };
        request.header("content-type", content_type).body(body(path.split('?').next().unwrap_or(path), id).to_string())
    };
    let response = request.send().await.expect("the API answers");
    let (status, text) = (response.status().as_u16(), response.text().await.expect("the answer is complete"));
    let mut body = text.replace(id, "ID");
    if let Ok(mut problem) = serde_json::from_str::<Value>(&body)
        && let Some(fields) = problem.as_object_mut()
    {
        fields.remove("instance");
        body = problem.to_string();
    }
    Told { status, body }
}

/// The paths of a call with an id in each of its places.
fn places(call: &Call, id: &str) -> Vec<String> {
    let parts = call.path.split('/').map(|part| if part.starts_with('{') { id } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    let with_field = call.fields.iter().map(|field| format!("{path}?{field}={id}"));
    [path.clone()].into_iter().chain(with_field).collect()
}

async fn ids_of_another_tenant_are_ids_of_nobody(launch: Launch) {
    let tenants = TwoTenants::start(launch.set("log.filter", "warn")).await;
    let ids = furnish(&tenants.a).await;
    let before = everything(&tenants, &ids).await;
    assert!(before.iter().all(|told| told.status == 200), "{before:?}");
    let document = tenants.platform.api().get("/api/openapi.json").await.expect(200);
    let calls = calls(&document);
    assert!(calls.len() > 20, "there are {} calls", calls.len());
    for (role, caller) in
        [("viewer", &tenants.b.viewer), ("operator", &tenants.b.operator), ("admin", &tenants.b.admin)]
    {
        for call in &calls {
            for id in &ids {
                for (path, of_nobody) in places(call, id).iter().zip(places(call, NOBODY)) {
                    let theirs = told(caller, &call.method, path, id).await;
                    let shown = format!("{role}: {} {path}", call.method);
                    assert!(!theirs.body.contains(SECRET), "{shown} tells {}", theirs.body);
                    let nobodys = told(caller, &call.method, &of_nobody, NOBODY).await;
                    assert!(
                        theirs == nobodys || call.makes_its_own(),
                        "{shown}: {theirs:?}, and of nobody {nobodys:?}"
                    );
                }
            }
        }
    }
    assert_eq!(everything(&tenants, &ids).await, before, "something of the other tenant was changed");
}

/// Gives a tenant something of each kind, and the ids of all of it.
async fn furnish(tenant: &Tenant) -> Vec<String> {
    let id = |answer: Value| answer["id"].as_str().expect("what was made has an id").to_owned();
    let name = json!({ "name": SECRET, "labels": [SECRET], "notes": SECRET });
    let device = id(tenant.operator.post("/api/v1/devices", name).await.expect(201));
    let row = json!({ "deviceId": device, "topic": format!("{SECRET}/t"), "payload": { SECRET: SECRET } });
    tenant.operator.post("/api/v1/telemetry", row).await.expect(201);
    let user = json!({ "username": SECRET, "password": Tenant::PASSWORD, "role": "viewer" });
    let user = id(tenant.admin.post("/api/v1/users", user).await.expect(201));
    vec![tenant.id.clone(), device, user]
}

/// The tenant, and what it sees of its own.
async fn everything(tenants: &TwoTenants, ids: &[String]) -> Vec<Told> {
    let tenant = format!("/api/v1/tenants/{}", ids[0]);
    let mut seen = vec![told(&tenants.root, &Method::GET, &tenant, NOBODY).await];
    for path in [
        format!("/api/v1/devices/{}", ids[1]),
        format!("/api/v1/users/{}", ids[2]),
        "/api/v1/telemetry".into(),
        "/api/v1/devices".into(),
        "/api/v1/users".into(),
        "/api/v1/access-rules".into(),
        "/api/v1/topic-rules".into(),
    ] {
        seen.push(told(&tenants.a.admin, &Method::GET, &path, NOBODY).await);
    }
    seen
}

#[tokio::test]
async fn an_id_of_another_tenant_is_an_id_of_nobody_in_sqlite() {
    ids_of_another_tenant_are_ids_of_nobody(Launch::default()).await;
}

#[tokio::test]
async fn an_id_of_another_tenant_is_an_id_of_nobody_in_postgresql() {
    let database = PostgresDatabase::create().await;
    ids_of_another_tenant_are_ids_of_nobody(Launch::default().set("database.url", &database.url())).await;
}
