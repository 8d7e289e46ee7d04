//! Requests and answers as they look in JSON, a module for each noun.
//!
//! Requests refuse unknown fields. Their texts are checked by garde with the domain's own parsers, so that all fields that
//! are wrong are named at once and no bound is written down twice; then they become types of the domain.

pub(crate) mod access_rules;
pub(crate) mod aggregate;
pub(crate) mod auth;
pub(crate) mod bridges;
pub(crate) mod dead_letters;
pub(crate) mod device_credentials;
pub(crate) mod device_events;
pub(crate) mod device_sessions;
pub(crate) mod devices;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod latest;
pub(crate) mod list;
pub(crate) mod object;
pub(crate) mod page;
pub(crate) mod patch;
pub(crate) mod retention;
pub(crate) mod telemetry;
pub(crate) mod tenants;
pub(crate) mod text;
pub(crate) mod topic_rules;
pub(crate) mod usage;
pub(crate) mod users;

use pocket_domain::Invalid;

/// A rule for garde: the text is one that the domain's parser accepts.
pub(crate) fn parses<T>(parse: fn(&str) -> Result<T, Invalid>) -> impl FnOnce(&str, &()) -> garde::Result {
    move |text, ()| parse(text).map(drop).map_err(|invalid| garde::Error::new(invalid.message))
}

/// The same for a number.
pub(crate) fn counts<T>(parse: fn(u64) -> Result<T, Invalid>) -> impl FnOnce(&u64, &()) -> garde::Result {
    move |number, ()| parse(*number).map(drop).map_err(|invalid| garde::Error::new(invalid.message))
}
