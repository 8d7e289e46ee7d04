//! What can be chosen about the broker.

use std::net::SocketAddr;
use std::time::Duration;

use pocket_mqtt_core::Limits;

use crate::tls_files::TlsFiles;

/// Settings of the broker.
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// Where to listen for MQTT over TCP, unencrypted; here and below, port 0 takes a free one.
    pub address: Option<SocketAddr>,
    /// Where to listen for MQTT over TLS. Needs the feature `tls`.
    pub tls_address: Option<SocketAddr>,
    /// Where to listen for MQTT over WebSocket. Needs the feature `websocket`.
    pub websocket_address: Option<SocketAddr>,
    /// Where to listen for MQTT over WebSocket over TLS. Needs both.
    pub secure_websocket_address: Option<SocketAddr>,
    /// The certificate of the listeners for TLS.
    pub tls: Option<TlsFiles>,
    /// Whether all listeners are reached through a proxy that sends a header of the PROXY protocol, version 2.
    pub proxy_protocol: bool,
    /// Worker threads.
    pub workers: usize,
    /// How long a client may take until its CONNECT has come, handshakes of its transport included.
    pub connect_timeout: Duration,
    /// Acknowledge QoS 1 and 2 on arrival rather than after the commit.
    pub ack_on_receipt: bool,
    /// How often the broker tells of itself on `$SYS/broker/…`; never, when absent.
    pub sys_interval: Option<Duration>,
    /// Bounds of what clients can make the broker keep.
    pub limits: Limits,
}

impl MqttConfig {
    /// Bytes of a packet beside the payload: topic, user properties, and the rest.
    pub const PACKET_OVERHEAD: u32 = 8 * 1024;

    /// The defaults: TCP only, one worker for each core, ten seconds for CONNECT and between what the broker tells of
    /// itself, acknowledgement after the commit.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address: Some(address),
            tls_address: None,
            websocket_address: None,
            secure_websocket_address: None,
            tls: None,
            proxy_protocol: false,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            connect_timeout: Duration::from_secs(10),
            ack_on_receipt: false,
            sys_interval: Some(Duration::from_secs(10)),
            limits: Limits::default(),
        }
    }

    /// The same with the packet sizes that payloads of these sizes need: of any message, and of a retained one.
    #[must_use]
    pub fn with_max_payloads(mut self, bytes: usize, retained: usize) -> Self {
        let packet = |payload: usize| {
            let payload = u32::try_from(payload).unwrap_or(u32::MAX);
            // The largest remaining length that MQTT can write.
            payload.saturating_add(Self::PACKET_OVERHEAD).min(268_435_455)
        };
        self.limits.usual_packet_bytes = packet(bytes);
        self.limits.packet_bytes = packet(bytes.max(retained));
        self
    }
}
