//! Storage of the user names and passwords that people gave to devices, beside their tokens.

use async_trait::async_trait;
use pocket_domain::{DeviceId, DeviceLoginId, DeviceUsername, PasswordHash, TenantId, Timestamp};

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

    /// Takes the log-in of a device away; `false` when it had none. MUST return `NotFound` when the tenant has no such device, and
    /// MUST log `AccessChange::Device` when there was one. A log-in goes with its device and its tenant.
    async fn remove(&self, tenant: TenantId, device: DeviceId, now: Timestamp) -> Result<bool, StorageError>;

    /// The log-in of a device.
    async fn get(&self, tenant: TenantId, device: DeviceId) -> Result<Option<DeviceLogin>, StorageError>;

    /// The log-ins of a user name in all tenants, the oldest first, and not more than `limit`. It MUST be one look-up by an index.
    async fn find(&self, username: &DeviceUsername, limit: u32) -> Result<Vec<DeviceLogin>, StorageError>;
}
