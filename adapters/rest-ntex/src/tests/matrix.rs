//! Who may do what: every call of the table of routes, for every role, with ids of the own tenant, of another one and of nobody. A route
//! without an entry here fails the test.

use ntex::http::Method;
use ntex::web::test::TestRequest;
use pocket_domain::Role;
use serde_json::{Value, json};

use super::platform::{PASSWORD, Platform};
use crate::routes;

/// What the matrix says of a call.
struct Entry {
    call: &'static str,
    /// The least role that may make it; `None`: everybody, also without a log-in.
    least: Option<Role>,
    query: &'static str,
    body: fn(&World) -> Value,
}

/// What there is in the two tenants.
struct World {
    /// A device, a user, an access rule and the tenant itself, of the tenant of those who call.
    own: Things,
    /// The same of another tenant.
    foreign: Things,
}

struct Things {
    tenant: String,
    device: String,
    user: String,
    rule: String,
}

const NOBODY: &str = "0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";

fn entry(call: &'static str, least: Role, body: fn(&World) -> Value) -> Entry {
    Entry { call, least: Some(least), query: "", body }
}

fn nothing(_: &World) -> Value {
    Value::Null
}

fn matrix() -> Vec<Entry> {
    use Role::{Admin, Operator, PlatformAdmin, Viewer};
    let telemetry: fn(&World) -> Value = |world| json!({"deviceId": world.own.device, "topic": "a", "payload": 1});
    let mut entries = vec![
        Entry {
            call: "POST /auth/login",
            least: None,
            query: "",
            body: |_| json!({"username": "nobody", "password": "x"}),
        },
        entry("POST /auth/refresh", Viewer, nothing),
        entry("GET /auth/me", Viewer, nothing),
        entry("POST /tenants", PlatformAdmin, |_| json!({"name": "other"})),
        entry("GET /tenants", PlatformAdmin, nothing),
        entry("GET /tenants/{id}", PlatformAdmin, nothing),
        entry("PATCH /tenants/{id}", PlatformAdmin, |_| json!({})),
        Entry { query: "confirm=nobody", ..entry("DELETE /tenants/{id}", PlatformAdmin, nothing) },
        entry("GET /tenants/{id}/usage", Admin, nothing),
        entry("POST /users", Admin, |_| json!({"username": "some-admin", "password": PASSWORD, "role": "viewer"})),
        entry("GET /users", Admin, nothing),
        entry("GET /users/{id}", Admin, nothing),
        entry("PATCH /users/{id}", Admin, |_| json!({})),
        entry("DELETE /users/{id}", Admin, nothing),
        entry("POST /users/{id}/password", Admin, |_| json!({"password": PASSWORD})),
        entry("POST /devices", Operator, |_| json!({"name": "taken"})),
        entry("GET /devices", Viewer, nothing),
        entry("GET /devices/{id}", Viewer, nothing),
        entry("PATCH /devices/{id}", Operator, |_| json!({})),
        entry("DELETE /devices/{id}", Operator, nothing),
        entry("POST /devices/{id}/regenerate-token", Operator, nothing),
        entry("PUT /devices/{id}/credentials", Operator, |_| json!({"username": "tasmota-1", "password": "s3cr3t-x"})),
        entry("DELETE /devices/{id}/credentials", Operator, nothing),
        entry("GET /devices/{id}/events", Viewer, nothing),
        entry("GET /devices/{id}/sessions", Viewer, nothing),
        entry("DELETE /devices/{id}/sessions/{clientId}", Operator, nothing),
        entry("GET /devices/{id}/latest", Viewer, nothing),
        entry("GET /devices/{id}/keys", Viewer, nothing),
        Entry { query: "topic=a&action=publish", ..entry("GET /devices/{id}/access", Viewer, nothing) },
        entry("POST /access-rules", Admin, |_| json!({"effect": "allow", "action": "publish", "topic": "a/#"})),
        entry("GET /access-rules", Viewer, nothing),
        entry("GET /access-rules/{id}", Viewer, nothing),
        entry("DELETE /access-rules/{id}", Operator, nothing),
        entry("GET /topic-rules", Viewer, nothing),
        entry("PUT /topic-rules", Admin, |_| json!({"rules": [{"topic": "+a", "key": "{a}"}]})),
        entry("DELETE /topic-rules", Admin, nothing),
        entry("POST /topic-rules/preview", Operator, |_| json!({"rules": [{"topic": "+a", "key": "{a}"}]})),
        entry("POST /telemetry", Operator, telemetry),
        entry("GET /telemetry", Viewer, nothing),
        entry("GET /telemetry/export", Viewer, nothing),
        entry("POST /telemetry/import", Operator, telemetry),
        Entry {
            query: "deviceId=DEVICE&key=n&agg=avg&interval=1h&from=2027-01-15T07:00:00Z",
            ..entry("GET /telemetry/aggregate", Viewer, nothing)
        },
        entry("GET /bridges", PlatformAdmin, nothing),
        entry("GET /dead-letters", Viewer, nothing),
        entry("DELETE /dead-letters/{id}", Operator, nothing),
        entry("POST /dead-letters/{id}/retry", Operator, nothing),
    ];
    // Last, as the token is of no use afterwards.
    entries.push(entry("POST /auth/logout", Viewer, nothing));
    entries
}

async fn things(platform: &Platform, admin: &str, tenant: &Value) -> Things {
    let id = |value: Value| value["id"].as_str().unwrap().to_owned();
    let of = |path: &str| format!("/api/v1{path}?tenantId={}", tenant["id"].as_str().unwrap());
    let name = tenant["name"].as_str().unwrap();
    let device = json!({"name": format!("secret-device-of-{name}")});
    let device = id(platform.post(admin, &of("/devices"), device).await.expect(201));
    let user = json!({"username": format!("secret.user.of.{name}"), "password": PASSWORD, "role": "viewer"});
    let user = id(platform.post(admin, &of("/users"), user).await.expect(201));
    let rule = json!({"effect": "allow", "action": "publish", "topic": format!("secret-topic-of-{name}/#")});
    let rule = id(platform.post(admin, &of("/access-rules"), rule).await.expect(201));
    Things { tenant: id(tenant.clone()), device, user, rule }
}

fn id_in<'a>(call: &str, things: &'a Things) -> &'a str {
    match call.split('/').nth(1).unwrap() {
        "tenants" => &things.tenant,
        "devices" => &things.device,
        "users" => &things.user,
        "access-rules" => &things.rule,
        "dead-letters" => "00000000002a",
        other => panic!("ids of {other}"),
    }
}

/// A request whose body is a line of JSON.
fn lines(token: &str, path: &str, line: &Value) -> TestRequest {
    TestRequest::with_uri(path)
        .method(Method::POST)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/x-ndjson")
        .set_payload(line.to_string())
}

#[test]
fn every_route_has_an_entry_and_every_entry_a_route() {
    let routes: Vec<String> = routes::API.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    let entries: Vec<&str> = matrix().iter().map(|entry| entry.call).collect();
    for route in &routes {
        assert!(entries.contains(&route.as_str()), "the matrix has no entry for {route}");
    }
    for entry in entries {
        assert!(routes.iter().any(|route| route == entry), "there is no route {entry}");
    }
}

#[ntex::test]
async fn each_role_may_do_what_the_matrix_says_and_nothing_in_another_tenant() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let (acme, umbrella) = (platform.tenant(&admin, "acme").await, platform.tenant(&admin, "umbrella").await);
    let own = things(&platform, &admin, &acme).await;
    let foreign = things(&platform, &admin, &umbrella).await;
    let world = World { own, foreign };
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let token = platform.user(&admin, &acme, role.as_str()).await;
        for entry in matrix() {
            let (method, path) = entry.call.split_once(' ').unwrap();
            let is_allowed = entry.least.is_none_or(|least| role >= least);
            let body = || (entry.body)(&world);
            let query = entry.query.replace("DEVICE", &world.own.device);
            let ask = async |path: String, query: String| {
                let place = format!("{} of {role}: {path}?{query}", entry.call);
                let path_and_query = format!("/api/v1{path}?{query}");
                let reply = match entry.call {
                    // Lines, not JSON.
                    "POST /telemetry/import" => platform.send(lines(&token, &path_and_query, &body())).await,
                    _ => platform.call(&token, method, &path_and_query, body()).await,
                };
                assert!(reply.status < 500, "{place}: {} {}", reply.status, reply.text);
                for secret in ["of-umbrella", "of.umbrella", &world.foreign.tenant] {
                    assert!(
                        !reply.text.replace(&format!("/api/v1{path}"), "").contains(secret),
                        "{place}: {}",
                        reply.text
                    );
                }
                (reply.status, place)
            };
            if path.contains("{id}") {
                // Ids of dead letters have another form, and there are none.
                let nobody = if path.starts_with("/dead-letters") { "00000000002b" } else { NOBODY };
                for id in [id_in(path, &world.foreign), nobody] {
                    let (status, place) = ask(path.replace("{id}", id), query.clone()).await;
                    let expected: &[u16] = if is_allowed { &[404, 403] } else { &[403, 404] };
                    assert!(expected.contains(&status), "{place}: {status}");
                    assert!(is_allowed || status == 403 || path.starts_with("/tenants"), "{place}: {status}");
                }
                if !is_allowed {
                    let (status, place) = ask(path.replace("{id}", id_in(path, &world.own)), query.clone()).await;
                    assert_eq!(status, 403, "{place}");
                }
            } else {
                // What names a tenant that is not the caller's is refused, whatever else it says.
                if entry.least.is_some()
                    && !["/auth", "/tenants", "/bridges"].iter().any(|begin| path.starts_with(begin))
                {
                    let named = format!("{query}&tenantId={}", world.foreign.tenant);
                    let (status, place) = ask(path.to_owned(), named).await;
                    assert_eq!(status, 403, "{place}");
                }
                let (status, place) = ask(path.to_owned(), query).await;
                match (is_allowed, entry.least) {
                    (true, Some(_)) => assert!(![401, 403].contains(&status), "{place}: {status}"),
                    (true, None) => assert_eq!(status, 401, "{place}"),
                    (false, _) => assert_eq!(status, 403, "{place}"),
                }
            }
        }
    }
    // Nothing of the other tenant was changed.
    let of = |path: &str| format!("/api/v1{path}?tenantId={}", world.foreign.tenant);
    for (path, count) in [("/devices", 1), ("/users", 1), ("/access-rules", 1)] {
        let left = platform.get(&admin, &of(path)).await.expect(200);
        assert_eq!(left["data"].as_array().unwrap().len(), count, "{path}: {left}");
    }
    for path in [format!("/devices/{}", world.foreign.device), format!("/users/{}", world.foreign.user)] {
        platform.get(&admin, &of(&path)).await.expect(200);
    }
}

#[ntex::test]
async fn nobody_does_anything_without_a_log_in() {
    let platform = Platform::start().await;
    for call in routes::API.iter().filter(|call| call.path != "/auth/login") {
        let path = format!("/api/v1{}", call.path.replace("{id}", NOBODY));
        platform.call("", call.method.as_str(), &path, Value::Null).await.problem(401, "UNAUTHENTICATED");
    }
}
