//! What was heard of devices, gathered in memory and recorded in batches: connections and their events, last contact, last
//! refusal.
//!
//! One entry a device, however often it is heard of. Presence is always taken, since connections are bounded; everything
//! else has a bound, beyond which it is dropped and counted. A batch that cannot be recorded is put back and tried again
//! with what came in meanwhile; batches are recorded one after the other, so that a device's events stay in order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::{
    DeviceConnection, DeviceEventKind, DeviceId, NewDeviceEvent, NodeName, Rejection, TenantId, Timestamp,
};
use pocket_ports::{DeviceActivity, PresenceRepository, StorageError};

use crate::ticks::ticks;

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityOptions {
    /// Events that are kept of each device; 0: none are recorded.
    pub kept_events: u32,
}

impl Default for ActivityOptions {
    /// A hundred events.
    fn default() -> Self {
        Self { kept_events: 100 }
    }
}

/// What the recorder did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivityStats {
    /// Devices that wait to be recorded now.
    pub waiting: u64,
    /// Events that were dropped because too many waited.
    pub events_dropped: u64,
    /// Times that a device was heard of, or a refusal, that were dropped because too many devices waited.
    pub notes_dropped: u64,
}

/// Gathers and records.
pub struct ActivityRecorder {
    presence: Arc<dyn PresenceRepository>,
    node: NodeName,
    options: ActivityOptions,
    pending: Mutex<Pending>,
    events_dropped: AtomicU64,
    notes_dropped: AtomicU64,
    /// Held while a batch is being recorded.
    recording: tokio::sync::Mutex<()>,
}

impl ActivityRecorder {
    /// How often what was gathered is recorded.
    pub const INTERVAL: Duration = Duration::from_millis(500);
    /// The most devices that wait to be recorded; beyond it only presence and events are still taken.
    pub const MAX_PENDING: usize = 100_000;
    /// The most events that wait to be recorded.
    pub const MAX_EVENTS: usize = 50_000;

    /// A recorder into this repository.
    pub fn new(presence: Arc<dyn PresenceRepository>, node: NodeName, options: ActivityOptions) -> Self {
        Self {
            presence,
            node,
            options,
            pending: Mutex::default(),
            events_dropped: AtomicU64::new(0),
            notes_dropped: AtomicU64::new(0),
            recording: tokio::sync::Mutex::default(),
        }
    }

    /// A device opened a connection.
    pub fn connected(&self, tenant: TenantId, device: DeviceId, connection: DeviceConnection) {
        let DeviceConnection { connected_at: at, peer } = connection.clone();
        let opened = DeviceActivity {
            seen_at: Some(at),
            connection: Some(connection),
            ..self.event(tenant, device, NewDeviceEvent { at, kind: DeviceEventKind::Connected, peer })
        };
        self.take(opened);
    }

    /// A connection of a device is gone, as the event tells. `is_last`: the device has no other.
    pub fn disconnected(&self, tenant: TenantId, device: DeviceId, event: NewDeviceEvent, is_last: bool) {
        let seen_at = Some(event.at);
        self.take(DeviceActivity { seen_at, offline: is_last, ..self.event(tenant, device, event) });
    }

    /// A device was heard of.
    pub fn seen(&self, tenant: TenantId, device: DeviceId, now: Timestamp) {
        self.note(DeviceActivity { seen_at: Some(now), ..DeviceActivity::nothing(tenant, device) });
    }

    /// A message of a device was refused.
    pub fn rejected(&self, tenant: TenantId, device: DeviceId, rejection: Rejection) {
        let seen_at = Some(rejection.at);
        let rejection = Some(rejection);
        self.note(DeviceActivity { seen_at, rejection, ..DeviceActivity::nothing(tenant, device) });
    }

    fn event(&self, tenant: TenantId, device: DeviceId, event: NewDeviceEvent) -> DeviceActivity {
        let events = if self.options.kept_events > 0 { vec![event] } else { Vec::new() };
        DeviceActivity { events, ..DeviceActivity::nothing(tenant, device) }
    }

    fn take(&self, activity: DeviceActivity) {
        let dropped = self.lock().add(activity);
        self.events_dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    fn note(&self, activity: DeviceActivity) {
        let mut pending = self.lock();
        if pending.devices.len() >= Self::MAX_PENDING && !pending.devices.contains_key(&activity.device_id) {
            self.notes_dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            pending.add(activity);
        }
    }

    /// Records what was gathered. What could not be recorded is kept for the next time.
    pub async fn flush(&self) {
        let _recording = self.recording.lock().await;
        let mut after = None;
        loop {
            let batch = self.lock().take_batch(after);
            let Some(last) = batch.last() else { return };
            after = Some(last.device_id);
            if let Err(error) = self.presence.record(&self.node, &batch, self.options.kept_events).await {
                tracing::warn!(%error, devices = batch.len(), "cannot record activity of devices, trying again");
                let dropped = self.lock().put_back(batch);
                self.events_dropped.fetch_add(dropped, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Nothing is online through this process yet, whatever an earlier one of the same name left behind.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn restart(&self, now: Timestamp) -> Result<(), StorageError> {
        self.presence.restart(&self.node, now, self.options.kept_events).await
    }

    /// What was done since the start.
    pub fn stats(&self) -> ActivityStats {
        ActivityStats {
            waiting: self.lock().devices.len() as u64,
            events_dropped: self.events_dropped.load(Ordering::Relaxed),
            notes_dropped: self.notes_dropped.load(Ordering::Relaxed),
        }
    }

    /// Records for ever.
    pub(crate) async fn run(&self) {
        let mut timer = ticks(Self::INTERVAL);
        loop {
            timer.tick().await;
            self.flush().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // An entry is either there or not.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits to be recorded.
#[derive(Default)]
struct Pending {
    devices: BTreeMap<DeviceId, DeviceActivity>,
    /// Events of all devices together.
    events: usize,
}

impl Pending {
    /// Devices of one batch, so that other writers get their turn in between.
    const BATCH: usize = 1_000;
    /// Events of one batch, but for the last device's.
    const BATCH_EVENTS: usize = 4_000;

    /// Adds what was heard. Returns how many events found no room.
    fn add(&mut self, mut activity: DeviceActivity) -> u64 {
        let room = ActivityRecorder::MAX_EVENTS.saturating_sub(self.events);
        let dropped = activity.events.len().saturating_sub(room);
        activity.events.truncate(room);
        self.events += activity.events.len();
        match self.devices.get_mut(&activity.device_id) {
            Some(known) => known.add(activity),
            None => drop(self.devices.insert(activity.device_id, activity)),
        }
        dropped as u64
    }

    /// Takes the next devices after one, in the order of their ids.
    fn take_batch(&mut self, after: Option<DeviceId>) -> Vec<DeviceActivity> {
        let mut events = 0;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.devices.range((from, Bound::Unbounded)).take(Self::BATCH);
        let fits = |(_, activity): &(&DeviceId, &DeviceActivity)| {
            let has_room = events < Self::BATCH_EVENTS;
            events += activity.events.len();
            has_room
        };
        let ids: Vec<DeviceId> = next.take_while(fits).map(|(id, _)| *id).collect();
        let batch: Vec<DeviceActivity> = ids.iter().filter_map(|id| self.devices.remove(id)).collect();
        self.events -= batch.iter().map(|activity| activity.events.len()).sum::<usize>();
        batch
    }

    /// Puts back what could not be recorded, before what came in meanwhile. Returns how many events found no room.
    fn put_back(&mut self, batch: Vec<DeviceActivity>) -> u64 {
        let mut dropped = 0;
        for older in batch {
            let newer = self.devices.remove(&older.device_id);
            self.events -= newer.as_ref().map_or(0, |newer| newer.events.len());
            dropped += self.add(older);
            dropped += newer.map_or(0, |newer| self.add(newer));
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
