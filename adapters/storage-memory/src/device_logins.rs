//! User names and passwords of devices.

use async_trait::async_trait;
use pocket_domain::{DeviceId, DeviceUsername, TenantId, Timestamp};
use pocket_ports::{AccessChange, Conflict, DeviceLogin, DeviceLoginRepository, NewDeviceLogin, StorageError};

use crate::Memory;
use crate::state::State;

impl State {
    fn login_of(&self, device: DeviceId) -> Option<DeviceLogin> {
        let login = self.device_logins.get(&device)?;
        let credential = self.credential_of(self.devices.get(&device)?, None)?;
        Some(DeviceLogin { id: login.id, hash: login.hash.clone(), credential })
    }

    fn show_username(&mut self, device: DeviceId, username: Option<DeviceUsername>, now: Timestamp) {
        if let Some(device) = self.devices.get_mut(&device) {
            device.username = username;
            device.updated_at = now;
        }
    }
}

#[async_trait]
impl DeviceLoginRepository for Memory {
    async fn set(&self, tenant: TenantId, device: DeviceId, login: &NewDeviceLogin) -> Result<(), StorageError> {
        let mut state = self.state();
        state.device(tenant, device).ok_or(StorageError::NotFound)?;
        let of_others =
            state.device_logins.iter().filter(|(id, other)| **id != device && other.username == login.username);
        if of_others.into_iter().any(|(id, _)| state.device(tenant, *id).is_some()) {
            return Err(StorageError::Conflict(Conflict::DeviceUsername));
        }
        state.device_logins.insert(device, login.clone());
        state.show_username(device, Some(login.username.clone()), login.now);
        state.log(AccessChange::Device { tenant_id: tenant, device_id: device });
        Ok(())
    }

    async fn remove(&self, tenant: TenantId, device: DeviceId, now: Timestamp) -> Result<bool, StorageError> {
        let mut state = self.state();
        state.device(tenant, device).ok_or(StorageError::NotFound)?;
        if state.device_logins.remove(&device).is_none() {
            return Ok(false);
        }
        state.show_username(device, None, now);
        state.log(AccessChange::Device { tenant_id: tenant, device_id: device });
        Ok(true)
    }

    async fn get(&self, tenant: TenantId, device: DeviceId) -> Result<Option<DeviceLogin>, StorageError> {
        let state = self.state();
        Ok(state.device(tenant, device).and_then(|device| state.login_of(device.id)))
    }

    async fn find(&self, username: &DeviceUsername, limit: u32) -> Result<Vec<DeviceLogin>, StorageError> {
        let state = self.state();
        let mut found: Vec<_> = state.device_logins.iter().filter(|(_, login)| login.username == *username).collect();
        found.sort_by_key(|(_, login)| (login.now, login.id));
        Ok(found.into_iter().take(limit as usize).filter_map(|(device, _)| state.login_of(*device)).collect())
    }
}
