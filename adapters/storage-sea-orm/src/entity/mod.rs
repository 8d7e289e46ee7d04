//! Tables as sea-orm sees them. Telemetry, presence and events of devices are not here: their rows are written and read by
//! statements of their own.
#![allow(unreachable_pub, reason = "the derive writes `pub` items that only this crate sees")]

pub(crate) mod access_change;
pub(crate) mod access_rule;
pub(crate) mod dead_letter;
pub(crate) mod device;
pub(crate) mod device_login;
pub(crate) mod device_token;
pub(crate) mod ended_login;
pub(crate) mod tenant;
pub(crate) mod topic;
pub(crate) mod topic_rule;
pub(crate) mod user;

use pocket_domain::Timestamp;
use pocket_ports::StorageError;

/// Why a value of a row cannot be understood.
pub(crate) fn corrupt(what: impl std::fmt::Display) -> StorageError {
    StorageError::Corrupt(what.to_string())
}

/// A time as it is stored.
pub(crate) fn time(millis: i64) -> Result<Timestamp, StorageError> {
    Timestamp::from_millis(millis).map_err(corrupt)
}
