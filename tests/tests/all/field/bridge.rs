//! Bridges, with a real Mosquitto as the other broker: both ways, with prefixes, over breaks of either side, and without loops.

use std::collections::BTreeSet;
use std::time::Duration;

use pocket_tests::{Api, Client, Device, Launch, Mosquitto, Platform};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use tempfile::TempDir;

const OPEN: &str = "allow_anonymous true";
const PATIENCE: Duration = Duration::from_secs(60);

/// A platform with bridges, whose configuration file has these lines.
async fn bridged(lines: &str) -> (Platform, TempDir, Api, Device) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pocket.toml");
    std::fs::write(&file, lines).unwrap();
    let platform = Launch::default().env("POCKET_CONFIG", &file.display().to_string()).start().await;
    let admin = platform.admin().await;
    let device = Device::register(&admin, "sensor").await;
    (platform, dir, admin, device)
}

fn bridge(port: u16, more: &str, topics: &str) -> String {
    format!("[[bridge]]\nname = \"hub\"\nurl = \"mqtt://127.0.0.1:{port}\"\n{more}\ntopics = [{topics}]\n")
}

/// The bridge, as soon as something holds for it.
async fn state(admin: &Api, is_meant: impl Fn(&Value) -> bool) -> Value {
    let began = std::time::Instant::now();
    loop {
        let bridges = admin.get("/api/v1/bridges").await.expect(200);
        if is_meant(&bridges["data"][0]) {
            return bridges["data"][0].clone();
        }
        assert!(began.elapsed() < PATIENCE, "{bridges}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connected(admin: &Api) -> Value {
    state(admin, |bridge| bridge["connected"] == true).await
}

/// A client of Mosquitto, with a session that it keeps if there is a name.
async fn at(broker: &Mosquitto, name: Option<&str>) -> Client {
    let mut options = MqttOptions::new(name.unwrap_or(""), "127.0.0.1", broker.port());
    options.set_clean_session(name.is_none());
    let (client, events) = AsyncClient::new(options, 10_000);
    let mut client = Client { client, events };
    client.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
    client
}

/// The topics and payloads of the next messages, so many or until it is quiet.
async fn messages(client: &mut Client, count: usize) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let Packet::Publish(publish) = client.until(|packet| matches!(packet, Packet::Publish(_))).await else {
            continue;
        };
        seen.push((publish.topic.clone(), String::from_utf8(publish.payload.to_vec()).unwrap()));
    }
    seen
}

/// What still comes within a moment.
async fn rest(client: &mut Client) -> Vec<String> {
    let mut seen = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(2), client.events.poll()).await {
        if let Ok(Event::Incoming(Packet::Publish(publish))) = event {
            seen.push(publish.topic.clone());
        }
    }
    seen
}

fn numbered(topic: &str, count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (topic.to_owned(), n.to_string())).collect()
}

#[tokio::test]
async fn messages_go_both_ways_under_their_prefixes() {
    let hub = Mosquitto::start(OPEN, &[]).await;
    for version in ["5.0", "3.1.1"] {
        let topics = "{ filter = 'sensors/#', direction = 'out', remote_prefix = 'site-7/' }, \
                      { filter = 'commands/#', direction = 'in', remote_prefix = 'site-7/', local_prefix = 'from-hub/' }";
        let more = format!("version = '{version}'\nclient_id = 'pocket-{version}'");
        let (platform, _dir, admin, device) = bridged(&bridge(hub.port(), &more, topics)).await;
        connected(&admin).await;
        let mut far = at(&hub, None).await;
        far.subscribe("site-7/sensors/#", QoS::AtLeastOnce).await;
        let mut near = device.connect(&platform, "near").await;
        near.subscribe("from-hub/#", QoS::AtLeastOnce).await;
        near.publish(numbered("sensors/boiler", 20)).await;
        near.publish([("other/topic".to_owned(), "1".to_owned())]).await;
        let seen = messages(&mut far, 20).await;
        assert_eq!(seen, numbered("site-7/sensors/boiler", 20), "{version}");
        far.publish(numbered("site-7/commands/boiler", 5)).await;
        assert_eq!(messages(&mut near, 5).await, numbered("from-hub/commands/boiler", 5), "{version}");
        // What comes in is telemetry of the bridge's device.
        let state = state(&admin, |bridge| bridge["messagesIn"] == 5 && bridge["messagesOut"] == 20).await;
        let id = state["deviceId"].as_str().unwrap();
        assert_eq!(admin.telemetry(&format!("deviceId={id}")).await.len(), 5, "{version}");
        assert_eq!(admin.get(&format!("/api/v1/devices/{id}")).await.expect(200)["name"], "bridge hub");
        assert_eq!(platform.api().metric("pocket_bridge_connected{bridge=\"hub\"}").await, Some(1.0));
        assert_eq!(platform.api().metric("pocket_bridge_messages_out_total{bridge=\"hub\"}").await, Some(20.0));
        assert!(rest(&mut far).await.is_empty());
    }
}

#[tokio::test]
async fn everything_both_ways_does_not_go_round_in_circles() {
    let hub = Mosquitto::start(OPEN, &[]).await;
    for version in ["5.0", "3.1.1"] {
        let more = format!("version = '{version}'\nclient_id = 'pocket-{version}'");
        let (platform, _dir, admin, device) =
            bridged(&bridge(hub.port(), &more, "{ filter = '#', direction = 'both' }")).await;
        connected(&admin).await;
        let mut far = at(&hub, None).await;
        far.subscribe("#", QoS::AtLeastOnce).await;
        let mut near = device.connect(&platform, "near").await;
        near.subscribe("#", QoS::AtLeastOnce).await;
        near.client.publish(format!("near/{version}"), QoS::AtLeastOnce, false, "1").await.unwrap();
        far.client.publish(format!("far/{version}"), QoS::AtLeastOnce, false, "2").await.unwrap();
        let (near_saw, far_saw) = tokio::join!(messages(&mut near, 2), messages(&mut far, 2));
        let both =
            BTreeSet::from([(format!("near/{version}"), "1".to_owned()), (format!("far/{version}"), "2".to_owned())]);
        assert_eq!(near_saw.into_iter().collect::<BTreeSet<_>>(), both);
        assert_eq!(far_saw.into_iter().collect::<BTreeSet<_>>(), both);
        let (near_more, far_more) = tokio::join!(rest(&mut near), rest(&mut far));
        assert!(near_more.is_empty() && far_more.is_empty(), "{version}: {near_more:?} {far_more:?}");
    }
}

#[tokio::test]
async fn two_platforms_may_each_send_everything_to_the_other() {
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first_port, second_port) = (port(), port());
    let lines = |port: u16, guest: &Device| {
        let more = format!("user = '{}'\npassword = '{}'", guest.id, guest.token);
        bridge(port, &more, "{ filter = '#', direction = 'out' }")
    };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (first_file, second_file) = (file("first.toml"), file("second.toml"));
    for name in [&first_file, &second_file] {
        std::fs::write(name, "").unwrap();
    }
    let launch =
        |port: u16, file: &str| Launch::default().set("mqtt.port", &port.to_string()).env("POCKET_CONFIG", file);
    let mut first = launch(first_port, &first_file).start().await;
    let mut second = launch(second_port, &second_file).start().await;
    let (first_guest, second_guest) =
        (Device::register(&first.admin().await, "guest").await, Device::register(&second.admin().await, "guest").await);
    std::fs::write(&first_file, lines(second_port, &second_guest)).unwrap();
    std::fs::write(&second_file, lines(first_port, &first_guest)).unwrap();
    for platform in [&mut first, &mut second] {
        platform.stop().await;
    }
    first.start_again().await;
    second.start_again().await;
    let (first_admin, second_admin) = (first.admin().await, second.admin().await);
    tokio::join!(connected(&first_admin), connected(&second_admin));
    let sensor = Device::register(&first_admin, "sensor").await;
    let mut here = sensor.connect(&first, "here").await;
    here.subscribe("#", QoS::AtLeastOnce).await;
    let mut there = Device::register(&second_admin, "viewer").await.connect(&second, "there").await;
    there.subscribe("#", QoS::AtLeastOnce).await;
    here.client.publish("a", QoS::AtLeastOnce, false, "1").await.unwrap();
    assert_eq!(messages(&mut here, 1).await, numbered("a", 2)[1..]);
    assert_eq!(messages(&mut there, 1).await, numbered("a", 2)[1..]);
    let (here_more, there_more) = tokio::join!(rest(&mut here), rest(&mut there));
    assert!(here_more.is_empty() && there_more.is_empty(), "{here_more:?} {there_more:?}");
    assert_eq!(first_admin.telemetry("").await.len(), 1);
}

#[tokio::test]
async fn nothing_is_lost_while_the_other_broker_is_away() {
    let mut hub = Mosquitto::start(OPEN, &[]).await;
    let (mut platform, _dir, admin, device) =
        bridged(&bridge(hub.port(), "", "{ filter = '#', direction = 'out' }")).await;
    connected(&admin).await;
    let mut far = at(&hub, Some("keeper")).await;
    far.subscribe("data", QoS::AtLeastOnce).await;
    drop(far);
    device.connect(&platform, "near").await.publish(numbered("data", 50)).await;
    hub.stop();
    state(&admin, |bridge| bridge["connected"] == false).await;
    let all: Vec<_> = numbered("data", 300).split_off(50);
    device.connect(&platform, "near").await.publish(all[..150].to_vec()).await;
    // This side dies meanwhile, too.
    platform.kill().await;
    platform.start_again().await;
    device.connect(&platform, "near").await.publish(all[150..].to_vec()).await;
    hub.start_again().await;
    let mut far = at(&hub, Some("keeper")).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 300 {
        seen.extend(messages(&mut far, 1).await.into_iter().map(|(_, payload)| payload.parse::<u32>().unwrap()));
    }
    assert_eq!(seen, (0..300).collect());
}

#[tokio::test]
async fn nothing_is_lost_while_this_platform_is_away() {
    let hub = Mosquitto::start(OPEN, &[]).await;
    let (mut platform, _dir, admin, _) =
        bridged(&bridge(hub.port(), "", "{ filter = 'data', direction = 'in' }")).await;
    let id = connected(&admin).await["deviceId"].as_str().unwrap().to_owned();
    let mut far = at(&hub, None).await;
    far.publish(numbered("data", 100)).await;
    platform.kill().await;
    far.publish(numbered("data", 300).split_off(100)).await;
    platform.start_again().await;
    let admin = platform.admin().await;
    let began = std::time::Instant::now();
    loop {
        let rows = admin.telemetry(&format!("deviceId={id}&limit=1000")).await;
        let seen: BTreeSet<u64> = rows.iter().filter_map(|row| row["payload"].as_u64()).collect();
        if seen.len() == 300 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{} of 300", seen.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn retained_messages_stay_retained_on_the_other_side() {
    let hub = Mosquitto::start(OPEN, &[]).await;
    let (platform, _dir, admin, device) =
        bridged(&bridge(hub.port(), "", "{ filter = '#', direction = 'both' }")).await;
    connected(&admin).await;
    let mut far = at(&hub, None).await;
    far.client.publish("far/state", QoS::AtLeastOnce, true, "on").await.unwrap();
    let mut near = device.connect(&platform, "near").await;
    near.client.publish("near/state", QoS::AtLeastOnce, true, "on").await.unwrap();
    near.until(|packet| matches!(packet, Packet::PubAck(_))).await;
    far.until(|packet| matches!(packet, Packet::PubAck(_))).await;
    state(&admin, |bridge| bridge["messagesIn"] == 1 && bridge["messagesOut"] == 1).await;
    let retained = async |client: &mut Client, topic: &str| {
        client.client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
        let Packet::Publish(publish) = client.until(|packet| matches!(packet, Packet::Publish(_))).await else {
            panic!()
        };
        (publish.retain, publish.topic)
    };
    assert_eq!(retained(&mut at(&hub, None).await, "near/state").await, (true, "near/state".to_owned()));
    assert_eq!(
        retained(&mut device.connect(&platform, "late").await, "far/state").await,
        (true, "far/state".to_owned())
    );
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let hub = Mosquitto::start("allow_anonymous false\npassword_file {dir}/nobody", &[("nobody", String::new())]).await;
    let more = "user = 'me'\npassword = 'hunter2'";
    let (platform, _dir, admin, _) = bridged(&bridge(hub.port(), more, "{ filter = '#', direction = 'out' }")).await;
    let state = state(&admin, |bridge| !bridge["lastError"].is_null()).await;
    let reason = state["lastError"]["reason"].as_str().unwrap();
    assert!(state["connected"] == false && reason.contains("user name or password"), "{state}");
    assert!(platform.log().contains("bridge broken"), "{}", platform.log());
    assert!(!platform.log().contains("hunter2") && !state.to_string().contains("hunter2"));
    assert_eq!(platform.api().metric("pocket_bridge_connected{bridge=\"hub\"}").await, Some(0.0));
}

#[tokio::test]
async fn tls_trusts_the_authority_that_is_named_and_no_other() {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let files = [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())];
    let lines = "allow_anonymous true\ncertfile {dir}/cert.pem\nkeyfile {dir}/key.pem";
    let hub = Mosquitto::start(lines, &files).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let of =
        |more: &str| bridge(hub.port(), more, "{ filter = '#', direction = 'out' }").replace("mqtt://", "mqtts://");
    let (_platform, _dir, admin, _) = bridged(&of(&format!("ca = '{}'", file.display()))).await;
    connected(&admin).await;
    let (_platform, _dir, admin, _) = bridged(&of("client_id = 'other'")).await;
    let state = state(&admin, |bridge| !bridge["lastError"].is_null()).await;
    assert!(state["lastError"]["reason"].as_str().unwrap().contains("TLS"), "{state}");
}

#[tokio::test]
async fn a_bridge_of_mosquitto_works_both_ways_with_four_lines() {
    let platform = Launch::default().start().await;
    let admin = platform.admin().await;
    let (gateway, device) = (Device::register(&admin, "mosquitto").await, Device::register(&admin, "sensor").await);
    let lines = format!(
        "{OPEN}\nconnection pocket\naddress {}\nremote_username {}\nremote_password {}\ntopic # both 1",
        platform.mqtt(),
        gateway.id,
        gateway.token
    );
    let hub = Mosquitto::start(&lines, &[]).await;
    let began = std::time::Instant::now();
    while admin.get(&format!("/api/v1/devices/{}", gateway.id)).await.expect(200)["online"] != true {
        assert!(began.elapsed() < PATIENCE, "{}", hub.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut far = at(&hub, None).await;
    far.subscribe("near/#", QoS::AtLeastOnce).await;
    let mut near = device.connect(&platform, "near").await;
    near.subscribe("far/#", QoS::AtLeastOnce).await;
    near.publish(numbered("near/a", 20)).await;
    assert_eq!(messages(&mut far, 20).await, numbered("near/a", 20));
    far.publish(numbered("far/a", 20)).await;
    assert_eq!(messages(&mut near, 20).await, numbered("far/a", 20));
    let (near_more, far_more) = tokio::join!(rest(&mut near), rest(&mut far));
    assert!(near_more.is_empty() && far_more.is_empty(), "{near_more:?} {far_more:?}");
    assert_eq!(admin.telemetry(&format!("deviceId={}&topic=far/%23", gateway.id)).await.len(), 20);
}

#[tokio::test]
async fn what_is_wrong_with_a_bridge_is_told_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pocket.toml");
    for (lines, words) in [
        (bridge(1, "user = 'a'\npasword = 'hunter2'", "{ filter = '#', direction = 'out' }"), "pasword"),
        (bridge(1, "", "{ filter = 'a/#/b', direction = 'out' }"), "a/#/b"),
        (bridge(1, "", ""), "topics is empty"),
    ] {
        std::fs::write(&file, &lines).unwrap();
        let mut check = std::process::Command::new(pocket_tests::binary());
        let output = check.args(["config", "check", "--config"]).arg(&file).env_clear().output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(words) && told.contains("bridge hub"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
