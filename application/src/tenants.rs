//! Tenants: made, listed, changed and deleted by platform administrators.

use std::sync::Arc;

use pocket_domain::{Invalid, Page, PageRequest, PayloadPolicy, Retention, Tenant, TenantId, TenantName};
use pocket_ports::{AccessChange, Clock, Entropy, TenantRepository, TenantUpdate};

use crate::access_watch::AccessWatch;
use crate::policy::{self, Action};
use crate::{Caller, Error};

/// What a new tenant begins with.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its name.
    pub name: TenantName,
    /// What payloads it accepts; absent, what the platform has for new tenants.
    pub payload_policy: Option<PayloadPolicy>,
    /// What it keeps of its telemetry.
    pub retention: Retention,
}

/// Use cases of tenants. All need the role `platform_admin`.
pub struct TenantService {
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) payload_policy: PayloadPolicy,
    pub(crate) watch: Arc<AccessWatch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl TenantService {
    /// Adds a tenant.
    ///
    /// # Errors
    /// `Conflict(TenantName)` when the name is taken.
    pub async fn create(&self, caller: &Caller, new: NewTenant) -> Result<Tenant, Error> {
        policy::permit(caller, Action::ManageTenants)?;
        let tenant = new_tenant(new, self.payload_policy, &*self.clock, &*self.entropy);
        self.tenants.create(&tenant).await?;
        tracing::info!(tenant = %tenant.id, name = %tenant.name, by = %caller.user_id(), "tenant created");
        Ok(tenant)
    }

    /// All tenants, a page at a time.
    pub async fn list(&self, caller: &Caller, page: PageRequest) -> Result<Page<Tenant>, Error> {
        policy::permit(caller, Action::ManageTenants)?;
        Ok(self.tenants.list(page).await?)
    }

    /// One tenant.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, caller: &Caller, id: TenantId) -> Result<Tenant, Error> {
        policy::permit(caller, Action::ManageTenants)?;
        self.tenants.get(id).await?.ok_or(Error::NotFound)
    }

    /// Changes a tenant. A new payload policy reaches connected devices at once.
    ///
    /// # Errors
    /// `NotFound`, `Conflict(TenantName)`, `DefaultTenant` when that tenant would get another name.
    pub async fn update(&self, caller: &Caller, id: TenantId, update: TenantUpdate) -> Result<Tenant, Error> {
        let before = self.get(caller, id).await?;
        let renamed = update.name.as_ref().is_some_and(|name| *name != before.name);
        if renamed && before.name.is_default() {
            return Err(Error::DefaultTenant);
        }
        let tenant = self.tenants.update(id, update).await?;
        self.watch.announce(AccessChange::Tenant { tenant_id: id });
        tracing::info!(tenant = %id, name = %tenant.name, by = %caller.user_id(), "tenant changed");
        Ok(tenant)
    }

    /// Deletes a tenant with all that it owns and closes its connections. `confirm` must repeat its name.
    ///
    /// # Errors
    /// `NotFound`, `Invalid(confirm)`, `DefaultTenant`.
    pub async fn delete(&self, caller: &Caller, id: TenantId, confirm: Option<&str>) -> Result<(), Error> {
        let tenant = self.get(caller, id).await?;
        if tenant.name.is_default() {
            return Err(Error::DefaultTenant);
        }
        if confirm != Some(tenant.name.as_str()) {
            return Err(Invalid::new("confirm", "must be the name of the tenant to delete").into());
        }
        if !self.tenants.delete(id).await? {
            return Err(Error::NotFound);
        }
        self.watch.announce(AccessChange::Tenant { tenant_id: id });
        tracing::info!(tenant = %id, name = %tenant.name, by = %caller.user_id(), "tenant deleted");
        Ok(())
    }
}

/// A tenant that is not stored yet.
pub(crate) fn new_tenant(new: NewTenant, policy: PayloadPolicy, clock: &dyn Clock, entropy: &dyn Entropy) -> Tenant {
    let now = clock.now();
    let mut random = [0; 10];
    entropy.fill(&mut random);
    Tenant {
        id: TenantId::new(now, random),
        name: new.name,
        payload_policy: new.payload_policy.unwrap_or(policy),
        retention: new.retention,
        created_at: now,
    }
}
