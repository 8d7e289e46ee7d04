//! The places of connected clients, by device, tenant and in all.
//!
//! Clients are counted and not connections: one that connects again while its old connection is still open takes over and
//! needs no place of its own, however full it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pocket_mqtt_core::{Account, Client as Owner, Holding, Level, Resource};

/// The places of all clients.
#[derive(Debug, Default)]
pub(crate) struct TenantQuota {
    /// The connections of each client, of which there are two while it takes over.
    clients: Mutex<HashMap<Owner, (usize, Holding)>>,
    present: AtomicUsize,
    most: AtomicUsize,
}

impl TenantQuota {
    /// Takes a place for a client that connects.
    pub(crate) fn admit(self: &Arc<Self>, owner: &Owner, account: &Arc<Account>) -> Result<Seat, Level> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get_mut(owner) {
            Some((connections, _)) => *connections += 1,
            None => {
                let place = account.take(Resource::Connections, 1)?;
                clients.insert(owner.clone(), (1, place));
            }
        }
        let present = self.present.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(present, Ordering::Relaxed);
        Ok(Seat { quota: Arc::clone(self), owner: owner.clone() })
    }

    /// Clients that are connected, and the most that were at a time. One that takes over is counted twice meanwhile.
    pub(crate) fn present(&self) -> (usize, usize) {
        (self.present.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }
}

/// The place of a connected client; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    quota: Arc<TenantQuota>,
    owner: Owner,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.quota.present.fetch_sub(1, Ordering::Relaxed);
        let mut clients = self.quota.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((connections, _)) = clients.get_mut(&self.owner) {
            *connections -= 1;
            if *connections == 0 {
                clients.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Principal, TenantId, Timestamp};
    use pocket_mqtt_core::{ClientId, Ledger, Limits};

    use super::*;

    struct Door {
        quota: Arc<TenantQuota>,
        ledger: Arc<Ledger>,
    }

    impl Door {
        fn new(limits: &Limits) -> Self {
            Self { quota: Arc::default(), ledger: Ledger::new(limits) }
        }

        fn admit(&self, tenant: u8, client_id: &str) -> Result<Seat, Level> {
            let owner = Owner {
                tenant_id: TenantId::new(Timestamp::MIN, [tenant; 10]),
                principal: Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10])),
                client_id: ClientId::parse(client_id).unwrap(),
            };
            self.quota.admit(&owner, &self.ledger.account(owner.tenant_id, owner.principal))
        }
    }

    #[test]
    fn a_tenant_has_as_many_places_as_the_limit_says() {
        let door = Door::new(&Limits { tenant_connections: 2, ..Limits::default() });
        let first = door.admit(1, "a").unwrap();
        let _second = door.admit(1, "b").unwrap();
        assert_eq!(door.admit(1, "c").unwrap_err(), Level::Tenant);
        assert!(door.admit(2, "c").is_ok());
        drop(first);
        assert!(door.admit(1, "c").is_ok());
    }

    #[test]
    fn a_device_has_a_limit_of_its_own() {
        let door = Door::new(&Limits { device_connections: 1, ..Limits::default() });
        let _first = door.admit(1, "a").unwrap();
        assert_eq!(door.admit(1, "b").unwrap_err(), Level::Principal);
    }

    #[test]
    fn a_client_that_takes_over_needs_no_place_and_keeps_its_own() {
        let door = Door::new(&Limits { tenant_connections: 1, ..Limits::default() });
        let old = door.admit(1, "a").unwrap();
        let new = door.admit(1, "a").unwrap();
        drop(old);
        assert!(door.admit(1, "b").is_err());
        assert_eq!(door.quota.present(), (1, 2));
        drop(new);
        assert!(door.quota.clients.lock().unwrap().is_empty());
        assert_eq!(door.ledger.held(Resource::Connections), 0);
    }
}
