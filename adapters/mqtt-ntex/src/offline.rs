//! Which sessions wait for their clients, by device and age: when a device leaves more of them than it has places for, the
//! oldest makes room.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pocket_domain::{Excerpt, Principal, TenantId};
use pocket_mqtt_core::Client as Owner;
use tokio::sync::oneshot;

use crate::mailbox::Letter;
use crate::subscriber::SubscriberId;
use crate::worker::Worker;

/// How long to wait for the worker of a session that makes room. It answers at once unless its thread is gone.
const ANSWER_WITHIN: ntex::time::Millis = ntex::time::Millis(5_000);

/// The sessions that wait, of all devices.
#[derive(Debug, Default)]
pub(crate) struct OfflineSessions(Mutex<HashMap<(TenantId, Principal), BTreeMap<u64, SubscriberId>>>);

impl OfflineSessions {
    /// A session begins to wait. The serial numbers of sessions tell their age.
    pub(crate) fn insert(&self, owner: &Owner, id: SubscriberId) {
        self.lock().entry((owner.tenant_id, owner.principal)).or_default().insert(id.serial, id);
    }

    /// A session waits no more.
    pub(crate) fn remove(&self, owner: &Owner, id: SubscriberId) {
        let (mut all, key) = (self.lock(), (owner.tenant_id, owner.principal));
        if let Some(own) = all.get_mut(&key) {
            own.remove(&id.serial);
            if own.is_empty() {
                all.remove(&key);
            }
        }
    }

    /// Takes out the oldest session of a device that waits.
    fn take_oldest(&self, owner: &Owner) -> Option<SubscriberId> {
        let (mut all, key) = (self.lock(), (owner.tenant_id, owner.principal));
        let own = all.get_mut(&key)?;
        let (_, oldest) = own.pop_first()?;
        if own.is_empty() {
            all.remove(&key);
        }
        Some(oldest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, Principal), BTreeMap<u64, SubscriberId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Ends the session of the same device that has waited longest; `false` when none waits.
    pub(crate) async fn end_oldest_session(&self, owner: &Owner) -> bool {
        let Some(oldest) = self.broker.offline.take_oldest(owner) else { return false };
        let (done, ended) = oneshot::channel();
        self.broker.mailboxes[usize::from(oldest.worker)].post(Letter::EndSession(oldest, done));
        ntex::time::timeout(ANSWER_WITHIN, ended).await.is_ok()
    }
}

/// Tells the operator which session ended for another one of the same device.
pub(crate) fn tell_that_it_made_room(owner: &Owner) {
    tracing::info!(
        tenant = %owner.tenant_id,
        principal = %owner.principal,
        client = %Excerpt(owner.client_id.as_str()),
        "a device has too many sessions: the one that has waited longest ends"
    );
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Timestamp};
    use pocket_mqtt_core::ClientId;

    use super::*;

    #[test]
    fn the_oldest_of_a_device_goes_first_and_others_stay() {
        let sessions = OfflineSessions::default();
        let owner = |device: u8| Owner {
            tenant_id: TenantId::new(Timestamp::MIN, [1; 10]),
            principal: Principal::Device(DeviceId::new(Timestamp::MIN, [device; 10])),
            client_id: ClientId::parse("x").unwrap(),
        };
        let id = |serial| SubscriberId { serial, slot: 0, worker: 0, session: None };
        for (device, serial) in [(1, 5), (1, 3), (2, 1), (1, 4)] {
            sessions.insert(&owner(device), id(serial));
        }
        sessions.remove(&owner(1), id(4));
        let taken: Vec<_> = std::iter::from_fn(|| sessions.take_oldest(&owner(1))).map(|id| id.serial).collect();
        assert_eq!(taken, [3, 5]);
        sessions.remove(&owner(2), id(1));
        assert!(sessions.lock().is_empty());
    }
}
