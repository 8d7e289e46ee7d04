//! All devices come back at once after a crash, as after a power cut: all are let in, none is refused for coming with the
//! others, and what that costs is bounded. A device that comes back again costs no look-up until something about it changes.
//!
//! `POCKET_TORTURE=n` brings `n` thousand devices; `just torture` does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use pocket_tests::{Api, Launch, Platform, PostgresDatabase};
use reqwest::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::mqtt::Device;

/// How long a crowd of a thousand may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests, or connections that are being opened, at a time.
const AT_A_TIME: usize = 16;
/// Memory that a connection may take, with its session.
const OF_A_CONNECTION: u64 = 64 * 1_024;
const ACCEPTED: u8 = 0;

fn thousands() -> usize {
    std::env::var("POCKET_TORTURE").map_or(1, |text| text.parse().expect("POCKET_TORTURE is a number"))
}

/// Connects and gives the connection with the code of the CONNACK; no code where the connection ended before.
async fn connect(platform: &Platform, device: &Device) -> (TcpStream, Option<u8>) {
    let mut body = b"\0\x04MQTT\x04\xc2\0\0".to_vec();
    for text in ["c", &device.id, &device.token] {
        body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let packet = [&[0x10, u8::try_from(body.len()).unwrap()], body.as_slice()].concat();
    let mut stream = TcpStream::connect(platform.mqtt()).await.unwrap();
    stream.write_all(&packet).await.unwrap();
    let mut answer = [0; 4];
    let code = stream.read_exact(&mut answer).await.ok().map(|_| answer[3]);
    (stream, code)
}

async fn lookups(platform: &Platform, from: &str) -> u64 {
    let text = platform.api().request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let name = format!("pocket_credential_lookups_total{{from=\"{from}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(name.as_str())).expect("the figure is there").parse().unwrap()
}

async fn register(api: &Api, count: usize) -> Vec<Device> {
    let one = |number: usize| async move { Device::register(api, &format!("device-{number}")).await };
    stream::iter(0..count).map(one).buffer_unordered(AT_A_TIME).collect().await
}

/// All at once; the kernel's queue of connections that nobody accepted yet is shorter than the crowd.
async fn all_connect(platform: &Platform, devices: &[Device]) -> Vec<TcpStream> {
    let began = Instant::now();
    let crowd = futures_util::future::join_all(devices.iter().map(|device| connect(platform, device)));
    let patience = PATIENCE * u32::try_from(thousands()).unwrap();
    let connected = tokio::time::timeout(patience, crowd).await.expect("all are answered");
    let refused: Vec<_> = connected.iter().map(|(_, code)| *code).filter(|code| *code != Some(ACCEPTED)).collect();
    assert!(refused.is_empty(), "{} were refused after {:?}: {refused:?}", refused.len(), began.elapsed());
    connected.into_iter().map(|(stream, _)| stream).collect()
}

#[tokio::test]
async fn a_crowd_that_comes_back_after_a_crash_is_let_in_with_one_look_up_each() {
    let count = 1_000 * thousands();
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })
        .expect("the limit may be raised to its maximum");
    let mut platform = Launch::default().start().await;
    let devices = register(&platform.admin().await, count).await;
    drop(all_connect(&platform, &devices).await);
    platform.kill().await;
    platform.start_again().await;

    let before = platform.memory();
    let connections = all_connect(&platform, &devices).await;
    let grown = platform.memory().peak.saturating_sub(before.peak);
    let allowed = count as u64 * OF_A_CONNECTION + (32 << 20);
    assert!(grown <= allowed, "{} MiB were taken, {} were allowed", grown >> 20, allowed >> 20);
    assert_eq!(lookups(&platform, "storage").await, count as u64, "one look-up each");

    // Their connections flap: nothing is looked up again for a while.
    drop(connections);
    let again = &devices[..count / 2];
    let _connections = all_connect(&platform, again).await;
    let (cached, stored) = (lookups(&platform, "cache").await, lookups(&platform, "storage").await);
    assert_eq!(cached + stored, (count + count / 2) as u64);
    assert!(cached > 0, "nothing is known of devices that were here a moment ago");
}

#[tokio::test]
async fn a_token_that_another_process_takes_away_opens_nothing_soon_after() {
    let database = PostgresDatabase::create().await;
    let shared = |mode: &str| {
        let key = "0123456789abcdef0123456789abcdef";
        Launch::default().set("mode", mode).set("database.url", &database.url()).set("auth.token_key", key)
    };
    let (api, broker) = (shared("api").start().await, Arc::new(shared("broker").start().await));
    let admin = api.admin().await;
    let device = Device::register(&admin, "boiler").await;
    // Again and again, so that the broker knows the token when it is taken away.
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let (flapping, token) = (Arc::clone(&broker), device.token.clone());
    let id = device.id.clone();
    let opened = tokio::spawn(async move {
        let (device, mut last) = (Device { id, token }, None);
        while !*stopped.borrow_and_update() {
            let (_connection, code) = connect(&flapping, &device).await;
            // A device that is refused does not come so often that it is not heard any more.
            let pause = if code == Some(ACCEPTED) { 20 } else { 500 };
            if code == Some(ACCEPTED) {
                last = Some(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        last
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let path = format!("/api/v1/devices/{}/regenerate-token", device.id);
    let renewed = admin.post(&path, json!({})).await.expect(201);
    let taken_away = Instant::now();
    tokio::time::sleep(Duration::from_secs(7)).await;
    stop.send(true).unwrap();
    let last = opened.await.unwrap().expect("the token was good once");
    let after = last.saturating_duration_since(taken_away);
    assert!(after < Duration::from_secs(5), "the old token opened a connection {after:?} later");
    let token = renewed["token"].as_str().unwrap().to_owned();
    assert_eq!(connect(&broker, &Device { token, ..device }).await.1, Some(ACCEPTED));
}

#[tokio::test]
async fn a_token_that_is_taken_away_here_opens_nothing_from_then_on() {
    let platform = Launch::default().start().await;
    let admin = platform.admin().await;
    let device = Device::register(&admin, "boiler").await;
    let began = Instant::now();
    while lookups(&platform, "cache").await < 2 {
        assert_eq!(connect(&platform, &device).await.1, Some(ACCEPTED));
        assert!(began.elapsed() < PATIENCE, "nothing is known of the device");
    }
    let path = format!("/api/v1/devices/{}", device.id);
    admin.patch(&path, json!({ "enabled": false })).await.expect(200);
    assert_ne!(connect(&platform, &device).await.1, Some(ACCEPTED));
    admin.patch(&path, json!({ "enabled": true })).await.expect(200);
    assert_eq!(connect(&platform, &device).await.1, Some(ACCEPTED));
    admin.post(&format!("{path}/regenerate-token"), json!({})).await.expect(201);
    assert_ne!(connect(&platform, &device).await.1, Some(ACCEPTED));
}
