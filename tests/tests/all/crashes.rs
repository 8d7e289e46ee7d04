//! The promise of the product under crashes: publishers over MQTT, at QoS 1 and 2, and over HTTP number their messages while
//! the platform and the PostgreSQL server are killed again and again. At the end each number that was acknowledged is in the
//! table, at QoS 2 and over HTTP, where nothing is sent twice, exactly once.
//!
//! `POCKET_CRASH_ROUNDS` sets how often; see `just torture`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pocket_tests::{Api, Launch, Platform, PostgresServer, StrictClient};
use reqwest::Method;
use rumqttc::QoS;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

const PATIENCE: Duration = Duration::from_secs(120);
/// Messages that a publisher over MQTT has under way at a time.
const WINDOW: usize = 100;
/// Publishers over HTTP, and messages in each of their requests.
const POSTERS: usize = 3;
const ENTRIES: u64 = 10;

fn rounds() -> u64 {
    std::env::var("POCKET_CRASH_ROUNDS").map_or(4, |text| text.parse().expect("POCKET_CRASH_ROUNDS is a number"))
}

/// What is killed in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Platform,
    Server,
    Both,
}

/// Posts numbers until the moment, and tells those that were answered 201. None is posted twice.
async fn post_until(api: Api, device: String, numbers: Arc<AtomicU64>, until: Instant) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    while Instant::now() < until {
        let first = numbers.fetch_add(ENTRIES, Ordering::Relaxed);
        let entry = |number| json!({ "deviceId": device, "topic": "crash/http", "payload": number });
        let body: Vec<Value> = (first..first + ENTRIES).map(entry).collect();
        let request = api.request(Method::POST, "/api/v1/telemetry").json(&body).send();
        match timeout_at(until + PATIENCE, request).await.expect("an answer comes, or the connection breaks") {
            Ok(answer) if answer.status().as_u16() == 201 => acknowledged.extend(first..first + ENTRIES),
            // What became of these is not known; they are let go.
            Ok(answer) => assert_eq!(answer.status().as_u16(), 503, "{answer:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    acknowledged
}

/// Publishes numbers at QoS 1 and 2 in turn until the moment or the end of the connection.
async fn publish_until(client: &mut StrictClient, numbers: &mut impl Iterator<Item = u64>, until: Instant) {
    while Instant::now() < until {
        while client.unacknowledged() < WINDOW {
            let number = numbers.next().unwrap();
            let qos = if number.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            if client.publish("crash/mqtt", qos, number.to_string()).await.is_err() {
                return;
            }
        }
        match timeout_at(until, client.take_one()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => return,
        }
    }
}

/// Imports numbers, each part again and again until it is answered.
async fn import_until(api: Api, device: String, until: Instant, round: u64) -> Vec<u64> {
    let mut imported = Vec::new();
    let mut first = round * 1_000_000;
    while Instant::now() < until {
        let part = first..first + ENTRIES;
        let line = |number: u64| json!({ "deviceId": device, "topic": "crash/import", "payload": number, "timestamp": number });
        let body: String = part.clone().map(|number| format!("{}\n", line(number))).collect();
        loop {
            let request =
                api.request(Method::POST, "/api/v1/telemetry/import").header("content-type", "application/x-ndjson");
            let request = request.body(body.clone()).send();
            let answer =
                timeout_at(until + PATIENCE, request).await.expect("an answer comes, or the connection breaks");
            match answer {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) => assert_eq!(answer.status().as_u16(), 503, "{answer:?}"),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        imported.extend(part.clone());
        first = part.end;
    }
    imported
}

/// Takes numbers of the server's transactions all the time, so that those which a crash made free are soon given to others.
async fn take_transaction_numbers(url: String) {
    loop {
        if let Ok(connection) = Database::connect(&url).await {
            while connection.execute_unprepared("SELECT txid_current()").await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Storm {
    platform: Platform,
    device: String,
    mqtt: StrictClient,
    mqtt_numbers: std::ops::RangeFrom<u64>,
    http_numbers: Arc<AtomicU64>,
    posted: Vec<u64>,
    imported: Vec<u64>,
}

impl Storm {
    async fn start(launch: Launch) -> Self {
        let platform = launch.start().await;
        let (device, token) = platform.admin().await.register_device("boiler").await;
        let mut mqtt = StrictClient::new("p", &device, &token);
        mqtt.connect(platform.mqtt()).await.unwrap();
        Self {
            platform,
            device,
            mqtt,
            mqtt_numbers: 0..,
            http_numbers: Arc::default(),
            posted: Vec::new(),
            imported: Vec::new(),
        }
    }

    /// Traffic, in the middle of which something is killed. Publishers go on for a while after that, as they would.
    async fn round(&mut self, round: u64, victim: Victim, server: Option<&PostgresServer>) {
        let admin = self.platform.admin().await;
        let kill_at = Instant::now() + Duration::from_millis(300 + 137 * (round % 5));
        let until = kill_at + Duration::from_millis(300);
        let mut posters = JoinSet::new();
        for _ in 0..POSTERS {
            posters.spawn(post_until(admin.clone(), self.device.clone(), Arc::clone(&self.http_numbers), until));
        }
        let importer = (victim == Victim::Server)
            .then(|| tokio::spawn(import_until(admin.clone(), self.device.clone(), until, round + 1)));
        let (platform, mqtt) = (&mut self.platform, &mut self.mqtt);
        let kill = async {
            tokio::time::sleep_until(kill_at).await;
            if victim != Victim::Platform {
                server.expect("there is a server").kill().await;
            }
            if victim != Victim::Server {
                platform.kill().await;
            }
        };
        tokio::join!(publish_until(mqtt, &mut self.mqtt_numbers, until), kill);
        if let Some(server) = server.filter(|_| victim != Victim::Platform) {
            server.start_again().await;
        }
        if victim != Victim::Server {
            self.mqtt.break_off();
            self.platform.start_again().await;
            assert!(self.mqtt.connect(self.platform.mqtt()).await.unwrap(), "the session is gone");
        }
        while let Some(acknowledged) = posters.join_next().await {
            self.posted.extend(acknowledged.unwrap());
        }
        if let Some(importer) = importer {
            self.imported.extend(importer.await.unwrap());
        }
        self.until_ready().await;
    }

    /// The platform is ready by itself when its database is.
    async fn until_ready(&self) {
        let began = Instant::now();
        while self.platform.api().get("/ready").await.status.as_u16() != 200 {
            assert!(began.elapsed() < PATIENCE, "the platform does not go on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All is acknowledged in the end, and what was is there.
    async fn end(mut self) {
        let until = Instant::now() + PATIENCE;
        while self.mqtt.unacknowledged() > 0 {
            let left = self.mqtt.unacknowledged();
            let taken = timeout_at(until, self.mqtt.take_one()).await;
            taken.unwrap_or_else(|_| panic!("{left} messages are never acknowledged")).unwrap();
        }
        let admin = self.platform.admin().await;
        let rows = async |topic: &str| {
            let mut rows: BTreeMap<u64, u32> = BTreeMap::new();
            for row in admin.telemetry(&format!("topic={topic}&limit=1000")).await {
                *rows.entry(row["payload"].as_u64().expect("a number")).or_default() += 1;
            }
            rows
        };
        let (by_mqtt, by_http) = (rows("crash/mqtt").await, rows("crash/http").await);
        let by_import = rows("crash/import").await;
        for number in &self.imported {
            assert_eq!(by_import.get(number), Some(&1), "{number} was imported");
        }
        assert!(self.mqtt.acknowledged.len() > WINDOW && self.posted.len() as u64 > ENTRIES, "there was no traffic");
        for (qos, payload) in &self.mqtt.acknowledged {
            let count = by_mqtt.get(&payload.parse().unwrap()).copied().unwrap_or_default();
            let is_right = if *qos == QoS::ExactlyOnce { count == 1 } else { count >= 1 };
            assert!(is_right, "{payload}, acknowledged at {qos:?}, has {count} rows");
        }
        for number in &self.posted {
            assert_eq!(by_http.get(number), Some(&1), "{number} was answered 201");
        }
        let twice: Vec<_> = by_http.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{twice:?} were posted once");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_platform_is_killed_again_and_again() {
    let mut storm = Storm::start(Launch::default()).await;
    for round in 0..rounds() {
        storm.round(round, Victim::Platform, None).await;
    }
    storm.end().await;
}

/// With the settings that a server has by default, a commit waits for the disk: most kills meet one that is under way, whose
/// transaction has a number that the server forgets.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_a_server_with_its_default_settings_is_killed_again_and_again() {
    let server = PostgresServer::start_durable().await;
    let mut storm = Storm::start(Launch::default().set("database.url", &server.url())).await;
    let others = [0; 3].map(|_| tokio::spawn(take_transaction_numbers(server.url())));
    for round in 0..rounds() {
        storm.round(round, Victim::Server, Some(&server)).await;
    }
    others.iter().for_each(tokio::task::JoinHandle::abort);
    storm.end().await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_postgresql_and_the_platform_are_killed_again_and_again() {
    let server = PostgresServer::start().await;
    let mut storm = Storm::start(Launch::default().set("database.url", &server.url())).await;
    for round in 0..rounds() {
        let victim = [Victim::Server, Victim::Platform, Victim::Server, Victim::Both][(round % 4) as usize];
        storm.round(round, victim, Some(&server)).await;
    }
    storm.end().await;
}
