//! What a device said last, and which keys it has, as people see it.

use pocket_domain::{DeviceId, LatestValue, LeafPath, TenantId};

use crate::policy::Action;
use crate::telemetry::TelemetryService;
use crate::{Caller, Error};

impl TelemetryService {
    /// The last value of each key of a device, ordered by key.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have.
    pub async fn latest(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
    ) -> Result<Vec<LatestValue>, Error> {
        let tenant = self.reads_of(caller, tenant, device).await?;
        Ok(self.store.latest(tenant, device).await?)
    }

    /// The keys that a device ever had, in order.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have.
    pub async fn keys(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
    ) -> Result<Vec<LeafPath>, Error> {
        let tenant = self.reads_of(caller, tenant, device).await?;
        Ok(self.store.keys(tenant, device).await?)
    }

    /// The tenant in which the caller reads this device's telemetry.
    async fn reads_of(&self, caller: &Caller, tenant: Option<TenantId>, device: DeviceId) -> Result<TenantId, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadTelemetry).await?;
        if self.devices.get(tenant, device).await?.is_none() {
            return Err(Error::NotFound);
        }
        Ok(tenant)
    }
}
