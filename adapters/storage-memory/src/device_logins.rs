//! User names and passwords of devices.

use async_trait::async_trait;
use pocket_domain::{DeviceId, DeviceUsername, PasswordHash, TenantId, Timestamp};
use pocket_ports::{
    AccessChange, Conflict, DeviceLogin, DeviceLoginImport, DeviceLoginRepository, ImportedDevice, NewDeviceLogin,
    StorageError,
};

use crate::Memory;
use crate::state::State;

impl State {
    fn login_of(&self, device: DeviceId) -> Option<DeviceLogin> {
        let login = self.device_logins.get(&device)?;
        let credential = self.credential_of(self.devices.get(&device)?, None)?;
        Some(DeviceLogin { id: login.id, hash: login.hash.clone(), credential })
    }

    fn set_login(&mut self, tenant: TenantId, device: DeviceId, login: &NewDeviceLogin) -> Result<(), StorageError> {
        self.device(tenant, device).ok_or(StorageError::NotFound)?;
        let of_others =
            self.device_logins.iter().filter(|(id, other)| **id != device && other.username == login.username);
        if of_others.into_iter().any(|(id, _)| self.device(tenant, *id).is_some()) {
            return Err(StorageError::Conflict(Conflict::DeviceUsername));
        }
        self.device_logins.insert(device, login.clone());
        self.show_username(device, Some(login.username.clone()), login.now);
        self.log(AccessChange::Device { tenant_id: tenant, device_id: device });
        Ok(())
    }

    fn import_login(&mut self, tenant: TenantId, import: &DeviceLoginImport) -> Result<(), StorageError> {
        let device = match &import.device {
            ImportedDevice::Present(device) => *device,
            ImportedDevice::New(device, token) => {
                self.add_device(device, *token)?;
                device.id
            }
        };
        self.set_login(tenant, device, &import.login)
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
        self.state().set_login(tenant, device, login)
    }

    async fn import(&self, tenant: TenantId, logins: &[DeviceLoginImport]) -> Result<(), StorageError> {
        let mut state = self.state();
        let before = (state.devices.clone(), state.tokens.clone(), state.device_logins.clone());
        let imported = logins.iter().try_for_each(|login| state.import_login(tenant, login));
        if imported.is_err() {
            (state.devices, state.tokens, state.device_logins) = before;
        }
        imported
    }

    async fn replace_hash(&self, login: &DeviceLogin, hash: &PasswordHash) -> Result<bool, StorageError> {
        let mut state = self.state();
        let kept = state.device_logins.get_mut(&login.credential.device_id);
        let kept = kept.filter(|kept| kept.id == login.id && kept.hash == login.hash);
        let is_there = kept.is_some();
        if let Some(kept) = kept {
            kept.hash = hash.clone();
        }
        Ok(is_there)
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
