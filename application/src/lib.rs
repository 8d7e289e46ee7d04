//! What Pocket IoT does: the use cases, who may call them, and the batching ingest.
//!
//! Every method that people call begins by asking [`policy`] and by fixing the one tenant it works in, so that nothing
//! below can cross tenants. Devices, and people who
//! connect to the broker, come in through [`DeviceGateway`].
//!
//! Architecture invariant: no adapter is named here, no HTTP status, no MQTT reason code. Time and randomness come through
//! ports.

mod acceptance;
mod access_rules;
mod access_watch;
mod activity;
mod aggregate;
mod application;
mod auth;
mod bridges;
mod caller;
mod credential_cache;
mod dead_letters;
mod device_events;
mod device_logins;
mod device_sessions;
mod devices;
mod error;
mod export;
mod fair_slots;
mod first_start;
mod gateway;
mod hashing;
mod host;
mod import;
mod ingest;
mod inside;
mod known_people;
mod latest;
mod login_import;
mod password_file;
mod passwords;
mod people;
pub mod policy;
mod proofs;
pub mod recovery;
mod refusals;
mod retention;
mod rule_reader;
mod rules_of_topics;
mod scope;
mod shown;
mod telemetry;
mod tenants;
mod throttle;
mod ticks;
mod timekeeper;
mod token_key;
mod topic_quota;
mod topic_rules;
mod usage;
mod users;
mod visits;

pub use acceptance::Accepted;
pub use access_rules::{AccessExplanation, AccessQuestion, AccessRuleService, NewAccessRule};
pub use access_watch::AccessWatch;
pub use activity::{ActivityOptions, ActivityRecorder, ActivityStats};
pub use aggregate::{AggregateQuestion, Fill};
pub use application::{Adapters, Application, Options, ShutdownReport};
pub use auth::{AuthService, LoginAttempt, Session};
pub use bridges::{BridgeDevice, BridgeDeviceError, BridgeService};
pub use caller::Caller;
pub use credential_cache::CredentialCache;
pub use dead_letters::DeadLetterService;
pub use device_events::DeviceEventService;
pub use device_sessions::DeviceSessionService;
pub use devices::{DeviceService, NewDevice, RegisteredDevice};
pub use error::Error;
pub use export::Exporter;
pub use fair_slots::{FairSlot, FairSlots, SlotLimits, SlotStats};
pub use first_start::{CreatedAdmin, FirstAdmin, prepare};
pub use gateway::{AccessDenied, ClientAccess, ClientCredentials, CredentialLookups, DeviceGateway};
pub use import::{ImportError, ImportPorts, ImportRow, ImportSummary, Importer, WrongLine};
pub use ingest::{BatchingIngest, IngestOptions, IngestStats, IngestStore, NotStored};
pub use inside::InsidePass;
pub use latest::{NamedSeries, NamedValue, NamedValues};
pub use login_import::{LineRemark, LoginImportPlan, LoginImportReport, LoginImporter};
pub use refusals::{RefusalKind, RefusedMessage};
pub use retention::{RetentionStats, TimeOptions};
pub use telemetry::{TelemetryInput, TelemetryRules, TelemetryService};
pub use tenants::{NewTenant, TenantService};
pub use throttle::{Attempt, LoginThrottle, ThrottleLimits, network_of};
pub use token_key::{TokenKeyVerdict, claim_token_key, may_make_token_key};
pub use topic_quota::TopicLimits;
pub use topic_rules::{Preview, PreviewTopics, PreviewedTopic, TopicRuleService};
pub use users::{NewUser, PasswordChange, UserService};
