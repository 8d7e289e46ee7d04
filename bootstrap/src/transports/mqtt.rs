//! The broker, made from the settings.

use std::net::SocketAddr;
use std::sync::Arc;

use pocket_application::Application;
use pocket_mqtt_ntex::{
    BindError, BoundBroker, Broker, Limits, MqttConfig, TenantAuthorizer, TlsError, TlsFile, TlsFiles,
};

use crate::Failure;
use crate::config::{Acknowledge, MqttSettings, Settings, TlsSettings};
use crate::metrics::Metrics;
use crate::open_files;

/// Takes the ports of the broker.
pub(super) fn bind(
    settings: &Settings,
    application: &Arc<Application>,
    metrics: &mut Metrics,
) -> Result<BoundBroker, Failure> {
    let broker = Broker::new(config(settings), Arc::clone(&application.gateway), Arc::new(TenantAuthorizer));
    application.attach_sessions(Arc::clone(&broker) as Arc<_>);
    let counted = Arc::clone(&broker);
    metrics.add(move || crate::metrics::broker(&counted.stats()));
    broker.bind().map_err(|error| match error {
        BindError::Tls(error) => Failure::Usage(unusable(&error)),
        BindError::Address { address, .. } => Failure::Other(format!("{error}; {}", named(settings, address))),
        error => Failure::Other(error.to_string()),
    })
}

/// The settings of a listener's address.
fn named(settings: &Settings, address: SocketAddr) -> String {
    let listeners = &settings.mqtt.listeners;
    let port = match Some(address) {
        address if address == listeners.tls => "POCKET_MQTT_TLS_PORT",
        address if address == listeners.websocket => "POCKET_MQTT_WS_PORT",
        address if address == listeners.secure_websocket => "POCKET_MQTT_WSS_PORT",
        _ => "POCKET_MQTT_PORT",
    };
    format!("set another port with {port}, or another address with POCKET_MQTT_HOST")
}

/// Where it listens.
pub(super) fn addresses(broker: &BoundBroker) -> Vec<(&'static str, SocketAddr)> {
    broker.addresses().iter().map(|(transport, address)| (transport.scheme(), *address)).collect()
}

fn config(settings: &Settings) -> MqttConfig {
    let listeners = &settings.mqtt.listeners;
    let mut limits = limits(&settings.mqtt);
    // The rest of the process keeps its files.
    (limits.connections, limits.pending_connections) =
        open_files::room_for(limits.connections, limits.pending_connections, !settings.mqtt.has_default_connections());
    MqttConfig {
        address: listeners.tcp,
        tls_address: listeners.tls,
        websocket_address: listeners.websocket,
        secure_websocket_address: listeners.secure_websocket,
        tls: listeners.certificate.as_ref().map(tls_files),
        proxy_protocol: listeners.proxy_protocol,
        workers: settings.workers as usize,
        connect_timeout: settings.mqtt.connect_timeout,
        sys_interval: Some(settings.mqtt.sys_interval).filter(|interval| !interval.is_zero()),
        ack_on_receipt: settings.ingest.acknowledge == Acknowledge::Received,
        limits,
    }
    .with_max_payloads(settings.ingest.max_payload as usize, settings.ingest.max_retained_payload as usize)
}

fn tls_files(settings: &TlsSettings) -> TlsFiles {
    TlsFiles { client_ca: settings.client_ca.clone(), ..TlsFiles::new(&settings.certificate, &settings.key) }
}

/// What is wrong with a file, with the setting that names it.
fn unusable(error: &TlsError) -> String {
    let setting = match error.file {
        TlsFile::Certificate => "POCKET_TLS_CERT",
        TlsFile::Key => "POCKET_TLS_KEY",
        TlsFile::ClientCa => "POCKET_MQTT_TLS_CLIENT_CA",
    };
    format!("{setting}={error}")
}

fn limits(settings: &MqttSettings) -> Limits {
    Limits {
        connections: settings.max_connections as usize,
        tenant_connections: settings.max_tenant_connections as usize,
        device_connections: settings.max_device_connections as usize,
        tenant_share: settings.tenant_share,
        pending_connections: settings.max_pending as usize,
        pending_per_address: settings.max_pending_per_address as usize,
        receive_maximum: settings.receive_maximum,
        topic_alias_maximum: settings.topic_alias_maximum,
        keep_alive_seconds: settings.keep_alive,
        default_keep_alive_seconds: settings.default_keep_alive,
        sessions: settings.max_sessions as usize,
        device_sessions: settings.max_device_sessions as usize,
        session_expiry_seconds: settings.session_expiry,
        subscriptions: settings.max_subscriptions as usize,
        device_subscriptions: settings.max_device_subscriptions as usize,
        tenant_subscriptions: settings.max_tenant_subscriptions as usize,
        filter_levels: settings.max_levels as usize,
        topic_levels: settings.max_levels as usize,
        match_nodes: settings.max_match_nodes,
        kept_bytes: usize::try_from(settings.max_kept_bytes).unwrap_or(usize::MAX),
        device_bytes: usize::try_from(settings.max_device_bytes).unwrap_or(usize::MAX),
        inflight: settings.max_inflight,
        queued_messages: settings.max_queued.messages as usize,
        queued_bytes: settings.max_queued.bytes as usize,
        slow_consumer_seconds: settings.slow_consumer_timeout,
        publish_rate: settings.publish_rate,
        retained_messages: settings.max_retained.messages as usize,
        retained_bytes: settings.max_retained.bytes as usize,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_what_the_broker_thinks_right() -> Result<(), crate::config::Problems> {
        let settings = Settings::with([])?;
        assert_eq!(limits(&settings.mqtt), Limits::default());
        Ok(())
    }
}
