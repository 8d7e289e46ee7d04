//! The real binary, started on free ports with a data directory of its own.
//!
//! It is asked for port 0 and tells the ports that it found in its start block. What it logs goes to a file and is shown
//! when a test panics.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::{Api, Memory, binary};

/// How long a start or a stop may take before a test fails. A machine that compiles beside it is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the binary is started.
pub struct Launch {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    address_space: Option<u64>,
}

impl Default for Launch {
    fn default() -> Self {
        Self { arguments: vec!["serve".into()], environment: Vec::new(), open_files: None, address_space: None }
            .set("api.host", "127.0.0.1")
            .set("api.port", "0")
            .set("mqtt.host", "127.0.0.1")
            .set("mqtt.port", "0")
            .set("auth.admin_password", Platform::ADMIN_PASSWORD)
    }
}

impl Launch {
    /// With this setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.arguments.extend(["--set".into(), format!("{key}={value}")]);
        self
    }

    /// With this variable in its environment, which is empty otherwise.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With so many files and sockets that it may have open.
    #[must_use]
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// The binary, or a shell that limits its files and then becomes the binary.
    fn command(&self) -> Command {
        let limits = [
            self.open_files.map(|files| format!("ulimit -n {files} && ")),
            self.address_space.map(|bytes| format!("ulimit -v {} && ", bytes / 1_024)),
        ];
        let limits: String = limits.into_iter().flatten().collect();
        if limits.is_empty() {
            return Command::new(binary());
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limits}exec \"$@\"")).arg("sh").arg(binary());
        command
    }

    /// Starts the platform with a new data directory and waits until it can store.
    pub async fn start(self) -> Platform {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let process = Process::start(&self, dir.path()).await;
        Platform { launch: self, dir, process }
    }
}

/// A platform that serves. It is killed when this is dropped.
pub struct Platform {
    launch: Launch,
    dir: TempDir,
    process: Process,
}

/// The running binary and where it serves.
struct Process {
    child: Child,
    api: Option<SocketAddr>,
    mqtt: Vec<Listener>,
}

/// An address of MQTT and its scheme.
type Listener = (String, SocketAddr);

impl Platform {
    /// The password of the first administrator, whose name is `admin`.
    pub const ADMIN_PASSWORD: &str = "correct horse battery";

    /// The REST API without a log-in.
    ///
    /// # Panics
    /// When this process serves no REST.
    pub fn api(&self) -> Api {
        Api::at(self.api_address())
    }

    /// Where REST is served.
    ///
    /// # Panics
    /// When this process serves no REST.
    pub fn api_address(&self) -> SocketAddr {
        self.process.api.expect("this process serves REST")
    }

    /// The REST API as the first administrator.
    pub async fn admin(&self) -> Api {
        self.api().log_in("admin", Self::ADMIN_PASSWORD).await
    }

    /// Where MQTT is served over TCP.
    ///
    /// # Panics
    /// When this process does not serve it.
    pub fn mqtt(&self) -> SocketAddr {
        self.mqtt_over("mqtt")
    }

    /// Where MQTT is served with a scheme: `mqtt`, `mqtts`, `ws` or `wss`.
    ///
    /// # Panics
    /// When this process does not serve it.
    pub fn mqtt_over(&self, scheme: &str) -> SocketAddr {
        let found = self.process.mqtt.iter().find(|(present, _)| present == scheme);
        found.unwrap_or_else(|| panic!("this process serves no {scheme}")).1
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        data_in(self.dir.path())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_in(self.dir.path())).unwrap_or_default()
    }

    /// The memory it takes; nothing where the system does not tell.
    pub fn memory(&self) -> Memory {
        self.process.child.id().and_then(Memory::of).unwrap_or_default()
    }

    /// Limits the address space of the process that is started next to so many bytes.
    pub fn limit_address_space(&mut self, bytes: u64) {
        self.launch.address_space = Some(bytes);
    }

    /// Whether the process that was started last still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.child.try_wait(), Ok(None))
    }

    /// The process that was started last.
    ///
    /// # Panics
    /// When it ended.
    pub fn id(&self) -> u32 {
        self.process.child.id().expect("the platform runs")
    }

    /// Asks it to stop and waits until it did.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(&mut self) -> ExitStatus {
        if let Some(pid) = self.process.child.id() {
            let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
            assert!(sent.is_ok_and(|status| status.success()), "SIGTERM is sent");
        }
        timeout(PATIENCE, self.process.child.wait())
            .await
            .expect("the platform stops")
            .expect("its exit status is known")
    }

    /// Ends it without a warning, as a power cut does.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(&mut self) {
        self.process.child.kill().await.expect("the platform is killed");
    }

    /// Starts it again on the same data directory, after [`stop`](Self::stop) or [`kill`](Self::kill). Its ports are
    /// others.
    pub async fn start_again(&mut self) {
        self.process = Process::start(&self.launch, self.dir.path()).await;
    }
}

impl Process {
    async fn start(launch: &Launch, dir: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(log_in(dir)).expect("a log file");
        let mut child = launch
            .command()
            .args(&launch.arguments)
            .arg("--data-dir")
            .arg(data_in(dir))
            .env_clear()
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (api, mqtt) = timeout(PATIENCE, addresses(stdout)).await.ok().flatten().unwrap_or_else(|| {
            let log = std::fs::read_to_string(log_in(dir)).unwrap_or_default();
            panic!("the platform did not start; it logged:\n{log}")
        });
        let process = Self { child, api, mqtt };
        process.wait_until_ready().await;
        process
    }

    async fn wait_until_ready(&self) {
        let Some(api) = self.api.map(Api::at) else { return };
        let began = Instant::now();
        while api.get("/ready").await.status.as_u16() != 200 {
            assert!(began.elapsed() < PATIENCE, "the platform is not ready");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Reads from the start block where REST and MQTT are served; `None` when the binary ended instead. What follows on
/// stdout is read too, so that the binary never waits for the test.
async fn addresses(stdout: ChildStdout) -> Option<(Option<SocketAddr>, Vec<Listener>)> {
    let mut lines = BufReader::new(stdout).lines();
    let address = |line: &str, label: &str| -> Option<Listener> {
        let (scheme, address) = line.trim().strip_prefix(label)?.trim().split_once("://")?;
        let address = address.strip_suffix("/mqtt").unwrap_or(address);
        Some((scheme.to_owned(), address.parse().ok()?))
    };
    let (mut api, mut mqtt) = (None, Vec::new());
    while let Ok(Some(line)) = lines.next_line().await {
        api = api.or(address(&line, "REST API:").map(|(_, address)| address));
        mqtt.extend(address(&line, "MQTT:"));
        if line.trim_start().starts_with("Data:") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some((api, mqtt));
        }
    }
    None
}

impl Drop for Platform {
    #[allow(clippy::print_stderr, reason = "a test that fails shows this together with its own message")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the platform logged:\n{}", self.log());
        }
    }
}

fn log_in(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn data_in(dir: &Path) -> PathBuf {
    dir.join("data")
}
