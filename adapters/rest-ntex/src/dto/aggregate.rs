//! Numbers over time in JSON.

use std::collections::BTreeMap;

use pocket_application::{AggregateQuestion, Fill, NamedSeries};
use pocket_domain::{Aggregate, Bucket, GroupBy, Interval, Invalid, Label, LeafPath, TenantId, Timestamp, TopicFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::list::List;
use super::text::{Moment, Parsed, TimeText};

/// An aggregate, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
enum AggregateText {
    Avg,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
}

/// How empty buckets are returned, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
enum FillText {
    None,
    Null,
}

/// What has a series of its own, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
enum GroupByText {
    Device,
    Topic,
}

/// Which numbers are aggregated. At least one of `deviceId`, `label` and `topic` selects devices; all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AggregateParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// Devices, at most 100: repeated, or separated by commas.
    #[param(value_type = Option<Vec<String>>, max_items = 100)]
    device_id: Option<List>,
    /// Devices with this label, at most 100.
    #[param(min_length = 1, max_length = 64, pattern = "^(?=.*[^\\s])[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    label: Option<String>,
    /// Only topics that match this MQTT filter. Alone it selects all devices of the tenant, at most 100.
    #[param(min_length = 1, max_length = 1024, example = "boiler/#")]
    topic: Option<String>,
    /// 20 at the most: paths into the payload, keys of objects joined by `.`, or `$` for a payload that is no object; or keys that the
    /// tenant's rules make of topics. Repeated,
    /// or separated by commas; `\,` is a comma of a key and `\\` a backslash.
    #[param(value_type = Vec<String>, min_items = 1, max_items = 20, example = json!(["celsius"]))]
    key: List,
    /// How the numbers of a bucket are aggregated.
    #[param(value_type = AggregateText, inline)]
    agg: Parsed<Aggregate>,
    /// Length of a bucket: a whole number and `s`, `m`, `h` or `d`, from 1s to 366d.
    #[param(value_type = String, pattern = "^[0-9]+[smhd]$", example = "15m")]
    interval: Parsed<Interval>,
    /// Start time, inclusive; RFC 3339 or integer milliseconds. Default: a day before `to`.
    #[param(value_type = Option<TimeText>)]
    from: Option<Parsed<Timestamp>>,
    /// End time, exclusive; RFC 3339 or integer milliseconds. Default: now.
    #[param(value_type = Option<TimeText>)]
    to: Option<Parsed<Timestamp>>,
    /// `none` (default): buckets without numbers are omitted; `null`: they are returned with the value `null` and the count 0.
    #[param(value_type = Option<FillText>, inline, default = "none")]
    fill: Option<Parsed<Fill>>,
    /// `device` (default): a series for each device and key, whichever topics the numbers are from; `topic`: one for each topic
    /// that has numbers, 1,000 at the most.
    #[param(value_type = Option<GroupByText>, inline, default = "device")]
    group_by: Option<Parsed<GroupBy>>,
}

impl AggregateParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The question.
    pub(crate) fn question(&self) -> Result<AggregateQuestion, Invalid> {
        let devices = self.device_id.iter().flat_map(|list| &list.0);
        Ok(AggregateQuestion {
            devices: devices.map(|id| id.parse()).collect::<Result<_, _>>()?,
            label: self.label.as_deref().map(Label::parse).transpose().map_err(|invalid| invalid.of("label"))?,
            topic: self.topic.as_deref().map(TopicFilter::parse).transpose()?,
            keys: self.key.0.iter().map(|key| LeafPath::parse(key)).collect::<Result<_, _>>()?,
            aggregate: self.agg.0,
            interval: self.interval.0,
            from: self.from.map(|time| time.0),
            to: self.to.map(|time| time.0),
            group_by: self.group_by.map(|group_by| group_by.0).unwrap_or_default(),
            fill: self.fill.map(|fill| fill.0).unwrap_or_default(),
        })
    }
}

/// Numbers over time, by device, then by key.
#[derive(Serialize, ToSchema)]
pub(crate) struct SeriesList {
    data: Vec<Series>,
}

/// The numbers of one key of one device.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Series {
    #[schema(format = "uuid")]
    device_id: String,
    #[schema(example = "celsius")]
    key: String,
    /// The key within the payload, where `groupBy` is `topic` and a rule names the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_key: Option<String>,
    /// The labels that a rule makes of the topic, where `groupBy` is `topic` and a rule names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    /// The topic of the numbers, where `groupBy` is `topic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "boiler/temperature")]
    topic: Option<String>,
    /// Number of topics that the series combines, if several.
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<u64>,
    /// A warning about the series: it combines the numbers of several topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// Ordered by time.
    buckets: Vec<BucketRow>,
}

/// The aggregate of one bucket.
#[derive(Serialize, ToSchema)]
#[schema(as = Bucket)]
struct BucketRow {
    /// Start of the bucket: a multiple of the interval since 1970, UTC.
    #[schema(value_type = String, format = DateTime)]
    start: Moment,
    /// The aggregate. `null` when there are no numbers, or when their sum exceeds the range of a double.
    #[schema(required, example = 21.5)]
    value: Option<f64>,
    /// How many numbers the bucket has.
    count: u64,
}

impl From<Bucket> for BucketRow {
    fn from(bucket: Bucket) -> Self {
        Self { start: bucket.start.into(), value: bucket.finite(), count: bucket.count }
    }
}

impl From<Vec<NamedSeries>> for SeriesList {
    fn from(series: Vec<NamedSeries>) -> Self {
        let row = |NamedSeries { series, path, labels }: NamedSeries| Series {
            device_id: series.device_id.to_string(),
            key: series.key.to_string(),
            raw_key: path.map(|path| path.to_string()),
            labels,
            topic: series.topic.map(|topic| topic.to_string()),
            topics: (series.topics > 1).then_some(series.topics),
            warning: (series.topics > 1).then(|| mixed(series.topics)),
            buckets: series.buckets.into_iter().map(Into::into).collect(),
        };
        Self { data: series.into_iter().map(row).collect() }
    }
}

/// Says that numbers are of several topics.
fn mixed(topics: u64) -> String {
    format!(
        "this series combines the numbers of {topics} topics; separate them with groupBy=topic, or select some with the parameter topic"
    )
}
