//! User names and passwords of devices, beside their tokens: given and taken by operators.

use pocket_domain::{Device, DeviceId, DeviceLoginId, DevicePassword, DeviceUsername, TenantId};
use pocket_ports::{AccessChange, NewDeviceLogin};

use crate::hashing::Lane;
use crate::policy::Action;
use crate::{Caller, DeviceService, Error};

impl DeviceService {
    /// Gives a device a user name and password in place of those it has. Connections that were made with the old ones are closed;
    /// its token stays as it is.
    ///
    /// # Errors
    /// `NotFound`; `Conflict(DeviceUsername)`; `TooManyAttempts` when too many passwords wait to be hashed.
    pub async fn set_login(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: DeviceId,
        username: DeviceUsername,
        password: DevicePassword,
    ) -> Result<Device, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageDevices).await?;
        self.devices.get(tenant, id).await?.ok_or(Error::NotFound)?;
        let hash = self.hashing.hash(Lane::of(caller), password.into_password()).await?;
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let now = self.clock.now();
        let login = NewDeviceLogin { id: DeviceLoginId::new(now, random), username, hash, now };
        self.logins.set(tenant, id, &login).await?;
        self.watch.announce(AccessChange::Device { tenant_id: tenant, device_id: id });
        tracing::info!(device = %id, by = %caller.user_id(), "device was given a user name and password");
        self.devices.get(tenant, id).await?.ok_or(Error::NotFound)
    }

    /// Takes the user name and password of a device away and closes connections that were made with them. Nothing happens when
    /// it has none.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_login(&self, caller: &Caller, tenant: Option<TenantId>, id: DeviceId) -> Result<(), Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageDevices).await?;
        if self.logins.remove(tenant, id, self.clock.now()).await? {
            self.watch.announce(AccessChange::Device { tenant_id: tenant, device_id: id });
            tracing::info!(device = %id, by = %caller.user_id(), "user name and password of a device removed");
        }
        Ok(())
    }
}
