//! Storage of devices and of the hashes of their tokens.

use async_trait::async_trait;
use pocket_domain::{
    Device, DeviceFilter, DeviceId, DeviceUpdate, Page, PageRequest, PayloadPolicy, TenantId, Timestamp, TokenHash,
    TokenKeyFingerprint,
};

use crate::StorageError;

/// What a token gives access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCredential {
    /// The tenant of the device.
    pub tenant_id: TenantId,
    /// The device.
    pub device_id: DeviceId,
    /// Whether the device may connect at all.
    pub enabled: bool,
    /// When this token stops: its expiry, or the end of its grace.
    pub expires_at: Option<Timestamp>,
    /// What payloads the tenant accepts.
    pub payload_policy: PayloadPolicy,
    /// Whether access rules hold for the device: the tenant's or its own.
    pub is_ruled: bool,
}

/// A new token in place of the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenReplacement {
    /// The hash of the new token.
    pub hash: TokenHash,
    /// When the new token stops.
    pub expires_at: Option<Timestamp>,
    /// Until when the present token still works; `None`: it stops now.
    pub grace_until: Option<Timestamp>,
    /// The time of the change.
    pub now: Timestamp,
}

/// What a database knows of the key of its token hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTokenKey {
    /// The key, when it was ever claimed.
    pub fingerprint: Option<TokenKeyFingerprint>,
    /// Whether there is any token, of whichever tenant.
    pub has_tokens: bool,
}

/// Keeps devices. An entry of another tenant is the same as none, in every method.
#[async_trait]
pub trait DeviceRepository: Send + Sync {
    /// Adds a device with the hash of its token, which expires at `device.token_expires_at`. MUST return
    /// `Conflict(DeviceName)` when the name is taken in the tenant, and MUST accept a name that only another tenant
    /// uses. MUST return `NotFound` when the tenant does not exist. A device that was just added has no connection:
    /// `online` and `connection` MUST NOT be taken from `device`; see [`PresenceRepository`](crate::PresenceRepository). Nor MUST
    /// `username`; see [`DeviceLoginRepository`](crate::DeviceLoginRepository).
    async fn create(&self, device: &Device, token: TokenHash) -> Result<(), StorageError>;

    /// The device of this id, if it belongs to the tenant.
    async fn get(&self, tenant: TenantId, id: DeviceId) -> Result<Option<Device>, StorageError>;

    /// The tenant's devices that meet all conditions of the filter, ordered by id. MUST count all that meet them in
    /// `total`, whatever the page. In `filter.name` a `*` stands for any text, also none; all else, `%` and `_` among it,
    /// stands for itself.
    async fn list(
        &self,
        tenant: TenantId,
        filter: &DeviceFilter,
        page: PageRequest,
    ) -> Result<Page<Device>, StorageError>;

    /// Changes a device at `now` and returns it. MUST return `NotFound` when the tenant has no such device and
    /// `Conflict(DeviceName)` when the new name is taken by another. A new `token_expires_at` holds for the present
    /// token, and a token in its grace MUST NOT outlast it. MUST log `AccessChange::Device` when `enabled` or `token_expires_at` is among the changes.
    async fn update(
        &self,
        tenant: TenantId,
        id: DeviceId,
        update: DeviceUpdate,
        now: Timestamp,
    ) -> Result<Device, StorageError>;

    /// Removes a device, its tokens, its events and its telemetry; `false` when the tenant has no such device. MUST log
    /// `AccessChange::Device`.
    async fn delete(&self, tenant: TenantId, id: DeviceId) -> Result<bool, StorageError>;

    /// Gives a device a new token and returns the device. The present token works until `grace_until` or its own expiry,
    /// whichever is first; without a grace it stops now. Tokens before the present one stop now in any case. MUST
    /// return `NotFound` when the tenant has no such device. MUST log `AccessChange::Device`.
    async fn replace_token(
        &self,
        tenant: TenantId,
        id: DeviceId,
        replacement: TokenReplacement,
    ) -> Result<Device, StorageError>;

    /// What a token gives access to, in whichever tenant: the tenant comes from the credential. An expired token MAY
    /// be found or not. It is asked for at every CONNECT, so it MUST be one look-up by an index.
    async fn credential(&self, token: TokenHash) -> Result<Option<DeviceCredential>, StorageError>;

    /// What is known of the key of the token hashes.
    async fn token_key(&self) -> Result<KnownTokenKey, StorageError>;

    /// Remembers the key of the token hashes when none is known yet, and returns the one that is remembered then. Of several
    /// calls at once, one MUST win and all MUST return what it said.
    async fn claim_token_key(&self, key: TokenKeyFingerprint) -> Result<TokenKeyFingerprint, StorageError>;

    /// Remembers the key of the token hashes in place of any other. Tokens stay as they are.
    async fn replace_token_key(&self, key: TokenKeyFingerprint) -> Result<(), StorageError>;
}
