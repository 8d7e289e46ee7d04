//! What a device said last, and which keys it has, as people see it.

use pocket_domain::{DeviceId, LatestQuery, LatestValues, TenantId, TopicFilter};

use crate::policy::Action;
use crate::telemetry::TelemetryService;
use crate::{Caller, Error};

impl TelemetryService {
    /// The last value of each key of a device on each topic that the filter matches, ordered by key, those of one key with the
    /// newest first; of too many the newest.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have.
    pub async fn latest(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
        topic: Option<TopicFilter>,
    ) -> Result<LatestValues, Error> {
        let tenant = self.reads_of(caller, tenant, device).await?;
        let query = LatestQuery { topic, ..LatestQuery::default() };
        Ok(self.store.latest(tenant, device, &query).await?)
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
