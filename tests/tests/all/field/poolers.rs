//! PostgreSQL behind PgBouncer, in each of its modes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pocket_tests::{Launch, PostgresServer, binary, installed};
use serde_json::json;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A pooler before a server. It ends with this value.
struct Pooler {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Pooler {
    async fn start(server: &PostgresServer, mode: &str, size: u32) -> Self {
        let dir = tempfile::Builder::new().prefix("pocket-pooler.").tempdir_in("/tmp").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = dir.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n\
             unix_socket_dir =\npool_mode = {mode}\ndefault_pool_size = {size}\nmax_client_conn = 100\n",
            server.port()
        );
        // Where everybody is let in, a connection of the server needs a name.
        let settings = settings.replace("* = host=127.0.0.1", "* = host=127.0.0.1 user=postgres");
        std::fs::write(&file, settings).unwrap();
        let mut command = match server.owner() {
            Some(owner) => {
                Command::new("chmod").arg("-R").arg("a+rX").arg(dir.path()).status().unwrap();
                let mut command = Command::new("runuser");
                command.args(["-u", owner, "--"]).arg(installed("pgbouncer"));
                command
            }
            None => Command::new(installed("pgbouncer")),
        };
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let process = command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut pooler = Self { process, port, _dir: dir };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = pooler.process.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "PgBouncer does not start: {ended:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pooler
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // `runuser` passes on a request to end, and not a death.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// The exit code and words of a command on a database, and how long it took.
fn run(dir: &Path, command: &[&str], url: &str) -> (Option<i32>, String, Duration) {
    let mut process = Command::new(binary());
    process.args(command).args(["--set", &format!("database.url={url}"), "--data-dir"]).arg(dir.join("data"));
    let began = Instant::now();
    let output = process.env_clear().stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), told, began.elapsed())
}

#[tokio::test]
async fn a_pooler_that_keeps_sessions_is_like_the_server() {
    let server = PostgresServer::start().await;
    let pooler = Pooler::start(&server, "session", 20).await;
    let mut platform = Launch::default().set("database.url", &pooler.url()).start().await;
    let admin = platform.admin().await;
    let (id, _) = admin.register_device("boiler").await;
    for n in 0..20 {
        let row = json!({ "deviceId": id, "topic": "a", "payload": { "t": n } });
        admin.post("/api/v1/telemetry", row).await.expect(201);
    }
    assert_eq!(admin.telemetry("").await.len(), 20);
    let dir = tempfile::tempdir().unwrap();
    let (code, told, _) = run(dir.path(), &["check"], &pooler.url());
    assert_eq!(code, Some(0), "{told}");
    assert!(platform.stop().await.success());
    platform.start_again().await;
    assert_eq!(platform.admin().await.telemetry("").await.len(), 20);
}

#[tokio::test]
async fn a_pooler_that_lets_in_too_few_is_named_with_what_to_change() {
    let server = PostgresServer::start().await;
    let pooler = Pooler::start(&server, "session", 5).await;
    let dir = tempfile::tempdir().unwrap();
    let serve = ["serve", "--set", "api.port=0", "--set", "mqtt.port=0"];
    let (code, told, took) = run(dir.path(), &serve, &pooler.url());
    assert!(code == Some(1) && took < PATIENCE, "{code:?} after {took:?}: {told}");
    for word in ["lets in 5 connections", "POCKET_DB_POOL", "default_pool_size"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    // As many as there is room for, beside the one that holds the name.
    let platform = Launch::default().set("database.url", &pooler.url()).set("database.pool", "4").start().await;
    let (id, _) = platform.admin().await.register_device("boiler").await;
    assert!(!id.is_empty());
}

#[tokio::test]
async fn a_pooler_that_does_not_keep_sessions_is_refused_with_words() {
    let server = PostgresServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    for (mode, size) in [("transaction", 20), ("transaction", 1), ("statement", 20)] {
        let pooler = Pooler::start(&server, mode, size).await;
        for command in [&["migrate"][..], &["serve", "--set", "api.port=0", "--set", "mqtt.port=0"], &["check"]] {
            let (code, told, took) = run(dir.path(), command, &pooler.url());
            assert!(code == Some(1) && took < PATIENCE, "{mode} {size} {command:?}: {code:?} after {took:?}: {told}");
            assert!(told.contains("pool_mode = session"), "{mode} {size} {command:?}: {told}");
        }
    }
}
