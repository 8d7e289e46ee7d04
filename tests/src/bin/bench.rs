//! Measures the binary that POCKET_IOT_BINARY names, and Mosquitto beside it where it is installed: `just bench`.
//!
//! Each figure is the median of several runs; the two brokers take turns, so that a busy machine slows both. After each run
//! each message must have been stored once, as the platform counts. The table goes to stdout, the same figures as JSON to
//! the file named by the first argument.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints, and fails at once")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use pocket_tests::{Api, Launch, Load, Measured, Platform, binary};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const RUNS: usize = 3;
const DEVICES: usize = 50;
const MESSAGES: usize = 1_000_000;
const WINDOW: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    tokio::task::LocalSet::new().run_until(run()).await;
}

async fn run() {
    let megabytes = std::fs::metadata(binary()).expect("the binary is there").len() as f64 / 1e6;
    let began = Instant::now();
    let platform = Launch::default().set("log.filter", "warn").start().await;
    let ready = began.elapsed();
    // What a start leaves behind settles within a second.
    sleep(Duration::from_secs(1)).await;
    let at_rest = metric(&platform.api(), "pocket_resident_memory_bytes").await / 1e6;
    let credentials = register(&platform).await;
    let mosquitto = Mosquitto::start().await;

    let mut rows = Vec::new();
    for qos in [0, 1] {
        let load = Load { address: platform.mqtt(), credentials: credentials.clone(), ..load(qos) };
        let peer = mosquitto.as_ref().map(|peer| Load { address: peer.address, ..self::load(qos) });
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            ours.push(stored(&platform, &load).await);
            if let Some(peer) = &peer {
                theirs.push(peer.run().await.expect("Mosquitto takes the load"));
            }
        }
        rows.push(Row { qos, ours: median(ours), theirs: (!theirs.is_empty()).then(|| median(theirs)) });
    }
    let loaded = metric(&platform.api(), "pocket_resident_memory_bytes").await / 1e6;
    let figures = json!({
        "binaryMegabytes": megabytes,
        "readyMillis": ready.as_millis(),
        "memoryAtRestMegabytes": at_rest,
        "memoryAfterLoadMegabytes": loaded,
        "publish": rows.iter().map(Row::figures).collect::<Vec<_>>(),
    });
    print(&rows, &figures);
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(path, format!("{figures:#}\n")).expect("the figures are written");
    }
}

fn load(qos: u8) -> Load {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Load { address, credentials: Vec::new(), connections: DEVICES, messages: MESSAGES, qos, window: WINDOW }
}

async fn register(platform: &Platform) -> Vec<(String, String)> {
    let admin = platform.admin().await;
    let mut credentials = Vec::new();
    for number in 0..DEVICES {
        credentials.push(admin.register_device(&format!("bench-{number}")).await);
    }
    credentials
}

/// Publishes, and waits until every message is a row. The rate is that of storing: messages by the time until all are
/// rows, which is later than the last acknowledgement at QoS 0.
async fn stored(platform: &Platform, load: &Load) -> Measured {
    const STORED: &str = "pocket_ingest_messages_total{fate=\"stored\"}";
    let api = platform.api();
    let before = metric(&api, STORED).await;
    let began = Instant::now();
    let measured = load.run().await.expect("the platform takes the load");
    while metric(&api, STORED).await < before + MESSAGES as f64 {
        assert!(began.elapsed() < Duration::from_secs(120), "not all messages were stored");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(metric(&api, STORED).await, before + MESSAGES as f64, "each message is stored once");
    let per_second = MESSAGES as f64 / began.elapsed().as_secs_f64();
    Measured { per_second: measured.per_second.min(per_second), ..measured }
}

async fn metric(api: &Api, name: &str) -> f64 {
    let text = api.request(reqwest::Method::GET, "/metrics").send().await.expect("metrics").text().await.expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
}

fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    runs[runs.len() / 2]
}

/// Publishing at one QoS.
struct Row {
    qos: u8,
    ours: Measured,
    theirs: Option<Measured>,
}

impl Row {
    fn figures(&self) -> Value {
        let figures = |measured: &Measured| {
            json!({
                "perSecond": measured.per_second.round(),
                "ackP50Micros": measured.ack_p50.as_micros(),
                "ackP99Micros": measured.ack_p99.as_micros(),
            })
        };
        json!({ "qos": self.qos, "stored": figures(&self.ours), "mosquitto": self.theirs.as_ref().map(figures) })
    }
}

fn print(rows: &[Row], figures: &Value) {
    println!(
        "{DEVICES} devices, {MESSAGES} messages of 64 bytes, median of {RUNS} runs, SQLite with synchronous=FULL\n"
    );
    println!("| publish | stored msg/s | acknowledged p50 / p99 | Mosquitto msg/s (stores nothing) | ratio |");
    println!("|---|---|---|---|---|");
    for Row { qos, ours, theirs } in rows {
        let millis = |duration: Duration| duration.as_micros() as f64 / 1_000.0;
        let acknowledged = match qos {
            0 => "-".to_owned(),
            _ => format!("{:.1} / {:.1} ms", millis(ours.ack_p50), millis(ours.ack_p99)),
        };
        let (peer, ratio) = theirs.as_ref().map_or(("not installed".into(), "-".into()), |theirs| {
            (format!("{:.0}", theirs.per_second), format!("{:.2}", ours.per_second / theirs.per_second))
        });
        println!("| QoS {qos} | {:.0} | {acknowledged} | {peer} | {ratio} |", ours.per_second);
    }
    println!(
        "\nbinary {:.1} MB, ready after {} ms, memory {:.1} MB at rest and {:.1} MB after the load",
        figures["binaryMegabytes"].as_f64().unwrap_or_default(),
        figures["readyMillis"],
        figures["memoryAtRestMegabytes"].as_f64().unwrap_or_default(),
        figures["memoryAfterLoadMegabytes"].as_f64().unwrap_or_default(),
    );
}

/// A Mosquitto with its defaults that lets everybody in. It ends with this value.
struct Mosquitto {
    address: SocketAddr,
    _child: Child,
    _directory: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts it on a free port; `None` when it is not installed.
    async fn start() -> Option<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = address.expect("a free port");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("mosquitto.conf");
        let text = format!("listener {} 127.0.0.1\nallow_anonymous true\n", address.port());
        std::fs::write(&file, text).expect("a configuration file");
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().ok()?;
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Some(Self { address, _child: child, _directory: directory });
            }
            sleep(Duration::from_millis(20)).await;
        }
        None
    }
}
