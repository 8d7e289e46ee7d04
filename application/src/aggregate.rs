//! Numbers over time, as people ask for them: of devices that they name, or that a label or a topic names.

use std::str::FromStr;
use std::time::Duration;

use pocket_domain::{
    Aggregate, AggregateQuery, DeviceFilter, DeviceId, GroupBy, Interval, Invalid, Label, LeafPath, PageRequest,
    Series, TenantId, Timestamp, TopicFilter, TopicRules,
};

use crate::latest::NamedSeries;
use crate::policy::Action;
use crate::telemetry::TelemetryService;
use crate::{Caller, Error};

/// What is told of buckets without points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fill {
    /// Nothing: they are left out.
    #[default]
    None,
    /// That they are empty.
    Null,
}

impl FromStr for Fill {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            "null" => Ok(Self::Null),
            _ => Err(Invalid::new("fill", "must be null or none")),
        }
    }
}

/// A query for aggregates over time. It names devices by their ids, by a label or by a topic; all that it names must hold.
#[derive(Clone, Debug)]
pub struct AggregateQuestion {
    /// Of these devices; none: of all that the label and the topic leave.
    pub devices: Vec<DeviceId>,
    /// Of devices with this label.
    pub label: Option<Label>,
    /// Of topics that this filter matches.
    pub topic: Option<TopicFilter>,
    /// What has a series of its own.
    pub group_by: GroupBy,
    /// At which keys: those that the tenant's rules make of topics, and paths of payloads.
    pub keys: Vec<LeafPath>,
    /// What is made of the points of a bucket.
    pub aggregate: Aggregate,
    /// How long a bucket is.
    pub interval: Interval,
    /// Not before this moment; absent: a day before `to`.
    pub from: Option<Timestamp>,
    /// Before this moment; absent: now.
    pub to: Option<Timestamp>,
    /// What is told of buckets without points.
    pub fill: Fill,
}

impl TelemetryService {
    /// How far back a question reaches that does not say from when.
    const DEFAULT_RANGE: Duration = Duration::from_secs(24 * 3_600);

    /// Aggregates over time: a series for each device and key, in the order in which they are named; devices that
    /// only a label or a topic names are in the order of their ids. Of devices that only a topic names, series without
    /// points are left out. A key stands for values of topics to which the tenant's rules give it, and for values with this path of
    /// all other topics.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have. `Invalid(deviceId)` when nothing names devices;
    /// `Invalid(label)` and `Invalid(topic)` when these name too many; those of [`AggregateQuery::check`]. `Busy` when too many
    /// reads of the tenant, or of all tenants, are under way.
    pub async fn aggregate(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        question: AggregateQuestion,
    ) -> Result<Vec<NamedSeries>, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadTelemetry).await?;
        let AggregateQuestion { devices, label, topic, group_by, keys, aggregate, interval, from, to, fill } = question;
        let to = to.unwrap_or_else(|| self.clock.now());
        let from = from.unwrap_or_else(|| to.minus(Self::DEFAULT_RANGE));
        let (devices, keys) = (distinct(devices), distinct(keys));
        let rules = TopicRules::default();
        let mut query = AggregateQuery { devices, keys, aggregate, interval, from, to, topic, group_by, rules };
        query.check()?;
        let by_topic_only = query.devices.is_empty() && label.is_none();
        if by_topic_only && query.topic.is_none() {
            return Err(Invalid::new("deviceId", "select devices with deviceId, label or topic").into());
        }
        query.devices = if query.devices.is_empty() {
            self.devices_with(tenant, label).await?
        } else {
            self.devices_among(tenant, query.devices, label.as_ref()).await?
        };
        query.check()?;
        query.rules = self.topic_rules.get(tenant).await?;
        let place = self.reads.enter(tenant).await?;
        let mut series = self.store.aggregate(tenant, &query).await?;
        drop(place);
        if by_topic_only {
            series.retain(|series| !series.buckets.is_empty());
        }
        let told = |series: Series| match fill {
            Fill::None => NamedSeries::of(series, &query.rules),
            Fill::Null => NamedSeries::of(series.filled(&query), &query.rules),
        };
        Ok(series.into_iter().map(told).collect())
    }

    /// The devices that are named and have the label.
    async fn devices_among(
        &self,
        tenant: TenantId,
        named: Vec<DeviceId>,
        label: Option<&Label>,
    ) -> Result<Vec<DeviceId>, Error> {
        let mut devices = Vec::with_capacity(named.len());
        for id in named {
            let device = self.devices.get(tenant, id).await?.ok_or(Error::NotFound)?;
            if label.is_none_or(|label| device.labels.iter().any(|other| other == label)) {
                devices.push(id);
            }
        }
        Ok(devices)
    }

    /// All devices that have the label, or all of the tenant.
    async fn devices_with(&self, tenant: TenantId, label: Option<Label>) -> Result<Vec<DeviceId>, Error> {
        let most = AggregateQuery::MAX_DEVICES;
        let by_label = label.is_some();
        let page = PageRequest::new(Some(most as u64), None)?;
        let found = self.devices.list(tenant, &DeviceFilter { label, ..DeviceFilter::default() }, page).await?;
        if found.total > most as u64 {
            let total = found.total;
            return Err(Error::Invalid(if by_label {
                Invalid::new("label", format!("{total} devices match, and a request may select at most {most}"))
            } else {
                let message = format!(
                    "the tenant has {total} devices, and a request may select at most {most}; select some with deviceId or label"
                );
                Invalid::new("topic", message)
            }));
        }
        Ok(found.items.into_iter().map(|device| device.id).collect())
    }
}

/// The entries without repetition, in their order.
fn distinct<T: PartialEq>(entries: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(entries.len());
    for entry in entries {
        if !kept.contains(&entry) {
            kept.push(entry);
        }
    }
    kept
}
