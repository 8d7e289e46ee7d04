//! What a client inside the process may do, and as whom. Read from storage when it is opened and after every change that
//! concerns it, when it is next used.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pocket_application::ClientAccess;
use pocket_domain::{DeviceId, Principal, TenantId};
use pocket_mqtt_core::{Client as Owner, ClientId};
use pocket_ports::AccessChange;

use crate::access::concerns;
use crate::broker::Broker;
use crate::local_client::LocalError;

/// What it is called where clients have names.
const CLIENT_ID: &str = "in-process";
/// How often the application is told that a device was heard of.
const SEEN_PERIOD: Duration = Duration::from_secs(5);

/// A client inside the process: the program itself, or a device it speaks for.
pub(crate) struct LocalAccess {
    pub(crate) broker: Arc<Broker>,
    pub(crate) owner: Owner,
    pub(crate) index: Arc<crate::Index>,
    /// The worker that routes what it publishes.
    pub(crate) worker: u16,
    pub(crate) subscriptions: AtomicUsize,
    /// How often something changed that concerns it.
    changes: AtomicU64,
    /// What was read, and after how many changes.
    access: Mutex<Option<(u64, ClientAccess)>>,
    reading: tokio::sync::Mutex<()>,
    seen: Mutex<Option<Instant>>,
}

impl fmt::Debug for LocalAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAccess").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl LocalAccess {
    /// A client of a tenant, for a device of it when one is named.
    pub(crate) async fn open(
        broker: &Arc<Broker>,
        tenant_id: TenantId,
        device: Option<DeviceId>,
    ) -> Result<Arc<Self>, LocalError> {
        let access = Arc::new(Self {
            broker: Arc::clone(broker),
            owner: Owner {
                tenant_id,
                principal: device.map_or(Principal::Host, Principal::Device),
                client_id: ClientId::parse(CLIENT_ID).expect("the name is a client id"),
            },
            index: broker.index.tenant(tenant_id),
            worker: broker.some_worker(),
            subscriptions: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            access: Mutex::new(None),
            reading: tokio::sync::Mutex::new(()),
            seen: Mutex::new(None),
        });
        // Before it is read, so that no change is missed.
        broker.local.register(&access);
        access.read().await?;
        Ok(access)
    }

    /// What holds now.
    pub(crate) async fn read(&self) -> Result<ClientAccess, LocalError> {
        if let Some(access) = self.current() {
            return Ok(access);
        }
        let _one_reads = self.reading.lock().await;
        if let Some(access) = self.current() {
            return Ok(access);
        }
        // Before it is read, so that a change meanwhile has it read again.
        let changes = self.changes.load(Ordering::Acquire);
        let access = self.broker.gateway.host_access(self.owner.tenant_id, self.owner.principal.device()).await?;
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Some((changes, access.clone()));
        Ok(access)
    }

    fn current(&self) -> Option<ClientAccess> {
        let changes = self.changes.load(Ordering::Acquire);
        let read = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        read.as_ref().filter(|(at, _)| *at == changes).map(|(_, access)| access.clone())
    }

    /// Something changed; it is read anew when it is next needed.
    pub(crate) fn access_changed(&self, change: AccessChange) {
        if concerns(change, self.owner.tenant_id, self.owner.principal) {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The device was heard of.
    pub(crate) fn was_heard(&self, access: &ClientAccess) {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| now.saturating_duration_since(seen) >= SEEN_PERIOD) {
            *seen = Some(now);
            drop(seen);
            self.broker.gateway.seen(access);
        }
    }
}
