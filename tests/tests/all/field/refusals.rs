//! Whatever is refused, its owner is told, whichever rule or limit it was.

use std::time::Duration;

use pocket_tests::{Device, Launch};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::stage::{Connect, Stage};

#[tokio::test]
async fn a_reason_shows_what_came_and_names_what_is_wrong() {
    let stage = Stage::of(Launch::default().set("ingest.payload_policy", "json")).await;
    let mut wire = stage.connected().await;
    for (number, payload, shown, named) in [
        (65, r#"{"a":nan}"#, r#"{"a":nan}"#, "`nan`"),
        (66, r#"{"a":-nan}"#, r#"{"a":-nan}"#, "`-nan`"),
        (67, "nan", "it begins: nan", "`nan`"),
        (68, "{temperature:25}", "{temperature:25}", "double quotes"),
        (69, "{'temp': 21.5}", "{'temp': 21.5}", "double quotes"),
        (70, "{\"value\":15}\0", r#"{"value":15}\u{0}"#, "zero byte"),
        (71, "\0{\"value\":15}", r#"\u{0}{"value":15}"#, "zero byte"),
        (73, r#"{"a":"\ud83d"}"#, r#"{"a":"\ud83d"}"#, "surrogate pair"),
        (0, r#"{"a":Infinity}"#, r#"{"a":Infinity}"#, "`Infinity`"),
        (0, r#"{"a":None}"#, r#"{"a":None}"#, "`None`"),
        (0, r#"{"a":"\udc00"}"#, r#"{"a":"\udc00"}"#, "surrogate pair"),
        (0, "ON", "it begins: ON", "`ON`"),
        (0, r#"{"a":1,}"#, r#"{"a":1,}"#, "comma"),
    ] {
        assert!(wire.publish("t", payload.as_bytes()).await);
        let reason = stage.rejection(shown).await["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(named), "{number} {payload:?}: {reason}");
    }
    // 72 a byte order mark is passed over, as an import does
    assert!(wire.publish("t", "\u{feff}{\"a\":1}".as_bytes()).await);
    assert_eq!(stage.rows().await.last().unwrap()["payload"], json!({ "a": 1 }));
}

#[tokio::test]
async fn by_default_only_broken_documents_are_refused() {
    let stage = Stage::start().await;
    let mut wire = stage.connected().await;
    for payload in ["{\"a\":nan}", "{temperature:25}", "[1,", "{\"value\":15}\0", "\0{\"value\":15}"] {
        assert!(wire.publish("t", payload.as_bytes()).await);
        let shown = payload.replace('\0', "\\u{0}");
        stage.rejection(&format!("it begins: {shown}")).await;
    }
    let code = {
        let connect = Connect::of(&stage.device.id, &stage.device.token).v5();
        stage.accepted(&Connect { client_id: "five".to_owned(), ..connect }).await.publish5("t", b"{").await
    };
    assert_eq!(code, 0x99);
    assert!(stage.rows().await.is_empty());
}

#[tokio::test]
async fn every_rule_and_limit_tells_the_device() {
    let stage = Stage::of(Launch::default().set("mqtt.max_retained", "3")).await;
    let (id, token) = (&*stage.device.id, &*stage.device.token);
    // 26, in both versions
    let mut wire = stage.connected().await;
    assert!(wire.publish("$aws/things/p/shadow/update", b"{}").await);
    assert_eq!(stage.rejection("topics that begin with $").await["topic"], "$aws/things/p/shadow/update");
    let mut five = stage.accepted(&Connect { client_id: "five".to_owned(), ..Connect::of(id, token) }.v5()).await;
    assert_eq!(five.publish5("$SYS/x", b"1").await, 0x87);
    stage.rejection("it begins: 1").await;
    // 27 and 28 a packet that is too large, and one that is so by its topic
    let mut wire = stage.connected().await;
    for (topic, bytes) in [("large/a", 80_000), ("large/b", 73_728)] {
        assert!(wire.publish(topic, &vec![b'7'; bytes]).await);
        assert_eq!(stage.rejection(&format!("payload of {bytes} bytes")).await["topic"], topic);
    }
    let mut wire = stage.accepted(&Connect { client_id: "largest".to_owned(), ..Connect::of(id, token) }).await;
    assert!(!wire.publish("large/d", &vec![b'7'; 2_000_000]).await);
    assert_eq!(stage.rejection("packet of 2000015").await["topic"], "large/d");
    let mut wire = stage.connected().await;
    assert!(wire.publish("large/c", &vec![b'7'; 65_537]).await);
    assert_eq!(stage.rejection("payload of 65537 bytes").await["topic"], "large/c");
    // 29 another device finds the table full
    for n in 0..3 {
        assert!(wire.publish_with(0x33, &format!("home/BT/{n}"), b"1").await);
    }
    let other = Device::register(&stage.admin, "door").await;
    let mut wire = stage.accepted(&Connect::of(&other.id, &other.token)).await;
    assert!(wire.publish_with(0x33, "important/state", b"1").await);
    let path = format!("/api/v1/devices/{}", other.id);
    let mut reason = String::new();
    for _ in 0..300 {
        let device = stage.admin.get(&path).await.expect(200);
        reason = device["lastRejection"]["reason"].as_str().unwrap_or_default().to_owned();
        if !reason.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(reason.contains("not kept") && reason.contains(id), "{reason}");
    // A rule of access.
    let rule = json!({ "deviceId": id, "effect": "deny", "action": "publish", "topic": "secret/#" });
    stage.admin.post("/api/v1/access-rules", rule).await.expect(201);
    let mut wire = stage.connected().await;
    assert!(wire.publish("secret/x", b"1").await);
    assert_eq!(stage.rejection("the topic is not allowed").await["topic"], "secret/x");
    for kind in ["reserved_topic", "packet_size", "payload_size", "retained_full", "topic"] {
        let name = format!("pocket_mqtt_refusals_total{{kind=\"{kind}\"}}");
        assert!(stage.platform.api().metric(&name).await.is_some_and(|count| count >= 1.0), "{kind}");
    }
    let log = stage.platform.log();
    for word in ["POCKET_MAX_PAYLOAD", "large/a", "POCKET_MQTT_MAX_RETAINED", "secret/x"] {
        assert!(log.contains(word), "{word}: {log}");
    }
}

#[tokio::test]
async fn refused_log_ins_are_told_with_a_bound() {
    let stage = Stage::of(Launch::default().set("mqtt.connect_timeout", "1")).await;
    // 16
    for _ in 0..40 {
        stage.answer(&Connect::of(&stage.device.id, "0000-0000-0000")).await;
    }
    stage.log_has("not authorised").await;
    let log = stage.platform.log();
    let lines = log.lines().filter(|line| line.contains("connection refused")).count();
    assert!((1..=5).contains(&lines), "{lines} lines: {log}");
    assert!(log.contains(&stage.device.id) && log.contains("POCKET_DEVICE_FAILURES"), "{log}");
    // 18
    let mut silent = TcpStream::connect(stage.platform.mqtt()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
    stage.log_has("no CONNECT in time").await;
    stage.log_has("POCKET_MQTT_CONNECT_TIMEOUT").await;
    stage.answer(&Connect { level: 9, ..Connect::of("a", "b") }).await;
    for (kind, least) in [("credentials", 30.0), ("throttled", 10.0), ("no_connect", 1.0), ("version", 1.0)] {
        let name = format!("pocket_mqtt_refusals_total{{kind=\"{kind}\"}}");
        let count = stage.platform.api().metric(&name).await;
        assert!(count.is_some_and(|count| count >= least), "{kind}: {count:?}");
    }
    // A token that somebody puts into the wrong field is not written down.
    stage.answer(&Connect::of("abcd-efgh-jkmn", "x")).await;
    stage.log_has("client id").await;
    assert!(!stage.platform.log().contains("abcd-efgh-jkmn"));
}
