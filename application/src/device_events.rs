//! Events of devices, as people see them.

use std::sync::Arc;

use pocket_domain::{DeviceEventPage, DeviceEventQuery, DeviceId, TenantId};
use pocket_ports::{DeviceRepository, PresenceRepository};

use crate::policy::Action;
use crate::scope::Scope;
use crate::{Caller, Error};

/// Use cases of events of devices.
pub struct DeviceEventService {
    pub(crate) scope: Scope,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) presence: Arc<dyn PresenceRepository>,
}

impl DeviceEventService {
    /// A page of the events of a device, the newest first.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have.
    pub async fn list(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
        query: &DeviceEventQuery,
    ) -> Result<DeviceEventPage, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadDevices).await?;
        if self.devices.get(tenant, device).await?.is_none() {
            return Err(Error::NotFound);
        }
        Ok(self.presence.events(tenant, device, query).await?)
    }
}
