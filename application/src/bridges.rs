//! Bridges to other brokers, as administrators see them, and the device that each is on this side.

use std::fmt;
use std::sync::{Arc, OnceLock};

use pocket_domain::{
    Device, DeviceFilter, DeviceId, DeviceName, DeviceToken, Notes, PageRequest, TenantId, TenantName,
};
use pocket_ports::{
    BridgeMonitor, BridgeState, Clock, Conflict, DeviceRepository, DeviceTokenHasher, Entropy, StorageError,
    TenantRepository,
};

use crate::policy::{self, Action};
use crate::{Caller, Error};

/// What a bridge's device says of itself.
const NOTES: &str = "A bridge to another broker. What comes in through it is this device's telemetry.";

/// Which device a bridge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeDevice {
    /// One that is there.
    Id(DeviceId),
    /// The one of this name, which is registered when it is not there. Nobody knows its token.
    Named(DeviceName),
}

/// Why a bridge has no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeDeviceError {
    /// There is no tenant of this name.
    #[error("there is no tenant {0}")]
    NoTenant(TenantName),
    /// The tenant has no device of this id.
    #[error("the tenant {1} has no device {0}")]
    NoDevice(DeviceId, TenantName),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Use cases of bridges.
pub struct BridgeService {
    pub(crate) tenants: Arc<dyn TenantRepository>,
    pub(crate) devices: Arc<dyn DeviceRepository>,
    pub(crate) token_hasher: Arc<dyn DeviceTokenHasher>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) monitor: OnceLock<Arc<dyn BridgeMonitor>>,
}

impl fmt::Debug for BridgeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeService").finish_non_exhaustive()
    }
}

impl BridgeService {
    /// The bridges of this process: for platform administrators, since they are about several tenants.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn list(&self, caller: &Caller) -> Result<Vec<BridgeState>, Error> {
        policy::permit(caller, Action::WatchBroker)?;
        Ok(self.states())
    }

    /// The bridges of this process, for its own figures.
    pub fn states(&self) -> Vec<BridgeState> {
        self.monitor.get().map(|monitor| monitor.bridges()).unwrap_or_default()
    }

    /// Names what knows the bridges that run. The first call counts.
    pub fn attach(&self, monitor: Arc<dyn BridgeMonitor>) {
        let _ = self.monitor.set(monitor);
    }

    /// The device that a bridge is.
    ///
    /// # Errors
    /// When there is no such tenant or device, or storage fails.
    pub async fn device(
        &self,
        tenant: &TenantName,
        wanted: &BridgeDevice,
    ) -> Result<(TenantId, DeviceId), BridgeDeviceError> {
        let found = self.tenants.find_by_name(tenant).await?;
        let tenant_id = found.ok_or_else(|| BridgeDeviceError::NoTenant(tenant.clone()))?.id;
        let name = match wanted {
            BridgeDevice::Id(id) => {
                let device = self.devices.get(tenant_id, *id).await?;
                let device = device.ok_or_else(|| BridgeDeviceError::NoDevice(*id, tenant.clone()))?;
                return Ok((tenant_id, device.id));
            }
            BridgeDevice::Named(name) => name,
        };
        if let Some(id) = self.named(tenant_id, name).await? {
            return Ok((tenant_id, id));
        }
        match self.register(tenant_id, name).await {
            // Another process was faster.
            Err(StorageError::Conflict(Conflict::DeviceName)) => {
                let id = self.named(tenant_id, name).await?.ok_or(StorageError::NotFound)?;
                Ok((tenant_id, id))
            }
            registered => Ok((tenant_id, registered?)),
        }
    }

    async fn named(&self, tenant: TenantId, name: &DeviceName) -> Result<Option<DeviceId>, StorageError> {
        let filter = DeviceFilter { name: Some(name.as_str().to_owned()), ..DeviceFilter::default() };
        let page = self.devices.list(tenant, &filter, PageRequest::default()).await?;
        Ok(page.items.iter().find(|device| device.name == *name).map(|device| device.id))
    }

    async fn register(&self, tenant: TenantId, name: &DeviceName) -> Result<DeviceId, StorageError> {
        let now = self.clock.now();
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let notes = Notes::parse(NOTES).unwrap_or_default();
        let device = Device { notes, ..Device::new(DeviceId::new(now, random), tenant, name.clone(), now) };
        let mut secret = [0; 8];
        self.entropy.fill(&mut secret);
        self.devices.create(&device, self.token_hasher.hash(&DeviceToken::generate(secret))).await?;
        tracing::info!(device = %device.id, %tenant, name = %name, "device registered for a bridge");
        Ok(device.id)
    }
}
