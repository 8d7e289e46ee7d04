//! Which connection a client has, so that the same client connecting again takes over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pocket_mqtt_core::Client;

use crate::subscriber::SubscriberId;

/// The connections of all clients.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<HashMap<Client, SubscriberId>>);

impl Registry {
    /// Registers a client's new connection and returns the one it had.
    pub(crate) fn register(&self, client: &Client, connection: SubscriberId) -> Option<SubscriberId> {
        self.lock().insert(client.clone(), connection)
    }

    /// Forgets a connection, unless another one has taken over.
    pub(crate) fn forget(&self, client: &Client, connection: SubscriberId) {
        if let Entry::Occupied(entry) = self.lock().entry(client.clone())
            && *entry.get() == connection
        {
            entry.remove();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, SubscriberId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Principal, TenantId, Timestamp};
    use pocket_mqtt_core::ClientId;

    use super::*;

    #[test]
    fn a_connection_that_was_taken_over_does_not_remove_its_successor() {
        let registry = Registry::default();
        let client = Client {
            tenant_id: TenantId::new(Timestamp::MIN, [1; 10]),
            principal: Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10])),
            client_id: ClientId::parse("sensor").unwrap(),
        };
        let connection = |serial| SubscriberId { serial, slot: 0, worker: 0, session: None };
        assert_eq!(registry.register(&client, connection(1)), None);
        assert_eq!(registry.register(&client, connection(2)), Some(connection(1)));
        registry.forget(&client, connection(1));
        assert_eq!(registry.register(&client, connection(3)), Some(connection(2)));
        registry.forget(&client, connection(3));
        assert!(registry.lock().is_empty());
    }
}
