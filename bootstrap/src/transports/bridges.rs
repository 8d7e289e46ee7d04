//! Bridges, made from the settings.

use std::net::SocketAddr;
use std::sync::Arc;

use pocket_application::{Application, BridgeDevice};
use pocket_auth::OsEntropy;
use pocket_mqtt_bridge::{BridgeConfig, Bridges, Direction, Local, Remote, RemoteTls, Rule, Version};
use pocket_mqtt_ntex::{BoundBroker, MqttConfig};
use pocket_ports::{Clock, Entropy, SystemClock};

use crate::Failure;
use crate::config::{BridgeDeviceSetting, BridgeDirection, BridgeSettings, Settings};
use crate::reachable::reachable;

/// Starts the bridges of the settings. They connect again and again until the broker serves.
pub(super) async fn start(
    settings: &Settings,
    bound: &BoundBroker,
    application: &Arc<Application>,
) -> Result<Arc<Bridges>, Failure> {
    let address = reachable(super::mqtt::addresses(bound).first().map_or(bound.local_addr(), |(_, address)| *address));
    let mut configs = Vec::new();
    for bridge in &settings.bridges {
        configs.push(config(settings, bridge, address, application).await?);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bridges = Arc::new(Bridges::start(configs, &clock));
    application.bridges.attach(Arc::clone(&bridges) as Arc<_>);
    Ok(bridges)
}

async fn config(
    settings: &Settings,
    bridge: &BridgeSettings,
    address: SocketAddr,
    application: &Application,
) -> Result<BridgeConfig, Failure> {
    let wanted = match &bridge.device {
        BridgeDeviceSetting::Id(id) => BridgeDevice::Id(*id),
        BridgeDeviceSetting::Named(name) => BridgeDevice::Named(name.clone()),
    };
    let found = application.bridges.device(&bridge.tenant, &wanted).await;
    let (tenant_id, device_id) = found.map_err(|error| Failure::Usage(format!("bridge {}: {error}", bridge.name)))?;
    let mut random = [0; 32];
    OsEntropy.fill(&mut random);
    let pass = application.gateway.issue_pass(tenant_id, device_id, random);
    let largest = settings.ingest.max_payload.max(settings.ingest.max_retained_payload);
    Ok(BridgeConfig {
        name: bridge.name.clone(),
        tenant_id,
        device_id,
        remote: Remote {
            host: bridge.host.clone(),
            port: bridge.port,
            tls: bridge.tls.as_ref().map(|tls| RemoteTls {
                ca: tls.ca.clone(),
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
            }),
            version: if bridge.is_version_5 { Version::V5 } else { Version::V311 },
            client_id: bridge.client_id.clone().unwrap_or_else(|| format!("pocket-{device_id}")),
            username: bridge.user.clone(),
            password: bridge.password.as_ref().map(|password| password.expose().as_bytes().to_vec()),
            keep_alive: bridge.keep_alive,
            clean_start: bridge.clean_start,
        },
        local: Local {
            address,
            proxy_protocol: settings.mqtt.listeners.proxy_protocol,
            username: pass.username.to_owned(),
            password: pass.password,
            session_expiry: settings.mqtt.session_expiry,
        },
        rules: bridge.topics.iter().map(rule).collect(),
        max_packet: largest.saturating_add(MqttConfig::PACKET_OVERHEAD),
    })
}

fn rule(topic: &crate::config::BridgeTopic) -> Rule {
    Rule {
        filter: topic.filter.clone(),
        direction: match topic.direction {
            BridgeDirection::In => Direction::In,
            BridgeDirection::Out => Direction::Out,
            BridgeDirection::Both => Direction::Both,
        },
        local_prefix: topic.local_prefix.clone(),
        remote_prefix: topic.remote_prefix.clone(),
        qos: topic.qos,
    }
}
