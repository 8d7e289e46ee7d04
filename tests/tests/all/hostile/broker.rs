//! What clients do with MQTT packets: weight of what is kept, work of matching, quotas.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pocket_tests::wire::{RawClient, connect_with, publish, subscribe, text};
use pocket_tests::{AckProbe, Device, Launch, MIB, MemoryProbe, Platform, TwoTenants, many};
use reqwest::Method;
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

/// How long something may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// An acknowledgement of somebody else may take this long at most; a debug build on a busy machine is slow.
const SOON: Duration = Duration::from_millis(1_500);
/// A session that is kept for an hour: Session Expiry Interval.
const AN_HOUR: &[u8] = b"\x11\0\0\x0e\x10";
/// CONNECT flags: user name, password, and without a clean start.
const KEPT: u8 = 0xc0;

/// A figure of `/metrics`, with its labels.
async fn figure(platform: &Platform, name: &str) -> u64 {
    let answer = platform.api().request(Method::GET, "/metrics").send().await.expect("the API answers");
    let text = answer.text().await.expect("the answer is complete");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no figure {name}")).parse().expect("a figure is a number")
}

/// Waits until a figure is as it should be.
async fn until(platform: &Platform, name: &str, is_right: impl Fn(u64) -> bool) -> u64 {
    let began = Instant::now();
    loop {
        let value = figure(platform, name).await;
        if is_right(value) {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "{name} is {value}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Connects with a session that is to be kept. Returns the reason, whether the session was there, and the properties.
async fn keep(address: SocketAddr, client_id: &str, device: &Device) -> (RawClient, u8, bool, Vec<u8>) {
    let mut client = RawClient::open(address).await;
    client.send(&connect_with(5, KEPT, AN_HOUR, client_id, &device.id, &device.token)).await;
    let (first, body) = client.next().await.expect("CONNACK comes");
    assert_eq!(first, 0x20);
    (client, body[1], body[0] == 1, body[2..].to_vec())
}

/// The last reason of SUBACK.
async fn subscribed(client: &mut RawClient, filter: &str, qos: u8) -> u8 {
    client.send(&subscribe(5, 7, &[filter], qos)).await;
    *client.until(0x90).await.last().expect("SUBACK has a reason")
}

/// The reason of PUBACK: absent is success.
async fn acknowledged(client: &mut RawClient, packet: &[u8]) -> u8 {
    client.send(packet).await;
    client.until(0x40).await.get(2).copied().unwrap_or(0)
}

async fn device_of(tenant: &pocket_tests::Tenant, name: &str) -> Device {
    Device::register(&tenant.operator, name).await
}

#[tokio::test]
async fn sessions_that_one_tenant_leaves_take_no_place_of_another_starvation() {
    let hostile = TwoTenants::start(Launch::default().set("mqtt.max_sessions", "50")).await;
    let address = hostile.platform.mqtt();
    // Devices enough that none has to give up a session of its own.
    let mut told = 0;
    for number in 0..60 {
        let device = device_of(&hostile.a, &format!("d{number}")).await;
        let (mut client, reason, _, properties) = keep(address, "x", &device).await;
        assert_eq!(reason, 0);
        // Session Expiry Interval 0: it will not be kept.
        told += u32::from(properties.windows(5).any(|bytes| bytes == b"\x11\0\0\0\0"));
        client.send(b"\xe0\0").await;
    }
    assert_eq!(told, 20, "a tenant that is alone has 80 percent of 50 places");
    assert_eq!(figure(&hostile.platform, "pocket_mqtt_sessions_not_kept_total").await, 20);

    let (mut client, _, _, properties) = keep(address, "x", &hostile.b.device).await;
    assert!(!properties.windows(5).any(|bytes| bytes == b"\x11\0\0\0\0"), "{properties:?}");
    assert_eq!(subscribed(&mut client, "t", 1).await, 1);
    client.send(b"\xe0\0").await;
    assert!(client.next().await.is_none());
    let other = device_of(&hostile.b, "other").await;
    let mut publisher = RawClient::connect(address, 5, "p", &other).await;
    assert_eq!(acknowledged(&mut publisher, &publish(5, 0x32, "t", 1, &[], b"1")).await, 0);
    let (mut client, _, is_present, _) = keep(address, "x", &hostile.b.device).await;
    assert!(is_present, "the session was acknowledged as kept");
    assert!(client.until(0x30).await.ends_with(b"1"));
}

#[tokio::test]
async fn a_client_of_3_1_1_whose_session_cannot_be_kept_is_refused() {
    let hostile = TwoTenants::start(Launch::default().set("mqtt.max_sessions", "1")).await;
    let address = hostile.platform.mqtt();
    let (_held, ..) = keep(address, "x", &hostile.a.device).await;
    let mut client = RawClient::open(address).await;
    client.send(&connect_with(4, KEPT, &[], "x", &hostile.b.device.id, &hostile.b.device.token)).await;
    assert_eq!(client.next().await, Some((0x20, vec![0, 3])));
    RawClient::connect(address, 4, "x", &hostile.b.device).await;
}

#[tokio::test]
async fn a_device_that_takes_a_new_client_id_each_time_gives_up_its_oldest_sessions() {
    let hostile = TwoTenants::start(Launch::default().set("mqtt.max_device_sessions", "5")).await;
    let address = hostile.platform.mqtt();
    for number in 0..many(30) {
        let (mut client, reason, _, properties) = keep(address, &format!("c{number}"), &hostile.a.device).await;
        assert!(reason == 0 && !properties.windows(5).any(|bytes| bytes == b"\x11\0\0\0\0"));
        client.send(b"\xe0\0").await;
        assert!(client.next().await.is_none());
    }
    assert_eq!(until(&hostile.platform, "pocket_mqtt_sleeping_sessions", |count| count <= 5).await, 5);
    let (_, _, is_present, _) = keep(address, &format!("c{}", many(30) - 1), &hostile.a.device).await;
    assert!(is_present, "the newest stay");
}

#[tokio::test]
async fn connections_of_one_tenant_and_of_nobody_take_no_place_of_another_starvation() {
    let hostile = TwoTenants::start(Launch::default().set("mqtt.max_connections", "60")).await;
    let address = hostile.platform.mqtt();
    let mut held = Vec::new();
    let mut refused = 0;
    for number in 0..80 {
        let mut client = RawClient::open(address).await;
        let device = &hostile.a.device;
        client.send(&connect_with(5, 0xc2, &[], &format!("c{number}"), &device.id, &device.token)).await;
        match client.next().await.expect("CONNACK comes").1[1] {
            0 => held.push(client),
            reason => {
                assert_eq!(reason, 0x97);
                refused += 1;
            }
        }
    }
    assert_eq!((held.len(), refused), (48, 32));
    // Sockets without a word do not count as clients.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.expect("the port is open"));
    }
    RawClient::connect(address, 5, "x", &hostile.b.device).await;
    RawClient::connect(address, 4, "y", &hostile.b.device).await;
}

#[tokio::test]
async fn silent_sockets_of_one_address_make_room_for_whoever_says_connect() {
    let launch = Launch::default()
        .set("mqtt.max_pending", "40")
        .set("mqtt.max_pending_per_address", "20")
        .set("mqtt.connect_timeout", "60");
    let hostile = TwoTenants::start(launch).await;
    let address = hostile.platform.mqtt();
    let from = async |last: u8| {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.bind(SocketAddr::new(IpAddr::from([127, 0, 0, last]), 0)).expect("loopback has the address");
        socket.connect(address).await.expect("the port is open")
    };
    let mut silent = Vec::new();
    for number in 0..120 {
        silent.push(from(2 + number % 3).await);
    }
    // Each address has its bound, and all together theirs.
    until(&hostile.platform, "pocket_mqtt_pending", |count| count <= 40).await;
    until(&hostile.platform, "pocket_mqtt_pending_evicted_total", |count| count >= 80).await;
    // From the same address and from another.
    for last in [2, 77] {
        let mut client = RawClient { stream: from(last).await };
        let device = &hostile.b.device;
        client.send(&connect_with(5, 0xc2, &[], "x", &device.id, &device.token)).await;
        assert_eq!(client.next().await.expect("CONNACK comes").1[1], 0);
    }
}

#[tokio::test]
async fn large_connects_that_never_end_take_bounded_memory() {
    let hostile = TwoTenants::start(Launch::default().set("mqtt.connect_timeout", "60")).await;
    let address = hostile.platform.mqtt();
    let before = MemoryProbe::of(&hostile.platform);
    let mut begun = Vec::new();
    // Announces 70 kB, sends 60 kB of them.
    let beginning = [b"\x10\xf0\xa2\x04\0\x04MQTT\x05".as_slice(), &vec![0; 60_000]].concat();
    for _ in 0..many(400) {
        let mut client = RawClient::open(address).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &beginning).await;
        begun.push(client);
    }
    RawClient::connect(address, 5, "x", &hostile.b.device).await;
    before.never_grew_by(&hostile.platform, 40 * MIB);
}

#[tokio::test]
async fn filters_that_double_at_each_level_cost_nobody_a_worker_latency() {
    let hostile = TwoTenants::start(Launch::default().set("workers", "1")).await;
    let address = hostile.platform.mqtt();
    let filter = |number: u32| {
        let levels = (0..30).map(|place| if number >> (place % 11) & 1 == 0 { "a" } else { "+" });
        levels.collect::<Vec<_>>().join("/")
    };
    let mut holders = Vec::new();
    for client in 0..4 {
        let mut holder = RawClient::connect(address, 5, &format!("s{client}"), &hostile.a.device).await;
        let filters: Vec<String> = (0..900).map(|number| filter(client * 500 + number)).collect();
        for some in filters.chunks(100) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            holder.send(&subscribe(5, 7, &some, 0)).await;
            holder.until(0x90).await;
        }
        holders.push(holder);
    }
    assert!(figure(&hostile.platform, "pocket_mqtt_filters_refused_total").await > 0);
    let mut publisher = RawClient::connect(address, 5, "p", &hostile.a.device).await;
    let harm = async {
        for number in 0..many(200) {
            // Another topic each time, so that nothing of the last look-up helps.
            let topic = format!("{}/x{number}", ["a"; 29].join("/"));
            publisher.send(&publish(5, 0x30, &topic, 0, &[], b"1")).await;
        }
        let reached = acknowledged(&mut publisher, &publish(5, 0x32, "end", 1, &[], b"1")).await;
        assert_eq!(reached, 0);
    };
    let (times, ()) = AckProbe::during(address, &hostile.b.device, harm).await;
    times.none_took_longer_than(SOON);
}

#[tokio::test]
async fn topics_and_filters_have_at_most_32_levels() {
    let hostile = TwoTenants::start(Launch::default()).await;
    let mut client = RawClient::connect(hostile.platform.mqtt(), 5, "x", &hostile.a.device).await;
    let topic = |levels: usize| vec!["a"; levels].join("/");
    assert_eq!(acknowledged(&mut client, &publish(5, 0x32, &topic(32), 1, &[], b"1")).await, 0);
    assert_eq!(acknowledged(&mut client, &publish(5, 0x33, &topic(33), 2, &[], b"1")).await, 0x90);
    assert_eq!(subscribed(&mut client, &topic(32), 1).await, 1);
    assert_eq!(subscribed(&mut client, &topic(33), 1).await, 0x8f);
    assert_eq!(subscribed(&mut client, &format!("$share/{}/t", "g".repeat(256)), 1).await, 0x8f);
    assert_eq!(subscribed(&mut client, &format!("$share/{}/t", "g".repeat(255)), 1).await, 1);
    let began = Instant::now();
    loop {
        let path = format!("/api/v1/devices/{}", hostile.a.device.id);
        let device = hostile.a.viewer.get(&path).await.expect(200);
        let reason = device["lastRejection"]["reason"].as_str().unwrap_or_default().to_owned();
        if reason.contains("32 levels") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{device}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// User properties of so many bytes each.
fn user_properties(count: usize, bytes: usize) -> Vec<u8> {
    (0..count).flat_map(|_| [b"\x26".to_vec(), text("k"), text(&"v".repeat(bytes))].concat()).collect()
}

/// Memory may grow by three times what is counted, and by what a debug build and the allocator take besides.
async fn is_counted(platform: &Platform, before: &MemoryProbe, counted_before: u64) {
    let counted = figure(platform, "pocket_mqtt_kept_bytes").await.saturating_sub(counted_before);
    let grown = before.grown(platform);
    assert!(grown <= 3 * counted + 24 * MIB, "{} KiB are counted, {} KiB were taken", counted >> 10, grown >> 10);
}

#[tokio::test]
async fn retained_messages_weigh_what_they_take_whatever_their_shape() {
    for (count, levels, properties, limit) in [(1_500, 32, 0, 64), (300, 1, 60, 4), (2_000, 1, 0, 64)] {
        let bytes = (limit * MIB).to_string();
        let launch = Launch::default().set("mqtt.max_retained_bytes", &bytes).set("ingest.topics", "");
        let hostile = TwoTenants::start(launch).await;
        let platform = &hostile.platform;
        let mut client = RawClient::connect(platform.mqtt(), 5, "x", &hostile.a.device).await;
        let (before, counted) = (MemoryProbe::of(platform), figure(platform, "pocket_mqtt_kept_bytes").await);
        for number in 0..many(count) {
            let topic = format!("{number}/{}", vec!["levelname"; levels - 1].join("/"));
            let topic = topic.trim_end_matches('/');
            client.send(&publish(5, 0x31, topic, 0, &user_properties(properties, 1_000), b"1")).await;
        }
        acknowledged(&mut client, &publish(5, 0x32, "end", 1, &[], b"1")).await;
        is_counted(platform, &before, counted).await;
        let held = figure(platform, "pocket_mqtt_retained_bytes").await;
        assert!(held <= limit * MIB, "{held} bytes are retained");
        if properties > 0 {
            assert!(figure(platform, "pocket_mqtt_dropped_total{limit=\"retained_full\"}").await > 0);
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_session_weighs_what_it_takes() {
    let launch = Launch::default().set("mqtt.max_queued_bytes", "4194304").set("ingest.topics", "");
    let hostile = TwoTenants::start(launch).await;
    let platform = &hostile.platform;
    let (mut away, ..) = keep(platform.mqtt(), "away", &hostile.a.device).await;
    assert_eq!(subscribed(&mut away, "t", 1).await, 1);
    drop(away);
    until(platform, "pocket_mqtt_sleeping_sessions", |count| count == 1).await;
    let (before, counted) = (MemoryProbe::of(platform), figure(platform, "pocket_mqtt_kept_bytes").await);
    let mut client = RawClient::connect(platform.mqtt(), 5, "x", &hostile.a.device).await;
    for number in 0..many(300) {
        let id = u16::try_from(number % 60_000 + 1).unwrap();
        acknowledged(&mut client, &publish(5, 0x32, "t", id, &user_properties(60, 1_000), b"1")).await;
    }
    is_counted(platform, &before, counted).await;
    let kept = figure(platform, "pocket_mqtt_kept_bytes").await;
    assert!((3 * MIB..5 * MIB).contains(&kept), "{kept} bytes are counted, 4 MiB may wait");
    assert!(figure(platform, "pocket_mqtt_dropped_total{limit=\"queue_full\"}").await > 0);
}

#[tokio::test]
async fn subscriptions_and_sessions_weigh_what_they_take() {
    let hostile = TwoTenants::start(Launch::default().set("mqtt.max_device_bytes", "8388608")).await;
    let platform = &hostile.platform;
    let (before, counted) = (MemoryProbe::of(platform), figure(platform, "pocket_mqtt_kept_bytes").await);
    let mut refused = 0;
    for client in 0..8 {
        let (mut holder, ..) = keep(platform.mqtt(), &format!("c{client}"), &hostile.a.device).await;
        for part in 0..10 {
            let filters: Vec<String> =
                (0..100).map(|number| format!("{client}/{part}/{number}/{}", ["deep"; 29].join("/"))).collect();
            let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
            holder.send(&subscribe(5, 7, &filters, 1)).await;
            let body = holder.until(0x90).await;
            refused += body.iter().filter(|reason| **reason == 0x97).count();
        }
    }
    assert!(refused > 0, "a device has 8 MiB");
    is_counted(platform, &before, counted).await;
    let kept = figure(platform, "pocket_mqtt_kept_bytes").await;
    assert!(kept <= 9 * MIB, "{kept} bytes are counted");
    // Others are unhurt, in the same tenant, too.
    let other = device_of(&hostile.a, "other").await;
    let mut client = RawClient::connect(platform.mqtt(), 5, "y", &other).await;
    assert_eq!(subscribed(&mut client, "a/+", 1).await, 1);
}

#[tokio::test]
async fn subscribing_again_and_again_where_much_is_retained_takes_bounded_memory() {
    let hostile = TwoTenants::start(Launch::default().set("ingest.topics", "")).await;
    let platform = &hostile.platform;
    let mut publisher = RawClient::connect(platform.mqtt(), 5, "p", &hostile.a.device).await;
    for number in 0..5_000 {
        publisher.send(&publish(5, 0x31, &format!("r/{number}"), 0, &[], &[b'1'; 100])).await;
    }
    acknowledged(&mut publisher, &publish(5, 0x32, "end", 1, &[], b"1")).await;
    let mut client = RawClient::connect(platform.mqtt(), 5, "x", &hostile.a.device).await;
    let before = MemoryProbe::of(platform);
    let harm = async {
        // Reads nothing, so the broker stops reading at some time.
        let again = subscribe(5, 7, &["r/#", "r/+", "#"], 0);
        let all = again.repeat(many(1_500));
        let sending = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &all);
        let _ = tokio::time::timeout(Duration::from_secs(3), sending).await;
        // The broker is at it while the other tenant is watched.
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    let (times, ()) = AckProbe::during(platform.mqtt(), &hostile.b.device, harm).await;
    times.none_took_longer_than(SOON);
    before.never_grew_by(platform, 32 * MIB);
}

#[tokio::test]
async fn many_connections_of_one_device_are_judged_together() {
    let hostile = TwoTenants::start(Launch::default()).await;
    let platform = &hostile.platform;
    let mut held = Vec::new();
    for number in 0..many(300) {
        held.push(RawClient::connect(platform.mqtt(), 4, &format!("c{number}"), &hostile.a.device).await);
    }
    let lookups = "pocket_credential_lookups_total{from=\"storage\"}";
    let before = figure(platform, lookups).await;
    let path = format!("/api/v1/devices/{}", hostile.a.device.id);
    let harm = async {
        for number in 0..20 {
            hostile.a.operator.patch(&path, json!({ "notes": format!("{number}") })).await.expect(200);
        }
    };
    let (times, ()) = AckProbe::during(platform.mqtt(), &hostile.b.device, harm).await;
    times.none_took_longer_than(SOON);
    let after = figure(platform, lookups).await;
    assert!(after - before <= 60, "{} look-ups for 20 changes", after - before);
    // It still counts for all of them.
    hostile.a.operator.patch(&path, json!({ "enabled": false })).await.expect(200);
    for client in &mut held {
        assert!(client.next().await.is_none());
    }
}

/// The token of a log-in in tenant A.
async fn token(hostile: &TwoTenants, username: &str) -> String {
    let body = json!({ "username": username, "password": pocket_tests::Tenant::PASSWORD, "tenant": hostile.a.name });
    let answer = hostile.platform.api().post("/api/v1/auth/login", body).await.expect(200);
    answer["token"].as_str().expect("a log-in gives a token").to_owned()
}

#[tokio::test]
async fn who_may_only_read_takes_no_work_away_from_others() {
    let hostile = TwoTenants::start(Launch::default()).await;
    let mut viewer = RawClient::open(hostile.platform.mqtt()).await;
    viewer.send(&connect_with(5, 0xc2, &[], "v", "viewer", &token(&hostile, "viewer").await)).await;
    assert_eq!(viewer.next().await.expect("CONNACK comes").1[1], 0);
    assert_eq!(subscribed(&mut viewer, "$share/workers/jobs", 1).await, 0x87);
    assert_eq!(subscribed(&mut viewer, "jobs", 1).await, 1);
    let mut operator = RawClient::open(hostile.platform.mqtt()).await;
    operator.send(&connect_with(5, 0xc2, &[], "o", "operator", &token(&hostile, "operator").await)).await;
    assert_eq!(operator.next().await.expect("CONNACK comes").1[1], 0);
    assert_eq!(subscribed(&mut operator, "$share/workers/jobs", 1).await, 1);
}

#[tokio::test]
async fn slow_subscribers_of_one_device_share_what_it_may_keep() {
    let hostile = TwoTenants::start(Launch::default().set("mqtt.max_device_bytes", "2097152")).await;
    let platform = &hostile.platform;
    let before = MemoryProbe::of(platform);
    let mut slow = Vec::new();
    for number in 0..60 {
        let mut client = RawClient::connect(platform.mqtt(), 5, &format!("s{number}"), &hostile.a.device).await;
        assert_eq!(subscribed(&mut client, "t", 0).await, 0);
        slow.push(client);
    }
    let mut publisher = RawClient::connect(platform.mqtt(), 5, "p", &hostile.a.device).await;
    let payload = format!("\"{}\"", "x".repeat(30_000));
    let began = Instant::now();
    while figure(platform, "pocket_mqtt_dropped_total{limit=\"unsent\"}").await == 0 {
        for _ in 0..20 {
            publisher.send(&publish(5, 0x30, "t", 0, &[], payload.as_bytes())).await;
        }
        acknowledged(&mut publisher, &publish(5, 0x32, "end", 1, &[], b"1")).await;
        assert!(began.elapsed() < PATIENCE, "nothing was dropped");
    }
    assert!(figure(platform, "pocket_mqtt_kept_bytes").await <= 3 * MIB);
    before.never_grew_by(platform, 40 * MIB);
    drop(slow);
    until(platform, "pocket_mqtt_kept_bytes", |bytes| bytes < MIB).await;
}

#[tokio::test]
async fn a_socket_has_tcp_keep_alive() {
    let hostile = TwoTenants::start(Launch::default()).await;
    let client = RawClient::connect(hostile.platform.mqtt(), 4, "x", &hostile.a.device).await;
    let ports = |local: u16, remote: u16| (format!(":{local:04X}"), format!(":{remote:04X}"));
    let (local, remote) =
        ports(hostile.platform.mqtt().port(), client.stream.local_addr().expect("a socket has an address").port());
    let began = Instant::now();
    loop {
        // Timer 2 is that of keep-alive.
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the system tells of its sockets");
        let line = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|fields| fields.len() > 5 && fields[1].ends_with(&local) && fields[2].ends_with(&remote));
        if line.is_some_and(|fields| fields[5].starts_with("02:")) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{table}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A client of 5.0 that asks for no keep-alive is given one.
    let (_client, _, _, properties) = keep(hostile.platform.mqtt(), "k", &hostile.a.device).await;
    assert!(properties.windows(3).any(|bytes| bytes == b"\x13\x01\x2c"), "{properties:?}");
}
