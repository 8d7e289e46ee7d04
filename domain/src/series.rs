//! Answers to questions for numbers over time, and the sums that they are made of.

use crate::{Aggregate, AggregateQuery, DeviceId, LeafPath, Timestamp, TopicName};

/// What became of the points of one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// When it starts.
    pub start: Timestamp,
    /// The aggregate. Not finite where a sum is beyond the range of a double, and not a number where there are no points.
    pub value: f64,
    /// How many points there are.
    pub count: u64,
}

impl Bucket {
    /// A bucket without points.
    pub fn empty(start: Timestamp) -> Self {
        Self { start, value: f64::NAN, count: 0 }
    }

    /// The aggregate, where it is a number that can be written.
    pub fn finite(&self) -> Option<f64> {
        Some(self.value).filter(|value| value.is_finite())
    }
}

/// The numbers of one key of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The device.
    pub device_id: DeviceId,
    /// The key.
    pub key: LeafPath,
    /// The topic, where each has a series of its own.
    pub topic: Option<TopicName>,
    /// How many topics the points are from.
    pub topics: u64,
    /// The buckets in the order of time.
    pub buckets: Vec<Bucket>,
}

impl Series {
    /// The same series with a bucket for each that the range of the query touches; those without points are empty.
    #[must_use]
    pub fn filled(self, query: &AggregateQuery) -> Self {
        let mut there = self.buckets.into_iter().peekable();
        let buckets = query
            .starts()
            .map(|start| there.next_if(|bucket| bucket.start == start).unwrap_or_else(|| Bucket::empty(start)))
            .collect();
        Self { buckets, ..self }
    }
}

/// What is known of some points in the order of time, from which each aggregate follows. Tallies of parts that follow each
/// other make the tally of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The earliest.
    pub first: f64,
    /// The latest.
    pub last: f64,
}

impl Tally {
    /// Of one point.
    pub fn of(point: f64) -> Self {
        Self { count: 1, sum: point, min: point, max: point, first: point, last: point }
    }

    /// Adds what comes later.
    pub fn append(&mut self, later: Self) {
        self.count += later.count;
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
    }

    /// The aggregate.
    pub fn value(&self, aggregate: Aggregate) -> f64 {
        match aggregate {
            Aggregate::Avg => self.sum / self.count as f64,
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
            Aggregate::Sum => self.sum,
            Aggregate::Count => self.count as f64,
            Aggregate::First => self.first,
            Aggregate::Last => self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn tally(points: &[f64]) -> Tally {
        let mut tallies = points.iter().copied().map(Tally::of);
        let mut whole = tallies.next().unwrap();
        tallies.for_each(|later| whole.append(later));
        whole
    }

    #[test]
    fn every_aggregate_follows_from_a_tally() {
        let tally = tally(&[3.0, -1.0, 4.0, 2.0]);
        for (aggregate, value) in [
            (Aggregate::Avg, 2.0),
            (Aggregate::Min, -1.0),
            (Aggregate::Max, 4.0),
            (Aggregate::Sum, 8.0),
            (Aggregate::Count, 4.0),
            (Aggregate::First, 3.0),
            (Aggregate::Last, 2.0),
        ] {
            assert_eq!(tally.value(aggregate), value, "{aggregate:?}");
        }
    }

    #[test]
    fn a_sum_beyond_the_range_of_a_double_is_no_number_that_can_be_written() {
        let tally = tally(&[1.5e308, 1.5e308]);
        let bucket = |aggregate| Bucket { start: at(0), value: tally.value(aggregate), count: tally.count };
        assert_eq!((bucket(Aggregate::Sum).finite(), bucket(Aggregate::Avg).finite()), (None, None));
        assert_eq!(bucket(Aggregate::Max).finite(), Some(1.5e308));
        assert_eq!(Bucket::empty(at(0)).finite(), None);
    }

    #[test]
    fn gaps_are_filled_from_the_first_bucket_to_the_last() {
        let query = AggregateQuery {
            devices: Vec::new(),
            keys: Vec::new(),
            aggregate: Aggregate::Sum,
            interval: "1s".parse().unwrap(),
            from: at(1_500),
            to: at(5_001),
            topic: None,
            group_by: crate::GroupBy::Device,
            rules: crate::TopicRules::default(),
        };
        let device_id = DeviceId::new(at(0), [0; 10]);
        let bucket = |start| Bucket { start: at(start), value: 7.0, count: 1 };
        let series = Series {
            device_id,
            key: LeafPath::parse("a").unwrap(),
            topic: None,
            topics: 1,
            buckets: vec![bucket(2_000), bucket(5_000)],
        };
        let shape = |series: Series| {
            let shape = |bucket: Bucket| (bucket.start.as_millis(), bucket.finite(), bucket.count);
            series.buckets.into_iter().map(shape).collect::<Vec<_>>()
        };
        let expected =
            [(1_000, None, 0), (2_000, Some(7.0), 1), (3_000, None, 0), (4_000, None, 0), (5_000, Some(7.0), 1)];
        assert_eq!(shape(series.clone().filled(&query)), expected);
        let nothing = AggregateQuery { to: query.from, ..query };
        assert_eq!(shape(Series { buckets: Vec::new(), ..series }.filled(&nothing)), []);
    }

    proptest! {
        #[test]
        fn parts_make_the_whole(points in prop::collection::vec(-1e9..1e9, 2..50), cut: prop::sample::Index) {
            let at = 1 + cut.index(points.len() - 1);
            let mut parts = tally(&points[..at]);
            parts.append(tally(&points[at..]));
            let whole = tally(&points);
            let scale = points.iter().map(|point: &f64| point.abs()).sum::<f64>();
            prop_assert!((parts.sum - whole.sum).abs() <= scale * 1e-12);
            prop_assert_eq!(Tally { sum: 0.0, ..parts }, Tally { sum: 0.0, ..whole });
        }
    }
}
