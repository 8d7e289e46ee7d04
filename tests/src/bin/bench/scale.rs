//! How much is measured.

use std::time::Duration;

/// Numbers of devices, messages and the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Runs that a figure is the median of, where one is short.
    pub(crate) runs: usize,
    /// Devices that publish, and pairs.
    pub(crate) devices: usize,
    /// Messages that a device does not wait for the acknowledgement of.
    pub(crate) window: usize,
    /// Messages of a run at QoS 1.
    pub(crate) messages: usize,
    /// Messages of a run at QoS 2.
    pub(crate) exactly_once: usize,
    /// Messages of the long run at QoS 0.
    pub(crate) sustained: usize,
    /// Devices where there are many.
    pub(crate) many: usize,
    /// Messages that are delivered in a run.
    pub(crate) deliveries: usize,
    /// Connections that say nothing.
    pub(crate) idle: usize,
    /// In which what a start or a connection leaves behind settles.
    pub(crate) settle: Duration,
    /// Rows of a large database.
    pub(crate) rows: usize,
    /// Requests over REST.
    pub(crate) requests: usize,
    /// Rows of the devices whose last values are asked for.
    pub(crate) last_values: [usize; 3],
    /// Messages that are sent, and questions that are asked, one at a time.
    pub(crate) alone: usize,
    /// How long a tenant does each of what hurts others.
    pub(crate) hostile: Duration,
    /// The history.
    pub(crate) history: History,
}

/// Numbers of the history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// Devices that are appended to, in batches of so many rows, and so many in all.
    pub(crate) devices: u32,
    pub(crate) batch: i64,
    pub(crate) rows: i64,
    /// Rows of the one device that is asked for a year.
    pub(crate) year: i64,
    /// Rows of each of a hundred devices that are asked for a day.
    pub(crate) day: i64,
    /// Questions that the shortest time is taken of.
    pub(crate) questions: usize,
}

impl Scale {
    /// What `just bench` does.
    pub(crate) const FULL: Self = Self {
        runs: 3,
        devices: 50,
        window: 100,
        messages: 1_000_000,
        exactly_once: 500_000,
        sustained: 5_000_000,
        many: 5_000,
        deliveries: 2_000_000,
        idle: 10_000,
        settle: Duration::from_secs(1),
        rows: 10_000_000,
        requests: 64_000,
        last_values: [100, 1_000, 10_000],
        alone: 2_000,
        hostile: Duration::from_secs(4),
        history: History { devices: 5_000, batch: 10_000, rows: 2_000_000, year: 1_000_000, day: 8_640, questions: 7 },
    };

    /// What the test of the bench does.
    #[cfg(test)]
    pub(crate) const TINY: Self = Self {
        runs: 1,
        devices: 4,
        window: 10,
        messages: 200,
        exactly_once: 100,
        sustained: 400,
        many: 12,
        deliveries: 400,
        idle: 20,
        settle: Duration::ZERO,
        rows: 600,
        requests: 64,
        last_values: [1, 2, 20],
        alone: 5,
        hostile: Duration::from_millis(60),
        history: History { devices: 5, batch: 100, rows: 400, year: 1_000, day: 20, questions: 1 },
    };
}
