//! How many exports and imports there are at once, of all and of one tenant.
//!
//! Each holds some megabytes. One whose client is slower than a least rate gives its place to the next one that wants it: its
//! memory is freed at once, and an export's connection is cut when the client reads on. Only the client's own time counts, not that of
//! the database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pocket_domain::TenantId;

use crate::problem::Problem;
use crate::stats::RestMeter;

/// How long a client may be slow before its place may be given to another, and bytes a second that it must take or send.
const SLOW: Duration = Duration::from_secs(30);
const LEAST_RATE: f64 = 1_024.0;
/// After so much time of the client only half of what was before counts.
const MEMORY: Duration = Duration::from_secs(120);

/// Places for so many at once. Clones are the same places.
pub(crate) struct Slots<T> {
    most: usize,
    meter: RestMeter,
    slow: Duration,
    taken: Arc<Mutex<Vec<Place<T>>>>,
}

/// A place as others see it; whoever has it may be gone.
struct Place<T> {
    tenant: TenantId,
    content: Weak<Mutex<Content<T>>>,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self { most: self.most, meter: self.meter.clone(), slow: self.slow, taken: Arc::clone(&self.taken) }
    }
}

/// A place, and what is in it. It is free again when this is dropped.
pub(crate) struct Slot<T>(Arc<Mutex<Content<T>>>);

struct Content<T> {
    /// `None` when the place was given to another.
    held: Option<T>,
    pace: Pace,
}

/// How fast a client is.
#[derive(Default)]
struct Pace {
    /// Since when the client is waited for.
    waits_since: Option<Instant>,
    waited: Duration,
    bytes: f64,
}

impl Pace {
    fn wait(&mut self) {
        self.waits_since = Some(Instant::now());
    }

    fn go_on(&mut self, bytes: usize) {
        self.waited += self.waits_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.bytes += bytes as f64;
        if self.waited > MEMORY {
            self.waited /= 2;
            self.bytes /= 2.0;
        }
    }

    fn is_slow(&self, slow: Duration) -> bool {
        let waited = self.waited + self.waits_since.map_or(Duration::ZERO, |since| since.elapsed());
        waited >= slow && self.bytes < LEAST_RATE * waited.as_secs_f64()
    }
}

fn lock<T>(content: &Mutex<Content<T>>) -> MutexGuard<'_, Content<T>> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Slot<T> {
    /// Uses what is in the place; `None` when it was given to another.
    pub(crate) fn with<R>(&mut self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.0).held.as_mut().map(work)
    }

    /// From now on the client is waited for.
    pub(crate) fn wait(&self) {
        lock(&self.0).pace.wait();
    }

    /// The client took, or sent, so many bytes.
    pub(crate) fn go_on(&self, bytes: usize) {
        lock(&self.0).pace.go_on(bytes);
    }

    /// Whether the client is too slow to keep the place.
    pub(crate) fn is_slow(&self) -> bool {
        lock(&self.0).pace.is_slow(SLOW)
    }
}

impl<T> Slots<T> {
    /// Places for so many. The meter counts what that costs.
    pub(crate) fn new(most: usize, meter: RestMeter) -> Self {
        Self { most, meter, slow: SLOW, taken: Arc::default() }
    }

    /// Places of one tenant: half of them.
    pub(crate) fn share(&self) -> usize {
        (self.most / 2).max(1)
    }

    /// Puts something of a tenant into a place.
    ///
    /// # Errors
    /// A problem that names the limit when all, or those of the tenant, are taken by others that are not slow.
    pub(crate) fn take(&self, tenant: TenantId, held: T, what: &str) -> Result<Slot<T>, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|place| place.content.strong_count() > 0);
        let of_tenant = taken.iter().filter(|place| place.tenant == tenant).count();
        let at_share = of_tenant >= self.share();
        if at_share || taken.len() >= self.most {
            self.meter.transfer_refused();
            let is_slow = |place: &Place<T>| {
                (!at_share || place.tenant == tenant)
                    && place.content.upgrade().is_none_or(|content| lock(&content).pace.is_slow(self.slow))
            };
            let Some(slow) = taken.iter().position(is_slow) else {
                let most = if at_share { self.share() } else { self.most };
                return Err(Problem::too_many_at_once(what, most, at_share));
            };
            if let Some(slow) = taken.swap_remove(slow).content.upgrade() {
                lock(&slow).held = None;
            }
        }
        let content = Arc::new(Mutex::new(Content { held: Some(held), pace: Pace::default() }));
        taken.push(Place { tenant, content: Arc::downgrade(&content) });
        Ok(Slot(content))
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::Timestamp;

    use super::*;
    use crate::gate::Gate;

    fn meter() -> RestMeter {
        RestMeter::new(Gate::new(1))
    }

    fn tenant(n: u8) -> TenantId {
        TenantId::new(Timestamp::MIN, [n; 10])
    }

    #[test]
    fn a_tenant_has_half_of_the_places_and_others_find_one() {
        let meter = meter();
        let slots = Slots::new(4, meter.clone());
        let first = slots.take(tenant(1), 1, "exports").ok();
        let mut second = slots.take(tenant(1), 2, "exports").ok().unwrap();
        let problem = slots.take(tenant(1), 3, "exports").err().unwrap();
        assert!(problem.to_string().contains("2 exports of the tenant"), "{problem}");
        let others = [slots.take(tenant(2), 4, "exports"), slots.take(tenant(3), 5, "exports")];
        assert!(others.iter().all(Result::is_ok));
        let problem = slots.take(tenant(2), 6, "exports").err().unwrap();
        assert!(problem.to_string().contains("4 exports"), "{problem}");
        drop(first);
        assert!(slots.take(tenant(1), 3, "exports").is_ok());
        assert_eq!(second.with(|held| *held), Some(2));
        assert_eq!(meter.read().transfers_refused, 2);
    }

    #[test]
    fn a_slow_one_gives_its_place_to_the_next() {
        let slots = Slots { slow: Duration::ZERO, ..Slots::new(2, meter()) };
        let held = Arc::new(());
        let mut first = slots.take(tenant(1), Arc::clone(&held), "exports").ok().unwrap();
        first.go_on(1 << 20);
        assert!(slots.take(tenant(1), Arc::default(), "exports").is_err());
        first.wait();
        for _ in 0..2 {
            first.go_on(0);
            first.wait();
            lock(&first.0).pace.waited += Duration::from_secs(2_000);
        }
        assert!(first.is_slow());
        let mut second = slots.take(tenant(1), Arc::default(), "exports").ok().unwrap();
        assert!(first.with(|_| ()).is_none() && second.with(|_| ()).is_some());
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn the_time_of_the_database_is_not_the_clients() {
        let mut pace = Pace::default();
        assert!(!pace.is_slow(Duration::ZERO));
        pace.go_on(10);
        assert!(!pace.is_slow(Duration::from_nanos(1)));
        pace.waited = Duration::from_secs(60);
        assert!(pace.is_slow(SLOW));
        pace.go_on(1 << 20);
        assert!(!pace.is_slow(SLOW));
    }
}
