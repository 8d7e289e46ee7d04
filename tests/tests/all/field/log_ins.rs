//! The forms in which clients show a token or a password.

use pocket_tests::{Device, Platform};
use serde_json::json;

use super::stage::{Connect, Stage};

#[tokio::test]
async fn a_right_token_in_a_harmless_wrapping_gets_in() {
    let stage = Stage::start().await;
    let (id, token) = (&*stage.device.id, &*stage.device.token);
    let plain = token.replace('-', "");
    let wrapped: Vec<(&str, Connect)> = vec![
        ("1 an empty password", Connect::of(token, "")),
        ("2 the same with 5.0", Connect::of(token, "").v5()),
        ("3 no password", Connect { password: None, ..Connect::of(token, "") }),
        ("5 a shortened id", Connect::of(&id[..32], token)),
        ("6 any password", Connect::of(token, "x")),
        ("7 a line break", Connect::of(id, format!("{token}\n"))),
        ("8 a blank before it", Connect::of(id, format!(" {token}"))),
        ("9 upper case", Connect::of(id, token.to_uppercase())),
        ("10 no dashes", Connect::of(id, &plain)),
        ("11 a blank after the id", Connect::of(format!("{id} "), token)),
        ("12 5.0 with a password alone", Connect { username: None, ..Connect::of("", token) }.v5()),
        ("the line break of another system", Connect::of(id, format!("{token}\r\n"))),
        ("the byte order mark of a file", Connect::of(format!("\u{feff}{token}"), "")),
        ("a blank of no width, copied from a page", Connect::of(id, format!("{token}\u{200b}"))),
        ("quotation marks", Connect::of(id, format!("\"{token}\""))),
        ("the zero byte of a text in C", Connect::of(id, format!("{token}\0"))),
        ("upper case without dashes as user name", Connect::of(plain.to_uppercase(), "")),
        ("an id in upper case", Connect::of(id.to_uppercase(), token)),
        ("an id without dashes", Connect::of(id.replace('-', ""), token)),
        ("the name of the device", Connect::of("boiler-1", token)),
        ("a name of nobody", Connect::of("homeassistant", token)),
        ("the token as both", Connect::of(token, token)),
        ("bytes that are no text beside it", Connect::of(token, [0xff, 0xfe])),
        ("a bridge's password of a template", Connect::of(token, "changeme")),
    ];
    for (what, connect) in wrapped {
        let (mut wire, code) = stage.answer(&connect).await;
        assert_eq!(code, Some(0), "{what}");
        let is_v5 = connect.level == 5;
        let stored = if is_v5 { wire.publish5("t", b"1").await == 0 } else { wire.publish("t", b"1").await };
        assert!(stored, "{what}");
    }
}

#[tokio::test]
async fn what_is_wrong_stays_refused() {
    let stage = Stage::start().await;
    let other = Device::register(&stage.admin, "boiler-2").await;
    let (id, token) = (&*stage.device.id, &*stage.device.token);
    let wrong = "0000-0000-0000";
    for (what, connect) in [
        ("another device's id", Connect::of(&other.id, token)),
        ("the beginning of another device's id", Connect::of(&other.id[..32], token)),
        ("an id of nobody", Connect::of("0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f", token)),
        ("a wrong token", Connect::of(id, wrong)),
        ("two wrong tokens", Connect::of(wrong, wrong)),
        ("tokens of two devices", Connect::of(&other.token, token)),
        ("half a token", Connect::of(id, &token[..7])),
        ("a token and more", Connect::of(id, format!("{token}0"))),
        ("nothing", Connect { username: None, password: None, ..Connect::of("", "") }),
        ("the id alone", Connect::of(id, "")),
    ] {
        assert!(matches!(stage.answer(&connect).await.1, Some(4)), "{what}");
    }
    assert_eq!(stage.answer(&Connect::of(&other.id, token).v5()).await.1, Some(0x86));
}

#[tokio::test]
async fn failures_of_strangers_do_not_lock_out_who_proves_itself() {
    let stage = Stage::start().await;
    let (id, token) = (&*stage.device.id, &*stage.device.token);
    stage.connected().await;
    let mut last = None;
    for _ in 0..31 {
        // 13 a wrong token as user name, 15 one beside the right id
        stage.answer(&Connect { password: None, ..Connect::of("0000-0000-0000", "") }).await;
        last = stage.answer(&Connect::of(id, "0000-0000-0000")).await.1;
    }
    assert_eq!(last, Some(3), "who is wrong is slowed down");
    assert_eq!(stage.answer(&Connect { password: None, ..Connect::of(token, "") }).await.1, Some(0));
    assert_eq!(stage.answer(&Connect::of(id, token)).await.1, Some(0));
    // 14 more failures than one address may have
    for n in 0..1_001 {
        stage.answer(&Connect::of(format!("0192f3c8-7b1a-7cc2-9d0e-{n:012}"), "0000-0000-0000")).await;
    }
    let new = Device::register(&stage.admin, "boiler-3").await;
    for (what, connect) in [
        ("a device that was in before", Connect::of(id, token)),
        ("a device that was not", Connect::of(&new.id, &new.token)),
        ("a device with its token alone", Connect::of(&new.token, "")),
    ] {
        assert_eq!(stage.answer(&connect).await.1, Some(0), "{what}");
    }
    assert_eq!(stage.answer(&Connect::of("nobody", "0000-0000-0000")).await.1, Some(3));
}

#[tokio::test]
async fn clients_of_mqtt_3_1_and_bridges_come_in() {
    let stage = Stage::start().await;
    let mut listener = stage.connected().await;
    listener.subscribe("#").await;
    let of = || Connect { client_id: "two".to_owned(), ..Connect::of(&stage.device.id, &stage.device.token) };
    for (what, connect) in [
        ("17 MQTT 3.1", Connect { name: "MQIsdp", level: 3, ..of() }),
        ("a bridge of 3.1", Connect { name: "MQIsdp", level: 0x83, ..of() }),
        (
            "56 a bridge of 3.1.1 with its will",
            Connect { level: 0x84, will: Some(("$SYS/broker/connection/home/state", b"0")), is_clean: false, ..of() },
        ),
    ] {
        let (mut wire, code) = stage.answer(&connect).await;
        assert_eq!(code, Some(0), "{what}");
        assert!(wire.publish_with(0x33, "$SYS/broker/connection/home/state", b"1").await, "{what}");
        assert!(wire.publish("home/x", b"21").await, "{what}");
        assert_eq!(listener.message().await, (false, "home/x".to_owned(), b"21".to_vec()), "{what}");
        if connect.level & 0x80 != 0 {
            // What a bridge publishes does not come back to it.
            wire.subscribe("#").await;
            assert!(wire.publish("home/y", b"22").await);
            assert_eq!(listener.message().await.1, "home/y");
            assert!(wire.publish("home/z", b"23").await);
            assert_eq!(listener.message().await.1, "home/z");
        }
    }
    let device = stage.admin.get(&format!("/api/v1/devices/{}", stage.device.id)).await.expect(200);
    assert_eq!(device["lastRejection"], json!(null));
    assert_eq!(stage.answer(&Connect { name: "MQIsdp", level: 2, ..of() }).await.1, Some(1));
}

#[tokio::test]
async fn people_connect_with_their_password() {
    let stage = Stage::start().await;
    let password = "another horse battery";
    let user = json!({ "username": "ann", "password": password, "role": "operator" });
    stage.admin.post("/api/v1/users", user).await.expect(201);
    for (username, password) in [("admin", Platform::ADMIN_PASSWORD), ("ann", password), ("default/ann", password)] {
        for _ in 0..2 {
            let mut wire = stage.accepted(&Connect::of(username, password)).await;
            assert!(wire.publish("cmnd/x/POWER", b"ON").await, "{username}");
        }
    }
    for (username, password) in
        [("ann", Platform::ADMIN_PASSWORD), ("bob", password), ("acme/ann", password), ("ann", "")]
    {
        assert_eq!(stage.answer(&Connect::of(username, password)).await.1, Some(4), "{username}");
    }
    // A new password ends what the old one opened, and the old one with it.
    let mut wire = stage.accepted(&Connect::of("ann", password)).await;
    let users = stage.admin.get("/api/v1/users").await.expect(200);
    let ann = users["data"].as_array().unwrap().iter().find(|user| user["username"] == "ann").unwrap();
    let path = format!("/api/v1/users/{}/password", ann["id"].as_str().unwrap());
    let status = stage.admin.post(&path, json!({ "password": "a third horse battery" })).await.status;
    assert!(status.is_success(), "{status}");
    assert_eq!(wire.packet().await, None);
    assert_eq!(stage.answer(&Connect::of("ann", password)).await.1, Some(4));
    assert_eq!(stage.answer(&Connect::of("ann", "a third horse battery")).await.1, Some(0));
}
