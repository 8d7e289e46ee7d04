use std::time::Duration;

use pocket_application::ThrottleLimits;
use serde_json::json;

use super::platform::{PASSWORD, Platform, TTL};

const LOGIN: &str = "/api/v1/auth/login";

#[ntex::test]
async fn a_log_in_gives_a_token_that_tells_who_one_is() {
    let platform = Platform::start().await;
    let reply = platform.post("", LOGIN, json!({"username": "admin", "password": PASSWORD})).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let session = reply.expect(200);
    assert_eq!((&session["tokenType"], &session["expiresIn"]), (&json!("Bearer"), &json!(3600)));
    let me = platform.get(session["token"].as_str().unwrap(), "/api/v1/auth/me").await.expect(200);
    assert_eq!(me, session["user"]);
    assert_eq!((&me["username"], &me["role"]), (&json!("admin"), &json!("platform_admin")));
}

#[ntex::test]
async fn wrong_names_and_passwords_are_answered_alike() {
    let platform = Platform::start().await;
    let mut answers = Vec::new();
    for body in [
        json!({"username": "admin", "password": "wrong"}),
        json!({"username": "nobody", "password": PASSWORD}),
        json!({"username": "NOT A NAME", "password": PASSWORD}),
        json!({"username": "admin", "password": PASSWORD, "tenant": "other"}),
    ] {
        let reply = platform.post("", LOGIN, body).await;
        assert_eq!(reply.problem(401, "UNAUTHENTICATED"), [""; 0]);
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        answers.push(reply.text);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[ntex::test]
async fn too_many_failures_are_answered_with_the_time_to_wait() {
    let limits = ThrottleLimits { per_account: 2, per_source: 100, window: Duration::from_secs(60) };
    let platform = Platform::start_with(limits, None).await;
    let wrong = json!({"username": "admin", "password": "wrong"});
    for _ in 0..2 {
        platform.post("", LOGIN, wrong.clone()).await.problem(401, "UNAUTHENTICATED");
    }
    let reply = platform.post("", LOGIN, json!({"username": "admin", "password": PASSWORD})).await;
    reply.problem(429, "TOO_MANY_ATTEMPTS");
    assert_eq!(reply.header("retry-after"), "60");
    platform.clock.advance(Duration::from_secs(60));
    platform.admin().await;
}

#[ntex::test]
async fn calls_without_a_valid_token_are_refused() {
    let platform = Platform::start().await;
    let token = platform.admin().await;
    for path in ["/api/v1/auth/me", "/api/v1/devices", "/api/v1/telemetry", "/api/v1/users", "/api/v1/tenants"] {
        for wrong in ["", "x", "a.b.c", &token[..token.len() - 1]] {
            let reply = platform.get(wrong, path).await;
            reply.problem(401, "UNAUTHENTICATED");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
    platform.clock.advance(TTL);
    platform.get(&token, "/api/v1/auth/me").await.problem(401, "UNAUTHENTICATED");
}

#[ntex::test]
async fn a_refreshed_token_lives_on_when_the_first_has_ended() {
    let platform = Platform::start().await;
    let first = platform.admin().await;
    platform.clock.advance(TTL / 2);
    let session = platform.post(&first, "/api/v1/auth/refresh", json!(null)).await.expect(200);
    platform.clock.advance(TTL / 2);
    platform.get(&first, "/api/v1/auth/me").await.problem(401, "UNAUTHENTICATED");
    platform.get(session["token"].as_str().unwrap(), "/api/v1/auth/me").await.expect(200);
}
