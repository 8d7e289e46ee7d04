//! What is kept of a tenant's telemetry, in JSON.

use garde::Validate;
use pocket_domain::{Invalid, MaxAge, MaxBytes, RetentionUpdate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::counts;
use super::patch::Patch;

/// What is kept of a tenant's telemetry.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retention {
    /// Messages that are older, by their time, are removed; `null`: at no age.
    #[schema(required, minimum = 3600, maximum = 3_153_600_000_u64, example = 7_776_000)]
    max_age_seconds: Option<u64>,
    /// The oldest messages are removed until the others take no more; `null`: all are kept.
    #[schema(required, minimum = 1_048_576, maximum = 1_125_899_906_842_624_u64)]
    max_bytes: Option<u64>,
}

impl From<pocket_domain::Retention> for Retention {
    fn from(retention: pocket_domain::Retention) -> Self {
        Self {
            max_age_seconds: retention.max_age.map(MaxAge::as_secs),
            max_bytes: retention.max_bytes.map(MaxBytes::get),
        }
    }
}

/// What is to be kept; a limit that is absent stays as it is, `null` removes it. A new tenant has none.
#[derive(Default, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SetRetention {
    /// Seconds, an hour to 36,500 days.
    #[serde(default)]
    #[garde(inner(custom(counts(MaxAge::parse))))]
    #[schema(value_type = Option<u64>, minimum = 3600, maximum = 3_153_600_000_u64, example = 7_776_000)]
    max_age_seconds: Patch<u64>,
    /// Bytes as in a tenant's usage, 1 MiB to 1 PiB.
    #[serde(default)]
    #[garde(inner(custom(counts(MaxBytes::parse))))]
    #[schema(value_type = Option<u64>, minimum = 1_048_576, maximum = 1_125_899_906_842_624_u64)]
    max_bytes: Patch<u64>,
}

impl SetRetention {
    pub(crate) fn parse(self) -> Result<RetentionUpdate, Invalid> {
        Ok(RetentionUpdate {
            max_age: self.max_age_seconds.nullable().map(|age| age.map(MaxAge::parse).transpose()).transpose()?,
            max_bytes: self.max_bytes.nullable().map(|bytes| bytes.map(MaxBytes::parse).transpose()).transpose()?,
        })
    }
}
