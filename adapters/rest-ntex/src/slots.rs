//! How many exports and imports there are at once.
//!
//! Each holds some megabytes. An export whose client takes nothing for a while gives its place to the next one that wants it: its
//! memory is freed at once, and its connection is cut when the client reads on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::problem::Problem;
use crate::stats::RestMeter;

/// How long a client may take nothing before its place may be given to another.
const STALLED: Duration = Duration::from_secs(60);

/// Places for so many at once. Clones are the same places.
pub(crate) struct Slots<T> {
    most: usize,
    meter: RestMeter,
    stalled: Duration,
    taken: Arc<Mutex<Vec<Place<T>>>>,
}

/// A place as others see it; whoever has it may be gone.
type Place<T> = Weak<Mutex<Content<T>>>;

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self { most: self.most, meter: self.meter.clone(), stalled: self.stalled, taken: Arc::clone(&self.taken) }
    }
}

/// A place, and what is in it. It is free again when this is dropped.
pub(crate) struct Slot<T>(Arc<Mutex<Content<T>>>);

struct Content<T> {
    /// `None` when the place was given to another.
    held: Option<T>,
    /// When it was last used.
    used: Instant,
}

fn lock<T>(content: &Mutex<Content<T>>) -> MutexGuard<'_, Content<T>> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Slot<T> {
    /// Uses what is in the place; `None` when it was given to another.
    pub(crate) fn with<R>(&mut self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut content = lock(&self.0);
        content.used = Instant::now();
        content.held.as_mut().map(work)
    }
}

impl<T> Slots<T> {
    /// Places for so many. The meter counts what that costs.
    pub(crate) fn new(most: usize, meter: RestMeter) -> Self {
        Self { most, meter, stalled: STALLED, taken: Arc::default() }
    }

    /// Puts something into a place.
    ///
    /// # Errors
    /// A problem that names the limit when all are taken.
    pub(crate) fn take(&self, held: T, what: &str) -> Result<Slot<T>, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|slot| slot.strong_count() > 0);
        if taken.len() >= self.most {
            let is_stalled =
                |slot: &Place<T>| slot.upgrade().is_none_or(|slot| lock(&slot).used.elapsed() >= self.stalled);
            self.meter.transfer_refused();
            let Some(stalled) = taken.iter().position(is_stalled) else {
                return Err(Problem::too_many_at_once(what, self.most));
            };
            if let Some(stalled) = taken.swap_remove(stalled).upgrade() {
                lock(&stalled).held = None;
            }
        }
        let slot = Arc::new(Mutex::new(Content { held: Some(held), used: Instant::now() }));
        taken.push(Arc::downgrade(&slot));
        Ok(Slot(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Gate;

    fn meter() -> RestMeter {
        RestMeter::new(Gate::new(1))
    }

    #[test]
    fn so_many_have_a_place_until_they_leave() {
        let meter = meter();
        let slots = Slots::new(2, meter.clone());
        let first = slots.take(1, "exports").ok();
        let mut second = slots.take(2, "exports").ok().unwrap();
        let problem = slots.take(3, "exports").err().unwrap();
        assert!(problem.to_string().contains("2 exports"), "{problem}");
        drop(first);
        assert!(slots.take(3, "exports").is_ok());
        assert_eq!(second.with(|held| *held), Some(2));
        assert_eq!(meter.read().transfers_refused, 1);
    }

    #[test]
    fn a_stalled_one_gives_its_place_to_the_next() {
        let slots = Slots { stalled: Duration::ZERO, ..Slots::new(1, meter()) };
        let held = Arc::new(());
        let mut first = slots.take(Arc::clone(&held), "exports").ok().unwrap();
        assert!(first.with(|_| ()).is_some());
        let mut second = slots.take(Arc::default(), "exports").ok().unwrap();
        assert!(first.with(|_| ()).is_none() && second.with(|_| ()).is_some());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
