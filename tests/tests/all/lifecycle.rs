//! The binary from start to stop: what it prints and keeps, its modes, and the commands beside a platform that runs.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use pocket_tests::{Api, Launch, Platform, PostgresDatabase, binary};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet};
use serde_json::{Value, json};
use tokio::process::Command;

/// A device that was cut off, or told apart by another process, must be gone by then.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

async fn command(platform: &Platform, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("--data-dir").arg(platform.data_dir()).args(arguments).env_clear();
    command.output().await.expect("the binary starts")
}

/// Connects as a device and waits for the CONNACK.
async fn connect(platform: &Platform, id: &str, token: &str) -> EventLoop {
    let mut options = MqttOptions::new("lifecycle", platform.mqtt().ip().to_string(), platform.mqtt().port());
    options.set_credentials(id, token);
    let (_, mut events) = AsyncClient::new(options, 10);
    let connected = async { while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::ConnAck(_))) {} };
    tokio::time::timeout(PATIENCE, connected).await.expect("the device is connected");
    events
}

async fn post_numbers(api: &Api, device: &str, count: u64) {
    let rows: Vec<Value> = (0..count)
        .map(|n| json!({ "deviceId": device, "topic": format!("a/{}", n % 2), "payload": { "n": n }, "timestamp": n }))
        .collect();
    api.post("/api/v1/telemetry", Value::from(rows)).await.expect(201);
}

fn numbers(rows: impl Iterator<Item = Value>) -> Vec<u64> {
    rows.map(|row| row["payload"]["n"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn secrets_and_accounts_survive_a_restart() {
    let mut platform = Launch::default().start().await;
    let admin = platform.admin().await;
    let (id, token) = admin.register_device("boiler-1").await;
    assert!(platform.stop().await.success());

    platform.start_again().await;
    platform.admin().await.get(&format!("/api/v1/devices/{id}")).await.expect(200);
    connect(&platform, &id, &token).await;
    assert!(platform.stop().await.success());
}

#[tokio::test]
async fn a_generated_password_is_printed_once_and_works() {
    let directory = tempfile::tempdir().unwrap();
    let start = || async {
        let mut child = Command::new(binary())
            .args(["--set", "api.port=0", "--set", "mqtt.port=0", "--data-dir"])
            .arg(directory.path().join("data"))
            .env_clear()
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
        let mut block = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            block += &(line + "\n");
            if block.contains("mosquitto_pub") {
                break;
            }
        }
        (child, block)
    };
    let (mut child, block) = start().await;
    let word_after = |label: &str| block.split(label).nth(1).and_then(|rest| rest.split_whitespace().next());
    let password = word_after("First administrator: admin, password").expect("the password is printed").to_owned();
    let address = word_after("REST API:").unwrap().trim_start_matches("http://").parse().unwrap();
    Api::at(address).log_in("admin", &password).await.get("/api/v1/auth/me").await.expect(200);
    child.kill().await.unwrap();

    let (_child, block) = start().await;
    assert!(!block.contains("First administrator") && !block.contains(&password), "{block}");
}

#[tokio::test]
async fn export_and_backup_work_beside_a_platform_that_runs() {
    let platform = Launch::default().start().await;
    let admin = platform.admin().await;
    let (id, _) = admin.register_device("boiler-1").await;
    post_numbers(&admin, &id, 1_000).await;
    post_numbers(&admin, &id, 1_000).await;

    let exported = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<Value> = output.stdout.split(|byte| *byte == b'\n').filter_map(parse).collect();
        lines
    };
    let all = exported(command(&platform, &["export"]).await);
    let expected: Vec<u64> = (0..1_000).flat_map(|n| [n, n]).collect();
    assert_eq!(numbers(all.iter().cloned()), expected);
    let by_rest = platform.admin().await.telemetry("order=asc&limit=1000").await;
    assert_eq!(all, by_rest);

    let some = ["export", "--device", &id, "--topic", "+/1", "--from", "10", "--to", "1970-01-01T00:00:00.014Z"];
    assert_eq!(numbers(exported(command(&platform, &some).await).into_iter()), [11, 11, 13, 13]);

    let copy = platform.data_dir().join("copy.db");
    let copied = command(&platform, &["backup", "--database-only", copy.to_str().unwrap()]).await;
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let of_copy = format!("database.url=sqlite://{}", copy.display());
    assert_eq!(exported(command(&platform, &["--set", &of_copy, "export"]).await), all);
}

#[tokio::test]
async fn devices_connect_to_what_was_restored_from_a_backup_under_way() {
    let mut platform = Launch::default().start().await;
    let admin = platform.admin().await;
    let (id, token) = admin.register_device("boiler-1").await;
    post_numbers(&admin, &id, 1_000).await;
    let archive = platform.data_dir().join("backup.tar");
    let backup = command(&platform, &["backup", archive.to_str().unwrap()]).await;
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    post_numbers(&admin, &id, 1_000).await;
    platform.stop().await;

    let kept = tempfile::tempdir().unwrap();
    std::fs::rename(&archive, kept.path().join("backup.tar")).unwrap();
    std::fs::remove_dir_all(platform.data_dir()).unwrap();
    let restored = command(&platform, &["restore", kept.path().join("backup.tar").to_str().unwrap()]).await;
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    platform.start_again().await;
    connect(&platform, &id, &token).await;
    assert_eq!(platform.admin().await.telemetry("limit=1000").await.len(), 1_000);
}

#[tokio::test]
async fn a_backup_of_postgresql_has_the_secrets_and_says_what_copies_the_database() {
    let database = PostgresDatabase::create().await;
    let platform = Launch::default().set("database.url", &database.url()).start().await;
    let (at, kept) = (format!("database.url={}", database.url()), tempfile::tempdir().unwrap());
    let archive = kept.path().join("backup.tar").to_str().unwrap().to_owned();
    let backup = command(&platform, &["--set", &at, "backup", &archive]).await;
    let told = String::from_utf8_lossy(&backup.stdout);
    assert!(backup.status.success() && told.contains("pg_dump"), "{told}{}", String::from_utf8_lossy(&backup.stderr));
    let new = kept.path().join("new");
    let mut restore = Command::new(binary());
    restore.args(["--set", &at, "restore", &archive, "--data-dir"]).arg(&new).env_clear();
    let restored = restore.output().await.unwrap();
    let told = String::from_utf8_lossy(&restored.stdout);
    assert!(told.contains("pg_restore"), "{told}{}", String::from_utf8_lossy(&restored.stderr));
    for secret in ["jwt-secret", "token-key"] {
        let read = |directory: &Path| std::fs::read(directory.join(secret)).unwrap();
        assert_eq!(read(&new), read(&platform.data_dir()));
    }
    let refused =
        command(&platform, &["restore", &archive, "--data-dir", kept.path().join("x").to_str().unwrap()]).await;
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && error.contains("is of the kind postgres"), "{error}");
}

fn parse(line: &[u8]) -> Option<Value> {
    if line.is_empty() { None } else { Some(serde_json::from_slice(line).expect("a line is JSON")) }
}

#[tokio::test]
async fn an_api_and_a_broker_share_a_database() {
    let database = PostgresDatabase::create().await;
    let shared = |mode: &str| {
        Launch::default()
            .set("mode", mode)
            .set("database.url", &database.url())
            .set("auth.token_key", "0123456789abcdef0123456789abcdef")
    };
    let api = shared("api").start().await;
    let broker = shared("broker").start().await;
    let admin = api.admin().await;
    let (id, token) = admin.register_device("boiler-1").await;
    let mut events = connect(&broker, &id, &token).await;

    admin.patch(&format!("/api/v1/devices/{id}"), json!({ "enabled": false })).await.expect(200);
    let closed = async { while events.poll().await.is_ok() {} };
    tokio::time::timeout(REVOKED_WITHIN, closed).await.expect("the other process cuts the device off");
}

/// Starts the binary, which is to refuse, and gives what it said.
async fn refused(data_dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(["--set", "api.port=0", "--set", "mqtt.port=0", "--data-dir"]).arg(data_dir).args(arguments);
    let output = command.env_clear().kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it does not serve").expect("the binary starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("POCKET_TOKEN_KEY") && error.contains("token-key adopt"), "{error}");
    error
}

/// Processes with another token key, or without one, let no device in: none of them starts, in whichever mode.
async fn the_key_of_a_database_is_needed(url: &str, token_key: &str) {
    let elsewhere = tempfile::tempdir().unwrap();
    let database = format!("database.url={url}");
    for mode in ["all", "api", "broker"] {
        let error = refused(elsewhere.path(), &["--mode", mode, "--set", &database]).await;
        assert!(error.contains("token-key does not exist"), "{error}");
        let key = format!("auth.token_key={}", "k".repeat(32));
        let error = refused(elsewhere.path(), &["--mode", mode, "--set", &database, "--set", &key]).await;
        assert!(error.contains("POCKET_TOKEN_KEY is not the key") && !error.contains(&"k".repeat(32)), "{error}");
    }
    assert!(!elsewhere.path().join("token-key").exists(), "a key was made for a database that has one");
    std::fs::write(elsewhere.path().join("token-key"), "f".repeat(64)).unwrap();
    let error = refused(elsewhere.path(), &["--set", &database]).await;
    assert!(error.contains("token-key is not the key"), "{error}");
    // With the right one, from wherever, it serves.
    std::fs::write(elsewhere.path().join("token-key"), token_key).unwrap();
    Launch::default().set("database.url", url).set("auth.token_key", token_key).set("node", "other").start().await;
}

#[tokio::test]
async fn a_sqlite_database_is_not_served_with_another_token_key() {
    let mut platform = Launch::default().start().await;
    let (id, token) = platform.admin().await.register_device("boiler-1").await;
    platform.stop().await;
    let url = format!("sqlite://{}", platform.data_dir().join("pocket.db").display());
    let token_key = std::fs::read_to_string(platform.data_dir().join("token-key")).unwrap();
    the_key_of_a_database_is_needed(&url, token_key.trim()).await;

    // When the key is lost, another can be taken, and devices get new tokens.
    std::fs::remove_file(platform.data_dir().join("token-key")).unwrap();
    refused(&platform.data_dir(), &[]).await;
    let adopted = command(&platform, &["token-key", "adopt"]).await;
    assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));
    platform.start_again().await;
    let path = format!("/api/v1/devices/{id}/regenerate-token");
    let again = platform.admin().await.post(&path, Value::Null).await.expect(201);
    let new = again["token"].as_str().unwrap();
    assert_ne!(new, token);
    connect(&platform, &id, new).await;
}

#[tokio::test]
async fn a_postgresql_database_is_not_served_with_another_token_key() {
    let database = PostgresDatabase::create().await;
    let platform = Launch::default().set("database.url", &database.url()).start().await;
    let token_key = std::fs::read_to_string(platform.data_dir().join("token-key")).unwrap();
    the_key_of_a_database_is_needed(&database.url(), token_key.trim()).await;
}

#[tokio::test]
async fn a_database_of_a_version_without_fingerprints_takes_the_key_that_is_there() {
    let mut platform = Launch::default().start().await;
    let (id, token) = platform.admin().await.register_device("boiler-1").await;
    platform.stop().await;
    let url = format!("sqlite://{}", platform.data_dir().join("pocket.db").display());
    let connection = sea_orm::Database::connect(&url).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&connection, "DELETE FROM token_key").await.unwrap();
    connection.close().await.unwrap();
    // Its tokens tell that there was a key.
    let elsewhere = tempfile::tempdir().unwrap();
    refused(elsewhere.path(), &["--set", &format!("database.url={url}")]).await;
    platform.start_again().await;
    connect(&platform, &id, &token).await;
    let other = format!("auth.token_key={}", "k".repeat(32));
    refused(elsewhere.path(), &["--set", &format!("database.url={url}"), "--set", &other]).await;
}

#[tokio::test]
async fn metrics_are_told_to_this_machine() {
    let platform = Launch::default().start().await;
    let request = platform.api().request(reqwest::Method::GET, "/metrics");
    let text = request.send().await.unwrap().text().await.unwrap();
    for figure in ["pocket_build{", "pocket_ingest_queued", "# EOF"] {
        assert!(text.contains(figure), "{figure} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let mut platform = Launch::default().start().await;
    assert!(platform.stop().await.success());
    let url = format!("sqlite://{}", platform.data_dir().join("pocket.db").display());
    let connection = sea_orm::Database::connect(&url).await.unwrap();
    let later = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_from_the_future', 0)";
    sea_orm::ConnectionTrait::execute_unprepared(&connection, later).await.unwrap();
    connection.close().await.unwrap();

    let output = command(&platform, &["migrate"]).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("m9999_from_the_future") && error.contains("newer"), "{error}");
}
