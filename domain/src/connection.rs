//! Connections of devices, as people are told of them.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Timestamp;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client id.
    pub client_id: Arc<str>,
    /// Where it connects from; `None` where there is no network in between.
    pub address: Option<SocketAddr>,
    /// The stable name of the protocol and its version, such as `MQTT 5.0`.
    pub protocol: Cow<'static, str>,
}

/// A connection that a device opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConnection {
    /// When it was opened.
    pub connected_at: Timestamp,
    /// The other end.
    pub peer: Peer,
}
