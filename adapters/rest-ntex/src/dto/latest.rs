//! The last values and the keys of a device in JSON.

use pocket_domain::{LatestValue, LeafPath};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::text::Moment;

/// The last value of each key of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct LatestValues<'a> {
    /// Ordered by key, 1,000 at the most.
    data: Vec<LatestRow<'a>>,
}

/// The last value of a key.
#[derive(Serialize, ToSchema)]
struct LatestRow<'a> {
    /// Keys of objects joined by `.`, or `$` for a payload that is no object.
    #[schema(example = "celsius")]
    key: &'a str,
    /// One JSON value that is no object, as it was published.
    #[schema(value_type = serde_json::Value, example = json!(21.5))]
    value: &'a RawValue,
    /// The time of the message.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Moment,
}

impl<'a> LatestValues<'a> {
    /// The values as they are sent.
    ///
    /// # Errors
    /// When a stored value is not JSON.
    pub(crate) fn of(values: &'a [LatestValue]) -> Result<Self, serde_json::Error> {
        let row = |value: &'a LatestValue| {
            Ok(LatestRow {
                key: value.key.as_str(),
                value: serde_json::from_str(&value.value)?,
                timestamp: value.timestamp.into(),
            })
        };
        Ok(Self { data: values.iter().map(row).collect::<Result<_, _>>()? })
    }
}

/// The keys of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeviceKeys {
    /// In order, 1,000 at the most.
    #[schema(example = json!(["celsius", "status.door"]))]
    data: Vec<String>,
}

impl From<Vec<LeafPath>> for DeviceKeys {
    fn from(keys: Vec<LeafPath>) -> Self {
        Self { data: keys.iter().map(LeafPath::to_string).collect() }
    }
}
