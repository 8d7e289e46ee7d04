//! Commands, births, deaths, and everything else that is not JSON.

use pocket_tests::{Launch, Platform};
use serde_json::{Value, json};

use super::stage::{Connect, Stage};

/// What is kept of a payload by default; `None`: nothing, as it is empty.
fn kept(payload: &[u8]) -> Option<Value> {
    match payload {
        b"" => None,
        b"\x08\x96\xff" => Some(json!({ "base64": "CJb/" })),
        other => {
            let text = std::str::from_utf8(other).expect("the other payloads are text");
            Some(serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
        }
    }
}

#[tokio::test]
async fn what_is_published_is_delivered_as_it_came_and_kept_as_an_owner_would_want() {
    let stage = Stage::start().await;
    let mut listener = stage.connected().await;
    listener.subscribe("#").await;
    let connect = Connect { client_id: "two".to_owned(), ..Connect::of(&stage.device.id, &stage.device.token) };
    let mut wire = stage.accepted(&connect).await;
    let mut wire5 = stage.accepted(&Connect { client_id: "three".to_owned(), ..connect }.v5()).await;
    let payloads: [&[u8]; 18] = [
        b"ON",
        b"Online",
        b"offline",
        b"23.5 C",
        b"nan",
        b".5",
        b"-",
        b"12:30",
        b"",
        b"21.5",
        b"true",
        b"\"ON\"",
        b"{\"a\":1}",
        b"[1,2]",
        "21 \u{b0}C".as_bytes(),
        b"\x08\x96\xff",
        b"ON\n",
        b"2026-11-25T12:00:00",
    ];
    let mut expected = Vec::new();
    for payload in payloads {
        for flags in [0x30, 0x32, 0x34] {
            assert!(wire.publish_with(flags, "cmnd/x/POWER", payload).await, "{payload:?}");
            assert_eq!(listener.message().await, (false, "cmnd/x/POWER".to_owned(), payload.to_vec()));
            expected.extend(kept(payload));
        }
        assert_eq!(wire5.publish5("cmnd/y/POWER", payload).await, 0, "{payload:?}");
        assert_eq!(listener.message().await, (false, "cmnd/y/POWER".to_owned(), payload.to_vec()));
        expected.extend(kept(payload));
    }
    // Messages of QoS 0 are stored with those after them.
    wire.publish("last", b"1").await;
    expected.push(json!(1));
    let rows = stage.rows().await;
    let found: Vec<&Value> = rows.iter().map(|row| &row["payload"]).collect();
    assert_eq!(found.len(), expected.len());
    for value in &expected {
        let count = |values: Vec<&Value>| values.iter().filter(|other| **other == value).count();
        assert_eq!(count(found.clone()), count(expected.iter().collect()), "{value}");
    }
    let device = stage.admin.get(&format!("/api/v1/devices/{}", stage.device.id)).await.expect(200);
    assert_eq!(device["lastRejection"], json!(null));
}

#[tokio::test]
async fn a_device_that_comes_back_is_not_shown_as_gone() {
    let stage = Stage::start().await;
    for (number, topic, gone, back) in [
        (19, "tele/x/LWT", &b"Offline"[..], &b"Online"[..]),
        (20, "kitchen/status", b"offline", b"online"),
        (0, "shellies/door/online", b"false", b"true"),
        (0, "homie/x/$state", b"lost", b"ready"),
        (0, "N/0/state", b"", b"\x01\xfe"),
    ] {
        for level in [4, 5] {
            let connect = Connect { level, ..Connect::of(&stage.device.id, &stage.device.token) };
            let will = Connect { will: Some((topic, gone)), ..connect.clone() };
            drop(stage.accepted(&will).await);
            let mut wire = stage.accepted(&Connect { client_id: "one".to_owned(), ..connect.clone() }).await;
            let is_stored = match level {
                5 => wire.publish5("warm", b"1").await == 0,
                _ => wire.publish("warm", b"1").await,
            };
            assert!(is_stored);
            // A message of QoS 1 after it on the same connection, so that the retained one is there.
            if level == 5 {
                wire.retain5(topic, back).await;
                assert_eq!(wire.publish5("after", b"1").await, 0);
            } else {
                assert!(wire.publish_with(0x31, topic, back).await);
                assert!(wire.publish("after", b"1").await);
            }
            let late = Connect { client_id: "late".to_owned(), ..Connect::of(&stage.device.id, &stage.device.token) };
            let mut late = stage.accepted(&late).await;
            late.subscribe(topic).await;
            assert_eq!(late.message().await, (true, topic.to_owned(), back.to_vec()), "{number} {topic} {level}");
        }
    }
}

#[tokio::test]
async fn a_will_is_judged_as_the_message_that_it_is() {
    let stage = Stage::of(Launch::default().set("ingest.payload_policy", "json")).await;
    let will = |payload: &'static [u8]| {
        let connect = Connect::of(&stage.device.id, &stage.device.token);
        Connect { client_id: "willing".to_owned(), will: Some(("state", payload)), ..connect }
    };
    let mut listener = stage.connected().await;
    listener.subscribe("#").await;
    drop(stage.accepted(&will(b"Offline")).await);
    let rejection = stage.rejection("not JSON").await;
    assert_eq!(rejection["topic"], "state");
    drop(stage.accepted(&will(b"\"Offline\"")).await);
    assert_eq!(listener.message().await.2, b"\"Offline\"");
    let mut wire = stage.accepted(&will(b"1")).await;
    assert!(wire.publish("state", b"Online").await, "3.1.1 acknowledges what it cannot refuse");
    assert!(wire.publish("state", b"\"Online\"").await);
    assert_eq!(listener.message().await.2, b"\"Online\"");
}

#[tokio::test]
async fn what_people_say_is_delivered_and_not_stored() {
    let stage = Stage::start().await;
    let mut listener = stage.connected().await;
    listener.subscribe("#").await;
    let mut wire = stage.accepted(&Connect::of("admin", Platform::ADMIN_PASSWORD)).await;
    for (number, topic, payload) in [
        (24, "cmnd/x/POWER", &b"ON"[..]),
        (25, "homeassistant/status", b"online"),
        (21, "cmnd/x/POWER", b""),
        (0, "zigbee2mqtt/bridge/request/restart", b""),
    ] {
        assert!(wire.publish(topic, payload).await);
        assert_eq!(listener.message().await, (false, topic.to_owned(), payload.to_vec()), "{number}");
    }
    assert_eq!(stage.rows().await, Vec::<Value>::new());
}

#[tokio::test]
async fn tenants_keep_their_policy_and_new_ones_get_what_is_set() {
    let stage = Stage::of(Launch::default().set("ingest.payload_policy", "any")).await;
    let tenants = stage.admin.get("/api/v1/tenants").await.expect(200);
    assert_eq!(tenants["data"][0]["payloadPolicy"], "any");
    let acme = stage.admin.post("/api/v1/tenants", json!({ "name": "acme" })).await.expect(201);
    assert_eq!(acme["payloadPolicy"], "any");
    let other = json!({ "name": "other", "payloadPolicy": "auto" });
    assert_eq!(stage.admin.post("/api/v1/tenants", other).await.expect(201)["payloadPolicy"], "auto");
    let mut wire = stage.connected().await;
    for (payload, kept) in [
        (&b"ON"[..], json!({ "raw": "ON" })),
        (b"{broken", json!({ "raw": "{broken" })),
        (b"\xff", json!({ "base64": "/w==" })),
        (b"21", json!(21)),
    ] {
        assert!(wire.publish("t", payload).await);
        assert_eq!(stage.rows().await.last().unwrap()["payload"], kept);
    }
    assert!(wire.publish("t", b"").await);
    assert_eq!(stage.rows().await.len(), 4);
}
