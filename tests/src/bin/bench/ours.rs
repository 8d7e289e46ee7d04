//! The platform under measurement, with its devices.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_tests::{Api, Launch, Platform, PostgresDatabase};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::load::Target;

/// Devices that are registered at the same time.
const AT_ONCE: usize = 32;
/// A run that is not stored by then never will be.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often the platform is asked while the load is on its way: too seldom to cost anything.
const WATCH: Duration = Duration::from_millis(100);
/// Messages that are written without waiting for the timer.
const BATCH: f64 = 100.0;

const STORED: &str = "pocket_ingest_messages_total{fate=\"stored\"}";
const CONNECTIONS: &str = "pocket_mqtt_connections";

/// A platform that serves, and its devices.
pub(crate) struct Ours {
    pub(crate) platform: Platform,
    /// Id and token of each device.
    pub(crate) devices: Arc<[(String, String)]>,
}

impl Ours {
    /// Starts it with its defaults.
    pub(crate) async fn start(devices: usize) -> Self {
        Self::start_with(launch(), devices).await
    }

    pub(crate) async fn start_with(launch: Launch, devices: usize) -> Self {
        let platform = launch.start().await;
        let devices = register(&platform, devices).await.into();
        Self { platform, devices }
    }

    /// Starts it with a database of its own in PostgreSQL, if there is a server.
    pub(crate) async fn start_on_postgres(devices: usize) -> Option<(PostgresDatabase, Self)> {
        if std::env::var_os("POCKET_TEST_POSTGRES").is_none() {
            eprintln!("POCKET_TEST_POSTGRES names no server: nothing is measured with PostgreSQL");
            return None;
        }
        let database = PostgresDatabase::create().await;
        let ours = Self::start_with(launch().set("database.url", &database.url()), devices).await;
        Some((database, ours))
    }

    pub(crate) fn target(&self) -> Target {
        Target::new(self.platform.mqtt(), Arc::clone(&self.devices))
    }

    /// Does what publishes `messages`, and waits until they are rows, so many and no more. Returns when that was, too; what is left
    /// of less than a batch, which waits for a timer when nobody waits for it, does not count for that.
    pub(crate) async fn stored<T>(&self, messages: usize, load: impl Future<Output = io::Result<T>>) -> (T, Instant) {
        let api = self.platform.api();
        let all = metric(&api, STORED).await + messages as f64;
        let is_enough = |stored: f64| stored > all - BATCH;
        let mut at = None;
        let mut load = pin!(load);
        let done = loop {
            tokio::select! {
                done = &mut load => break done.expect("the platform takes the load"),
                // A subscriber that misses messages waits for them long after all are stored.
                () = sleep(WATCH), if at.is_none() => {
                    at = is_enough(metric(&api, STORED).await).then(Instant::now);
                }
            }
        };
        let at = match at {
            Some(at) => at,
            None => {
                wait(&api, STORED, is_enough).await;
                Instant::now()
            }
        };
        wait(&api, STORED, |stored| stored >= all).await;
        assert_eq!(metric(&api, STORED).await, all, "each message is stored once");
        (done, at)
    }

    /// Waits until nobody is connected.
    pub(crate) async fn left_alone(&self) {
        wait(&self.platform.api(), CONNECTIONS, |connections| connections == 0.0).await;
    }

    /// Resident memory in megabytes, now and the most so far.
    pub(crate) fn megabytes(&self) -> (f64, f64) {
        let memory = self.platform.memory();
        (memory.now as f64 / 1e6, memory.peak as f64 / 1e6)
    }
}

/// On free ports, with a log that does not cost.
pub(crate) fn launch() -> Launch {
    let launch = Launch::default().set("log.filter", "warn");
    // The test of the bench does not wait for the timer.
    if cfg!(test) { launch.set("ingest.flush_ms", "50") } else { launch }
}

async fn register(platform: &Platform, count: usize) -> Vec<(String, String)> {
    let admin = platform.admin().await;
    let mut workers = JoinSet::new();
    for first in 0..AT_ONCE {
        let admin = admin.clone();
        workers.spawn(async move {
            let mut devices = Vec::new();
            for number in (first..count).step_by(AT_ONCE) {
                devices.push(admin.register_device(&format!("bench-{number}")).await);
            }
            devices
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

async fn wait(api: &Api, name: &str, is_enough: impl Fn(f64) -> bool) {
    let began = Instant::now();
    loop {
        let now = metric(api, name).await;
        if is_enough(now) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name} is {now}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A number that the platform tells of itself.
async fn metric(api: &Api, name: &str) -> f64 {
    let text = api.request(reqwest::Method::GET, "/metrics").send().await.expect("metrics").text().await.expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
}
