//! A log of what changed about who may be connected, read by every process that has connections of devices and people.

use async_trait::async_trait;
use pocket_domain::{DeviceId, TenantId, UserId};

use crate::StorageError;

/// Whose connections must be judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessChange {
    /// Those of one device: disabled, deleted, with another token or expiry, or with other access rules.
    Device {
        /// Its tenant.
        tenant_id: TenantId,
        /// The device.
        device_id: DeviceId,
    },
    /// One session of a device: it ends, and its connection with it. Nobody's access changes.
    Session {
        /// Its tenant.
        tenant_id: TenantId,
        /// The device.
        device_id: DeviceId,
        /// Which of the device's sessions.
        client: ClientDigest,
    },
    /// Those of one person: removed, with another role, or with another password.
    User {
        /// Their tenant.
        tenant_id: TenantId,
        /// The person.
        user_id: UserId,
    },
    /// Those of a whole tenant, its people among them: deleted, with another payload policy, or with other access rules.
    Tenant {
        /// The tenant.
        tenant_id: TenantId,
    },
    /// Those of everybody, because the database may not be what it was; see [`AccessLog::epoch`]. The log has no such entry.
    Everything,
}

/// Stands for a client id in the log: 64 bits that are the same in every process and version (FNV-1a). Two client ids of one device
/// with the same digest end together, which only a device that looks for such ids can bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientDigest(u64);

impl ClientDigest {
    /// That of a client id.
    pub fn of(client_id: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(client_id.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// One that was stored.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The number, to be stored.
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedChange {
    /// Its place: later entries have larger numbers, though two that are written at the same time may appear out of order.
    pub sequence: u64,
    /// What changed.
    pub change: AccessChange,
}

/// Reads the log. Repositories write it in the transaction of the change itself.
#[async_trait]
pub trait AccessLog: Send + Sync {
    /// The entries after `sequence`, ordered by sequence, at most `limit`. An entry MAY be gone once 100,000
    /// others came after it; no time that passes removes one.
    async fn after(&self, sequence: u64, limit: u32) -> Result<Vec<LoggedChange>, StorageError>;

    /// The sequence of the newest entry; 0 when there was none.
    async fn latest(&self) -> Result<u64, StorageError>;

    /// A number that grows whenever the database may have lost what was read of it before: another server took over, or an
    /// older copy is in its place. Whoever keeps what it read MUST forget it when this has changed since, and read the log
    /// anew. A storage that loses nothing while the process lives need not say anything.
    fn epoch(&self) -> u64 {
        0
    }
}
