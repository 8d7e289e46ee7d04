//! How many clients are connected, of each tenant and in all.
//!
//! Clients are counted and not connections: one that connects again while its old connection is still open takes over and
//! needs no place of its own, however full the tenant is. Without a limit only all together are counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pocket_domain::TenantId;
use pocket_mqtt_core::Client as Owner;

/// The places of all tenants.
#[derive(Debug)]
pub(crate) struct TenantQuota {
    limit: usize,
    /// By tenant and client: its connections, of which there are two while it takes over.
    tenants: Mutex<HashMap<TenantId, HashMap<Owner, usize>>>,
    present: AtomicUsize,
    most: AtomicUsize,
}

impl TenantQuota {
    /// So many clients of each tenant; 0: no limit.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, tenants: Mutex::default(), present: AtomicUsize::new(0), most: AtomicUsize::new(0) })
    }

    /// Takes a place for a client that connects; `None` when its tenant has none left.
    pub(crate) fn admit(self: &Arc<Self>, owner: &Owner) -> Option<Seat> {
        if self.limit == 0 {
            return Some(self.seat(None));
        }
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let clients = tenants.entry(owner.tenant_id).or_default();
        if clients.len() >= self.limit && !clients.contains_key(owner) {
            return None;
        }
        *clients.entry(owner.clone()).or_default() += 1;
        Some(self.seat(Some(owner.clone())))
    }

    fn seat(self: &Arc<Self>, owner: Option<Owner>) -> Seat {
        let present = self.present.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(present, Ordering::Relaxed);
        Seat { quota: Arc::clone(self), owner }
    }

    /// Clients that are connected, and the most that were at a time. One that takes over is counted twice meanwhile.
    pub(crate) fn present(&self) -> (usize, usize) {
        (self.present.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }

    fn leave(&self, owner: &Owner) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(clients) = tenants.get_mut(&owner.tenant_id) else { return };
        if let Some(connections) = clients.get_mut(owner) {
            *connections -= 1;
            if *connections == 0 {
                clients.remove(owner);
            }
        }
        if clients.is_empty() {
            tenants.remove(&owner.tenant_id);
        }
    }
}

/// The place of a connected client; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    quota: Arc<TenantQuota>,
    /// Who has a place of the tenant's, where those are limited.
    owner: Option<Owner>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.quota.present.fetch_sub(1, Ordering::Relaxed);
        if let Some(owner) = &self.owner {
            self.quota.leave(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Principal, Timestamp};
    use pocket_mqtt_core::ClientId;

    use super::*;

    fn owner(tenant: u8, client_id: &str) -> Owner {
        Owner {
            tenant_id: TenantId::new(Timestamp::MIN, [tenant; 10]),
            principal: Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10])),
            client_id: ClientId::parse(client_id).unwrap(),
        }
    }

    #[test]
    fn a_tenant_has_as_many_places_as_the_limit_says() {
        let quota = TenantQuota::new(2);
        let first = quota.admit(&owner(1, "a")).unwrap();
        let _second = quota.admit(&owner(1, "b")).unwrap();
        assert!(quota.admit(&owner(1, "c")).is_none());
        assert!(quota.admit(&owner(2, "c")).is_some());
        drop(first);
        assert!(quota.admit(&owner(1, "c")).is_some());
    }

    #[test]
    fn a_client_that_takes_over_needs_no_place_and_keeps_its_own() {
        let quota = TenantQuota::new(1);
        let old = quota.admit(&owner(1, "a")).unwrap();
        let new = quota.admit(&owner(1, "a")).unwrap();
        drop(old);
        assert!(quota.admit(&owner(1, "b")).is_none());
        drop(new);
        assert!(quota.tenants.lock().unwrap().is_empty());
    }

    #[test]
    fn without_a_limit_only_all_together_are_counted() {
        let quota = TenantQuota::new(0);
        let first = quota.admit(&owner(1, "a")).unwrap();
        let _second = quota.admit(&owner(2, "a")).unwrap();
        drop(first);
        assert!(quota.tenants.lock().unwrap().is_empty());
        assert_eq!(quota.present(), (1, 2));
    }
}
