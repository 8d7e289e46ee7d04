//! What was heard of devices, gathered in memory and recorded in batches: presence, last contact, last refusal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::{DeviceId, Rejection, TenantId, Timestamp};
use pocket_ports::{DeviceActivity, DeviceRepository};

/// Gathers and records. One entry a device, however often it is heard of.
pub struct ActivityRecorder {
    devices: Arc<dyn DeviceRepository>,
    pending: Mutex<HashMap<DeviceId, DeviceActivity>>,
}

impl ActivityRecorder {
    /// How often what was gathered is recorded.
    pub const INTERVAL: Duration = Duration::from_millis(500);
    /// The most devices that wait to be recorded; beyond it only presence is still taken, which one entry a device bounds.
    pub const MAX_PENDING: usize = 100_000;

    /// A recorder into this repository.
    pub fn new(devices: Arc<dyn DeviceRepository>) -> Self {
        Self { devices, pending: Mutex::default() }
    }

    /// A device connected or has no connection any more.
    pub fn presence(&self, tenant: TenantId, device: DeviceId, online: bool, now: Timestamp) {
        self.note(tenant, device, true, |activity| {
            activity.online = Some(online);
            activity.seen_at = Some(now);
        });
    }

    /// A device was heard of.
    pub fn seen(&self, tenant: TenantId, device: DeviceId, now: Timestamp) {
        self.note(tenant, device, false, |activity| activity.seen_at = Some(now));
    }

    /// A message of a device was refused.
    pub fn rejected(&self, tenant: TenantId, device: DeviceId, rejection: Rejection) {
        self.note(tenant, device, false, |activity| {
            activity.seen_at = Some(rejection.at);
            activity.rejection = Some(rejection);
        });
    }

    fn note(&self, tenant_id: TenantId, device_id: DeviceId, always: bool, change: impl FnOnce(&mut DeviceActivity)) {
        let mut pending = self.lock();
        if !always && pending.len() >= Self::MAX_PENDING && !pending.contains_key(&device_id) {
            return;
        }
        let nothing = DeviceActivity { tenant_id, device_id, online: None, seen_at: None, rejection: None };
        change(pending.entry(device_id).or_insert(nothing));
    }

    /// Records what was gathered. What could not be recorded is kept for the next time, unless newer came in.
    pub async fn flush(&self) {
        let activity: Vec<_> = std::mem::take(&mut *self.lock()).into_values().collect();
        if activity.is_empty() {
            return;
        }
        if let Err(error) = self.devices.record_activity(&activity).await {
            tracing::warn!(%error, devices = activity.len(), "cannot record activity of devices, trying again");
            let mut pending = self.lock();
            for older in activity {
                merge(&mut pending, older);
            }
        }
    }

    /// Records for ever.
    pub(crate) async fn run(&self) {
        let mut timer = tokio::time::interval(Self::INTERVAL);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            self.flush().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, DeviceActivity>> {
        // An entry is either there or not.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merge(pending: &mut HashMap<DeviceId, DeviceActivity>, older: DeviceActivity) {
    pending
        .entry(older.device_id)
        .and_modify(|newer| {
            newer.online = newer.online.or(older.online);
            newer.seen_at = newer.seen_at.or(older.seen_at);
            if newer.rejection.is_none() {
                newer.rejection.clone_from(&older.rejection);
            }
        })
        .or_insert(older);
}
