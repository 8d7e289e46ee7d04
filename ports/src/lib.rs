//! What the application needs from the outside, and what the outside may ask of it: storage, ingest, passwords and
//! tokens, time and randomness, and what is said to connected devices.
//!
//! Each trait's documentation is a contract. Every MUST of a storage port is a case of the suite in `contract`
//! (feature `contract`), which each storage adapter runs.
//!
//! Architecture invariant: no policy and no implementation with a choice in it; adapters and application meet here and
//! nowhere else.

mod access_log;
mod access_rules;
mod auth;
mod bridges;
mod broker;
mod check;
mod clock;
#[cfg(feature = "contract")]
pub mod contract;
mod dead_letters;
mod device_logins;
mod devices;
mod ingest;
mod presence;
mod sessions;
mod storage;
mod telemetry;
mod tenants;
mod topic_rules;
mod users;
mod write;

/// The attribute that implementations of these traits stand under, in the version the ports are built with.
pub use async_trait::async_trait;

pub use access_log::{AccessChange, AccessLog, ClientDigest, LoggedChange};
pub use access_rules::AccessRuleRepository;
pub use auth::{AuthError, Claims, DeviceTokenHasher, Entropy, PasswordHasher, TokenIssuer, ValidToken};
pub use bridges::{BRIDGE_MARK, BridgeMonitor, BridgeState};
pub use broker::{
    BrokerChange, BrokerKey, BrokerState, BrokerStore, DeliveryRecord, MessageRecord, Progress, SessionRecord,
    StoredSession, SubscriptionRecord,
};
pub use check::{BrokerRecords, CheckReport, Checked, Finding, StorageCheck};
pub use clock::{Clock, FixedClock, SystemClock};
pub use dead_letters::DeadLetterRepository;
pub use device_logins::{DeviceLogin, DeviceLoginImport, DeviceLoginRepository, ImportedDevice, NewDeviceLogin};
pub use devices::{DeviceCredential, DeviceRepository, KnownTokenKey, TokenReplacement};
pub use ingest::{Fate, IngestError, Receipt, Refused, Settled, Submission, TelemetryIngest};
pub use presence::{DeviceActivity, PresenceRepository};
pub use sessions::{DeviceSession, DeviceSessions, SessionContent, SessionRepository, SessionSubscription};
pub use storage::{Conflict, DecodingStats, Storage, StorageError, StorageHealth, Upkeep};
pub use telemetry::{
    Expired, Held, Import, Imported, Pruned, PrunedTenant, TelemetryStore, TopicNames, removed_before,
};
pub use tenants::{TenantRepository, TenantUpdate};
pub use topic_rules::TopicRuleRepository;
pub use users::{ENDED_LOGIN_MARGIN, MAX_ENDED_LOGINS, UserRepository, UserStanding, UserUpdate};
pub use write::{BatchNumber, CommittedBatch, WriteBatch, WriteStore};
