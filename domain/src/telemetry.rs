//! Telemetry: what devices published, as rows of a history.

use std::fmt;
use std::str::FromStr;

use crate::{DeviceId, Invalid, PageLimit, Payload, TenantId, Timestamp, TopicFilter, TopicName};

/// A message that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTelemetry {
    /// The tenant of the device.
    pub tenant_id: TenantId,
    /// Who published it, or for whom it was posted.
    pub device_id: DeviceId,
    /// Where.
    pub topic: TopicName,
    /// What.
    pub payload: Payload,
    /// The time it is about: its own, or that of its arrival.
    pub timestamp: Timestamp,
    /// When it arrived.
    pub received_at: Timestamp,
}

impl NewTelemetry {
    /// What its age counts from: the later of the time it is about and its arrival. A history that is kept from a time on has
    /// what has not aged beyond it by either.
    pub fn ages_from(&self) -> Timestamp {
        self.timestamp.max(self.received_at)
    }
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Its id; opaque outside of storage.
    pub id: TelemetryId,
    /// Who published it.
    pub device_id: DeviceId,
    /// Where.
    pub topic: TopicName,
    /// What.
    pub payload: Payload,
    /// The time it is about.
    pub timestamp: Timestamp,
    /// When it arrived.
    pub received_at: Timestamp,
}

impl Telemetry {
    /// What its age counts from, as for [`NewTelemetry::ages_from`].
    pub fn ages_from(&self) -> Timestamp {
        self.timestamp.max(self.received_at)
    }
}

/// Identifies a stored message. Later messages of one database have larger ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TelemetryId(u64);

impl TelemetryId {
    /// Takes the key that a database gave; adapters use positive 63-bit integers.
    pub fn from_key(key: u64) -> Self {
        Self(key)
    }

    /// The database's key.
    pub fn as_key(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TelemetryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// Which way a history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortOrder {
    /// Oldest first.
    Ascending,
    /// Newest first.
    #[default]
    Descending,
}

impl FromStr for SortOrder {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "asc" => Ok(Self::Ascending),
            "desc" => Ok(Self::Descending),
            _ => Err(Invalid::new("order", "must be asc or desc")),
        }
    }
}

/// Where a reader of a history stands: after the row of this time and id. Stays right while rows are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TelemetryCursor {
    /// Time of the last row read.
    pub timestamp: Timestamp,
    /// Id of the last row read.
    pub id: TelemetryId,
}

impl fmt::Display for TelemetryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.timestamp.as_millis(), self.id.0)
    }
}

impl FromStr for TelemetryCursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse_place(text).map(|(timestamp, key)| Self { timestamp, id: TelemetryId(key) })
    }
}

/// The time and the number of a cursor.
pub(crate) fn parse_place(text: &str) -> Result<(Timestamp, u64), Invalid> {
    let parse = || {
        let (millis, number) = text.split_once('-')?;
        let at = Timestamp::from_millis(i64::from_str_radix(millis, 16).ok()?).ok()?;
        let number = u64::from_str_radix(number, 16).ok().filter(|number| i64::try_from(*number).is_ok())?;
        Some((at, number))
    };
    parse().ok_or_else(|| Invalid::new("cursor", "must be the pagination.next of an earlier answer"))
}

/// Which part of a tenant's history is asked for. Rows are ordered by time, then id.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TelemetryQuery {
    /// Only this device.
    pub device_id: Option<DeviceId>,
    /// Only topics that match this filter.
    pub topic: Option<TopicFilter>,
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// Which way.
    pub order: SortOrder,
    /// Continue after this row.
    pub cursor: Option<TelemetryCursor>,
    /// How many rows.
    pub page_limit: PageLimit,
}

impl TelemetryQuery {
    /// The same query with a limit of rows.
    ///
    /// # Errors
    /// When the limit is not in 1..=1,000.
    pub fn with_limit(self, limit: Option<u64>) -> Result<Self, Invalid> {
        Ok(Self { page_limit: PageLimit::parse(limit)?, ..self })
    }

    /// Rows at the most: 100 when nothing was said.
    pub fn limit(&self) -> u32 {
        self.page_limit.get()
    }

    /// Checks what the fields say together.
    ///
    /// # Errors
    /// When `from` is after `to`.
    pub fn check(&self) -> Result<(), Invalid> {
        check_times(self.from, self.to)
    }
}

/// Whether a range of time has its ends in their order.
pub(crate) fn check_times(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), Invalid> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => {
            Err(Invalid::new("from", format!("must not be after to, which is {to}")))
        }
        _ => Ok(()),
    }
}

/// One page of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPage {
    /// The rows, in the order asked for.
    pub rows: Vec<Telemetry>,
    /// Where the next page begins; `None` when nothing follows.
    pub next: Option<TelemetryCursor>,
}

impl TelemetryPage {
    /// Makes a page of rows that were read with one more than `limit`, which tells whether anything follows.
    pub fn from_rows(mut rows: Vec<Telemetry>, limit: u32) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| TelemetryCursor { timestamp: row.timestamp, id: row.id });
        Self { rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let cursor = TelemetryCursor { timestamp: Timestamp::MAX, id: TelemetryId::from_key(i64::MAX.unsigned_abs()) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "-", "1", "x-1", "1-x", "-1-1", "1-ffffffffffffffff", "1-1-1"] {
            assert_eq!(wrong.parse::<TelemetryCursor>().unwrap_err().field, "cursor", "{wrong}");
        }
    }

    #[test]
    fn a_query_knows_its_bounds() {
        let at = |millis| Some(Timestamp::from_millis(millis).unwrap());
        assert_eq!(TelemetryQuery::default().limit(), 100);
        assert!(TelemetryQuery::default().with_limit(Some(1_001)).is_err());
        assert!(TelemetryQuery { from: at(5), to: at(5), ..Default::default() }.check().is_ok());
        assert!(TelemetryQuery { from: at(6), to: at(5), ..Default::default() }.check().is_err());
    }
}
