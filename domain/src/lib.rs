//! What Pocket IoT is about, without any technology: tenants, users, devices and telemetry.
//!
//! Every name, id and secret is a type that is parsed once at the edge and valid from then on. Rules are pure functions
//! of their arguments.
//!
//! Architecture invariant: nothing here knows async, clocks, random numbers, databases, HTTP or MQTT packets. Time and
//! randomness are arguments.

mod access_rule;
mod aggregate;
mod arrival;
mod connection;
mod dead_letter;
mod device;
mod device_event;
mod device_login;
mod excerpt;
mod id;
mod invalid;
mod json;
mod latest;
mod leaf;
mod node;
mod own_time;
mod page;
mod payload;
mod principal;
mod rejection;
mod retention;
mod scan;
mod series;
mod share;
mod telemetry;
mod tenant;
mod timestamp;
mod token;
mod topic;
mod topic_rule;
mod trusted_time;
mod usage;
mod user;

pub use access_rule::{AccessRule, AccessRules, Effect, MAX_ACCESS_RULES, TopicAction, TopicPattern, Verdict};
pub use aggregate::{Aggregate, AggregateQuery, GroupBy, Interval};
pub use arrival::{MaxAhead, TooFarAhead, TooManyTopics};
pub use connection::{DeviceConnection, Peer};
pub use dead_letter::{
    DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, MAX_DEAD_LETTERS, MAX_DEAD_LETTERS_IN_ALL,
};
pub use device::{Device, DeviceFilter, DeviceName, DeviceStanding, DeviceUpdate, Label, Labels, Notes};
pub use device_event::{
    DeviceEvent, DeviceEventCursor, DeviceEventId, DeviceEventKind, DeviceEventPage, DeviceEventQuery, NewDeviceEvent,
};
pub use device_login::{DevicePassword, DeviceUsername};
pub use excerpt::Excerpt;
pub use id::{AccessRuleId, DeviceId, DeviceLoginId, LoginId, TenantId, UserId};
pub use invalid::Invalid;
pub use latest::{LatestQuery, LatestValue, LatestValues, MAX_DEVICE_KEYS};
pub use leaf::{Leaf, LeafPath, LeafValue};
pub use node::NodeName;
pub use page::{Page, PageLimit, PageRequest};
pub use payload::{MAX_JSON_DEPTH, OwnTime, Payload, PayloadError, PayloadPolicy, ReadPayload, Readings, beginning};
pub use principal::{Principal, TopicRights};
pub use rejection::Rejection;
pub use retention::{MaxAge, MaxBytes, Retention, RetentionUpdate};
pub use scan::{ScanPlace, TelemetryPart, TelemetryScan};
pub use series::{Bucket, Series, Tally};
pub use share::TenantShare;
pub use telemetry::{NewTelemetry, SortOrder, Telemetry, TelemetryCursor, TelemetryId, TelemetryPage, TelemetryQuery};
pub use tenant::{Tenant, TenantName};
pub use timestamp::Timestamp;
pub use token::{DeviceToken, TokenHash, TokenKeyFingerprint};
pub use topic::{MAX_TOPIC_BYTES, TopicFilter, TopicName};
pub use topic_rule::{MAX_TOPIC_RULES, TopicNaming, TopicRule, TopicRules};
pub use trusted_time::{Jump, LastSeen, TimeMark, TrustedTime};
pub use usage::{NameUsage, Usage, UsagePart};
pub use user::{Password, PasswordHash, Role, User, Username};
