//! What a device said last, and which keys it has, as people see it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use pocket_domain::{
    DeviceId, LatestQuery, LatestValue, LatestValues, LeafPath, Series, TenantId, TopicFilter, TopicName, TopicNaming,
    TopicRules,
};

use crate::policy::Action;
use crate::telemetry::TelemetryService;
use crate::{Caller, Error};

/// A last value under the key that people see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedValue {
    /// The key: that of the value, or what the tenant's rules make of its topic.
    pub key: String,
    /// The labels that a rule gives it; `None` when no rule names its topic.
    pub labels: Option<BTreeMap<String, String>>,
    /// The value as it is stored.
    pub value: LatestValue,
}

/// Last values of a device under the keys that people see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedValues {
    /// By key, those of one key with the newest first.
    pub values: Vec<NamedValue>,
    /// Whether there are older ones that are not told.
    pub has_more: bool,
}

impl NamedValues {
    fn of(latest: LatestValues, rules: &TopicRules) -> Self {
        let mut names: HashMap<TopicName, Option<TopicNaming>> = HashMap::new();
        let name = |value: LatestValue| {
            if rules.is_empty() {
                return NamedValue { key: value.key.to_string(), labels: None, value };
            }
            let topic = value.topic.clone();
            let naming = names.entry(topic).or_insert_with_key(|topic| Some(rules.name(topic.as_str())?.1));
            let key = naming.as_ref().map_or_else(|| value.key.to_string(), |naming| naming.key_of(&value.key));
            NamedValue { key, labels: naming.as_ref().map(|naming| naming.labels.clone()), value }
        };
        let mut values: Vec<NamedValue> = latest.values.into_iter().map(name).collect();
        if values.iter().any(|value| value.labels.is_some()) {
            // Values that were in order stay in it where key and time are the same.
            values.sort_by(|one, other| {
                let newest = |value: &NamedValue| Reverse(value.value.timestamp);
                one.key.cmp(&other.key).then_with(|| newest(one).cmp(&newest(other)))
            });
        }
        Self { values, has_more: latest.has_more }
    }
}

/// Numbers over time under the key that people ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedSeries {
    /// The numbers.
    pub series: Series,
    /// Of a series of one topic that a rule names: the path of its payloads where the numbers are.
    pub path: Option<LeafPath>,
    /// Of such a series: the labels that the rule gives it.
    pub labels: Option<BTreeMap<String, String>>,
}

impl NamedSeries {
    pub(crate) fn of(series: Series, rules: &TopicRules) -> Self {
        let Some((_, naming)) = series.topic.as_ref().and_then(|topic| rules.name(topic.as_str())) else {
            return Self { series, path: None, labels: None };
        };
        let path = naming.path_of(&series.key).unwrap_or_else(|| series.key.clone());
        Self { series, path: Some(path), labels: Some(naming.labels) }
    }
}

impl TelemetryService {
    /// The last value of each key of a device on each topic that the filter matches, under the keys that the tenant's rules for
    /// topics make, ordered by key, those of one key with the newest first; of too many the newest.
    ///
    /// # Errors
    /// `NotFound` for a device that the tenant does not have.
    pub async fn latest(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        device: DeviceId,
        topic: Option<TopicFilter>,
    ) -> Result<NamedValues, Error> {
        let tenant = self.reads_of(caller, tenant, device).await?;
        let query = LatestQuery { topic, ..LatestQuery::default() };
        let latest = self.store.latest(tenant, device, &query).await?;
        Ok(NamedValues::of(latest, &self.topic_rules.get(tenant).await?))
    }

    /// The tenant in which the caller reads this device's telemetry.
    async fn reads_of(&self, caller: &Caller, tenant: Option<TenantId>, device: DeviceId) -> Result<TenantId, Error> {
        let tenant = self.scope.enter(caller, tenant, Action::ReadTelemetry).await?;
        if self.devices.get(tenant, device).await?.is_none() {
            return Err(Error::NotFound);
        }
        Ok(tenant)
    }
}
