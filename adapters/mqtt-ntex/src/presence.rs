//! How many connections each device has, and what they share: how fast the device may publish. The first and the last of
//! them are told to the application.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pocket_application::{DeviceAccess, DeviceGateway};
use pocket_domain::{DeviceId, TenantId};
use pocket_mqtt_core::PublishRate;

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
    pub(crate) fn opened(&self, access: &DeviceAccess, gateway: &DeviceGateway) -> DeviceRate {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let device = devices.entry((access.tenant_id, access.device_id)).or_insert_with(|| {
            let rate = PublishRate::per_second(self.publish_rate, Instant::now());
            Device { connections: 0, rate: DeviceRate(rate.map(|rate| Arc::new(Mutex::new(rate)))) }
        });
        device.connections += 1;
        if device.connections == 1 {
            gateway.connected(access);
        }
        device.rate.clone()
    }

    /// A connection is gone.
    pub(crate) fn closed(&self, access: &DeviceAccess, gateway: &DeviceGateway) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = devices.entry((access.tenant_id, access.device_id)) {
            entry.get_mut().connections -= 1;
            if entry.get().connections == 0 {
                entry.remove();
                gateway.disconnected(access);
            }
        }
    }
}
