//! How much is stored, as administrators see it.

use pocket_domain::{TenantId, Usage};

use crate::policy::Action;
use crate::telemetry::TelemetryService;
use crate::{Caller, Error};

impl TelemetryService {
    /// How much the telemetry of a tenant takes: for administrators of the tenant and of the platform.
    ///
    /// # Errors
    /// `Forbidden` for somebody else's tenant, `NotFound` for one that is not there; `Busy` when too many
    /// reads of the tenant, or of all tenants, are under way.
    pub async fn usage(&self, caller: &Caller, tenant: TenantId) -> Result<Usage, Error> {
        let tenant = self.scope.enter(caller, Some(tenant), Action::ReadUsage).await?;
        let _place = self.reads.enter(tenant).await?;
        Ok(self.store.usage(tenant).await?)
    }
}
