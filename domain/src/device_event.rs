//! What happened to the connections of a device: the last so many of them, the newest first.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::telemetry::parse_place;
use crate::{Invalid, PageLimit, Peer, Timestamp};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEventKind {
    /// A connection was opened.
    Connected,
    /// A connection ended, for this reason: a stable word, perhaps with another after `: `.
    Disconnected(Cow<'static, str>),
}

impl DeviceEventKind {
    /// The reason of connections that ended with their broker process, which could not say so.
    pub const BROKER_RESTART: &str = "broker_restart";

    /// The stable name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected(_) => "disconnected",
        }
    }

    /// Why a connection ended.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Connected => None,
            Self::Disconnected(reason) => Some(reason),
        }
    }

    /// The kind of a name and a reason as they were stored; `None` when they are not those of a kind.
    pub fn from_stored(name: &str, reason: Option<String>) -> Option<Self> {
        match (name, reason) {
            ("connected", None) => Some(Self::Connected),
            ("disconnected", Some(reason)) => Some(Self::Disconnected(reason.into())),
            _ => None,
        }
    }
}

/// An event that is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeviceEvent {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: DeviceEventKind,
    /// The other end of the connection.
    pub peer: Peer,
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEvent {
    /// Its id.
    pub id: DeviceEventId,
    /// What happened.
    pub event: NewDeviceEvent,
}

/// Identifies an event among those of its device. Those recorded later have larger ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceEventId(u64);

impl DeviceEventId {
    /// The id of the device's event of this number, counted from 1; adapters use positive 63-bit integers.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number of the event.
    pub fn as_number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DeviceEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// Where a reader of events stands: before the event of this time and id, towards the older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceEventCursor {
    /// Time of the last event read.
    pub at: Timestamp,
    /// Id of the last event read.
    pub id: DeviceEventId,
}

impl fmt::Display for DeviceEventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.at.as_millis(), self.id.0)
    }
}

impl FromStr for DeviceEventCursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse_place(text).map(|(at, number)| Self { at, id: DeviceEventId(number) })
    }
}

/// Which part of a device's events is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DeviceEventQuery {
    /// Continue after this event.
    pub cursor: Option<DeviceEventCursor>,
    /// How many events.
    pub page_limit: PageLimit,
}

/// One page of a device's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEventPage {
    /// The events, the newest first.
    pub events: Vec<DeviceEvent>,
    /// Where the next page begins; `None` when nothing follows.
    pub next: Option<DeviceEventCursor>,
}

impl DeviceEventPage {
    /// Makes a page of events that were read with one more than `limit`, which tells whether anything follows.
    pub fn from_events(mut events: Vec<DeviceEvent>, limit: PageLimit) -> Self {
        let limit = limit.get() as usize;
        let more = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| more).map(|last| DeviceEventCursor { at: last.event.at, id: last.id });
        Self { events, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_comes_back_from_its_name_and_reason() {
        for kind in [DeviceEventKind::Connected, DeviceEventKind::Disconnected("connection_lost".into())] {
            let reason = kind.reason().map(str::to_owned);
            assert_eq!(DeviceEventKind::from_stored(kind.name(), reason), Some(kind));
        }
        for (name, reason) in [("connected", Some("x")), ("disconnected", None), ("refused", Some("x"))] {
            assert_eq!(DeviceEventKind::from_stored(name, reason.map(str::to_owned)), None);
        }
    }

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let cursor = DeviceEventCursor { at: Timestamp::MAX, id: DeviceEventId::from_number(i64::MAX.unsigned_abs()) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("1-x".parse::<DeviceEventCursor>().unwrap_err().field, "cursor");
    }
}
