//! Taking the ports, and what can be in the way.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::config::MqttConfig;
use crate::tls::{self, Tls, Watch};
use crate::tls_files::TlsError;
use crate::transport::Transport;
use crate::websocket;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 2_048;

/// How TCP finds out that the other end is gone when nothing is said: after a minute of silence it asks four times. A client
/// without a keep-alive that lost its power does not stay connected for ever.
const TCP_KEEP_ALIVE: socket2::TcpKeepalive = socket2::TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Why the broker cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A port could not be taken.
    #[error("cannot listen for MQTT on {address}: {}", explain(.source))]
    Address {
        /// Where it was to listen.
        address: SocketAddr,
        /// Why it cannot.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no address.
    #[error("cannot listen for MQTT without an address")]
    NoAddress,
    /// There is a listener for TLS, and no certificate.
    #[error("cannot listen for MQTT over TLS without a certificate")]
    NoCertificate,
    /// This crate is built without what a listener needs.
    #[error("cannot listen for MQTT: the broker is built without the feature {0}")]
    NotBuiltIn(&'static str),
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

/// A port that is taken.
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    pub(crate) listener: TcpListener,
    /// With the port that was found when 0 was asked for.
    pub(crate) address: SocketAddr,
}

/// The listeners that are configured, TCP first.
fn wanted(config: &MqttConfig) -> impl Iterator<Item = (Transport, SocketAddr)> {
    let addresses = [config.address, config.tls_address, config.websocket_address, config.secure_websocket_address];
    Transport::ALL.into_iter().zip(addresses).filter_map(|(transport, address)| Some((transport, address?)))
}

/// Reads the certificates, if a listener needs them.
pub(crate) fn load_tls(config: &MqttConfig) -> Result<Option<(Arc<Tls>, Watch)>, BindError> {
    if !wanted(config).any(|(transport, _)| transport.has_tls()) {
        return Ok(None);
    }
    if !tls::IS_BUILT_IN {
        return Err(BindError::NotBuiltIn("tls"));
    }
    let files = config.tls.as_ref().ok_or(BindError::NoCertificate)?;
    let (tls, watch) = Tls::load(files)?;
    Ok(Some((Arc::new(tls), watch)))
}

/// Takes all ports. Nothing is accepted yet.
pub(crate) fn bind(config: &MqttConfig) -> Result<Vec<Socket>, BindError> {
    let bound: Result<Vec<_>, _> = wanted(config)
        .map(|(transport, address)| {
            if transport.has_websocket() && !websocket::IS_BUILT_IN {
                return Err(BindError::NotBuiltIn("websocket"));
            }
            let bound = || {
                let listener = ntex::server::create_tcp_listener(address, BACKLOG)?;
                // Connections that are accepted take it over from the listener.
                socket2::SockRef::from(&listener).set_tcp_keepalive(&TCP_KEEP_ALIVE)?;
                let address = listener.local_addr()?;
                Ok(Socket { transport, listener, address })
            };
            bound().map_err(|source| BindError::Address { address, source })
        })
        .collect();
    bound.and_then(|sockets| if sockets.is_empty() { Err(BindError::NoAddress) } else { Ok(sockets) })
}
