//! Sessions of a device, as its owner sees and ends them.

use std::time::{Duration, Instant};

use pocket_tests::{Api, Device, Launch, Platform, PostgresDatabase};
use serde_json::{Value, json};

use super::stage::{Connect, Stage, Wire};

const PATIENCE: Duration = Duration::from_secs(10);

/// A session that is kept, subscribed to all topics at QoS 1.
async fn kept(stage: &Stage, client_id: &str) -> Wire {
    let connect = Connect { is_clean: false, ..named(&stage.device, client_id) };
    let mut wire = stage.accepted(&connect).await;
    wire.send(b"\x82\x06\0\x09\0\x01#\x01").await;
    assert_eq!(wire.packet().await, Some(vec![0x90, 3, 0, 9, 1]));
    wire
}

fn named(device: &Device, client_id: &str) -> Connect {
    Connect { client_id: client_id.to_owned(), ..Connect::of(&device.id, &device.token) }
}

async fn left(mut wire: Wire) {
    wire.send(b"\xe0\0").await;
    assert_eq!(wire.packet().await, None);
}

async fn sessions(api: &Api, device: &Device) -> Vec<Value> {
    let answer = api.get(&format!("/api/v1/devices/{}/sessions", device.id)).await.expect(200);
    answer["data"].as_array().expect("sessions").clone()
}

async fn until(api: &Api, device: &Device, is_meant: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let found = sessions(api, device).await;
        if is_meant(&found) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn end(api: &Api, device: &Device, encoded: &str) -> u16 {
    api.delete(&format!("/api/v1/devices/{}/sessions/{encoded}", device.id)).await.status.as_u16()
}

fn ids(sessions: &[Value]) -> Vec<&str> {
    sessions.iter().map(|session| session["clientId"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn sessions_are_listed_with_what_they_hold() {
    let stage = Stage::start().await;
    assert_eq!(sessions(&stage.admin, &stage.device).await, Vec::<Value>::new());
    left(kept(&stage, "away").await).await;
    let mut clean = stage.accepted(&named(&stage.device, "clean").v5()).await;
    let other = Device::register(&stage.admin, "boiler-2").await;
    let mut publisher = stage.accepted(&named(&other, "other")).await;
    for payload in ["21", "22.5"] {
        assert!(publisher.publish("home/temp", payload.as_bytes()).await);
    }
    let found = until(&stage.admin, &stage.device, |found| found[0]["queuedMessages"] == 2).await;
    assert_eq!(ids(&found), ["away", "clean"]);
    let [away, online] = found.as_slice() else { panic!("{found:?}") };
    let subscriptions = json!([{ "filter": "#", "qos": 1 }]);
    assert_eq!((&away["connected"], &away["protocol"], &away["queuedBytes"]), (&json!(false), &Value::Null, &json!(6)));
    assert_eq!((&away["subscriptionCount"], &away["subscriptions"]), (&json!(1), &subscriptions));
    assert_eq!(away["expirySeconds"], 604_800);
    assert!(away["since"].is_string() && away["expiresAt"].as_str() > away["since"].as_str(), "{away}");
    assert_eq!((&online["connected"], &online["protocol"]), (&json!(true), &json!("MQTT 5.0")));
    assert_eq!((&online["expirySeconds"], &online["expiresAt"]), (&json!(0), &Value::Null));
    assert_eq!(ids(&sessions(&stage.admin, &other).await), ["other"]);
    clean.send(b"\xe0\0").await;
    until(&stage.admin, &stage.device, |found| ids(found) == ["away"]).await;
}

#[tokio::test]
async fn a_session_is_ended_whatever_its_client_is_called() {
    let stage = Stage::start().await;
    let names =
        [("plain", "plain"), ("a/b c", "a%2Fb%20c"), ("k\u{fc}che+%2F", "k%C3%BCche+%252F"), ("..", "%2E%2E%2F..")];
    for (name, encoded) in names.into_iter().take(3) {
        left(kept(&stage, name).await).await;
        let mut wire = kept(&stage, &format!("{name}!")).await;
        assert_eq!(sessions(&stage.admin, &stage.device).await.len(), 2);
        assert_eq!(end(&stage.admin, &stage.device, encoded).await, 204);
        assert_eq!(ids(&sessions(&stage.admin, &stage.device).await), [format!("{name}!")]);
        assert_eq!(end(&stage.admin, &stage.device, encoded).await, 404, "it is gone");
        // A client that is connected is disconnected, and begins anew.
        assert_eq!(end(&stage.admin, &stage.device, &format!("{encoded}%21")).await, 204);
        assert_eq!(ids(&sessions(&stage.admin, &stage.device).await), [""; 0]);
        assert_eq!(wire.packet().await, None);
        let connect = Connect { is_clean: false, ..named(&stage.device, &format!("{name}!")) };
        let mut again = stage.opened(&connect).await;
        assert_eq!(again.packet().await, Some(vec![0x20, 2, 0, 0]), "there is no session to go on with");
        // The log of changes comes by within a second, and must not end the new session.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(ids(&sessions(&stage.admin, &stage.device).await), [format!("{name}!")]);
        assert_eq!(end(&stage.admin, &stage.device, &format!("{encoded}%21")).await, 204);
    }
    assert_eq!(end(&stage.admin, &stage.device, "%FF").await, 404);
    let path = format!("/api/v1/devices/{}/events", stage.device.id);
    let began = Instant::now();
    while !stage.admin.get(&path).await.expect(200).to_string().contains("session_ended") {
        assert!(began.elapsed() < PATIENCE, "the event says why");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_will_of_a_session_that_is_ended_is_published() {
    let stage = Stage::start().await;
    let other = Device::register(&stage.admin, "boiler-2").await;
    let mut watcher = stage.accepted(&named(&other, "watcher")).await;
    watcher.subscribe("state").await;
    let will = Some(("state", &b"offline"[..]));
    let mut wire = stage.accepted(&Connect { will, is_clean: false, ..named(&stage.device, "one") }.v5()).await;
    assert_eq!(end(&stage.admin, &stage.device, "one").await, 204);
    let told = wire.packet().await.expect("DISCONNECT comes");
    assert_eq!((told[0], told[2]), (0xe0, 0x98), "administrative action");
    let (_, topic, payload) = watcher.message().await;
    assert_eq!((topic.as_str(), payload.as_slice()), ("state", &b"offline"[..]));
}

#[tokio::test]
async fn a_process_without_a_broker_lists_and_ends_the_sessions_of_another() {
    let database = PostgresDatabase::create().await;
    let launch = |mode: &str| {
        Launch::default().set("mode", mode).set("database.url", &database.url()).set("auth.token_key", &"t".repeat(32))
    };
    let api = launch("api").start().await;
    let platform: Platform = launch("broker").set("node", "hall-1").start().await;
    let admin = api.admin().await;
    let device = Device::register(&admin, "boiler-1").await;
    let stage = Stage { platform, admin, device };
    left(kept(&stage, "away").await).await;
    let mut online = kept(&stage, "online").await;
    let connect = named(&stage.device, "clean");
    let mut clean = stage.accepted(&connect).await;
    let found = until(&stage.admin, &stage.device, |found| ids(found) == ["away", "clean", "online"]).await;
    let shown = |session: &Value| (session["connected"].clone(), session["node"].clone());
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        [(json!(false), json!("hall-1")), (json!(true), json!("hall-1")), (json!(true), json!("hall-1"))]
    );
    assert_eq!((&found[0]["subscriptionCount"], &found[1]["subscriptionCount"]), (&json!(1), &Value::Null));
    for client_id in ["away", "online", "clean"] {
        assert_eq!(end(&stage.admin, &stage.device, client_id).await, 204, "{client_id}");
    }
    assert_eq!((online.packet().await, clean.packet().await), (None, None));
    until(&stage.admin, &stage.device, <[Value]>::is_empty).await;
    assert_eq!(end(&stage.admin, &stage.device, "away").await, 404);
    let connect = Connect { is_clean: false, ..named(&stage.device, "away") };
    assert_eq!(stage.opened(&connect).await.packet().await, Some(vec![0x20, 2, 0, 0]), "it begins anew");
}
