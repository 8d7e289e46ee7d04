//! How many connections each device or person has, and what they share: how fast they may publish. The first and the last
//! of them are told to the application.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pocket_application::{ClientAccess, DeviceGateway};
use pocket_domain::{Principal, TenantId};
use pocket_mqtt_core::PublishRate;

/// Connections, by whose they are. The application is told under the lock, so that it hears in the right order.
#[derive(Debug)]
pub(crate) struct Presence {
    principals: Mutex<HashMap<(TenantId, Principal), Connections>>,
    /// Messages a second; 0: no limit.
    publish_rate: u32,
}

#[derive(Debug)]
struct Connections {
    count: usize,
    rate: SharedRate,
}

/// How fast a device or person publishes, shared by their connections; nothing when there is no limit.
#[derive(Clone, Debug)]
pub(crate) struct SharedRate(Option<Arc<Mutex<PublishRate>>>);

impl SharedRate {
    /// A message came. Returns how long the connection is to be held back; zero: not at all.
    pub(crate) fn take(&self) -> Duration {
        let Some(rate) = &self.0 else { return Duration::ZERO };
        rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

impl Presence {
    /// Of those who may publish so many messages a second; 0: no limit.
    pub(crate) fn new(publish_rate: u32) -> Self {
        Self { principals: Mutex::default(), publish_rate }
    }

    /// A connection was opened.
    pub(crate) fn opened(&self, access: &ClientAccess, gateway: &DeviceGateway) -> SharedRate {
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        let present = principals.entry((access.tenant_id, access.principal)).or_insert_with(|| {
            let rate = PublishRate::per_second(self.publish_rate, Instant::now());
            Connections { count: 0, rate: SharedRate(rate.map(|rate| Arc::new(Mutex::new(rate)))) }
        });
        present.count += 1;
        if present.count == 1 {
            gateway.connected(access);
        }
        present.rate.clone()
    }

    /// A connection is gone.
    pub(crate) fn closed(&self, access: &ClientAccess, gateway: &DeviceGateway) {
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = principals.entry((access.tenant_id, access.principal)) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
                gateway.disconnected(access);
            }
        }
    }
}
