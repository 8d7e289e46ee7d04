//! Mosquitto with its defaults, where it is installed. It lets everybody in and stores nothing.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use pocket_tests::Memory;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::load::Target;

/// A running Mosquitto. It ends with this value.
pub(crate) struct Peer {
    address: SocketAddr,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Peer {
    /// What it says of itself; `None` when it is not installed.
    pub(crate) fn version() -> Option<String> {
        let said = std::process::Command::new("mosquitto").arg("-h").output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).lines().next()?.to_owned())
    }

    /// Starts it on a free port; `None` when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub(crate) async fn start() -> Option<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = address.expect("a free port");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("mosquitto.conf");
        let text = format!("listener {} 127.0.0.1\nallow_anonymous true\n", address.port());
        std::fs::write(&file, text).expect("a configuration file");
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().ok()?;
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_ok() {
                return Some(Self { address, child, _directory: directory });
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("Mosquitto does not start");
    }

    pub(crate) fn target(&self) -> Target {
        Target::open(self.address)
    }

    /// Resident memory in megabytes.
    pub(crate) fn megabytes(&self) -> f64 {
        let memory = self.child.id().and_then(Memory::of).unwrap_or_default();
        memory.now as f64 / 1e6
    }
}
