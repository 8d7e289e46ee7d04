use std::time::Duration;

use pocket_application::{Options, ThrottleLimits};
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

#[ntex::test]
async fn a_log_in_ends_at_a_time_however_often_it_is_renewed() {
    let platform = Platform::start().await;
    let mut token = platform.admin().await;
    let renewals = Options::MAX_LOGIN_AGE.as_secs() / (TTL.as_secs() / 2);
    for _ in 1..renewals {
        platform.clock.advance(TTL / 2);
        let session = platform.post(&token, "/api/v1/auth/refresh", json!(null)).await.expect(200);
        token = session["token"].as_str().unwrap().to_owned();
    }
    let session = platform.post(&token, "/api/v1/auth/refresh", json!(null)).await.expect(200);
    assert_eq!(session["expiresIn"], json!(TTL.as_secs() / 2));
    platform.clock.advance(TTL / 2);
    for path in ["/api/v1/auth/refresh", "/api/v1/auth/logout"] {
        platform.post(&token, path, json!(null)).await.problem(401, "UNAUTHENTICATED");
    }
    platform.admin().await;
}

#[ntex::test]
async fn who_logs_out_ends_this_log_in_and_its_renewed_tokens_alone() {
    let platform = Platform::start().await;
    let (first, other) = (platform.admin().await, platform.admin().await);
    let renewed = platform.post(&first, "/api/v1/auth/refresh", json!(null)).await.expect(200);
    platform.post(&first, "/api/v1/auth/logout?all=maybe", json!(null)).await.problem(422, "INVALID");
    platform.post(&first, "/api/v1/auth/logout", json!(null)).await.expect(204);
    for ended in [&first, renewed["token"].as_str().unwrap()] {
        platform.get(ended, "/api/v1/auth/me").await.problem(401, "UNAUTHENTICATED");
        platform.post(ended, "/api/v1/auth/refresh", json!(null)).await.problem(401, "UNAUTHENTICATED");
    }
    platform.get(&other, "/api/v1/auth/me").await.expect(200);
}

#[ntex::test]
async fn who_logs_out_everywhere_ends_all_log_ins_of_their_own() {
    let platform = Platform::start().await;
    let (first, other) = (platform.admin().await, platform.admin().await);
    let tenant = platform.tenant(&first, "acme").await;
    let viewer = platform.user(&first, &tenant, "viewer").await;
    platform.post(&first, "/api/v1/auth/logout?all=true", json!(null)).await.expect(204);
    for ended in [&first, &other] {
        platform.get(ended, "/api/v1/auth/me").await.problem(401, "UNAUTHENTICATED");
    }
    platform.get(&viewer, "/api/v1/auth/me").await.expect(200);
    platform.admin().await;
}
