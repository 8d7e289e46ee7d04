//! Numbers over time: the points of each bucket are gathered, then looked at.

use std::collections::BTreeMap;

use pocket_domain::{Aggregate, AggregateQuery, Bucket, DeviceId, LeafPath, Series, Telemetry, TenantId};

use crate::state::State;

impl State {
    pub(crate) fn aggregate(&self, tenant: TenantId, query: &AggregateQuery) -> Vec<Series> {
        let pairs = query.devices.iter().flat_map(|device| query.keys.iter().map(move |key| (*device, key)));
        pairs.map(|(device, key)| self.series(tenant, query, device, key)).collect()
    }

    fn series(&self, tenant: TenantId, query: &AggregateQuery, device_id: DeviceId, key: &LeafPath) -> Series {
        let mut points: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for row in self.messages(tenant, device_id).filter(|row| meets(row, query)) {
            let leaf = row.payload.leaves().into_iter().find(|leaf| leaf.path == *key);
            if let Some(point) = leaf.and_then(|leaf| leaf.value.number()) {
                points.entry(query.interval.start_of(row.timestamp)).or_default().push(point);
            }
        }
        let bucket = |(start, points): (_, Vec<f64>)| Bucket {
            start,
            value: value(&points, query.aggregate),
            count: points.len() as u64,
        };
        Series { device_id, key: key.clone(), buckets: points.into_iter().map(bucket).collect() }
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
