//! Devices: registered, changed and removed by operators, seen by everybody of the tenant.

use std::sync::Arc;
use std::time::Duration;

use pocket_domain::{
    Device, DeviceFilter, DeviceId, DeviceName, DeviceToken, DeviceUpdate, Invalid, Labels, Notes, Page, PageRequest,
    TenantId, Timestamp,
};
use pocket_ports::{
    AccessChange, Clock, DeviceLoginRepository, DeviceRepository, DeviceTokenHasher, Entropy, TokenReplacement,
};

use crate::access_watch::AccessWatch;
use crate::hashing::Hashing;
use crate::policy::Action;
use crate::scope::Scope;
use crate::{Caller, Error};

/// What a new device begins with.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its name.
    pub name: DeviceName,
    /// Its labels.
    pub labels: Labels,
    /// Its notes.
    pub notes: Notes,
    /// When its token stops.
    pub token_expires_at: Option<Timestamp>,
}

/// A device with the token that is shown this once.
#[derive(Debug)]
pub struct RegisteredDevice {
    /// The device.
    pub device: Device,
    /// Its new token in clear text.
    pub token: DeviceToken,
}

/// Use cases of devices.
pub struct DeviceService {
    pub(crate) scope: Scope,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) logins: Arc<dyn DeviceLoginRepository>,
    pub(crate) token_hasher: Arc<dyn DeviceTokenHasher>,
    pub(crate) hashing: Hashing,
    pub(crate) watch: Arc<AccessWatch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl DeviceService {
    /// The longest that an old token may live on beside a new one.
    pub const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);

    /// Registers a device and gives it a token.
    ///
    /// # Errors
    /// `Conflict(DeviceName)`; `Invalid(tokenExpiresAt)` when it is not in the future.
    pub async fn register(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        new: NewDevice,
    ) -> Result<RegisteredDevice, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageDevices).await?;
        let now = self.clock.now();
        in_future(new.token_expires_at, now)?;
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let device = Device {
            labels: new.labels,
            notes: new.notes,
            token_expires_at: new.token_expires_at,
            ..Device::new(DeviceId::new(now, random), tenant, new.name, now)
        };
        let token = self.new_token();
        self.devices.create(&device, self.token_hasher.hash(&token)).await?;
        tracing::info!(device = %device.id, tenant = %tenant, by = %caller.user_id(), "device registered");
        Ok(RegisteredDevice { device, token })
    }

    /// The devices of a tenant, a page at a time.
    pub async fn list(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        filter: &DeviceFilter,
        page: PageRequest,
    ) -> Result<Page<Device>, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadDevices).await?;
        Ok(self.devices.list(tenant, filter, page).await?)
    }

    /// One device.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, caller: &Caller, tenant: Option<TenantId>, id: DeviceId) -> Result<Device, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadDevices).await?;
        self.devices.get(tenant, id).await?.ok_or(Error::NotFound)
    }

    /// Changes a device. Its connections are judged anew.
    ///
    /// # Errors
    /// `NotFound`; `Conflict(DeviceName)`. An expiry in the past is allowed: the token stops at once.
    pub async fn update(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: DeviceId,
        update: DeviceUpdate,
    ) -> Result<Device, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageDevices).await?;
        let device = self.devices.update(tenant, id, update, self.clock.now()).await?;
        self.announce(&device);
        tracing::info!(device = %id, by = %caller.user_id(), "device changed");
        Ok(device)
    }

    /// Removes a device with its history and closes its connections.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, caller: &Caller, tenant: Option<TenantId>, id: DeviceId) -> Result<(), Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageDevices).await?;
        if !self.devices.delete(tenant, id).await? {
            return Err(Error::NotFound);
        }
        self.watch.announce(AccessChange::Device { tenant_id: tenant, device_id: id });
        tracing::info!(device = %id, by = %caller.user_id(), "device removed");
        Ok(())
    }

    /// Gives a device a new token. The old one stops now, or after `grace`; connections made with it are closed then.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the expiry is not in the future or the grace is longer than
    /// [`MAX_GRACE`](Self::MAX_GRACE).
    pub async fn regenerate_token(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: DeviceId,
        expires_at: Option<Timestamp>,
        grace: Duration,
    ) -> Result<RegisteredDevice, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ManageDevices).await?;
        let now = self.clock.now();
        in_future(expires_at, now)?;
        if grace > Self::MAX_GRACE {
            let longest = Self::MAX_GRACE.as_secs();
            return Err(Invalid::new("graceSeconds", format!("must be 0 to {longest}")).into());
        }
        let token = self.new_token();
        let replacement = TokenReplacement {
            hash: self.token_hasher.hash(&token),
            expires_at,
            grace_until: (!grace.is_zero()).then(|| now.plus(grace)),
            now,
        };
        let device = self.devices.replace_token(tenant, id, replacement).await?;
        self.announce(&device);
        tracing::info!(device = %id, by = %caller.user_id(), "device token renewed");
        Ok(RegisteredDevice { device, token })
    }

    fn new_token(&self) -> DeviceToken {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        DeviceToken::generate(random)
    }

    fn announce(&self, device: &Device) {
        self.watch.announce(AccessChange::Device { tenant_id: device.tenant_id, device_id: device.id });
    }
}

fn in_future(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), Invalid> {
    match expires_at {
        Some(expiry) if expiry <= now => Err(Invalid::new("tokenExpiresAt", "must be in the future")),
        _ => Ok(()),
    }
}
