//! Walking through a whole history, for those who take it somewhere else.

use crate::telemetry::check_times;
use crate::{DeviceId, Invalid, Telemetry, TelemetryCursor, Timestamp, TopicFilter};

/// Which part of a tenant's history is walked through: device after device in the order of their ids, each from its oldest
/// row on. So what is stored together is read together, and memory does not grow with the number of devices.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TelemetryScan {
    /// Only this device.
    pub device_id: Option<DeviceId>,
    /// Only topics that match this filter.
    pub topic: Option<TopicFilter>,
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// Go on behind this place.
    pub after: Option<ScanPlace>,
}

impl TelemetryScan {
    /// The most rows of one part.
    pub const MOST_ROWS: usize = 4_096;

    /// Checks what the fields say together.
    ///
    /// # Errors
    /// When `from` is after `to`.
    pub fn check(&self) -> Result<(), Invalid> {
        check_times(self.from, self.to)
    }
}

/// How far a walk has come. Stays right while rows and devices are added and removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanPlace {
    /// The device.
    pub device_id: DeviceId,
    /// Its last row that was read; `None`: nothing of it is left to be read.
    pub row: Option<TelemetryCursor>,
}

/// A part of a walk.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TelemetryPart {
    /// The rows, at most [`TelemetryScan::MOST_ROWS`]; there may be none though more follow.
    pub rows: Vec<Telemetry>,
    /// Where to go on; `None` at the end.
    pub next: Option<ScanPlace>,
}
