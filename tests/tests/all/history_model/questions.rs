//! Questions about a history, and what a list of its messages answers.

use std::collections::{BTreeMap, BTreeSet};

use pocket_domain::{
    Aggregate, AggregateQuery, Bucket, DeviceId, GroupBy, LatestQuery, LatestValue, LatestValues, Leaf, LeafPath,
    Series, SortOrder, Tally, Telemetry, TelemetryPage, TelemetryQuery, TenantId, Timestamp, TopicFilter, TopicName,
    TopicRule, TopicRules,
};
use pocket_ports::Storage;

use super::world::{World, at};

pub(super) const FILTERS: [&str; 5] = ["#", "a/#", "a/+", "d", "none"];
/// The most devices of an aggregate.
const DEVICES: usize = 4;
const AGGREGATES: [Aggregate; 5] =
    [Aggregate::Count, Aggregate::Min, Aggregate::Max, Aggregate::First, Aggregate::Last];

#[derive(Clone, Debug)]
pub(super) enum Question {
    Range(TelemetryQuery),
    Aggregate(AggregateQuery),
    Latest(DeviceId, LatestQuery),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Range(TelemetryPage),
    Aggregate(Vec<Series>),
    Latest(LatestValues),
}

impl World {
    pub(super) fn any_query(&mut self) -> TelemetryQuery {
        let mut query = TelemetryQuery::default().with_limit(Some(1 + self.random.below(self.size.page))).unwrap();
        query.order = self.random.one_of(&[SortOrder::Ascending, SortOrder::Descending]);
        if self.random.below(2) == 0 {
            query.device_id = Some(self.random.one_of(&self.devices));
        }
        if self.random.below(3) == 0 {
            query.topic = Some(TopicFilter::parse(self.random.one_of(&FILTERS)).unwrap());
        }
        if self.random.below(2) == 0 {
            let from = self.now - self.random.below(250_000);
            query.from = Some(at(from));
            query.to = (self.random.below(2) == 0).then(|| at(from + self.random.below(100_000)));
        }
        query
    }

    pub(super) fn any_aggregate(&mut self) -> Question {
        let from = self.now - self.random.below(250_000);
        let first = self.random.below(self.devices.len() as u64) as usize;
        let count = DEVICES.min(self.devices.len());
        Question::Aggregate(AggregateQuery {
            devices: self.devices.iter().copied().cycle().skip(first).take(count).collect(),
            keys: ["t", "b.mv", "$"].iter().map(|key| LeafPath::parse(key).unwrap()).collect(),
            aggregate: self.random.one_of(&AGGREGATES),
            interval: self.random.one_of(&["1s", "10s", "1m", "1h"]).parse().unwrap(),
            from: at(from),
            to: at(from + self.random.below(100_000)),
            topic: (self.random.below(3) == 0).then(|| TopicFilter::parse(self.random.one_of(&FILTERS)).unwrap()),
            group_by: self.random.one_of(&[GroupBy::Device, GroupBy::Topic]),
            rules: self.any_rules(),
        })
    }

    /// Rules for topics, or none.
    fn any_rules(&mut self) -> TopicRules {
        let rules = self.random.one_of(&[&[][..], &[("a/+q", "t")], &[("a/c", "t"), ("a/+q", "b"), ("#", "$")]]);
        let parsed = rules.iter().filter_map(|(topic, key)| TopicRule::parse(topic, key).ok());
        TopicRules::new(parsed.collect()).unwrap()
    }

    pub(super) fn any_question(&mut self) -> Question {
        match self.random.below(4) {
            0 => self.any_aggregate(),
            1 => {
                let topic =
                    (self.random.below(2) == 0).then(|| TopicFilter::parse(self.random.one_of(&FILTERS)).unwrap());
                let most = self.random.one_of(&[3, 1_000]);
                Question::Latest(self.random.one_of(&self.devices), LatestQuery { topic, most })
            }
            _ => Question::Range(self.any_query()),
        }
    }
}

impl Question {
    /// What storage answers.
    pub(super) async fn ask(&self, storage: &Storage, tenant: TenantId) -> Told {
        match self {
            Self::Range(query) => Told::Range(storage.telemetry.range(tenant, query).await.unwrap()),
            Self::Aggregate(query) => Told::Aggregate(storage.telemetry.aggregate(tenant, query).await.unwrap()),
            Self::Latest(device, query) => {
                Told::Latest(storage.telemetry.latest(tenant, *device, query).await.unwrap())
            }
        }
    }

    /// What a list answers, which is in the order of time.
    pub(super) fn answer(&self, rows: &[Telemetry]) -> Told {
        match self {
            Self::Range(query) => Told::Range(page(query, rows)),
            Self::Aggregate(query) => Told::Aggregate(series(query, rows)),
            Self::Latest(device, query) => Told::Latest(latest(*device, query, rows)),
        }
    }
}

/// The rows that a query means, in its order.
pub(super) fn wanted<'a>(query: &'a TelemetryQuery, rows: &'a [Telemetry]) -> Vec<&'a Telemetry> {
    let is_wanted = |row: &&Telemetry| {
        query.device_id.is_none_or(|device| row.device_id == device)
            && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
            && query.from.is_none_or(|from| row.timestamp >= from)
            && query.to.is_none_or(|to| row.timestamp < to)
            && query.cursor.is_none_or(|last| match query.order {
                SortOrder::Ascending => (row.timestamp, row.id) > (last.timestamp, last.id),
                SortOrder::Descending => (row.timestamp, row.id) < (last.timestamp, last.id),
            })
    };
    let mut wanted: Vec<&Telemetry> = rows.iter().filter(is_wanted).collect();
    if query.order == SortOrder::Descending {
        wanted.reverse();
    }
    wanted
}

fn page(query: &TelemetryQuery, rows: &[Telemetry]) -> TelemetryPage {
    let most = query.limit() as usize + 1;
    TelemetryPage::from_rows(wanted(query, rows).into_iter().take(most).cloned().collect(), query.limit())
}

/// The topics of points, and the tally of each bucket.
type Tallies = (BTreeSet<TopicName>, BTreeMap<Timestamp, Tally>);

fn series(query: &AggregateQuery, rows: &[Telemetry]) -> Vec<Series> {
    let mut told = Vec::new();
    for device in &query.devices {
        for key in &query.keys {
            let mut found: BTreeMap<Option<TopicName>, Tallies> = BTreeMap::new();
            if query.group_by == GroupBy::Device {
                found.entry(None).or_default();
            }
            for row in rows.iter().filter(|row| {
                row.device_id == *device
                    && (query.from..query.to).contains(&row.timestamp)
                    && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
            }) {
                let leaves = row.payload.leaves();
                // What `latest` would tell under this key, or else what is stored under it.
                let naming = query.rules.name(row.topic.as_str());
                let named = |leaf: &&Leaf<'_>| {
                    naming.as_ref().is_some_and(|(_, naming)| naming.key_of(&leaf.path) == key.as_str())
                };
                let has_name = naming.as_ref().is_some_and(|(_, naming)| naming.path_of(key).is_some());
                let point = leaves
                    .iter()
                    .find(|leaf| if has_name { named(leaf) } else { leaf.path == *key })
                    .and_then(|leaf| leaf.value.point());
                for point in point.into_iter().map(Tally::of) {
                    let of = (query.group_by == GroupBy::Topic).then(|| row.topic.clone());
                    let (topics, buckets) = found.entry(of).or_default();
                    topics.insert(row.topic.clone());
                    let start = query.interval.start_of(row.timestamp);
                    buckets.entry(start).and_modify(|tally| tally.append(point)).or_insert(point);
                }
            }
            let bucket = |(start, tally): (Timestamp, Tally)| Bucket {
                start,
                value: tally.value(query.aggregate),
                count: tally.count,
            };
            told.extend(found.into_iter().map(|(topic, (topics, buckets))| Series {
                device_id: *device,
                key: key.clone(),
                topic,
                topics: topics.len() as u64,
                buckets: buckets.into_iter().map(bucket).collect(),
            }));
        }
    }
    told
}

fn latest(device: DeviceId, query: &LatestQuery, rows: &[Telemetry]) -> LatestValues {
    let mut values = BTreeMap::new();
    let is_wanted = |row: &&Telemetry| {
        row.device_id == device && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
    };
    for row in rows.iter().filter(is_wanted) {
        for leaf in row.payload.leaves() {
            let (key, topic, value) = (leaf.path.clone(), row.topic.clone(), leaf.value.json().into());
            let value = LatestValue { key, topic, value, timestamp: row.timestamp };
            values.insert((leaf.path, row.topic.clone()), (row.id.as_key(), value));
        }
    }
    LatestValues::newest(values.into_values().collect(), query.most)
}
