//! What no call is made for.

use ntex::SharedCfg;
use ntex::http::Method;
use ntex::web::test::TestRequest;
use ntex::web::{self, WebAppConfig};
use pocket_application::ThrottleLimits;
use serde_json::json;

use super::platform::{LIMITS, PASSWORD, Platform, Reply};
use crate::gate::{Gate, Party};
use crate::observe::Observe;
use crate::stats::RestMeter;

#[ntex::test]
async fn paths_and_methods_that_are_not_there_are_problems() {
    let platform = Platform::start().await;
    for path in
        ["/", "/api", "/api/v1", "/api/v2/devices", "/devices", "/api/v1/devices/", "/api/v1/devices/a/b", "/%00"]
    {
        platform.get("", path).await.problem(404, "NOT_FOUND");
    }
    for (method, path, allow) in [
        ("PUT", "/api/v1/devices", "POST, GET, HEAD, OPTIONS"),
        ("POST", "/api/devices/x", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("GET", "/api/v1/auth/login", "POST, OPTIONS"),
        ("DELETE", "/health", "GET, HEAD, OPTIONS"),
        ("BREW", "/api/v1/telemetry", "POST, GET, HEAD, OPTIONS"),
    ] {
        let reply = platform.call("", method, path, json!(null)).await;
        reply.problem(405, "METHOD_NOT_ALLOWED");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
        let reply = platform.call("", "OPTIONS", path, json!(null)).await;
        assert_eq!((reply.status, reply.header("allow")), (204, allow));
    }
}

#[ntex::test]
async fn the_path_of_the_first_version_answers_the_same() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let id = platform.device(&admin, "a").await;
    for path in ["devices", &format!("devices/{id}"), "tenants", "users", "telemetry", "auth/me"] {
        let new = platform.get(&admin, &format!("/api/v1/{path}")).await.expect(200);
        assert_eq!(platform.get(&admin, &format!("/api/{path}")).await.expect(200), new, "{path}");
    }
}

#[ntex::test]
async fn every_answer_carries_the_request_id() {
    let platform = Platform::start().await;
    for path in ["/health", "/nothing", "/api/v1/devices"] {
        let own = platform.send(TestRequest::with_uri(path).header("x-request-id", "trace-7")).await;
        assert_eq!(own.header("x-request-id"), "trace-7");
        assert_eq!(own.header("x-content-type-options"), "nosniff");
        let long = platform.send(TestRequest::with_uri(path).header("x-request-id", "x".repeat(129))).await;
        let new = platform.get("", path).await;
        assert!((18..=40).contains(&new.header("x-request-id").len()), "{}", new.header("x-request-id"));
        assert_ne!(long.header("x-request-id"), new.header("x-request-id"));
    }
}

fn asked(path: &str) -> ntex::http::Request {
    TestRequest::with_uri(path).header("host", "a").to_request()
}

#[ntex::test]
async fn a_panic_is_a_problem_and_the_service_goes_on() {
    async fn panics() -> web::HttpResponse {
        panic!("broken invariant")
    }
    let app = web::App::new().service(web::resource("/panic").to(panics)).finish();
    let config = SharedCfg::new("test").add(WebAppConfig::new()).into();
    let service = ntex::service::apply(
        Observe { shared: Platform::start().await.shared, meter: RestMeter::new(Gate::new(1)) },
        app,
    )
    .pipeline(config)
    .await
    .unwrap();
    for _ in 0..2 {
        let reply = Reply::read(service.call(asked("/panic")).await.unwrap()).await;
        reply.problem(500, "INTERNAL");
        assert!(!reply.text.contains("invariant"), "{}", reply.text);
    }
    let reply = Reply::read(service.call(asked("/other")).await.unwrap()).await;
    assert_eq!(reply.status, 404);
}

#[ntex::test]
async fn whom_the_gate_turns_away_may_come_again() {
    let app = web::App::new().finish();
    let config = SharedCfg::new("test").add(WebAppConfig::new()).into();
    let gate = Gate::new(1);
    let meter = RestMeter::new(gate.clone());
    let service = ntex::service::apply(Observe { shared: Platform::start().await.shared, meter: meter.clone() }, app)
        .pipeline(config)
        .await
        .unwrap();
    let place = gate.enter(Party::Stranger([10, 0, 0, 1].into()));
    let reply = Reply::read(service.call(asked("/a")).await.unwrap()).await;
    reply.problem(503, "UNAVAILABLE");
    assert_eq!(reply.header("retry-after"), "5");
    assert_eq!((meter.read().turned_away, meter.read().failed), (1, 1));
    drop(place);
    let reply = Reply::read(service.call(asked("/a")).await.unwrap()).await;
    assert_eq!(reply.status, 404);
}

#[ntex::test]
async fn bodies_have_a_limit_and_a_type() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let post = async |path: &str, media_type: &str, body: Vec<u8>| {
        let mut request = TestRequest::with_uri(path).method(Method::POST);
        request = request.header("authorization", format!("Bearer {admin}")).set_payload(body);
        if !media_type.is_empty() {
            request = request.header("content-type", media_type);
        }
        platform.send(request).await
    };
    let devices = "/api/v1/devices";
    let json = "application/json";
    let padded = |length: usize| {
        let json = r#"{"name":"a"}"#;
        [json, &" ".repeat(length - json.len())].concat().into_bytes()
    };
    post(devices, json, padded(LIMITS.other)).await.expect(201);
    post(devices, json, padded(LIMITS.other + 1)).await.problem(413, "PAYLOAD_TOO_LARGE");
    post("/api/v1/telemetry", json, padded(LIMITS.other + 1)).await.problem(422, "INVALID");
    post("/api/v1/telemetry", json, padded(LIMITS.telemetry + 1)).await.problem(413, "PAYLOAD_TOO_LARGE");
    post(devices, "", padded(20)).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    post(devices, "text/plain", padded(20)).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    post(devices, json, b"{\"name\":".to_vec()).await.problem(400, "MALFORMED_JSON");
    post(devices, json, Vec::new()).await.problem(400, "MALFORMED_JSON");
    post(devices, json, b"{\"name\":\"\xff\"}".to_vec()).await.problem(400, "MALFORMED_JSON");
    post(devices, json, "[".repeat(9_000).into_bytes()).await.problem(422, "INVALID");
}

#[ntex::test]
async fn the_process_is_alive_and_ready() {
    let platform = Platform::start().await;
    for path in ["/health", "/ready?probe=1"] {
        assert_eq!(platform.get("", path).await.expect(200), json!({"status": "ok"}));
    }
}

#[ntex::test]
async fn a_wrong_token_for_metrics_is_refused() {
    let platform = Platform::start_with(ThrottleLimits::PEOPLE, Some("s3cret")).await;
    platform.get("other", "/metrics").await.problem(401, "UNAUTHENTICATED");
    let reply = platform.get("s3cret", "/metrics").await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "pocket_up 1\n# EOF\n"));
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
}

#[ntex::test]
async fn a_log_in_has_a_short_body() {
    let platform = Platform::start().await;
    let login = |length: usize| json!({"username": "x".repeat(length), "password": PASSWORD});
    platform.post("", "/api/v1/auth/login", login(3_000)).await.problem(401, "UNAUTHENTICATED");
    platform.post("", "/api/v1/auth/login", login(4_096)).await.problem(413, "PAYLOAD_TOO_LARGE");
}

#[ntex::test]
async fn a_query_has_few_and_short_parameters() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let many: Vec<String> = (0..257).map(|n| format!("p{n}")).collect();
    let long = format!("name={}", "x".repeat(8_192));
    for query in [many.join("&"), long] {
        let reply = platform.get(&admin, &format!("/api/v1/devices?{query}")).await;
        reply.problem(422, "INVALID");
        assert!(reply.text.contains("the query must"), "{}", reply.text);
        platform.get("", &format!("/api/v1/devices?{query}")).await.problem(401, "UNAUTHENTICATED");
    }
}
