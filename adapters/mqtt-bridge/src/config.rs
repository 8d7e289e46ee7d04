//! What is configured about a bridge.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use pocket_domain::{DeviceId, TenantId};

/// A bridge to another broker.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Its name, different for each bridge of a process.
    pub name: String,
    /// The tenant whose messages go out, and which gets those that come in.
    pub tenant_id: TenantId,
    /// The device of that tenant whose messages those are that come in.
    pub device_id: DeviceId,
    /// The other broker.
    pub remote: Remote,
    /// The broker of this process.
    pub local: Local,
    /// Which messages go where.
    pub rules: Vec<Rule>,
    /// The most bytes of a packet.
    pub max_packet: u32,
}

/// The other broker.
#[derive(Clone)]
pub struct Remote {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted, if it is.
    pub tls: Option<RemoteTls>,
    /// What is spoken.
    pub version: Version,
    /// The client id there, the same at every start.
    pub client_id: String,
    /// The user name there.
    pub username: Option<String>,
    /// The password there.
    pub password: Option<Vec<u8>>,
    /// The keep-alive in seconds.
    pub keep_alive: u16,
    /// Whether a session that the other broker kept is ended at each connection: what was published meanwhile does not come.
    pub clean_start: bool,
}

/// TLS to the other broker.
#[derive(Clone, Debug, Default)]
pub struct RemoteTls {
    /// PEM file of the authorities that are trusted; without it, the public ones.
    pub ca: Option<PathBuf>,
    /// PEM file of a certificate to be shown.
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
}

/// The version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V311,
    /// 5.0.
    V5,
}

/// The broker of this process, and who the bridge is there.
#[derive(Clone)]
pub struct Local {
    /// Where it listens for MQTT over TCP.
    pub address: SocketAddr,
    /// Whether it wants a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The user name of the pass.
    pub username: String,
    /// The pass.
    pub password: String,
    /// Seconds for which messages wait while the other broker is away.
    pub session_expiry: u32,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the other broker to this one.
    In,
    /// From this broker to the other one.
    Out,
    /// Both ways.
    Both,
}

/// Messages that go to the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A filter below both prefixes.
    pub filter: String,
    /// Which way.
    pub direction: Direction,
    /// Before the topic on this side.
    pub local_prefix: String,
    /// Before the topic on the other side.
    pub remote_prefix: String,
    /// The highest QoS, 0 or 1.
    pub qos: u8,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Remote {
    /// Its address, without secrets.
    pub fn shown(&self) -> String {
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}
