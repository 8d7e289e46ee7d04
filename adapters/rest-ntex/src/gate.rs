//! The gate that every request passes: so many at once, of one source or tenant only a share, and none any more when the server is
//! to stop.
//!
//! ntex's own orderly stop forgets requests that are being served once its last connection was closed before, so the
//! server waits here until all are answered and only then stops ntex.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Party {
    /// Somebody who shows no bearer token that this platform made, from an address or a /64 network.
    Stranger(IpAddr),
    /// Somebody of a tenant.
    Tenant(TenantId),
}

/// Lets requests in until it is closed. Clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    limit: u32,
    inside: Arc<Mutex<Inside>>,
    is_closing: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Inside {
    strangers: u32,
    parties: HashMap<Party, u32>,
}

/// A place inside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    party: Party,
    inside: Arc<Mutex<Inside>>,
}

impl Gate {
    /// Requests that are served at once: far more than two cores can make use of, and no more than memory can take.
    pub(crate) const REQUESTS: u32 = 10_000;
    /// Those of one source that shows no bearer token.
    pub(crate) const OF_SOURCE: u32 = 256;

    /// A gate for so many requests at once. Strangers together, and a tenant, have at most a part, so that others find places.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limit as usize)),
            limit,
            inside: Arc::default(),
            is_closing: Arc::default(),
        }
    }

    fn share_of_strangers(&self) -> u32 {
        (self.limit / 5 * 2).max(1)
    }

    fn share(&self, party: Party) -> u32 {
        match party {
            Party::Stranger(_) => Self::OF_SOURCE,
            Party::Tenant(_) => (self.limit / 2).max(1),
        }
    }

    /// A place for one request; none when all, or those of the party, are taken, or the gate is closing.
    pub(crate) fn enter(&self, party: Party) -> Option<Place> {
        let mut inside = lock(&self.inside);
        let is_stranger = matches!(party, Party::Stranger(_));
        if self.is_closing()
            || is_stranger && inside.strangers >= self.share_of_strangers()
            || inside.parties.get(&party).is_some_and(|taken| *taken >= self.share(party))
        {
            return None;
        }
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        *inside.parties.entry(party).or_default() += 1;
        inside.strangers += u32::from(is_stranger);
        Some(Place { _permit: permit, party, inside: Arc::clone(&self.inside) })
    }

    /// Whether nobody is let in any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> u64 {
        u64::from(self.limit).saturating_sub(self.places.available_permits() as u64)
    }

    /// Lets nobody in any more and waits until all have left, at most until the deadline.
    pub(crate) async fn close(&self, deadline: Duration) {
        self.is_closing.store(true, Ordering::Relaxed);
        // While this waits for all places, none that becomes free is given to anybody else.
        let all = tokio::time::timeout(deadline, self.places.acquire_many(self.limit)).await;
        self.places.close();
        drop(all);
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        inside.strangers -= u32::from(matches!(self.party, Party::Stranger(_)));
        if let Some(taken) = inside.parties.get_mut(&self.party) {
            *taken -= 1;
            if *taken == 0 {
                inside.parties.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::Timestamp;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn tenant(n: u8) -> Party {
        Party::Tenant(TenantId::new(Timestamp::MIN, [n; 10]))
    }

    fn stranger(n: u8) -> Party {
        Party::Stranger([10, 0, 0, n].into())
    }

    #[test]
    fn so_many_of_a_tenant_get_in_and_others_find_places() {
        let gate = Gate::new(4);
        let (first, second) = (gate.enter(tenant(1)), gate.enter(tenant(1)));
        assert!(first.is_some() && second.is_some() && gate.enter(tenant(1)).is_none());
        let others = (gate.enter(tenant(2)), gate.enter(stranger(1)));
        assert!(others.0.is_some() && others.1.is_some() && gate.enter(tenant(3)).is_none());
        assert_eq!(gate.inside(), 4);
        drop(first);
        assert!(gate.enter(tenant(1)).is_some());
    }

    #[test]
    fn strangers_have_a_share_and_each_source_of_them() {
        let gate = Gate::new(1_000);
        let of_source = |n, count: u32| (0..count).map(|_| gate.enter(stranger(n))).collect::<Vec<_>>();
        let first = of_source(1, Gate::OF_SOURCE + 1);
        assert_eq!(first.iter().flatten().count(), Gate::OF_SOURCE as usize);
        let second = of_source(2, Gate::OF_SOURCE);
        assert_eq!(second.iter().flatten().count(), 400 - Gate::OF_SOURCE as usize);
        assert!(gate.enter(stranger(3)).is_none() && gate.enter(tenant(1)).is_some());
        drop(first);
        assert!(gate.enter(stranger(3)).is_some());
    }

    #[tokio::test]
    async fn closing_waits_for_those_inside_and_lets_nobody_in() {
        let gate = Gate::new(2);
        let inside = gate.enter(tenant(1)).unwrap();
        let closing = tokio::spawn({
            let gate = gate.clone();
            async move { gate.close(LONG).await }
        });
        tokio::task::yield_now().await;
        assert!(gate.enter(tenant(2)).is_none() && !closing.is_finished());
        drop(inside);
        closing.await.unwrap();
        assert!(gate.enter(tenant(1)).is_none() && gate.is_closing());
        assert_eq!(gate.inside(), 0);
    }

    #[tokio::test]
    async fn closing_ends_at_the_deadline() {
        let gate = Gate::new(2);
        let _inside = gate.enter(tenant(1));
        gate.close(Duration::from_millis(1)).await;
        assert!(gate.enter(tenant(2)).is_none());
    }
}
