//! A Mosquitto of a test's own, as the other broker.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::installed;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running Mosquitto, which ends with this value. It keeps sessions and its port over restarts.
pub struct Mosquitto {
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Mosquitto {
    /// Starts one with more lines of configuration. Files that they name are put into its directory first, which is `{dir}` in them.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start(lines: &str, files: &[(&str, String)]) -> Self {
        let dir = tempfile::Builder::new().prefix("pocket-mosquitto.").tempdir_in("/tmp").expect("a directory");
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("a file");
        }
        let lines = lines.replace("{dir}", &dir.path().display().to_string());
        let configuration = format!(
            "persistence true\npersistence_location {}/\nautosave_interval 1\nmax_queued_messages 100000\nlistener {port} 127.0.0.1\n{lines}\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("mosquitto.conf"), configuration).expect("a configuration");
        // It gives up the rights of root, and its files with them.
        let _ = Command::new("chmod").args(["-R", "a+rwX"]).arg(dir.path()).status();
        let mut broker = Self { dir, port, process: None };
        broker.start_again().await;
        broker
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again on the same port, with what it kept.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        let mut command = Command::new(installed("mosquitto"));
        command.arg("-c").arg(self.dir.path().join("mosquitto.conf")).arg("-v");
        let errors = log.try_clone().expect("a log");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("Mosquitto starts");
        self.process = Some(child);
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "Mosquitto does not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks it to end, upon which it writes down what it keeps, and waits until it did.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
