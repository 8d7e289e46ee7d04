//! Figures of what was asked and answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ntex::http::StatusCode;

use crate::gate::Gate;

/// What a server did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestStats {
    /// Requests that went well: 2xx.
    pub succeeded: u64,
    /// Requests that the client must change: 4xx.
    pub refused: u64,
    /// Requests that the platform could not fulfil: 5xx, with those turned away.
    pub failed: u64,
    /// Requests that were answered with 503 because too many were being served, or because the server was stopping.
    pub turned_away: u64,
    /// Exports and imports that were refused, or cut off for others, because there were as many as there may be at once.
    pub transfers_refused: u64,
    /// How long all answered requests took together, in microseconds.
    pub total_micros: u64,
    /// Requests that are being served now.
    pub in_flight: u64,
}

/// Reads the figures of a server at any time. Clones read the same server.
#[derive(Clone, Debug)]
pub struct RestMeter {
    counters: Arc<Counters>,
    gate: Gate,
}

#[derive(Debug, Default)]
struct Counters {
    succeeded: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    turned_away: AtomicU64,
    transfers_refused: AtomicU64,
    total_micros: AtomicU64,
}

impl RestMeter {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { counters: Arc::default(), gate }
    }

    /// The present figures.
    pub fn read(&self) -> RestStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RestStats {
            succeeded: read(&self.counters.succeeded),
            refused: read(&self.counters.refused),
            failed: read(&self.counters.failed),
            turned_away: read(&self.counters.turned_away),
            transfers_refused: read(&self.counters.transfers_refused),
            total_micros: read(&self.counters.total_micros),
            in_flight: self.gate.inside(),
        }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let counter = match status.as_u16() {
            500.. => &self.counters.failed,
            400..500 => &self.counters.refused,
            _ => &self.counters.succeeded,
        };
        add(counter, 1);
        add(&self.counters.total_micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn turned_away(&self) {
        add(&self.counters.turned_away, 1);
    }

    pub(crate) fn transfer_refused(&self) {
        add(&self.counters.transfers_refused, 1);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_their_kind() {
        let meter = RestMeter::new(Gate::new(3));
        for status in [200, 204, 404, 500, 503] {
            meter.answered(StatusCode::from_u16(status).unwrap(), Duration::from_micros(10));
        }
        meter.turned_away();
        let _inside = meter.gate().enter(crate::gate::Party::Stranger([10, 0, 0, 1].into()));
        let expected = RestStats {
            succeeded: 2,
            refused: 1,
            failed: 2,
            turned_away: 1,
            transfers_refused: 0,
            total_micros: 50,
            in_flight: 1,
        };
        assert_eq!(meter.read(), expected);
    }
}
