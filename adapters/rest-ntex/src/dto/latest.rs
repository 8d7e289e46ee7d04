//! The last values and the keys of a device in JSON.

use std::collections::BTreeMap;

use pocket_application::{NamedValue, NamedValues};
use pocket_domain::{Invalid, TenantId, TopicFilter};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::text::{Moment, Parsed};

/// Which last values to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LatestParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// Only topics that match this MQTT filter.
    #[param(min_length = 1, max_length = 1024, example = "boiler/#")]
    topic: Option<String>,
}

impl LatestParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The filter of topics.
    pub(crate) fn topic(&self) -> Result<Option<TopicFilter>, Invalid> {
        self.topic.as_deref().map(TopicFilter::parse).transpose()
    }
}

/// The last value of each key of a device on each topic.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LatestValues<'a> {
    /// Ordered by key, those of one key with the newest first; 1,000 at the most.
    data: Vec<LatestRow<'a>>,
    /// Present and `true` when the device has more values, which are older and not returned.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(default = false)]
    has_more: bool,
}

/// The last value of a key on a topic.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LatestRow<'a> {
    /// Keys of objects joined by `.`, or `$` for a payload that is no object.
    /// Where a rule names the topic, what it makes of it.
    #[schema(example = "celsius")]
    key: &'a str,
    /// The key within the payload; there where a rule names the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_key: Option<&'a str>,
    /// The labels that a rule makes of the topic; there where a rule does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: Option<&'a BTreeMap<String, String>>,
    /// The topic of the message.
    #[schema(example = "boiler/temperature")]
    topic: &'a str,
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
    pub(crate) fn of(values: &'a NamedValues) -> Result<Self, serde_json::Error> {
        let row = |named: &'a NamedValue| {
            let value = &named.value;
            Ok(LatestRow {
                key: &named.key,
                raw_key: named.labels.is_some().then(|| value.key.as_str()),
                labels: named.labels.as_ref(),
                topic: value.topic.as_str(),
                value: serde_json::from_str(&value.value)?,
                timestamp: value.timestamp.into(),
            })
        };
        Ok(Self { data: values.values.iter().map(row).collect::<Result<_, _>>()?, has_more: values.has_more })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The keys of a device.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceKeys {
    /// The keys in order, each once.
    #[schema(example = json!(["celsius", "status.door"]))]
    data: Vec<String>,
    /// Each key with each topic that it is on, by key, with the topic of the newest value first; 1,000 at the most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<KeyOnTopic>,
    /// Present and `true` when the device has more keys, which are older and not returned.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(default = false)]
    has_more: bool,
}

/// A key on a topic.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyOnTopic {
    /// Keys of objects joined by `.`, or `$` for a payload that is no object.
    /// Where a rule names the topic, what it makes of it.
    #[schema(example = "celsius")]
    key: String,
    /// The key within the payload; there where a rule names the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_key: Option<String>,
    /// The labels that a rule makes of the topic; there where a rule does.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    /// The topic of messages that have it.
    #[schema(example = "boiler/temperature")]
    topic: String,
}

impl From<NamedValues> for DeviceKeys {
    fn from(latest: NamedValues) -> Self {
        let series: Vec<KeyOnTopic> = latest
            .values
            .into_iter()
            .map(|named| KeyOnTopic {
                key: named.key,
                raw_key: named.labels.is_some().then(|| named.value.key.to_string()),
                labels: named.labels,
                topic: named.value.topic.to_string(),
            })
            .collect();
        let mut data: Vec<String> = series.iter().map(|series| series.key.clone()).collect();
        data.dedup();
        Self { data, series, has_more: latest.has_more }
    }
}
