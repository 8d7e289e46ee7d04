//! What people read when something is not as it must be at a start, and what a log tells of those who come and go.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pocket_tests::{Launch, PostgresDatabase, StrictClient, binary};
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

async fn a_second_start_says_that_the_platform_runs(launch: Launch, database: Option<String>, way_out: &str) {
    let platform = launch.start().await;
    let (api, mqtt) = (platform.api_address().port(), platform.mqtt().port());
    let url = database.map(|url| format!("database.url={url}"));
    // With the ports of the first one, which are what a second start in the same folder has, and with others.
    for (api, mqtt) in [(api, mqtt), (0, 0)] {
        let (api, mqtt) = (format!("api.port={api}"), format!("mqtt.port={mqtt}"));
        let mut arguments =
            vec!["--set", "api.host=127.0.0.1", "--set", "mqtt.host=127.0.0.1", "--set", &*api, "--set", &*mqtt];
        if let Some(url) = &url {
            arguments.extend(["--set", url]);
        }
        let second = run(&platform.data_dir(), &arguments);
        assert_eq!(second.status.code(), Some(1));
        let (words, dir) = (said(&second), platform.data_dir());
        let expected = format!("the platform already runs on {} (pid {}", dir.display(), platform.id());
        assert!(words.contains(&expected) && words.contains(way_out) && !words.contains("port is taken"), "{words}");
        let elsewhere = tempfile::tempdir().unwrap();
        if let Some(url) = &url {
            let key = platform.data_dir().join("token-key");
            std::fs::copy(key, elsewhere.path().join("token-key")).unwrap();
            let words = said(&run(elsewhere.path(), &[&arguments[..], &["--set", url]].concat()));
            let expected = "a broker with the name main already runs on postgres://";
            assert!(words.contains(expected) && words.contains(way_out), "{words}");
        }
    }
}

#[tokio::test]
async fn a_second_start_says_that_the_platform_runs_in_sqlite() {
    a_second_start_says_that_the_platform_runs(Launch::default(), None, "--data-dir").await;
}

#[tokio::test]
async fn a_second_start_says_that_the_platform_runs_in_postgresql() {
    let database = PostgresDatabase::create().await;
    let launch = Launch::default().set("database.url", &database.url());
    a_second_start_says_that_the_platform_runs(launch, Some(database.url()), "POCKET_NODE").await;
}

#[tokio::test]
async fn a_second_process_of_the_api_alone_is_told_who_runs_in_its_folder() {
    let platform = Launch::default().set("mode", "api").start().await;
    let port = format!("api.port={}", platform.api_address().port());
    let second = run(&platform.data_dir(), &["--mode", "api", "--set", "api.host=127.0.0.1", "--set", &port]);
    let words = said(&second);
    assert!(words.contains("POCKET_API_PORT") && words.contains(&format!("pid {}", platform.id())), "{words}");
}

#[test]
fn a_port_that_is_taken_is_told_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let files = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(files.path());
    let tls = [format!("mqtt.tls_cert={cert}"), format!("mqtt.tls_key={key}")];
    for (key, name) in [
        ("api.port", "POCKET_API_PORT"),
        ("mqtt.port", "POCKET_MQTT_PORT"),
        ("mqtt.ws_port", "POCKET_MQTT_WS_PORT"),
        ("mqtt.tls_port", "POCKET_MQTT_TLS_PORT"),
        ("mqtt.wss_port", "POCKET_MQTT_WSS_PORT"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let port = format!("{key}={port}");
        let mut arguments = vec!["--set", "api.host=127.0.0.1", "--set", "mqtt.host=127.0.0.1"];
        for other in ["api.port=0", "mqtt.port=0"].into_iter().filter(|other| !other.starts_with(&format!("{key}="))) {
            arguments.extend(["--set", other]);
        }
        arguments.extend(["--set", &port]);
        if name.contains("TLS") || name.contains("WSS") {
            arguments.extend(["--set", &tls[0], "--set", &tls[1]]);
        }
        let output = run(dir.path(), &arguments);
        let words = said(&output);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains("the port is taken by another program") && words.contains(name), "{name}: {words}");
    }
    let both = run(files.path(), &["config", "check", "--set", "api.port=4000", "--set", "mqtt.ws_port=4000"]);
    assert!(said(&both).contains("POCKET_MQTT_WS_PORT=4000: this is POCKET_API_PORT already"), "{}", said(&both));
}

/// A certificate and its key, as files.
fn certificate(dir: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert.display().to_string(), key.display().to_string())
}

#[test]
fn a_check_of_the_configuration_finds_what_every_setting_of_a_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (pem, _) = certificate(dir.path());
    let text = path("text");
    std::fs::write(&text, "no database and no certificate at all").unwrap();
    std::fs::write(path("empty.db"), "").unwrap();
    let missing = path("missing");
    let bridge = path("bridge.toml");
    let table = |more: &str| {
        format!(
            "[[bridge]]\nname = \"hub\"\nurl = \"mqtts://hub.example\"\ntopics = [{{ filter = \"a\", direction = \"out\" }}]\n{more}\n"
        )
    };
    let check = |arguments: &[&str]| {
        let output = run(&dir.path().join("data"), &[&["config", "check"], arguments].concat());
        (output.status.code(), said(&output))
    };
    let server = |parameters: &str| format!("database.url=postgres://u@h.example/d?{parameters}");
    for (setting, words) in [
        (format!("database.url=sqlite://{missing}/x.db?mode=rwc"), vec!["POCKET_DATABASE_URL=", "No such file"]),
        (format!("database.url=sqlite://{missing}.db"), vec!["POCKET_DATABASE_URL=", "does not exist", "mode=rwc"]),
        (format!("database.url=sqlite://{text}"), vec!["POCKET_DATABASE_URL=", "is not a SQLite database"]),
        (format!("database.url=sqlite://{}", dir.path().display()), vec!["POCKET_DATABASE_URL=", "directory"]),
        (format!("database.url=sqlite://{text}/x.db?mode=rwc"), vec!["POCKET_DATABASE_URL=", "is not a directory"]),
        (
            server(&format!("sslmode=verify-full&sslrootcert={missing}")),
            vec!["POCKET_DATABASE_URL=", "sslrootcert=", "No such file"],
        ),
        (server(&format!("sslmode=verify-full&sslrootcert={text}")), vec!["sslrootcert=", "no PEM file"]),
        (server(&format!("sslcert={missing}&sslkey={pem}")), vec!["sslcert=", "No such file"]),
        (server(&format!("sslcert={pem}&sslkey={missing}")), vec!["sslkey=", "No such file"]),
    ] {
        let (code, said) = check(&["--set", &setting]);
        assert_eq!(code, Some(2), "{setting}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{setting}: {said}");
    }
    for key in ["ca", "cert", "key"] {
        let other = match key {
            "cert" => format!("key = \"{pem}\""),
            "key" => format!("cert = \"{pem}\""),
            _ => String::new(),
        };
        std::fs::write(&bridge, table(&format!("{key} = \"{missing}\"\n{other}"))).unwrap();
        let (code, said) = check(&["--config", &bridge]);
        assert!(code == Some(2) && said.contains(&format!("bridge hub: {key}={missing} cannot be read")), "{said}");
    }
    std::fs::write(&bridge, table(&format!("user = \"a\"\npassword_file = \"{missing}\""))).unwrap();
    let (code, told) = check(&["--config", &bridge]);
    assert!(code == Some(2) && told.contains("password_file="), "{told}");
    let (code, told) = check(&["--config", &missing]);
    assert!(code == Some(2) && told.contains(&missing), "{told}");
    for variable in [
        "POCKET_JWT_SECRET_FILE",
        "POCKET_TOKEN_KEY_FILE",
        "POCKET_ADMIN_PASSWORD_FILE",
        "POCKET_DATABASE_URL_FILE",
        "POCKET_METRICS_TOKEN_FILE",
    ] {
        let mut command = Command::new(binary());
        command.args(["config", "check"]).env_clear().env(variable, &missing).current_dir(dir.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.code() == Some(2) && said(&output).contains(&missing), "{variable}: {}", said(&output));
    }
    for right in [
        format!("database.url=sqlite://{}", path("empty.db")),
        format!("database.url=sqlite://{}?mode=rwc", path("new.db")),
        "database.url=memory:".into(),
    ] {
        let (code, said) = check(&["--set", &right]);
        assert_eq!(code, Some(0), "{right}: {said}");
    }
    assert!(!dir.path().join("new.db").exists() && !dir.path().join("data").exists(), "a check makes nothing");
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
