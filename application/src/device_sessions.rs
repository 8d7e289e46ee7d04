//! Sessions of devices with brokers, as people see and end them.
//!
//! The broker of this process tells its own sessions. Those of other processes are told by storage, and end by the access log.

use std::sync::Arc;

use pocket_domain::{DeviceId, Excerpt, NodeName, TenantId};
use pocket_ports::{AccessChange, ClientDigest, DeviceRepository, DeviceSession, SessionRepository};

use crate::access_watch::AccessWatch;
use crate::policy::Action;
use crate::scope::Scope;
use crate::{Caller, Error};

/// Use cases of sessions of devices.
pub struct DeviceSessionService {
    pub(crate) scope: Scope,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) store: Option<Arc<dyn SessionRepository>>,
    pub(crate) watch: Arc<AccessWatch>,
    pub(crate) node: NodeName,
}

impl DeviceSessionService {
    /// The sessions of a device, connected or waiting for their clients, ordered by client id.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have.
    pub async fn list(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
    ) -> Result<Vec<DeviceSession>, Error> {
        let tenant = self.enter(caller, tenant, device, Action::ReadDevices).await?;
        let mut sessions = self.known(tenant, device).await?;
        sessions
            .sort_by(|one, other| (&one.client_id, one.node.as_str()).cmp(&(&other.client_id, other.node.as_str())));
        Ok(sessions)
    }

    /// Ends a session of a device and disconnects its client, whichever process has it: at once in this one, within seconds in
    /// others. A device through which another process has connections may have one there that is not stored; then the end is
    /// logged for that process, whether it has such a session or not.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have, and when it has no such session.
    pub async fn end(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
        client_id: &str,
    ) -> Result<(), Error> {
        let tenant = self.enter(caller, tenant, device, Action::ManageDevices).await?;
        let sessions = self.known(tenant, device).await?;
        let may_be_there = |session: &DeviceSession| {
            &*session.client_id == client_id || (session.is_connected && !self.is_here(session))
        };
        if !sessions.iter().any(may_be_there) {
            return Err(Error::NotFound);
        }
        let change =
            AccessChange::Session { tenant_id: tenant, device_id: device, client: ClientDigest::of(client_id) };
        if let Some(store) = &self.store {
            self.watch.begin_end(change);
            if let Err(error) = store.end_session(tenant, device, client_id).await {
                self.watch.forget_end(change);
                return Err(error.into());
            }
        }
        self.watch.announce(change);
        tracing::info!(%tenant, %device, client = %Excerpt(client_id), by = %caller.user_id(), "session to be ended");
        Ok(())
    }

    async fn enter(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
        action: Action,
    ) -> Result<TenantId, Error> {
        let tenant = self.scope.enter(caller, tenant, action).await?;
        if self.devices.get(tenant, device).await?.is_none() {
            return Err(Error::NotFound);
        }
        Ok(tenant)
    }

    /// Those of this process as they are, and those of other brokers as they are stored.
    async fn known(&self, tenant: TenantId, device: DeviceId) -> Result<Vec<DeviceSession>, Error> {
        let mut sessions = match self.watch.sessions() {
            Some(here) => here.sessions_of(tenant, device).await,
            None => Vec::new(),
        };
        if let Some(store) = &self.store {
            let here = self.watch.sessions().map(|_| &self.node);
            sessions.extend(store.sessions_of(tenant, device, here).await?);
        }
        Ok(sessions)
    }

    /// Whether a session is with the broker of this process.
    fn is_here(&self, session: &DeviceSession) -> bool {
        self.watch.sessions().is_some() && session.node == self.node
    }
}
