//! Devices and their tokens.

use async_trait::async_trait;
use pocket_domain::{
    Device, DeviceFilter, DeviceId, DeviceName, DeviceUpdate, Page, PageRequest, TenantId, Timestamp, TokenHash,
    TokenKeyFingerprint,
};
use pocket_ports::{
    AccessChange, Conflict, DeviceCredential, DeviceRepository, KnownTokenKey, StorageError, TokenReplacement,
};

use crate::state::{State, Token, page_of};
use crate::{Memory, name_pattern};

impl State {
    pub(crate) fn add_device(&mut self, device: &Device, token: TokenHash) -> Result<(), StorageError> {
        self.require_tenant(device.tenant_id)?;
        self.require_free_name(device.tenant_id, &device.name, device.id)?;
        let token_entry = Token { device_id: device.id, expires_at: device.token_expires_at, present: true };
        self.tokens.insert(*token.as_bytes(), token_entry);
        self.devices.insert(device.id, Device { online: false, connection: None, username: None, ..device.clone() });
        Ok(())
    }

    fn require_free_name(&self, tenant: TenantId, name: &DeviceName, of: DeviceId) -> Result<(), StorageError> {
        let mut devices = self.devices.values();
        if devices.any(|other| other.tenant_id == tenant && other.name == *name && other.id != of) {
            return Err(StorageError::Conflict(Conflict::DeviceName));
        }
        Ok(())
    }
}

fn meets(device: &Device, filter: &DeviceFilter) -> bool {
    filter.label.as_ref().is_none_or(|label| device.labels.iter().any(|other| other == label))
        && filter.name.as_ref().is_none_or(|pattern| name_pattern::matches(pattern, device.name.as_str()))
        && filter.online.is_none_or(|online| device.online == online)
}

#[async_trait]
impl DeviceRepository for Memory {
    async fn create(&self, device: &Device, token: TokenHash) -> Result<(), StorageError> {
        self.state().add_device(device, token)
    }

    async fn get(&self, tenant: TenantId, id: DeviceId) -> Result<Option<Device>, StorageError> {
        Ok(self.state().device(tenant, id).cloned())
    }

    async fn list(
        &self,
        tenant: TenantId,
        filter: &DeviceFilter,
        page: PageRequest,
    ) -> Result<Page<Device>, StorageError> {
        let state = self.state();
        let devices = state.devices.values().filter(|device| device.tenant_id == tenant && meets(device, filter));
        Ok(page_of(devices, page))
    }

    async fn update(
        &self,
        tenant: TenantId,
        id: DeviceId,
        update: DeviceUpdate,
        now: Timestamp,
    ) -> Result<Device, StorageError> {
        let mut state = self.state();
        let device = state.device(tenant, id).cloned().ok_or(StorageError::NotFound)?;
        if let Some(name) = &update.name {
            state.require_free_name(tenant, name, id)?;
        }
        if let Some(expires_at) = update.token_expires_at {
            for token in state.tokens.values_mut().filter(|token| token.device_id == id && token.present) {
                token.expires_at = expires_at;
            }
            for token in state.tokens.values_mut().filter(|token| token.device_id == id && !token.present) {
                // One in its grace does not outlast the present one.
                token.expires_at = [token.expires_at, expires_at].into_iter().flatten().min();
            }
        }
        if update.enabled.is_some() || update.token_expires_at.is_some() {
            state.log(AccessChange::Device { tenant_id: tenant, device_id: id });
        }
        let device = device.updated(update, now);
        state.devices.insert(id, device.clone());
        Ok(device)
    }

    async fn delete(&self, tenant: TenantId, id: DeviceId) -> Result<bool, StorageError> {
        let mut state = self.state();
        if state.device(tenant, id).is_none() {
            return Ok(false);
        }
        state.remove_device(tenant, id);
        state.log(AccessChange::Device { tenant_id: tenant, device_id: id });
        Ok(true)
    }

    async fn replace_token(
        &self,
        tenant: TenantId,
        id: DeviceId,
        replacement: TokenReplacement,
    ) -> Result<Device, StorageError> {
        let mut state = self.state();
        let mut device = state.device(tenant, id).cloned().ok_or(StorageError::NotFound)?;
        state.tokens.retain(|_, token| token.device_id != id || (token.present && replacement.grace_until.is_some()));
        for token in state.tokens.values_mut().filter(|token| token.device_id == id) {
            token.present = false;
            token.expires_at = [token.expires_at, replacement.grace_until].into_iter().flatten().min();
        }
        let token = Token { device_id: id, expires_at: replacement.expires_at, present: true };
        state.tokens.insert(*replacement.hash.as_bytes(), token);
        state.log(AccessChange::Device { tenant_id: tenant, device_id: id });
        device.token_expires_at = replacement.expires_at;
        device.updated_at = replacement.now;
        state.devices.insert(id, device.clone());
        Ok(device)
    }

    async fn credential(&self, token: TokenHash) -> Result<Option<DeviceCredential>, StorageError> {
        let state = self.state();
        Ok(state.tokens.get(token.as_bytes()).and_then(|token| {
            let device = state.devices.get(&token.device_id)?;
            state.credential_of(device, token.expires_at)
        }))
    }

    async fn token_key(&self) -> Result<KnownTokenKey, StorageError> {
        let state = self.state();
        Ok(KnownTokenKey { fingerprint: state.token_key, has_tokens: !state.tokens.is_empty() })
    }

    async fn claim_token_key(&self, key: TokenKeyFingerprint) -> Result<TokenKeyFingerprint, StorageError> {
        Ok(*self.state().token_key.get_or_insert(key))
    }

    async fn replace_token_key(&self, key: TokenKeyFingerprint) -> Result<(), StorageError> {
        self.state().token_key = Some(key);
        Ok(())
    }
}
