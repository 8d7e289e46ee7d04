//! Sessions without a client that just had no room for a message. For a moment nothing more is stored for them: what would be written
//! for a session that takes nothing, and removed again, costs everybody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::subscriber::SubscriberId;

/// For how long a session is passed over. Then it is asked again, since its device may have made room.
const FOR: Duration = Duration::from_secs(1);

/// The sessions that are passed over.
#[derive(Debug, Default)]
pub(crate) struct FullSessions {
    since: Mutex<HashMap<SubscriberId, Instant>>,
    /// How many there are, so that nothing is locked while there is none.
    count: AtomicUsize,
}

impl FullSessions {
    /// A session had no room.
    pub(crate) fn insert(&self, id: SubscriberId, now: Instant) {
        let mut since = self.lock();
        since.insert(id, now);
        self.count.store(since.len(), Ordering::Relaxed);
    }

    /// Which of some sessions are passed over now, by their places; none without a look at each when none is full.
    pub(crate) fn among(&self, ids: impl Iterator<Item = SubscriberId>) -> Option<Vec<bool>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let now = Instant::now();
        let since = self.lock();
        let is_full = |id| since.get(&id).is_some_and(|since| now.saturating_duration_since(*since) < FOR);
        let full: Vec<bool> = ids.map(is_full).collect();
        full.contains(&true).then_some(full)
    }

    /// Forgets those that are to be asked again.
    pub(crate) fn forget_old(&self, now: Instant) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut since = self.lock();
            since.retain(|_, since| now.saturating_duration_since(*since) < FOR);
            self.count.store(since.len(), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SubscriberId, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_session_is_passed_over_for_a_moment() {
        let full = FullSessions::default();
        let id = |serial| SubscriberId { serial, slot: 0, worker: 0, session: None };
        let ids = || [1, 2, 3].map(id).into_iter();
        assert_eq!(full.among(ids()), None);
        full.insert(id(2), Instant::now());
        assert_eq!(full.among(ids()), Some(vec![false, true, false]));
        assert_eq!(full.among([4].map(id).into_iter()), None);
        full.insert(id(1), Instant::now() + FOR);
        full.forget_old(Instant::now() + FOR);
        assert_eq!(full.among(ids()), Some(vec![true, false, false]));
        full.forget_old(Instant::now() + 3 * FOR);
        assert_eq!(full.among(ids()), None);
    }
}
