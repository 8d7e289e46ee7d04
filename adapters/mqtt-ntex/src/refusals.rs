//! Limits that cost somebody something, told in the log: at once when it begins, and then once a minute with numbers.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pocket_mqtt_core::{Ledger, Level, Resource};

/// How long nothing more is said of the same limit.
const SILENCE: Duration = Duration::from_secs(60);

/// When it was last said, and how many there were by then.
type Told = Option<(Instant, u64)>;

/// What was said of each limit.
#[derive(Default)]
pub(crate) struct Refusals {
    told: RefCell<[[Told; Level::ALL.len()]; Resource::ALL.len()]>,
    evicted: Cell<Told>,
}

impl Refusals {
    /// Says what is due.
    pub(crate) fn tell(&self, ledger: &Ledger, evicted: u64, now: Instant) {
        let mut told = self.told.borrow_mut();
        for (row, resource) in told.iter_mut().zip(Resource::ALL) {
            for (entry, level) in row.iter_mut().zip(Level::ALL) {
                let Some(refused) = due(entry, ledger.refused(resource, level), now) else { continue };
                let tenant = ledger.refused_last(resource, level).map(|tenant| tenant.to_string());
                tracing::warn!(
                    limit = resource.name(),
                    of = level.name(),
                    refused,
                    held = ledger.held(resource),
                    tenant,
                    "a limit of the broker is reached"
                );
            }
        }
        let mut entry = self.evicted.get();
        if let Some(closed) = due(&mut entry, evicted, now) {
            tracing::warn!(closed, "connections without a CONNECT were closed to make room for others");
        }
        self.evicted.set(entry);
    }
}

/// How many are to be told of, if any.
fn due(told: &mut Option<(Instant, u64)>, count: u64, now: Instant) -> Option<u64> {
    let before = told.map_or(0, |(_, count)| count);
    if count == before || told.is_some_and(|(at, _)| now.saturating_duration_since(at) < SILENCE) {
        return None;
    }
    *told = Some((now, count));
    Some(count - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let (start, mut told) = (Instant::now(), None);
        assert_eq!(due(&mut told, 0, start), None);
        assert_eq!(due(&mut told, 1, start), Some(1));
        assert_eq!(due(&mut told, 500, start + SILENCE / 2), None);
        assert_eq!(due(&mut told, 700, start + SILENCE), Some(699));
        assert_eq!(due(&mut told, 700, start + 3 * SILENCE), None);
    }
}
