//! Questions for numbers over time: which devices and keys, in buckets of which length, and by which function.
//!
//! Buckets are aligned to multiples of their length since 1970, UTC, so that the same question gives the same buckets whenever
//! it is asked. A range that begins within a bucket has a first bucket that starts before it; only points of the range count.

use std::fmt;
use std::str::FromStr;

use crate::{DeviceId, Invalid, LeafPath, Timestamp, TopicFilter, TopicRules};

/// What is made of the points of a bucket. Numbers are points, and so are truth values: true is 1, false is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// The sum divided by the number of points.
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The sum.
    Sum,
    /// The number of points.
    Count,
    /// The earliest by time, then id.
    First,
    /// The latest by time, then id.
    Last,
}

impl FromStr for Aggregate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Ok(match text {
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "sum" => Self::Sum,
            "count" => Self::Count,
            "first" => Self::First,
            "last" => Self::Last,
            _ => return Err(Invalid::new("agg", "must be avg, min, max, sum, count, first or last")),
        })
    }
}

/// What has a series of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum GroupBy {
    /// Each key of each device, whichever topics its messages have.
    #[default]
    Device,
    /// Each key of each device on each topic.
    Topic,
}

impl FromStr for GroupBy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "device" => Ok(Self::Device),
            "topic" => Ok(Self::Topic),
            _ => Err(Invalid::new("groupBy", "must be device or topic")),
        }
    }
}

/// How long a bucket is: whole seconds, from one to 366 days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    seconds: u64,
}

impl Interval {
    /// One second.
    pub const MIN: Self = Self { seconds: 1 };
    /// 366 days.
    pub const MAX: Self = Self { seconds: 366 * DAY };

    /// Its length in milliseconds.
    pub fn as_millis(self) -> i64 {
        // At most 366 days, so it fits.
        self.seconds as i64 * 1_000
    }

    /// The start of the bucket that a moment is in.
    #[must_use]
    pub fn start_of(self, moment: Timestamp) -> Timestamp {
        self.start_of_number(self.number_of(moment))
    }

    /// How many buckets start before the one that a moment is in.
    fn number_of(self, moment: Timestamp) -> i64 {
        moment.as_millis() / self.as_millis()
    }

    fn start_of_number(self, number: i64) -> Timestamp {
        Timestamp::from_millis(number * self.as_millis()).unwrap_or(Timestamp::MAX)
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl FromStr for Interval {
    type Err = Invalid;

    /// A positive whole number and `s`, `m`, `h` or `d`.
    ///
    /// # Errors
    /// When the text is something else, or the length is not in [`MIN`](Self::MIN)..=[`MAX`](Self::MAX).
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let unit = match unit {
                "s" => 1,
                "m" => MINUTE,
                "h" => HOUR,
                "d" => DAY,
                _ => return None,
            };
            // The parser of whole numbers would take a sign.
            let number: u64 = number.parse().ok().filter(|_| number.bytes().all(|digit| digit.is_ascii_digit()))?;
            Some(Self { seconds: number.checked_mul(unit)? })
                .filter(|interval| (Self::MIN..=Self::MAX).contains(interval))
        };
        parse().ok_or_else(|| {
            let message = "must be a whole number and s, m, h or d, such as 10s, 15m, 1h or 7d, from 1s to 366d";
            Invalid::new("interval", message)
        })
    }
}

impl fmt::Display for Interval {
    /// In the largest unit that it is a multiple of: `15m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm')];
        let (unit, name) = units.into_iter().find(|(unit, _)| self.seconds.is_multiple_of(*unit)).unwrap_or((1, 's'));
        write!(f, "{}{name}", self.seconds / unit)
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A question for numbers over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateQuery {
    /// Of which devices.
    pub devices: Vec<DeviceId>,
    /// At which paths of their payloads.
    pub keys: Vec<LeafPath>,
    /// What is made of the points of a bucket.
    pub aggregate: Aggregate,
    /// How long a bucket is.
    pub interval: Interval,
    /// Not before this moment.
    pub from: Timestamp,
    /// Before this moment.
    pub to: Timestamp,
    /// Only topics that match this filter.
    pub topic: Option<TopicFilter>,
    /// What has a series of its own.
    pub group_by: GroupBy,
    /// What the tenant's rules make of topics: a key stands for a value of a topic that they give this key, and for a value with
    /// this path in topics to which they don't give it.
    pub rules: TopicRules,
}

impl AggregateQuery {
    /// The most devices.
    pub const MAX_DEVICES: usize = 100;
    /// The most keys.
    pub const MAX_KEYS: usize = 20;
    /// The most buckets of one device and key.
    pub const MAX_BUCKETS: u64 = 10_000;
    /// The most buckets of all devices and keys together.
    pub const MAX_BUCKETS_IN_ALL: u64 = 100_000;
    /// The most series by topic.
    pub const MAX_SERIES: usize = 1_000;

    /// Checks what the fields say together.
    ///
    /// # Errors
    /// `from` after `to`; too many devices, too many keys or none; more buckets than there may be.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.from > self.to {
            return Err(Invalid::new("from", "must not be after to"));
        }
        if self.devices.len() > Self::MAX_DEVICES {
            return Err(Invalid::new("deviceId", format!("must be at most {} devices", Self::MAX_DEVICES)));
        }
        if !(1..=Self::MAX_KEYS).contains(&self.keys.len()) {
            return Err(Invalid::new("key", format!("must be 1 to {} keys", Self::MAX_KEYS)));
        }
        let buckets = self.buckets();
        if buckets > Self::MAX_BUCKETS {
            let message = format!(
                "results in {buckets} buckets, and at most {} are allowed; use a longer interval or a shorter range",
                Self::MAX_BUCKETS
            );
            return Err(Invalid::new("interval", message));
        }
        let in_all = buckets * self.devices.len() as u64 * self.keys.len() as u64;
        if in_all > Self::MAX_BUCKETS_IN_ALL {
            let message = format!(
                "gives {in_all} buckets for all devices and keys, and {} is the most; take a longer interval, a shorter \
                 range, or fewer devices or keys",
                Self::MAX_BUCKETS_IN_ALL
            );
            return Err(Invalid::new("interval", message));
        }
        Ok(())
    }

    /// Checks how many series there are by topic, which only the messages tell.
    ///
    /// # Errors
    /// The limit that is passed and what to ask instead, in words.
    pub fn check_series(&self, series: usize) -> Result<(), String> {
        if self.group_by != GroupBy::Topic {
            return Ok(());
        }
        if series > Self::MAX_SERIES {
            return Err(format!(
                "groupBy=topic gives more than {} series; name fewer topics by the parameter topic, fewer devices or keys",
                Self::MAX_SERIES
            ));
        }
        let in_all = self.buckets() * series as u64;
        if in_all > Self::MAX_BUCKETS_IN_ALL {
            return Err(format!(
                "groupBy=topic gives {series} series with {in_all} buckets together or more, and {} is the most; take a \
                 longer interval, a shorter range, or fewer topics by the parameter topic",
                Self::MAX_BUCKETS_IN_ALL
            ));
        }
        Ok(())
    }

    /// How many buckets the range touches.
    pub fn buckets(&self) -> u64 {
        let numbers = self.numbers();
        numbers.end.abs_diff(numbers.start)
    }

    /// The starts of the buckets that the range touches, in order.
    pub fn starts(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let interval = self.interval;
        self.numbers().map(move |number| interval.start_of_number(number))
    }

    /// The numbers of the buckets that the range touches.
    fn numbers(&self) -> std::ops::Range<i64> {
        let first = self.interval.number_of(self.from);
        let end = (self.to.as_millis() + self.interval.as_millis() - 1) / self.interval.as_millis();
        if self.from < self.to { first..end } else { first..first }
    }
}

#[cfg(test)]
mod tests;
