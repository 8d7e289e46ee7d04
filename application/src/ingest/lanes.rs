//! What each tenant has in the queue, and who waits for room there.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use pocket_domain::TenantId;
use tokio::sync::Notify;

use super::weight::Held;

/// What one tenant has in the queue.
#[derive(Default)]
pub(super) struct Lane {
    /// `None`: the process itself.
    pub(super) tenant: Option<TenantId>,
    /// What is in memory of it, also what is being written.
    pub(super) held: Held,
    /// Told whenever a batch was written.
    pub(super) room: Notify,
}

/// The lanes of all tenants. Those that nobody uses are forgotten from time to time.
#[derive(Default)]
pub(super) struct Lanes {
    own: Arc<Lane>,
    tenants: RwLock<Tenants>,
}

#[derive(Default)]
struct Tenants {
    lanes: HashMap<TenantId, Arc<Lane>>,
    /// How many there may be before those that nobody uses are forgotten.
    sweep_at: usize,
}

impl Lanes {
    const FEW: usize = 64;

    /// The lane of a tenant. One that is held by nobody holds nothing.
    pub(super) fn of(&self, tenant: Option<TenantId>) -> Arc<Lane> {
        let Some(id) = tenant else { return Arc::clone(&self.own) };
        if let Some(lane) = self.tenants.read().unwrap_or_else(PoisonError::into_inner).lanes.get(&id) {
            return Arc::clone(lane);
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tenants.lanes.len() >= tenants.sweep_at.max(Self::FEW) {
            tenants.lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
            tenants.sweep_at = tenants.lanes.len() * 2;
        }
        Arc::clone(tenants.lanes.entry(id).or_insert_with(|| Arc::new(Lane { tenant, ..Lane::default() })))
    }

    /// Wakes all who wait for room.
    pub(super) fn notify(&self) {
        self.own.room.notify_waiters();
        for lane in self.tenants.read().unwrap_or_else(PoisonError::into_inner).lanes.values() {
            lane.room.notify_waiters();
        }
    }
}
