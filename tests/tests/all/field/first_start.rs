//! What people read when something is not as it must be at a start, and what a log tells of those who come and go.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pocket_tests::{Launch, StrictClient, binary};
use rumqttc::QoS;

const PATIENCE: Duration = Duration::from_secs(30);

/// A program with these arguments, on any free ports that they do not name, until it ends by itself.
fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("--data-dir").arg(dir).args(arguments).env_clear().stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_second_start_in_the_same_folder_says_that_the_platform_runs_there() {
    let platform = Launch::default().start().await;
    let dir = platform.data_dir();
    let free =
        ["--set", "api.host=127.0.0.1", "--set", "api.port=0", "--set", "mqtt.host=127.0.0.1", "--set", "mqtt.port=0"];
    let second = run(&dir, &free);
    assert_eq!(second.status.code(), Some(1));
    let words = said(&second);
    assert!(words.contains("the platform already runs on sqlite:") && words.contains("--data-dir"), "{words}");
    assert!(words.contains(&dir.display().to_string()), "{words}");
}

#[test]
fn a_port_that_is_taken_is_told_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let others = ["api.host=127.0.0.1", "mqtt.host=127.0.0.1"];
    for (key, free, name) in [
        ("api.port", "mqtt.port", "POCKET_API_PORT"),
        ("mqtt.port", "api.port", "POCKET_MQTT_PORT"),
        ("mqtt.ws_port", "api.port", "POCKET_MQTT_WS_PORT"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (port, free) = (format!("{key}={port}"), format!("{free}=0"));
        let mut arguments = vec!["--set", others[0], "--set", others[1], "--set", &*free, "--set", &*port];
        if key == "mqtt.ws_port" {
            arguments.extend(["--set", "mqtt.port=0"]);
        }
        let output = run(dir.path(), &arguments);
        let words = said(&output);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains("the port is taken by another program") && words.contains(name), "{words}");
    }
}

#[test]
fn a_check_of_the_configuration_finds_files_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, file) = (dir.path().join("missing.pem"), dir.path().join("file"));
    std::fs::write(&file, "x").unwrap();
    let set = |key: &str, path: &Path| format!("{key}={}", path.display());
    let (certificate, key) = (set("mqtt.tls_cert", &missing), set("mqtt.tls_key", &missing));
    let output =
        run(&file.join("data"), &["config", "check", "--set", &certificate, "--set", &key, "--set", "mqtt.tls_port=0"]);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(2), "{words}");
    for setting in ["POCKET_TLS_CERT=", "POCKET_TLS_KEY=", "POCKET_DATA_DIR="] {
        assert!(words.contains(setting), "{words}");
    }
    assert!(words.contains("No such file or directory"), "{words}");
    let right = run(&dir.path().join("data"), &["config", "check"]);
    assert!(right.status.success(), "{}", said(&right));
    assert!(!dir.path().join("data").exists(), "a check makes nothing");
}

#[tokio::test]
async fn a_log_in_json_has_no_password_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(binary());
    let free =
        ["--set", "api.host=127.0.0.1", "--set", "api.port=0", "--set", "mqtt.host=127.0.0.1", "--set", "mqtt.port=0"];
    command.arg("--data-dir").arg(dir.path()).args(free).args(["--set", "log.format=json"]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    let file = dir.path().join("first-password");
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < PATIENCE, "no file with the password");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let password = std::fs::read_to_string(&file).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Signals are heard from the beginning, and answered after the block is written.
    end(child.id().unwrap(), "TERM");
    let output = child.wait_with_output().await.unwrap();
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(password.trim().len() >= 12 && !all.contains(password.trim()), "{all}");
    assert!(all.contains("first-password"), "{all}");
}

/// Sends a signal.
fn end(id: u32, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_hangup_of_a_service_loses_nothing_and_who_comes_and_goes_is_in_the_log() {
    let mut platform = Launch::default().start().await;
    let (device, token) = platform.admin().await.register_device("boiler").await;
    let mut client = StrictClient::new("my-client", &device, &token);
    client.connect(platform.mqtt()).await.unwrap();
    for number in 0..200 {
        client.publish("a/b", QoS::AtLeastOnce, number.to_string()).await.unwrap();
        if number == 100 {
            end(platform.id(), "HUP");
        }
    }
    while client.unacknowledged() > 0 {
        tokio::time::timeout(PATIENCE, client.take_one()).await.expect("all is acknowledged").unwrap();
    }
    assert!(platform.is_running());
    assert_eq!(platform.admin().await.telemetry("topic=a/b&limit=1000").await.len(), 200);
    client.break_off();
    let began = Instant::now();
    let lines = ["SIGHUP", "client connected", "my-client", "client disconnected", "connection_lost"];
    while let Some(line) = lines.iter().find(|line| !platform.log().contains(**line)) {
        assert!(began.elapsed() < PATIENCE, "{line} is not in the log:\n{}", platform.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!platform.log().contains(&token), "a token is in the log");
}

#[tokio::test]
async fn a_user_name_without_a_password_is_no_line_of_the_log() {
    let platform = Launch::default().start().await;
    for (user, password) in [("hunter2-is-my-secret", ""), ("somebody", "wrong")] {
        let mut client = StrictClient::new("mistyped", user, password);
        assert!(client.connect(platform.mqtt()).await.is_err(), "{user}");
    }
    let began = Instant::now();
    while !platform.log().contains("connection refused") {
        assert!(began.elapsed() < PATIENCE, "no refusal in the log:\n{}", platform.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!platform.log().contains("hunter2"), "{}", platform.log());
}
