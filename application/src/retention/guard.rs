//! Removals that are out of proportion wait.
//!
//! From one round to the next, what is too old grows by the time that passed. When a round would remove much more than that
//! explains, something else is at work, most likely a clock that is wrong in a way that the trusted time could not see. Such a
//! removal waits until a person changes the tenant's retention, or until it has been due for long enough by the clock that
//! only counts on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pocket_domain::{TenantId, Timestamp};
use pocket_ports::{Expired, PrunedTenant};

/// By how much a round may go beyond what passed since the one before: what a time service corrects, and what was not written
/// down before a process ended.
const SLACK: Duration = Duration::from_secs(2 * 3_600);

/// What was done for tenants so far, and what waits.
pub(super) struct Guard {
    /// How long a removal waits.
    patience: Duration,
    tenants: HashMap<TenantId, Known>,
}

struct Known {
    /// The time up to which messages were removed,
    reached: Timestamp,
    /// and when.
    at: Instant,
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy)]
struct Waiting {
    since: Instant,
    rows: u64,
}

/// What a tenant's messages are measured by in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Up to here it is time.
    pub(super) to: Timestamp,
    /// Up to here the time that passed explains it; not before `to` when all of it is explained.
    pub(super) explained: Timestamp,
}

/// What is to be done about a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in proportion.
    Go,
    /// It waits; `is_new`: from now on.
    Wait {
        /// Whether it did not wait before.
        is_new: bool,
    },
    /// It has waited for long enough.
    GoAtLast,
}

impl Guard {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, tenants: HashMap::new() }
    }

    /// How far it goes for a tenant; `None` when it keeps messages of any age.
    pub(super) fn due(&mut self, tenant: &PrunedTenant, as_of: Timestamp, now: Instant) -> Option<Due> {
        let to = tenant.retention.kept_from(as_of)?;
        let Some(kept) = tenant.to else {
            // A person changed what is kept, and knows what goes.
            self.tenants.remove(&tenant.id);
            return Some(Due { to, explained: to });
        };
        let known = self.tenants.entry(tenant.id).or_insert(Known { reached: kept, at: now, waiting: None });
        // Another process may have gone on.
        known.reached = known.reached.max(kept);
        Some(Due { to, explained: known.reached.plus(now.duration_since(known.at) + SLACK) })
    }

    /// Judges what a round would remove beyond what is explained, of `all` messages.
    pub(super) fn judge(&mut self, tenant: TenantId, unexplained: u64, all: u64, now: Instant) -> Verdict {
        let Some(known) = self.tenants.get_mut(&tenant) else { return Verdict::Go };
        if unexplained == 0 || unexplained < all.div_ceil(2) {
            known.waiting = None;
            return Verdict::Go;
        }
        let before = known.waiting;
        let since = before.map_or(now, |waiting| waiting.since);
        if now.duration_since(since) >= self.patience {
            known.waiting = None;
            return Verdict::GoAtLast;
        }
        known.waiting = Some(Waiting { since, rows: unexplained });
        Verdict::Wait { is_new: before.is_none() }
    }

    /// All up to a time is removed. Tells whether that is worth to be kept.
    pub(super) fn reached(&mut self, tenant: &PrunedTenant, to: Timestamp, now: Instant) -> bool {
        self.tenants.insert(tenant.id, Known { reached: to, at: now, waiting: None });
        tenant.to.is_none_or(|kept| to.since(kept) >= SLACK / 2)
    }

    /// Forgets tenants that are not there any more, or keep everything.
    pub(super) fn forget_but(&mut self, tenants: &[PrunedTenant]) {
        self.tenants.retain(|id, _| tenants.iter().any(|tenant| tenant.id == *id));
    }

    /// Whether something waits.
    pub(super) fn is_waiting(&self, tenant: TenantId) -> bool {
        self.tenants.get(&tenant).is_some_and(|known| known.waiting.is_some())
    }

    /// The tenants for which something waits, and how many messages that is.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let waiting = self.tenants.values().filter_map(|known| known.waiting);
        waiting.fold((0, 0), |(tenants, rows), waiting| (tenants + 1, rows + waiting.rows))
    }
}

/// The messages that go beyond what is explained.
pub(super) fn unexplained(due: Expired, explained: Expired) -> u64 {
    due.rows.saturating_sub(explained.rows)
}

#[cfg(test)]
mod tests {
    use pocket_domain::{MaxAge, Retention};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(days: u64) -> Timestamp {
        Timestamp::MIN.plus(DAY * u32::try_from(days).unwrap())
    }

    /// Keeps 30 days, and is pruned up to this day.
    fn tenant(to: Option<u64>) -> PrunedTenant {
        let max_age = Some(MaxAge::parse(30 * 86_400).unwrap());
        let id = TenantId::new(Timestamp::MIN, [1; 10]);
        PrunedTenant { id, retention: Retention { max_age, max_bytes: None }, to: to.map(at) }
    }

    #[test]
    fn what_the_time_that_passed_explains_goes() {
        let (mut guard, start) = (Guard::new(DAY), Instant::now());
        let due = guard.due(&tenant(Some(100)), at(130), start).unwrap();
        assert!(due.to <= due.explained, "{due:?}");
        assert!(!guard.reached(&tenant(Some(100)), due.to, start));
        // Three days later, in the same process.
        let due = guard.due(&tenant(Some(100)), at(133), start + 3 * DAY).unwrap();
        assert_eq!(due.to, at(103));
        assert!(due.to <= due.explained, "{due:?}");
        assert!(guard.reached(&tenant(Some(100)), due.to, start + 3 * DAY));
    }

    #[test]
    fn a_leap_waits_until_it_has_been_due_for_long_enough() {
        let (mut guard, start) = (Guard::new(DAY), Instant::now());
        let tenant = tenant(Some(100));
        let due = guard.due(&tenant, at(3_780), start).unwrap();
        assert!(due.to > due.explained && due.explained < at(101), "{due:?}");
        assert_eq!(guard.judge(tenant.id, 900, 1_000, start), Verdict::Wait { is_new: true });
        assert_eq!(guard.judge(tenant.id, 900, 1_000, start + DAY / 2), Verdict::Wait { is_new: false });
        assert_eq!(guard.waiting(), (1, 900));
        assert_eq!(guard.judge(tenant.id, 900, 1_000, start + DAY), Verdict::GoAtLast);
        assert_eq!(guard.waiting(), (0, 0));
    }

    #[test]
    fn a_leap_that_is_over_waits_for_nothing() {
        let (mut guard, start) = (Guard::new(DAY), Instant::now());
        let tenant = tenant(Some(100));
        guard.due(&tenant, at(3_780), start);
        guard.judge(tenant.id, 900, 1_000, start);
        assert_eq!(guard.judge(tenant.id, 0, 1_000, start + DAY / 2), Verdict::Go);
        assert_eq!(guard.judge(tenant.id, 900, 1_000, start + DAY), Verdict::Wait { is_new: true });
    }

    #[test]
    fn a_small_part_goes_whatever_explains_it_and_a_person_is_believed() {
        let (mut guard, start) = (Guard::new(DAY), Instant::now());
        guard.due(&tenant(Some(100)), at(140), start);
        assert_eq!(guard.judge(tenant(None).id, 499, 1_000, start), Verdict::Go);
        assert_eq!(guard.judge(tenant(None).id, 500, 1_000, start), Verdict::Wait { is_new: true });
        let due = guard.due(&tenant(None), at(3_780), start).unwrap();
        assert_eq!(due.to, due.explained);
        assert_eq!(guard.waiting(), (0, 0));
    }
}
