//! Devices that keep the user name and password that their firmware already has.

use pocket_tests::{Api, Device, Launch, PostgresDatabase, TwoTenants};
use serde_json::json;

use super::stage::{Connect, Stage};

const PASSWORD: &str = "s3cr3t-of-old";

fn path(device: &str) -> String {
    format!("/api/v1/devices/{device}/credentials")
}

async fn give(operator: &Api, device: &str, username: &str, password: &str) {
    let answer = operator.put(&path(device), json!({ "username": username, "password": password })).await;
    let device = answer.expect(200);
    assert_eq!(device["username"], username);
    assert!(!device.to_string().contains(password) && !device.to_string().contains("argon2"), "{device}");
}

async fn a_device_logs_in_with_what_it_has(launch: Launch) {
    let stage = Stage::of(launch).await;
    let (id, token) = (&*stage.device.id, &*stage.device.token);
    for username in ["AABBCCDDEEFF", "tasmota 1", "küche/licht", "livingroom12"] {
        give(&stage.admin, id, username, PASSWORD).await;
        for connect in [Connect::of(username, PASSWORD), Connect::of(username, PASSWORD).v5()] {
            stage.accepted(&connect).await;
        }
        assert_eq!(stage.answer(&Connect::of(username, "s3cr3t-of-new")).await.1, Some(4), "{username}");
    }
    let mut wire = stage.accepted(&Connect::of("livingroom12", PASSWORD)).await;
    assert!(wire.publish("home/temp", b"21").await);
    assert_eq!(stage.rows().await.last().unwrap()["deviceId"], id);
    // The token is as good as before, and so is the token beside the user name.
    for connect in [Connect::of(id, token), Connect::of(token, ""), Connect::of("livingroom12", token)] {
        stage.accepted(&connect).await;
    }
    for (username, password) in [
        ("AABBCCDDEEFF", PASSWORD),
        ("nobody", PASSWORD),
        ("LIVINGROOM12", PASSWORD),
        (id, PASSWORD),
        ("livingroom12", ""),
    ] {
        assert_eq!(stage.answer(&Connect::of(username, password)).await.1, Some(4), "{username} {password}");
    }
    let shown = stage.admin.get(&format!("/api/v1/devices/{id}")).await.expect(200);
    assert_eq!(shown["username"], "livingroom12");
    let list = stage.admin.get("/api/v1/devices").await.expect(200);
    assert_eq!(list["data"][0]["username"], "livingroom12");
    stage.log_has("device was given a user name and password").await;
    assert!(!stage.platform.log().contains(PASSWORD));
}

async fn a_change_ends_what_the_old_password_opened(launch: Launch) {
    let stage = Stage::of(launch).await;
    let id = &*stage.device.id;
    let other = |client: &str, connect: Connect| Connect { client_id: client.to_owned(), ..connect };
    give(&stage.admin, id, "mqtt", PASSWORD).await;
    let mut by_token = stage.accepted(&other("two", Connect::of(id, &*stage.device.token))).await;
    let mut by_password = stage.accepted(&Connect::of("mqtt", PASSWORD)).await;
    // A new token ends nothing of the password.
    let renewed = stage.admin.post(&format!("/api/v1/devices/{id}/regenerate-token"), json!({})).await.expect(201);
    assert_eq!(by_token.packet().await, None);
    assert!(by_password.publish("home/temp", b"1").await);
    give(&stage.admin, id, "mqtt", "an0ther-secret").await;
    assert_eq!(by_password.packet().await, None);
    assert_eq!(stage.answer(&Connect::of("mqtt", PASSWORD)).await.1, Some(4));
    let mut by_password = stage.accepted(&Connect::of("mqtt", "an0ther-secret")).await;
    let token = renewed["token"].as_str().unwrap();
    let mut by_token = stage.accepted(&other("two", Connect::of(id, token))).await;
    assert_eq!(stage.admin.delete(&path(id)).await.status, 204);
    assert_eq!(by_password.packet().await, None);
    assert!(by_token.publish("home/temp", b"2").await);
    assert_eq!(stage.answer(&Connect::of("mqtt", "an0ther-secret")).await.1, Some(4));
    assert_eq!(stage.admin.delete(&path(id)).await.status, 204, "there is none any more");
    assert!(stage.admin.get(&format!("/api/v1/devices/{id}")).await.expect(200)["username"].is_null());
    // What a disabled device has is told apart from what is wrong, as for tokens.
    give(&stage.admin, id, "mqtt", PASSWORD).await;
    let mut by_password = stage.accepted(&Connect::of("mqtt", PASSWORD)).await;
    stage.admin.patch(&format!("/api/v1/devices/{id}"), json!({ "enabled": false })).await.expect(200);
    assert_eq!(by_password.packet().await, None);
    assert_eq!(stage.answer(&Connect::of("mqtt", PASSWORD)).await.1, Some(5));
    stage.admin.delete(&format!("/api/v1/devices/{id}")).await;
    assert_eq!(stage.answer(&Connect::of("mqtt", PASSWORD)).await.1, Some(4));
}

async fn tenants_may_use_the_same_user_name(launch: Launch) {
    let tenants = TwoTenants::start(launch).await;
    let (a, b) = (&tenants.a, &tenants.b);
    let second = Device::register(&a.operator, "second").await;
    give(&a.operator, &a.device.id, "mqtt", PASSWORD).await;
    give(&b.operator, &b.device.id, "mqtt", "an0ther-secret").await;
    let taken = a.operator.put(&path(&second.id), json!({ "username": "mqtt", "password": "a-third-secret" })).await;
    assert_eq!((taken.status.as_u16(), &taken.body["code"]), (409, &json!("USERNAME_TAKEN")), "{}", taken.body);
    let stage = Stage { device: second, admin: tenants.root, platform: tenants.platform };
    for (tenant, password) in [(a, PASSWORD), (b, "an0ther-secret")] {
        let mut wire = stage.accepted(&Connect::of("mqtt", password)).await;
        assert!(wire.publish("home/temp", password.as_bytes()).await);
        let rows = tenant.admin.telemetry("order=asc").await;
        assert_eq!(rows.last().unwrap()["deviceId"], *tenant.device.id);
    }
    // With the same password nobody can tell whose it is, though it was known a moment ago.
    give(&b.operator, &b.device.id, "mqtt", PASSWORD).await;
    assert_eq!(stage.answer(&Connect::of("mqtt", PASSWORD)).await.1, Some(4));
    stage.log_has("several have this user name and password").await;
    assert_eq!(b.operator.delete(&path(&b.device.id)).await.status, 204);
    stage.accepted(&Connect::of("mqtt", PASSWORD)).await;
    assert_eq!(a.viewer.put(&path(&a.device.id), json!({ "username": "x", "password": PASSWORD })).await.status, 403);
    assert_eq!(a.viewer.delete(&path(&a.device.id)).await.status, 403);
}

#[tokio::test]
async fn a_device_logs_in_with_what_it_has_in_sqlite() {
    a_device_logs_in_with_what_it_has(Launch::default()).await;
}

#[tokio::test]
async fn a_device_logs_in_with_what_it_has_in_postgresql() {
    let database = PostgresDatabase::create().await;
    a_device_logs_in_with_what_it_has(Launch::default().set("database.url", &database.url())).await;
}

#[tokio::test]
async fn a_change_ends_what_the_old_password_opened_in_sqlite() {
    a_change_ends_what_the_old_password_opened(Launch::default()).await;
}

#[tokio::test]
async fn a_change_ends_what_the_old_password_opened_in_postgresql() {
    let database = PostgresDatabase::create().await;
    a_change_ends_what_the_old_password_opened(Launch::default().set("database.url", &database.url())).await;
}

#[tokio::test]
async fn tenants_may_use_the_same_user_name_in_sqlite() {
    tenants_may_use_the_same_user_name(Launch::default()).await;
}

#[tokio::test]
async fn tenants_may_use_the_same_user_name_in_postgresql() {
    let database = PostgresDatabase::create().await;
    tenants_may_use_the_same_user_name(Launch::default().set("database.url", &database.url())).await;
}

#[tokio::test]
async fn what_cannot_be_given_is_refused_with_words() {
    let stage = Stage::start().await;
    let long = "a".repeat(129);
    for (username, password, words) in [
        ("", PASSWORD, "1 to 128 bytes"),
        (&long, PASSWORD, "1 to 128 bytes"),
        ("a\nb", PASSWORD, "control characters"),
        (" mqtt", PASSWORD, "white space"),
        (&*stage.device.id, PASSWORD, "a device id"),
        ("0192F3C87B1A7CC29D0E0A1B2C3D4E5F", PASSWORD, "a device id"),
        (&*stage.device.token, PASSWORD, "a device token"),
        ("mqtt", "seven77", "8 to 256 bytes"),
        ("mqtt", &"ab".repeat(129), "8 to 256 bytes"),
        ("tasmota-1", "Tasmota-1", "the user name"),
        ("mqtt", "password", "commonest"),
        ("mqtt", "77777777", "commonest"),
        ("mqtt", &*stage.device.token, "a device token"),
    ] {
        let body = json!({ "username": username, "password": password });
        let answer = stage.admin.put(&path(&stage.device.id), body).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert!(answer.status == 422 && detail.contains(words), "{username} {password}: {}", answer.body);
    }
    let nobody = path("0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f");
    assert_eq!(stage.admin.put(&nobody, json!({ "username": "mqtt", "password": PASSWORD })).await.status, 404);
    assert_eq!(stage.admin.delete(&nobody).await.status, 404);
}

#[tokio::test]
async fn a_password_that_was_right_is_heard_however_often_strangers_failed() {
    let stage = Stage::start().await;
    give(&stage.admin, &stage.device.id, "mqtt", PASSWORD).await;
    stage.accepted(&Connect::of("mqtt", PASSWORD)).await;
    let mut last = None;
    for _ in 0..31 {
        last = stage.answer(&Connect::of("mqtt", "0000-0000-0000")).await.1;
    }
    assert_eq!(last, Some(3), "who is wrong is slowed down");
    stage.accepted(&Connect::of("mqtt", PASSWORD)).await;
    assert_eq!(stage.answer(&Connect::of("mqtt", "s3cr3t-of-new")).await.1, Some(3));
}
