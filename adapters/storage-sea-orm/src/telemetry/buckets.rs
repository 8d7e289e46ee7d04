//! What becomes of the points of one key, bucket by bucket, wherever they come from and in whichever order.

use std::collections::BTreeMap;

use pocket_domain::{AggregateQuery, Bucket, DeviceId, LeafPath, Series, Tally, Timestamp, TopicName};
use pocket_telemetry_codec::Numbers;

use super::window::Place;

/// A tally, with the places of its first and last points.
#[derive(Clone, Copy, Debug)]
struct Part {
    tally: Tally,
    first: Place,
    last: Place,
}

impl Part {
    fn of(point: f64, place: Place) -> Self {
        Self { tally: Tally::of(point), first: place, last: place }
    }

    /// Adds points that may lie before, between and after these.
    fn merge(&mut self, other: &Self) {
        let (first, last) = (self.tally.first, self.tally.last);
        self.tally.append(other.tally);
        if other.first < self.first {
            (self.first, self.tally.first) = (other.first, other.tally.first);
        } else {
            self.tally.first = first;
        }
        if other.last > self.last {
            self.last = other.last;
        } else {
            self.tally.last = last;
        }
    }
}

/// Rows of a device in the order of time, of which some are asked for.
pub(crate) struct Times<'a> {
    pub(crate) timestamps: &'a [i64],
    /// The ids, where the order of rows of one moment matters.
    pub(crate) ids: &'a [u64],
    /// Whether a row is asked for; `None`: all are.
    pub(crate) wanted: Option<&'a [bool]>,
}

impl Times<'_> {
    pub(crate) fn place(&self, row: usize) -> Place {
        (self.timestamps[row], self.ids.get(row).map_or(0, |id| id.cast_signed()))
    }
}

/// The buckets of one key of one device.
pub(crate) struct Buckets {
    pub(crate) key: LeafPath,
    /// Their length in milliseconds.
    interval: i64,
    /// The times that are asked for, the last one included.
    from: i64,
    to: i64,
    parts: BTreeMap<i64, Part>,
    /// How many points there are.
    points: u64,
}

impl Buckets {
    pub(crate) fn new(key: LeafPath, query: &AggregateQuery) -> Self {
        let (from, to) = (query.from.as_millis(), query.to.as_millis() - 1);
        Self { key, interval: query.interval.as_millis(), from, to, parts: BTreeMap::new(), points: 0 }
    }

    /// Adds one point.
    pub(crate) fn add(&mut self, point: f64, place: Place) {
        if (self.from..=self.to).contains(&place.0) {
            self.merge(place.0 / self.interval, &Part::of(point, place));
        }
    }

    /// How many points there are.
    pub(crate) fn points(&self) -> u64 {
        self.points
    }

    fn merge(&mut self, number: i64, part: &Part) {
        self.points += part.tally.count;
        self.parts.entry(number).and_modify(|present| present.merge(part)).or_insert(*part);
    }

    /// Adds the points of a chunk.
    pub(crate) fn add_all(&mut self, numbers: &Numbers, times: &Times<'_>) {
        match (numbers.rows(), times.wanted) {
            (None, None) => self.add_runs(numbers.values(), times),
            _ => {
                let is_wanted = |row: usize| times.wanted.is_none_or(|wanted| wanted[row]);
                let wanted = numbers.iter().filter(|(row, _)| is_wanted(*row));
                wanted.for_each(|(row, point)| self.add(point, times.place(row)));
            }
        }
    }

    /// Adds points of which each row has one, a bucket at a time.
    fn add_runs(&mut self, points: &[f64], times: &Times<'_>) {
        let mut row = times.timestamps.partition_point(|at| *at < self.from);
        let end = times.timestamps.partition_point(|at| *at <= self.to);
        while row < end {
            let number = times.timestamps[row] / self.interval;
            let next = (number + 1) * self.interval;
            let after = row + times.timestamps[row..end].partition_point(|at| *at < next);
            let mut tally = Tally::of(points[row]);
            for point in &points[row + 1..after] {
                tally.sum += point;
                tally.min = tally.min.min(*point);
                tally.max = tally.max.max(*point);
            }
            tally.count = (after - row) as u64;
            tally.last = points[after - 1];
            self.merge(number, &Part { tally, first: times.place(row), last: times.place(after - 1) });
            row = after;
        }
    }

    /// The series that they make.
    pub(crate) fn series(
        self,
        device_id: DeviceId,
        topic: Option<TopicName>,
        topics: u64,
        query: &AggregateQuery,
    ) -> Series {
        let bucket = |(number, part): (i64, Part)| Bucket {
            start: Timestamp::from_millis(number * self.interval).unwrap_or(Timestamp::MAX),
            value: part.tally.value(query.aggregate),
            count: part.tally.count,
        };
        Series { device_id, key: self.key, topic, topics, buckets: self.parts.into_iter().map(bucket).collect() }
    }
}
