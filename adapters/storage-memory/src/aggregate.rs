//! Numbers over time: the points of each bucket are gathered, then looked at.

use std::collections::{BTreeMap, BTreeSet};

use pocket_domain::{
    Aggregate, AggregateQuery, Bucket, DeviceId, GroupBy, LeafPath, Series, Telemetry, TenantId, TopicName,
};
use pocket_ports::StorageError;

use crate::state::State;

impl State {
    pub(crate) fn aggregate(&self, tenant: TenantId, query: &AggregateQuery) -> Result<Vec<Series>, StorageError> {
        let pairs = query.devices.iter().flat_map(|device| query.keys.iter().map(move |key| (*device, key)));
        let mut all = Vec::new();
        for (device, key) in pairs {
            let rows: Vec<&Telemetry> = self.messages(tenant, device).filter(|row| meets(row, query)).collect();
            match query.group_by {
                GroupBy::Device => all.push(series(&rows, query, device, key, None)),
                GroupBy::Topic => {
                    let topics: BTreeSet<&TopicName> = rows.iter().map(|row| &row.topic).collect();
                    let of_topics = topics.into_iter().map(|topic| series(&rows, query, device, key, Some(topic)));
                    all.extend(of_topics.filter(|series| !series.buckets.is_empty()));
                }
            }
        }
        query.check_series(all.len()).map_err(StorageError::TooMuch)?;
        Ok(all)
    }
}

fn series(
    rows: &[&Telemetry],
    query: &AggregateQuery,
    device_id: DeviceId,
    key: &LeafPath,
    topic: Option<&TopicName>,
) -> Series {
    let mut points: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut topics = BTreeSet::new();
    for row in rows.iter().filter(|row| topic.is_none_or(|topic| row.topic == *topic)) {
        let path = query.rules.path_in(row.topic.as_str(), key);
        let leaf = row.payload.leaves().into_iter().find(|leaf| leaf.path == path);
        if let Some(point) = leaf.and_then(|leaf| leaf.value.point()) {
            topics.insert(&row.topic);
            points.entry(query.interval.start_of(row.timestamp)).or_default().push(point);
        }
    }
    let bucket = |(start, points): (_, Vec<f64>)| Bucket {
        start,
        value: value(&points, query.aggregate),
        count: points.len() as u64,
    };
    Series {
        device_id,
        key: key.clone(),
        topic: topic.cloned(),
        topics: topics.len() as u64,
        buckets: points.into_iter().map(bucket).collect(),
    }
}

fn meets(row: &Telemetry, query: &AggregateQuery) -> bool {
    (query.from..query.to).contains(&row.timestamp)
        && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
}

/// The aggregate of some points in the order of time; there is at least one.
fn value(points: &[f64], aggregate: Aggregate) -> f64 {
    let count = points.len() as f64;
    match aggregate {
        Aggregate::Avg => points.iter().sum::<f64>() / count,
        Aggregate::Min => points.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregate::Max => points.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregate::Sum => points.iter().sum(),
        Aggregate::Count => count,
        Aggregate::First => points.first().copied().unwrap_or(f64::NAN),
        Aggregate::Last => points.last().copied().unwrap_or(f64::NAN),
    }
}
