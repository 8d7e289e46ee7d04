//! How many connections each device has, and what they share: how fast the device may publish. Each one that is opened or
//! gone is told to the application.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ntex::io::{Io, types::PeerAddr};
use pocket_application::{DeviceAccess, DeviceGateway};
use pocket_domain::{DeviceId, Peer, TenantId};
use pocket_mqtt_core::{Client as Owner, ProtocolVersion, PublishRate};

use crate::client::Client;
use crate::end_reason;

/// Connections of devices. The application is told under the lock, so that it hears in the right order.
#[derive(Debug)]
pub(crate) struct Presence {
    devices: Mutex<HashMap<(TenantId, DeviceId), Device>>,
    /// Messages a second; 0: no limit.
    publish_rate: u32,
}

#[derive(Debug)]
struct Device {
    connections: usize,
    rate: DeviceRate,
}

/// How fast a device publishes, shared by its connections; nothing when there is no limit.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRate(Option<Arc<Mutex<PublishRate>>>);

impl DeviceRate {
    /// A message came. Returns how long the device is to be held back; zero: not at all.
    pub(crate) fn take(&self) -> Duration {
        let Some(rate) = &self.0 else { return Duration::ZERO };
        rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

impl Presence {
    /// Of devices that may publish so many messages a second; 0: no limit.
    pub(crate) fn new(publish_rate: u32) -> Self {
        Self { devices: Mutex::default(), publish_rate }
    }

    /// A connection was opened.
    pub(crate) fn opened(&self, access: &DeviceAccess, peer: Peer, gateway: &DeviceGateway) -> DeviceRate {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let device = devices.entry((access.tenant_id, access.device_id)).or_insert_with(|| {
            let rate = PublishRate::per_second(self.publish_rate, Instant::now());
            Device { connections: 0, rate: DeviceRate(rate.map(|rate| Arc::new(Mutex::new(rate)))) }
        });
        device.connections += 1;
        gateway.connected(access, peer);
        device.rate.clone()
    }

    /// The connection of a client is gone.
    pub(crate) fn closed(&self, client: &Client, gateway: &DeviceGateway) {
        let access = client.access.borrow();
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = devices.entry((access.tenant_id, access.device_id)) {
            entry.get_mut().connections -= 1;
            let is_last = entry.get().connections == 0;
            if is_last {
                entry.remove();
            }
            gateway.disconnected(&access, client.peer.clone(), end_reason::of(client.closing()), is_last);
        }
    }
}

/// The other end of a connection, as people are told of it.
pub(crate) fn peer(io: &Io, client: &Owner, version: ProtocolVersion) -> Peer {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let protocol = match version {
        ProtocolVersion::V311 => "MQTT 3.1.1",
        ProtocolVersion::V5 => "MQTT 5.0",
    };
    Peer {
        client_id: client.client_id.to_shared(),
        address: io.query::<PeerAddr>().get().map(|peer| canonical(peer.into_inner())),
        protocol: protocol.into(),
    }
}
