use pocket_application::ThrottleLimits;
use serde_json::json;

use super::platform::{PASSWORD, Platform};

const USERS: &str = "/api/v1/users";

#[ntex::test]
async fn a_user_is_added_shown_listed_changed_and_removed() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let body = json!({"username": "ann", "password": PASSWORD, "role": "operator"});
    let reply = platform.post(&admin, USERS, body).await;
    let ann = reply.expect(201);
    assert!(!reply.text.contains("password") && !reply.text.contains("argon2"), "{}", reply.text);
    let path = format!("{USERS}/{}", ann["id"].as_str().unwrap());
    assert_eq!(reply.header("location"), path);
    assert_eq!(platform.get(&admin, &path).await.expect(200), ann);
    assert_eq!(platform.get(&admin, USERS).await.expect(200)["pagination"]["total"], 2);

    let token = platform.login("default", "ann").await;
    let changed = platform.call(&admin, "PATCH", &path, json!({"role": "viewer"})).await.expect(200);
    assert_eq!((&changed["role"], &changed["username"]), (&json!("viewer"), &json!("ann")));
    platform.post(&token, "/api/v1/devices", json!({"name": "a"})).await.problem(403, "FORBIDDEN");

    platform.call(&admin, "DELETE", &path, json!(null)).await.expect(204);
    platform.get(&token, "/api/v1/auth/me").await.problem(401, "UNAUTHENTICATED");
    platform.call(&admin, "DELETE", &path, json!(null)).await.problem(404, "NOT_FOUND");
}

#[ntex::test]
async fn every_wrong_field_of_a_user_is_named_and_no_password_is_repeated() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let body = json!({"username": "X", "password": "too-short", "role": "viewer"});
    let reply = platform.post(&admin, USERS, body).await;
    assert_eq!(reply.problem(422, "INVALID"), ["password", "username"]);
    assert!(!reply.text.contains("too-short"));
    let body = json!({"username": "ann", "password": PASSWORD, "role": "root"});
    assert_eq!(platform.post(&admin, USERS, body).await.problem(422, "INVALID"), ["role"]);
    let body = json!({"username": "admin", "password": PASSWORD, "role": "viewer"});
    assert_eq!(platform.post(&admin, USERS, body).await.problem(409, "USERNAME_TAKEN"), ["username"]);
}

#[ntex::test]
async fn the_last_administrator_stays() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let me = platform.get(&admin, "/api/v1/auth/me").await.expect(200);
    let path = format!("{USERS}/{}", me["id"].as_str().unwrap());
    platform.call(&admin, "DELETE", &path, json!(null)).await.problem(409, "LAST_ADMIN");
    platform.call(&admin, "PATCH", &path, json!({"role": "viewer"})).await.problem(409, "LAST_ADMIN");
}

#[ntex::test]
async fn a_new_password_ends_the_old_token() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let tenant = platform.tenant(&admin, "acme").await;
    let viewer = platform.user(&admin, &tenant, "viewer").await;
    let me = platform.get(&viewer, "/api/v1/auth/me").await.expect(200);
    let path = format!("{USERS}/{}/password", me["id"].as_str().unwrap());
    let new = "another horse battery";
    for wrong in [json!({"password": new}), json!({"password": new, "currentPassword": "wrong"})] {
        assert_eq!(platform.post(&viewer, &path, wrong).await.problem(422, "INVALID"), ["currentPassword"]);
    }
    platform.post(&viewer, &path, json!({"password": new, "currentPassword": PASSWORD})).await.expect(204);
    platform.get(&viewer, "/api/v1/auth/me").await.problem(401, "UNAUTHENTICATED");
    let login = json!({"tenant": "acme", "username": "some-viewer", "password": new});
    platform.post("", "/api/v1/auth/login", login).await.expect(200);
}

#[ntex::test]
async fn nobody_changes_their_own_password_by_a_token_alone_and_guesses_are_counted() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let me = platform.get(&admin, "/api/v1/auth/me").await.expect(200);
    let path = format!("{USERS}/{}/password", me["id"].as_str().unwrap());
    let new = "another horse battery";
    assert_eq!(
        platform.post(&admin, &path, json!({"password": new})).await.problem(422, "INVALID"),
        ["currentPassword"]
    );
    for _ in 0..ThrottleLimits::PEOPLE.per_account {
        let guess = json!({"password": new, "currentPassword": "guess"});
        platform.post(&admin, &path, guess).await.problem(422, "INVALID");
    }
    let right = json!({"password": new, "currentPassword": PASSWORD});
    let reply = platform.post(&admin, &path, right.clone()).await;
    reply.problem(429, "TOO_MANY_ATTEMPTS");
    assert_eq!(reply.header("retry-after"), "60");
    platform.clock.advance(ThrottleLimits::PEOPLE.window);
    platform.post(&admin, &path, right).await.expect(204);
}
