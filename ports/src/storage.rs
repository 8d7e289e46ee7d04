//! What all storage ports share: their error, and the bundle that an adapter hands over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    AccessLog, AccessRuleRepository, BrokerStore, DeadLetterRepository, DeviceLoginRepository, DeviceRepository,
    PresenceRepository, SessionRepository, TelemetryStore, TenantRepository, TopicRuleRepository, UserRepository,
    WriteStore,
};

/// Why storage could not do what was asked. The variants are what a caller can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The entry that was to be changed is not there, or belongs to another tenant.
    #[error("not found")]
    NotFound,
    /// The change would break a rule that storage guards.
    #[error("{0}")]
    Conflict(Conflict),
    /// The database cannot be reached or used at present; the same call may succeed later.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// What was read cannot be understood: the data is damaged or from a newer version.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// Answering would take more work than one call may cause; the text names the limit, and what to ask instead.
    #[error("{0}")]
    TooMuch(String),
    /// The database refused for another reason; the same call will fail again.
    #[error("storage failed: {0}")]
    Backend(String),
}

/// Which rule a change would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// Another tenant has the name.
    #[error("the tenant name is taken")]
    TenantName,
    /// Another user of the tenant has the name.
    #[error("the username is taken in this tenant")]
    Username,
    /// Another device of the tenant has the name.
    #[error("the device name is taken in this tenant")]
    DeviceName,
    /// Another device of the tenant has the user name.
    #[error("another device of this tenant has the user name")]
    DeviceUsername,
    /// The tenant, or the device, has as many access rules as there may be.
    #[error("there are {max} access rules already, the most that there may be", max = pocket_domain::MAX_ACCESS_RULES)]
    AccessRules,
    /// Another process of the same node name is running on the database.
    #[error("another broker of this name is running on the database; give each its own name (POCKET_NODE)")]
    Node,
    /// The tenant, or the platform, would be left without an administrator.
    #[error("the last administrator cannot be removed")]
    LastAdmin,
}

/// What keeping storage in shape came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// For how long something has been due that no process of the database has done.
    pub behind: Duration,
    /// Dead letters removed because there were too many.
    pub dead_letters_dropped: u64,
    /// Names of topics that were removed with their last message.
    pub topics_removed: u64,
    /// Messages that were kept without an index of their values, because of limits: they are read and delivered as any other,
    /// but their values are in no aggregate.
    pub without_leaves: u64,
    /// Stored messages moved to the dead letters because they could not be compressed.
    pub set_aside: u64,
}

/// Whether storage can do its work, and its orderly end.
#[async_trait]
pub trait StorageHealth: Send + Sync {
    /// MUST succeed only when a write would be accepted now, as far as that can be told without writing.
    async fn check(&self) -> Result<(), StorageError>;

    /// How many pieces of stored telemetry this process has found unreadable since it opened storage, each counted once, up to
    /// a limit of the adapter. Nothing is read to find it out.
    fn damaged_chunks(&self) -> u64;

    /// What keeping the history in shape came to since storage was opened. Nothing is read to find it out.
    fn upkeep(&self) -> Upkeep {
        Upkeep::default()
    }

    /// What was done so far to make sense of stored telemetry. Nothing is read to find it out.
    fn decoding(&self) -> DecodingStats {
        DecodingStats::default()
    }

    /// Ends all connections. Calls after it MAY fail.
    async fn close(&self);
}

/// Work whose amount depends on what is stored, in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DecodingStats {
    /// Pieces that wait or are being done.
    pub under_way: u64,
    /// Pieces that were done.
    pub done: u64,
    /// Pieces that were given up, because whoever asked went away.
    pub given_up: u64,
}

/// One database behind all storage ports.
#[derive(Clone)]
pub struct Storage {
    /// Tenants.
    pub tenants: Arc<dyn TenantRepository>,
    /// People.
    pub users: Arc<dyn UserRepository>,
    /// Devices and their credentials.
    pub devices: Arc<dyn DeviceRepository>,
    /// User names and passwords of devices.
    pub device_logins: Arc<dyn DeviceLoginRepository>,
    /// What is heard of devices.
    pub presence: Arc<dyn PresenceRepository>,
    /// Which topics devices may use.
    pub access_rules: Arc<dyn AccessRuleRepository>,
    /// How tenants name what is published at topics.
    pub topic_rules: Arc<dyn TopicRuleRepository>,
    /// What messages and the state of brokers are written through.
    pub write: Arc<dyn WriteStore>,
    /// The history of messages.
    pub telemetry: Arc<dyn TelemetryStore>,
    /// Messages that the database refused.
    pub dead_letters: Arc<dyn DeadLetterRepository>,
    /// What brokers must not forget; `None`: sessions and retained messages end with the process, and what is written is
    /// written by a process without a broker.
    pub broker: Option<Arc<dyn BrokerStore>>,
    /// The sessions that brokers stored, of all nodes; `None`: none are stored.
    pub sessions: Option<Arc<dyn SessionRepository>>,
    /// What changed about who may be connected.
    pub access_log: Arc<dyn AccessLog>,
    /// Whether it works.
    pub health: Arc<dyn StorageHealth>,
}
