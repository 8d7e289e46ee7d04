//! The database is away, in every way that it can be: publishing stalls, nothing is acknowledged that is not stored, the
//! operator is told why, and all goes on by itself when the fault is over, with each message stored as it was published.

mod clock;
mod crowd;
mod lost_answers;
mod postgres;
mod shutdown;
mod sqlite;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pocket_tests::{Api, Launch, Platform, StrictClient};
use reqwest::Method;
use rumqttc::QoS;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::time::Instant;

/// How long something may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing must come from a platform that cannot store.
const SILENCE: Duration = Duration::from_millis(1_500);
/// Messages that are published at a time.
const SOME: u64 = 40;

/// A platform with a publisher over MQTT and one over HTTP, which both number their messages.
struct Site {
    platform: Platform,
    admin: Api,
    device: String,
    mqtt: StrictClient,
    numbers: std::ops::RangeFrom<u64>,
    /// What was posted, and whether it was answered 201.
    posted: BTreeMap<String, bool>,
}

impl Site {
    async fn start(launch: Launch) -> Self {
        let platform = launch.start().await;
        let admin = platform.admin().await;
        let (device, token) = admin.register_device("boiler").await;
        let mut mqtt = StrictClient::new("p", &device, &token);
        mqtt.connect(platform.mqtt()).await.unwrap();
        let mut site = Self { platform, admin, device, mqtt, numbers: 0.., posted: BTreeMap::new() };
        site.goes_on().await;
        site
    }

    /// Publishes over MQTT, at QoS 1 and 2 in turn, without waiting for anything.
    async fn publish(&mut self) {
        for number in self.numbers.by_ref().take(usize::try_from(SOME).unwrap()) {
            let qos = if number.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            self.mqtt.publish("fault/mqtt", qos, number.to_string()).await.unwrap();
        }
    }

    /// Posts a message and gives the status and the seconds of `Retry-After`.
    async fn post(&mut self) -> (u16, Option<u64>) {
        let number = self.numbers.next().unwrap();
        let body = json!({ "deviceId": self.device, "topic": "fault/http", "payload": number });
        let request = self.admin.request(Method::POST, "/api/v1/telemetry").json(&body);
        let response = tokio::time::timeout(PATIENCE, request.send()).await.expect("an answer comes").unwrap();
        let status = response.status().as_u16();
        self.posted.insert(number.to_string(), status == 201);
        let retry = response.headers().get("retry-after").map(|text| text.to_str().unwrap().parse().unwrap());
        (status, retry)
    }

    /// What `/ready` says: its status and the reason.
    async fn ready(&self) -> (u16, String) {
        let answer = self.platform.api().get("/ready").await;
        (answer.status.as_u16(), answer.body["detail"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until `/ready` is 503 for a reason that has one of these words.
    async fn becomes_unready(&self, words: &[&str]) {
        let began = Instant::now();
        loop {
            let (status, reason) = self.ready().await;
            if status == 503 && words.iter().any(|word| reason.contains(word)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "/ready is {status}: {reason:?}, and not for {words:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// While the fault is there: nothing is acknowledged, and everybody is told.
    async fn stalls(&mut self, words: &[&str]) {
        let before = self.mqtt.acknowledged.len();
        self.publish().await;
        self.becomes_unready(words).await;
        let (status, retry) = self.post().await;
        assert_eq!(status, 503, "a message that cannot be stored is not answered 201");
        assert!(retry.is_some_and(|seconds| seconds > 0), "the answer says when to come again");
        assert_eq!(self.mqtt.take_all(SILENCE).await.unwrap(), 0, "something was acknowledged");
        assert_eq!(self.mqtt.acknowledged.len(), before);
        self.platform.api().get("/health").await.expect(200);
    }

    /// The fault is over: all that was published is acknowledged, and what is published next.
    async fn goes_on(&mut self) {
        self.publish().await;
        let until = Instant::now() + PATIENCE;
        while self.mqtt.unacknowledged() > 0 {
            let left = self.mqtt.unacknowledged();
            let taken = tokio::time::timeout_at(until, self.mqtt.take_one()).await;
            taken.unwrap_or_else(|_| panic!("{left} messages are never acknowledged")).unwrap();
        }
        // Connections of the API's pool may still be bad for one more request.
        while self.post().await.0 != 201 {
            assert!(Instant::now() < until, "nothing can be posted");
        }
        let began = Instant::now();
        while self.ready().await.0 != 200 {
            assert!(began.elapsed() < PATIENCE, "/ready is {:?}", self.ready().await);
        }
    }

    /// Each message is stored as often as it was published: once, but for those that were posted and answered 503.
    async fn all_is_stored_once(&self) {
        let rows = self.rows().await;
        let published: BTreeSet<&String> = self.mqtt.acknowledged.iter().map(|(_, payload)| payload).collect();
        assert_eq!(published.len(), self.mqtt.acknowledged.len());
        for payload in &published {
            assert_eq!(rows.get(*payload), Some(&1), "{payload} was published over MQTT once");
        }
        for (payload, is_acknowledged) in &self.posted {
            let count = rows.get(payload).copied().unwrap_or_default();
            let is_right = if *is_acknowledged { count == 1 } else { count <= 1 };
            assert!(is_right, "{payload}, acknowledged over HTTP: {is_acknowledged}, has {count} rows");
        }
        let strange: Vec<_> =
            rows.keys().filter(|row| !published.contains(row) && !self.posted.contains_key(*row)).collect();
        assert!(strange.is_empty(), "{strange:?} were never published");
    }

    /// All that was acknowledged is there, at QoS 2 once. At QoS 1 a message may be there again that was sent again.
    async fn nothing_acknowledged_is_lost(&self) {
        let rows = self.rows().await;
        for (qos, payload) in &self.mqtt.acknowledged {
            let count = rows.get(payload).copied().unwrap_or_default();
            let is_right = if *qos == QoS::ExactlyOnce { count == 1 } else { count >= 1 };
            assert!(is_right, "{payload}, acknowledged at {qos:?}, has {count} rows");
        }
        for payload in self.posted.iter().filter(|(_, is_acknowledged)| **is_acknowledged).map(|(payload, _)| payload) {
            assert_eq!(rows.get(payload), Some(&1), "{payload} was answered 201");
        }
    }

    /// How many rows each payload has.
    async fn rows(&self) -> BTreeMap<String, u32> {
        let mut rows = BTreeMap::new();
        for row in self.platform.admin().await.telemetry("topic=fault/%23&limit=1000").await {
            *rows.entry(row["payload"].to_string()).or_default() += 1;
        }
        rows
    }

    /// Starts the platform again after it ended, and connects.
    async fn start_again(&mut self) {
        self.mqtt.break_off();
        self.platform.start_again().await;
        self.admin = self.platform.admin().await;
        assert!(self.mqtt.connect(self.platform.mqtt()).await.unwrap(), "the session is gone");
    }

    /// A figure of `/metrics`.
    async fn figure(&self, name: &str) -> u64 {
        figure(&self.platform.api(), name).await
    }
}

/// A figure of `/metrics`.
async fn figure(api: &Api, name: &str) -> u64 {
    let text = api.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

/// Another process that has the lock of a SQLite file, until it is told to let go.
struct Locker(sea_orm::DatabaseConnection);

impl Locker {
    async fn lock(platform: &Platform) -> Self {
        let file = platform.data_dir().join("pocket.db");
        let mut options = sea_orm::ConnectOptions::new(format!("sqlite://{}", file.display()));
        let connection = sea_orm::Database::connect(options.max_connections(1).to_owned()).await.unwrap();
        connection.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
        Self(connection)
    }

    async fn let_go(self) {
        self.0.execute_unprepared("ROLLBACK").await.unwrap();
        self.0.close().await.unwrap();
    }
}
