//! A bounded number of places for work that grows with what is stored, shared fairly between tenants; or between others who
//! ask, such as addresses.
//!
//! A tenant holds at most its share of the places, so another one always finds some. Callers wait in a line per tenant; a
//! place that becomes free goes to the next tenant in turn, not to the longest line. The lines are bounded, and so is the
//! time a caller waits. A caller that goes away leaves its line, or gives back its place, when its future is dropped.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::TenantId;
use tokio::sync::oneshot;

use crate::Error;

/// How many places there are, and how many callers may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotLimits {
    /// Places in the process; at least one.
    pub places: usize,
    /// Callers of one tenant that may wait for a place.
    pub line: usize,
    /// Callers of all tenants that may wait.
    pub lines: usize,
    /// How long a caller waits before it is refused.
    pub patience: Duration,
}

impl SlotLimits {
    /// For reads that decode or sum up what is stored.
    pub const READS: Self = Self { places: 4, line: 64, lines: 1_024, patience: Duration::from_secs(10) };

    /// Places that one tenant may hold: half of them, at least one.
    pub fn share(&self) -> usize {
        (self.places / 2).max(1)
    }
}

/// What happened at the places so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlotStats {
    /// Places that are taken.
    pub taken: u64,
    /// Callers that wait.
    pub waiting: u64,
    /// Callers that were given a place.
    pub served: u64,
    /// Callers that were refused, because a line was full or a place did not become free in time.
    pub refused: u64,
    /// Callers that went away while they waited.
    pub gone: u64,
}

/// Who shares places.
pub trait Sharer: Copy + Eq + Hash + Send + 'static {}

impl<K: Copy + Eq + Hash + Send + 'static> Sharer for K {}

/// The places. Clones are the same places.
pub struct FairSlots<K: Sharer = TenantId>(Arc<Shared<K>>);

impl<K: Sharer> Clone for FairSlots<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<K: Sharer> {
    limits: SlotLimits,
    state: Mutex<State<K>>,
}

struct State<K: Sharer> {
    tenants: HashMap<K, Tenant<K>>,
    /// Tenants with a line, the next one first.
    turns: VecDeque<K>,
    /// The number of the next caller that waits.
    number: u64,
    stats: SlotStats,
}

struct Tenant<K: Sharer> {
    taken: usize,
    line: VecDeque<(u64, oneshot::Sender<FairSlot<K>>)>,
}

impl<K: Sharer> Default for State<K> {
    fn default() -> Self {
        Self { tenants: HashMap::new(), turns: VecDeque::new(), number: 0, stats: SlotStats::default() }
    }
}

impl<K: Sharer> Default for Tenant<K> {
    fn default() -> Self {
        Self { taken: 0, line: VecDeque::new() }
    }
}

/// A place. It is free again when this is dropped.
pub struct FairSlot<K: Sharer = TenantId>(Option<(K, Arc<Shared<K>>)>);

impl<K: Sharer> std::fmt::Debug for FairSlot<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FairSlot").field(&self.0.as_ref().map(|(_, shared)| shared)).finish()
    }
}

impl<K: Sharer> std::fmt::Debug for Shared<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FairSlots").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<K: Sharer> FairSlots<K> {
    /// How long a refused caller is asked to wait.
    pub const RETRY_AFTER: Duration = Duration::from_secs(2);

    /// Places that are all free.
    pub fn new(limits: SlotLimits) -> Self {
        let limits = SlotLimits { places: limits.places.max(1), ..limits };
        Self(Arc::new(Shared { limits, state: Mutex::default() }))
    }

    /// The limits.
    pub fn limits(&self) -> SlotLimits {
        self.0.limits
    }

    /// What happened so far.
    pub fn stats(&self) -> SlotStats {
        self.0.lock().stats
    }

    /// Takes a place for work of a tenant, without waiting.
    ///
    /// # Errors
    /// `Busy` when the tenant holds its share, or when all places are taken.
    pub fn try_enter(&self, tenant: K) -> Result<FairSlot<K>, Error> {
        let mut state = self.0.lock();
        self.0.take(&mut state, tenant).ok_or_else(|| self.0.refuse(&mut state, tenant))
    }

    /// Takes a place for work of a tenant, and waits for it in the tenant's line.
    ///
    /// # Errors
    /// `Busy` when the line is full, or when no place becomes free in time.
    pub async fn enter(&self, tenant: K) -> Result<FairSlot<K>, Error> {
        let (waiter, place) = {
            let mut state = self.0.lock();
            if let Some(slot) = self.0.take(&mut state, tenant) {
                return Ok(slot);
            }
            let line = state.tenants.get(&tenant).map_or(0, |tenant| tenant.line.len());
            if line >= self.0.limits.line || state.stats.waiting >= self.0.limits.lines as u64 {
                return Err(self.0.refuse(&mut state, tenant));
            }
            state.join(tenant, &self.0)
        };
        match tokio::time::timeout(self.0.limits.patience, place).await {
            Ok(Ok(slot)) => Ok(slot),
            // The sender lives as long as the caller is in its line.
            Ok(Err(_)) => Err(lost()),
            Err(_) => {
                waiter.leave();
                Err(self.0.refuse(&mut self.0.lock(), tenant))
            }
        }
    }

    /// Takes a place for the next part of work that has begun, such as an export, and waits as long as it takes. Whoever calls
    /// this is few already: the line may be longer for it.
    ///
    /// # Errors
    /// None but `Internal`, which should not happen.
    pub async fn go_on(&self, tenant: K) -> Result<FairSlot<K>, Error> {
        let (_waiter, place) = {
            let mut state = self.0.lock();
            match self.0.take(&mut state, tenant) {
                Some(slot) => return Ok(slot),
                None => state.join(tenant, &self.0),
            }
        };
        place.await.map_err(|_| lost())
    }
}

fn lost() -> Error {
    Error::Internal("a place was lost".into())
}

impl<K: Sharer> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for the tenant, if one is free and nobody of the tenant waits for it.
    fn take(self: &Arc<Self>, state: &mut State<K>, tenant: K) -> Option<FairSlot<K>> {
        let (taken, is_line) =
            state.tenants.get(&tenant).map_or((0, false), |tenant| (tenant.taken, !tenant.line.is_empty()));
        if state.stats.taken >= self.limits.places as u64 || taken >= self.limits.share() || is_line {
            return None;
        }
        Some(state.give(tenant, self))
    }

    fn refuse(&self, state: &mut State<K>, tenant: K) -> Error {
        state.stats.refused += 1;
        let share = self.limits.share();
        let of_tenant = state.tenants.get(&tenant).map_or(0, |tenant| tenant.taken);
        let limit = if of_tenant >= share {
            format!("the limit of {of_tenant} requests of this tenant at once is reached")
        } else {
            format!("the limit of {} requests of this kind at once is reached", self.limits.places)
        };
        Error::Busy { limit, retry_after: FairSlots::<K>::RETRY_AFTER }
    }

    /// Gives free places to those who wait, one tenant after the other.
    fn serve(self: &Arc<Self>, state: &mut State<K>) {
        let mut passed_over = 0;
        while state.stats.taken < self.limits.places as u64
            && passed_over < state.turns.len()
            && let Some(next) = state.turns.pop_front()
        {
            let Some(tenant) = state.tenants.get_mut(&next) else { continue };
            if tenant.taken >= self.limits.share() {
                state.turns.push_back(next);
                passed_over += 1;
                continue;
            }
            let Some((_, waiter)) = tenant.line.pop_front() else { continue };
            if !tenant.line.is_empty() {
                state.turns.push_back(next);
            }
            state.stats.waiting -= 1;
            passed_over = 0;
            // Whoever went away just now is passed over; to drop its place would lock the state again.
            if let Err(mut unwanted) = waiter.send(state.give(next, self)) {
                unwanted.0 = None;
                state.take_back(next);
                state.stats.served -= 1;
            }
        }
    }
}

impl<K: Sharer> State<K> {
    fn give(&mut self, tenant: K, shared: &Arc<Shared<K>>) -> FairSlot<K> {
        self.tenants.entry(tenant).or_default().taken += 1;
        self.stats.taken += 1;
        self.stats.served += 1;
        FairSlot(Some((tenant, Arc::clone(shared))))
    }

    fn take_back(&mut self, tenant: K) {
        self.stats.taken -= 1;
        if let Some(of_tenant) = self.tenants.get_mut(&tenant) {
            of_tenant.taken -= 1;
            self.forget_if_idle(tenant);
        }
    }

    /// Puts a caller at the end of its tenant's line.
    fn join(&mut self, tenant: K, shared: &Arc<Shared<K>>) -> (Waiter<K>, oneshot::Receiver<FairSlot<K>>) {
        let (sender, receiver) = oneshot::channel();
        let number = self.number;
        self.number += 1;
        let line = &mut self.tenants.entry(tenant).or_default().line;
        if line.is_empty() {
            self.turns.push_back(tenant);
        }
        line.push_back((number, sender));
        self.stats.waiting += 1;
        (Waiter { tenant, number, shared: Some(Arc::clone(shared)) }, receiver)
    }

    /// Takes a caller out of its line; `false` when it is not there any more.
    fn leave(&mut self, tenant: K, number: u64) -> bool {
        let Some(of_tenant) = self.tenants.get_mut(&tenant) else { return false };
        let Some(at) = of_tenant.line.iter().position(|(other, _)| *other == number) else { return false };
        of_tenant.line.remove(at);
        if of_tenant.line.is_empty() {
            self.turns.retain(|other| *other != tenant);
        }
        self.stats.waiting -= 1;
        self.forget_if_idle(tenant);
        true
    }

    fn forget_if_idle(&mut self, tenant: K) {
        if self.tenants.get(&tenant).is_some_and(|tenant| tenant.taken == 0 && tenant.line.is_empty()) {
            self.tenants.remove(&tenant);
        }
    }
}

/// A caller in a line. It leaves the line when this is dropped.
struct Waiter<K: Sharer> {
    tenant: K,
    number: u64,
    /// `None` when it left already.
    shared: Option<Arc<Shared<K>>>,
}

impl<K: Sharer> Waiter<K> {
    /// Leaves the line without being counted as gone.
    fn leave(mut self) {
        if let Some(shared) = self.shared.take() {
            shared.lock().leave(self.tenant, self.number);
        }
    }
}

impl<K: Sharer> Drop for Waiter<K> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            let mut state = shared.lock();
            if state.leave(self.tenant, self.number) {
                state.stats.gone += 1;
            }
        }
    }
}

impl<K: Sharer> Drop for FairSlot<K> {
    fn drop(&mut self) {
        if let Some((tenant, shared)) = self.0.take() {
            let mut state = shared.lock();
            state.take_back(tenant);
            shared.serve(&mut state);
        }
    }
}

#[cfg(test)]
mod tests;
