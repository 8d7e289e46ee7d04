//! Histories that go out and come back, with the real binary: over REST and from the command line.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use pocket_tests::{Api, Launch, Platform, PostgresDatabase, binary};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const EXPORT: &str = "/api/v1/telemetry/export";
const IMPORT: &str = "/api/v1/telemetry/import";
const PATIENCE: Duration = Duration::from_secs(120);

/// Payloads as they may come in, as values of CSV; the last one is no JSON.
const ODD: [&str; 11] = [
    "12345678901234567890",
    "-0",
    "1e300",
    r#""""\u0000""""#,
    r#""{""b"": 1.50,""a"":[1,2]}""#,
    "\"{\"\"a\"\":\r\n1}\"",
    r#""""Grüße, 世界 🌡""""#,
    "null",
    "\"\"\"a\\\"\"b\"\"\"",
    "[]",
    "\"21.5 \"\"C\"\"\n\"",
];

fn command(platform: &Platform, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("--data-dir").arg(platform.data_dir()).args(arguments).env_clear().stdin(Stdio::null());
    command
}

async fn run(platform: &Platform, arguments: &[&str]) -> Output {
    command(platform, arguments).output().await.expect("the binary starts")
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn post(api: &Api, path: &str, media_type: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = api.request(Method::POST, path).header("content-type", media_type).body(body);
    let response = timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn text(api: &Api, path: &str) -> String {
    let response = api.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

/// Rows of two devices with odd payloads, in a tenant that takes any.
async fn odd_history(platform: &Platform) -> Api {
    let api = platform.admin().await;
    let tenant = api.get("/api/v1/auth/me").await.expect(200)["tenantId"].as_str().unwrap().to_owned();
    api.patch(&format!("/api/v1/tenants/{tenant}"), json!({ "payloadPolicy": "any" })).await.expect(200);
    let (first, second) = (api.register_device("a").await.0, api.register_device("b").await.0);
    // The copy has the devices and nothing of what they say.
    let mut csv = String::from("deviceId,topic,payload,timestamp,receivedAt\n");
    for (number, payload) in (1_000..).zip(ODD) {
        for (device, topic) in [(&first, "\"a, \"\"b\"\"\""), (&second, "plain")] {
            csv += &format!("{device},{topic},{payload},{number},{}\n", 2 * number);
        }
    }
    if platform.data_dir().join("pocket.db").exists() {
        let copy = platform.data_dir().join("empty.db");
        succeeded(&run(platform, &["backup", "--database-only", copy.to_str().unwrap()]).await);
    }
    let (status, answer) = post(&api, IMPORT, "text/csv", csv).await;
    assert_eq!((status, answer), (200, json!({ "rows": 22, "stored": 22, "present": 0 })));
    api
}

/// The lines of an export without the ids, which another database gives anew.
fn rows(export: &str) -> Vec<Value> {
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        // As text: a number is compared to the letter.
        // With the letter of those that have line breaks behind it.
        let payload = line.split("\"payload\":").nth(1).unwrap().split(",\"timestamp\"").next().unwrap();
        row["payload"] = payload.into();
        row.as_object_mut().unwrap().remove("id");
        row
    };
    export.lines().map(row).collect()
}

#[tokio::test]
async fn what_goes_out_comes_back_into_an_empty_database_as_it_was() {
    let platform = Launch::default().start().await;
    let api = odd_history(&platform).await;
    let all = text(&api, EXPORT).await;
    assert_eq!(all.lines().count(), 22);
    assert!(all.contains(r#""payload":{"raw":"21.5 \"C\"\n"},"timestamp":"1970-01-01T00:00:01.010Z","receivedAt":"1970-01-01T00:00:02.020Z""#), "{all}");
    assert_eq!(succeeded(&run(&platform, &["export"]).await), all);
    let directory = platform.data_dir();
    for (format, gzip) in [("csv", false), ("csv", true), ("ndjson", false), ("ndjson", true)] {
        let file = directory.join(format!("export.{format}")).display().to_string();
        let mut arguments = vec!["export", "--format", format, "--output", &file];
        arguments.extend(gzip.then_some("--gzip"));
        succeeded(&run(&platform, &arguments).await);
        let again = succeeded(&run(&platform, &["import", &file]).await);
        assert_eq!(again, "22 rows, 0 stored, 22 already there\n");
        std::fs::copy(directory.join("empty.db"), directory.join("copy.db")).unwrap();
        let url = format!("database.url=sqlite://{}", directory.join("copy.db").display());
        let on_copy =
            async |arguments: &[&str]| succeeded(&run(&platform, &[&["--set", &url], arguments].concat()).await);
        assert_eq!(on_copy(&["import", &file]).await, "22 rows, 22 stored, 0 already there\n", "{format} {gzip}");
        assert_eq!(on_copy(&["import", &file]).await, "22 rows, 0 stored, 22 already there\n");
        assert_eq!(rows(&on_copy(&["export"]).await), rows(&all), "{format} {gzip}");
        std::fs::remove_file(directory.join("copy.db")).unwrap();
    }
}

#[tokio::test]
async fn an_import_into_postgresql_can_be_repeated() {
    let database = PostgresDatabase::create().await;
    // All that is stored becomes chunks soon.
    let launch = Launch::default().env("DATABASE_URL", &database.url()).set("POCKET_SEAL_ROWS", "1000");
    let platform = launch.start().await;
    let api = odd_history(&platform).await;
    let device = api.register_device("c").await.0;
    let lines: String = (0..5_000)
        .map(|n| json!({ "deviceId": device, "topic": "t", "payload": { "n": n }, "timestamp": n }).to_string() + "\n")
        .collect();
    for stored in [5_000, 0, 0] {
        let (status, answer) = post(&api, IMPORT, "application/x-ndjson", lines.clone()).await;
        assert_eq!((status, answer["stored"].clone()), (200, json!(stored)));
    }
    for (format, media_type) in [("csv", "text/csv"), ("ndjson", "application/x-ndjson")] {
        let exported = text(&api, &format!("{EXPORT}?format={format}")).await;
        let (status, answer) = post(&api, IMPORT, media_type, exported).await;
        assert_eq!((status, answer), (200, json!({ "rows": 5_022, "stored": 0, "present": 5_022 })));
    }
}

#[tokio::test]
async fn imports_of_two_processes_at_once_store_each_row_once() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    let lines: String = (0..8_000)
        .map(|n| json!({ "deviceId": device, "topic": "t", "payload": n, "timestamp": n }).to_string() + "\n")
        .collect();
    let file = platform.data_dir().join("rows");
    std::fs::write(&file, &lines).unwrap();
    let arguments = ["import", file.to_str().unwrap()];
    let (by_command, by_rest) =
        tokio::join!(run(&platform, &arguments), post(&api, IMPORT, "application/x-ndjson", lines));
    let stored = |told: &str| -> u64 { told.split(", ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap() };
    assert_eq!(by_rest.0, 200, "{}", by_rest.1);
    assert_eq!(stored(&succeeded(&by_command)) + by_rest.1["stored"].as_u64().unwrap(), 8_000);
    let timestamps: BTreeSet<String> =
        rows(&text(&api, EXPORT).await).iter().map(|row| row["timestamp"].to_string()).collect();
    assert_eq!(timestamps.len(), 8_000);
}

/// Stores rows that are so many bytes long, and cannot be compressed well.
async fn fill(api: &Api, device: &str, rows: u64, bytes: usize) {
    let mut random = 1_u64;
    let mut noise = |bytes: usize| -> String {
        let letter = |_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + (random >> 59) as u8 % 26)
        };
        (0..bytes).map(letter).collect()
    };
    for begin in (0..rows).step_by(10_000) {
        let line = |n: u64| format!("{device},t,\"\"\"{}\"\"\",{n}\n", noise(bytes));
        let csv: String = (begin..rows.min(begin + 10_000)).map(line).collect();
        let (status, answer) = post(api, IMPORT, "text/csv", format!("deviceId,topic,payload,timestamp\n{csv}")).await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// A connection on which an export was asked for, and its first bytes.
async fn begin(api: &Api, platform: &Platform, more: &str) -> (TcpStream, Vec<u8>) {
    let request = api.request(Method::GET, EXPORT).build().unwrap();
    let token = request.headers()["authorization"].to_str().unwrap().to_owned();
    let address = request.url().socket_addrs(|| None).unwrap()[0];
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {EXPORT} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 1_000];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("an answer in time").unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", platform.log());
    (stream, bytes)
}

/// Reads to the end of the connection, which may be a reset.
async fn rest(mut stream: TcpStream, mut bytes: Vec<u8>) -> Vec<u8> {
    let read = async {
        let mut block = vec![0; 64 * 1_024];
        while let Ok(length @ 1..) = stream.read(&mut block).await {
            bytes.extend_from_slice(&block[..length]);
        }
    };
    timeout(PATIENCE, read).await.expect("the connection ends");
    bytes
}

#[tokio::test]
async fn an_export_that_fails_in_the_middle_ends_visibly() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    // Far more than what sockets hold.
    fill(&api, &device, 30_000, 1_000).await;
    for more in ["", "accept-encoding: gzip\r\n"] {
        let (stream, bytes) = begin(&api, &platform, more).await;
        let url = format!("sqlite://{}", platform.data_dir().join("pocket.db").display());
        let database = sea_orm::Database::connect(&url).await.unwrap();
        let rename = async |from: &str, to: &str| {
            let sql = format!("ALTER TABLE {from} RENAME TO {to}");
            sea_orm::ConnectionTrait::execute_unprepared(&database, &sql).await.unwrap();
        };
        rename("telemetry_log", "gone").await;
        let got = rest(stream, bytes).await;
        rename("gone", "telemetry_log").await;
        database.close().await.unwrap();
        assert!(got.len() < 28_000_000 && !got.ends_with(b"0\r\n\r\n"), "{} bytes", got.len());
        let heads = got.windows(9).filter(|window| window == b"HTTP/1.1 ").count();
        assert_eq!(heads, 1, "nothing but the body follows its head");
        assert!(platform.log().contains("an export was cut off"), "{}", platform.log());
    }
    // What follows is served as ever.
    let (stream, bytes) = begin(&api, &platform, "connection: close\r\n").await;
    let got = rest(stream, bytes).await;
    assert!(got.len() > 30_000_000 && got.ends_with(b"0\r\n\r\n"), "{} bytes", got.len());
}

#[tokio::test]
async fn an_export_that_nobody_reads_does_not_hold_up_the_end_and_ends_visibly() {
    let mut platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    fill(&api, &device, 20_000, 1_000).await;
    let (stream, bytes) = begin(&api, &platform, "").await;
    assert!(timeout(Duration::from_secs(30), platform.stop()).await.expect("it stops").success());
    let got = rest(stream, bytes).await;
    assert!(got.len() < 20_000_000 && !got.ends_with(b"0\r\n\r\n"), "{} bytes", got.len());
}

#[tokio::test]
async fn an_export_to_a_slow_reader_takes_little_memory() {
    let mut platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    fill(&api, &device, 120_000, 800).await;
    // What the keeper does takes memory of its own.
    let tenant = api.get("/api/v1/auth/me").await.expect(200)["tenantId"].as_str().unwrap().to_owned();
    let sealed = async {
        let usage = format!("/api/v1/tenants/{tenant}/usage");
        while api.get(&usage).await.expect(200)["log"]["rows"].as_u64().unwrap() >= 20_000 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, sealed).await.expect("the log becomes short");
    platform.stop().await;
    platform.start_again().await;
    let api = platform.admin().await;
    // Something like what is measured, so that it starts with warm caches.
    assert_eq!(text(&api, &format!("{EXPORT}?to=5000")).await.lines().count(), 5_000);
    let before = platform.memory().peak;
    let (mut stream, _) = begin(&api, &platform, "connection: close\r\n").await;
    // It reads nothing for a while, then a little at a time.
    sleep(Duration::from_secs(2)).await;
    let (mut block, mut total) = (vec![0; 256 * 1_024], 0);
    while let Ok(length @ 1..) = stream.read(&mut block).await {
        total += length;
        if total < 8_000_000 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(total > 110_000_000, "{total} bytes");
    let grown = platform.memory().peak.saturating_sub(before);
    assert!(grown < 40_000_000, "{grown} bytes more than {before}");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_command_in_order() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    fill(&api, &device, 5_000, 1_000).await;
    let mut child = command(&platform, &["export"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).await.unwrap();
    drop(stdout);
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_command_that_fails_in_the_middle_says_so() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    fill(&api, &device, 10_000, 1_000).await;
    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        let child = command(&platform, &["export"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("the output is incomplete: No space left"), "{error}");
    }
    // A pipe that holds little, so that the command is in the middle when the table goes.
    let mut child = command(&platform, &["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).await.unwrap();
    let url = format!("sqlite://{}", platform.data_dir().join("pocket.db").display());
    let database = sea_orm::Database::connect(&url).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&database, "ALTER TABLE telemetry_log RENAME TO gone").await.unwrap();
    database.close().await.unwrap();
    stdout.read_to_end(&mut Vec::new()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the output is incomplete"), "{error}");
}

#[tokio::test]
async fn a_body_with_a_wrong_line_is_answered_while_it_is_still_being_sent() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    let line = |n: u64| json!({ "deviceId": device, "topic": "t", "payload": n, "timestamp": n }).to_string() + "\n";
    let right: String = (0..3_000).map(line).collect();
    let body = right + "{}\n" + &(0..200_000).map(line).collect::<String>();
    let (status, problem) = post(&api, IMPORT, "application/x-ndjson", body).await;
    assert_eq!((status, &problem["code"]), (422, &json!("INVALID")));
    assert_eq!(problem["errors"][0]["field"], "line 3001, deviceId");
    assert!(problem["detail"].as_str().unwrap().contains("3000 rows: 3000 stored"), "{problem}");
    assert_eq!(text(&api, EXPORT).await.lines().count(), 3_000);
}

#[tokio::test]
async fn a_line_without_an_end_is_refused_and_takes_little_memory() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let before = platform.memory().peak;
    let (status, problem) = post(&api, IMPORT, "application/x-ndjson", vec![b' '; 100_000_000]).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("must be at most 540672 bytes"), "{problem}");
    let grown = platform.memory().peak.saturating_sub(before);
    assert!(grown < 30_000_000, "{grown} bytes");
}

#[tokio::test]
async fn compressed_exports_are_whole() {
    let platform = Launch::default().start().await;
    let api = platform.admin().await;
    let device = api.register_device("a").await.0;
    fill(&api, &device, 9_000, 100).await;
    let request = api.request(Method::GET, EXPORT).header("accept-encoding", "gzip");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await.unwrap();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, text(&api, EXPORT).await);
    let file = platform.data_dir().join("a.gz");
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let output = run(&platform, &["import", path(&file)]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("this is not gzip, or not all of it") && error.contains("8000 rows, 0 stored"), "{error}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
