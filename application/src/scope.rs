//! The step that begins each use case: may the caller, and in which tenant.

use std::sync::Arc;

use pocket_domain::TenantId;
use pocket_ports::TenantRepository;

use crate::policy::{self, Action};
use crate::{Caller, Error};

/// Asks the policy and fixes the tenant.
#[derive(Clone)]
pub(crate) struct Scope {
    tenants: Arc<dyn TenantRepository>,
}

impl Scope {
    pub(crate) fn new(tenants: Arc<dyn TenantRepository>) -> Self {
        Self { tenants }
    }

    /// The tenant in which the caller may do this. `NotFound` when the tenant that was asked for does not exist.
    pub(crate) async fn enter(
        &self,
        caller: &Caller,
        asked: Option<TenantId>,
        action: Action,
    ) -> Result<TenantId, Error> {
        policy::permit(caller, action)?;
        let tenant = policy::tenant_of(caller, asked)?;
        if tenant != caller.tenant_id() && self.tenants.get(tenant).await?.is_none() {
            return Err(Error::NotFound);
        }
        Ok(tenant)
    }
}
