//! Storage of the user names and passwords that people gave to devices, beside their tokens.

use async_trait::async_trait;
use pocket_domain::{Device, DeviceId, DeviceLoginId, DeviceUsername, PasswordHash, TenantId, Timestamp, TokenHash};

use crate::{DeviceCredential, StorageError};

/// A user name and the hash of a password, to be given to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeviceLogin {
    /// Its id, which no other has.
    pub id: DeviceLoginId,
    /// The user name.
    pub username: DeviceUsername,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The time of the change.
    pub now: Timestamp,
}

/// A log-in that comes from elsewhere, and the device it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLoginImport {
    /// The device.
    pub device: ImportedDevice,
    /// Its log-in.
    pub login: NewDeviceLogin,
}

/// Which device gets an imported log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportedDevice {
    /// One of the tenant.
    Present(DeviceId),
    /// One that is added, with the hash of its token.
    New(Box<Device>, TokenHash),
}

/// A log-in of a device, and what it gives access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLogin {
    /// Its id.
    pub id: DeviceLoginId,
    /// The hash of its password.
    pub hash: PasswordHash,
    /// What it gives access to; it does not expire.
    pub credential: DeviceCredential,
}

/// Keeps one log-in of a device at the most. A device of another tenant is the same as none.
#[async_trait]
pub trait DeviceLoginRepository: Send + Sync {
    /// Gives a device a log-in in place of the one it has, and shows its user name in the device. MUST return `NotFound` when the
    /// tenant has no such device, and `Conflict(DeviceUsername)` when another device of the tenant has the user name. MUST accept
    /// a user name that only other tenants use. MUST log `AccessChange::Device`.
    async fn set(&self, tenant: TenantId, device: DeviceId, login: &NewDeviceLogin) -> Result<(), StorageError>;

    /// Gives devices log-ins as [`set`](Self::set) does, and adds those that are new as [`DeviceRepository::create`] does. MUST do all or
    /// nothing, and MUST return the errors of the two for whichever comes first.
    ///
    /// [`DeviceRepository::create`]: crate::DeviceRepository::create
    async fn import(&self, tenant: TenantId, logins: &[DeviceLoginImport]) -> Result<(), StorageError>;

    /// Replaces the hash of a log-in by another of the same password; `false` when the log-in is not there any more or its hash is
    /// another by now. It stays the same log-in: its id MUST NOT change, and no `AccessChange` is logged.
    async fn replace_hash(&self, login: &DeviceLogin, hash: &PasswordHash) -> Result<bool, StorageError>;

    /// Takes the log-in of a device away; `false` when it had none. MUST return `NotFound` when the tenant has no such device, and
    /// MUST log `AccessChange::Device` when there was one. A log-in goes with its device and its tenant.
    async fn remove(&self, tenant: TenantId, device: DeviceId, now: Timestamp) -> Result<bool, StorageError>;

    /// The log-in of a device.
    async fn get(&self, tenant: TenantId, device: DeviceId) -> Result<Option<DeviceLogin>, StorageError>;

    /// The log-ins of a user name in all tenants, the oldest first, and not more than `limit`. It MUST be one look-up by an index.
    async fn find(&self, username: &DeviceUsername, limit: u32) -> Result<Vec<DeviceLogin>, StorageError>;
}
