//! The queue in front of the hasher of passwords. A hash takes a core for tens of milliseconds, so whoever asks for many must not
//! keep others waiting: each source address, and each tenant, has a queue of its own, and they take turns.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use pocket_domain::{Password, PasswordHash, TenantId, UserId};
use pocket_ports::{AuthError, PasswordHasher};
use tokio::sync::oneshot;

use crate::Caller;
use crate::throttle::network_of;

/// Whose work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Of somebody who is not logged in.
    Source(IpAddr),
    /// Of somebody of a tenant.
    Tenant(TenantId, UserId),
    /// Of nobody who waits: a hash from elsewhere is replaced.
    Replacing,
}

impl Lane {
    /// Of somebody who is not logged in.
    pub(crate) fn of_source(source: IpAddr) -> Self {
        Self::Source(network_of(source))
    }

    /// Of a person who is logged in.
    pub(crate) fn of(caller: &Caller) -> Self {
        Self::Tenant(caller.tenant_id(), caller.user_id())
    }

    /// Which lanes take turns with each other.
    fn queue(self) -> Queue {
        match self {
            Self::Source(source) => Queue::Source(source),
            Self::Tenant(tenant, _) => Queue::Tenant(tenant),
            Self::Replacing => Queue::Replacing,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Queue {
    Source(IpAddr),
    Tenant(TenantId),
    Replacing,
}

/// Hashes passwords in turns.
#[derive(Clone)]
pub(crate) struct Hashing {
    hasher: Arc<dyn PasswordHasher>,
    turns: Arc<Turns>,
}

struct Turns {
    at_once: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Work that waits or runs, of each queue and of each person.
    queues: HashMap<Queue, VecDeque<(Lane, oneshot::Sender<Place>)>>,
    inside: HashMap<Lane, usize>,
    in_queue: HashMap<Queue, usize>,
    /// Queues in which something waits, the next one first.
    order: VecDeque<Queue>,
    waiting: usize,
}

/// The right to hash. The next in turn gets it when this is dropped.
struct Place {
    turns: Option<Arc<Turns>>,
    lane: Lane,
}

impl Hashing {
    /// What may wait or run of one source, one tenant and one person, and what may wait of all.
    const MAX_OF_QUEUE: usize = 16;
    const MAX_OF_PERSON: usize = 4;
    const MAX_WAITING: usize = 512;

    pub(crate) fn new(hasher: Arc<dyn PasswordHasher>) -> Self {
        let at_once = available_parallelism().map_or(1, usize::from);
        Self { hasher, turns: Arc::new(Turns { at_once, state: Mutex::default() }) }
    }

    /// See [`PasswordHasher::hash`].
    ///
    /// # Errors
    /// `Busy` when too much of the lane, or of all, waits already.
    pub(crate) async fn hash(&self, lane: Lane, password: Password) -> Result<PasswordHash, AuthError> {
        let hasher = Arc::clone(&self.hasher);
        self.run(lane, async move { hasher.hash(password).await }).await
    }

    /// See [`PasswordHasher::is_current`].
    pub(crate) fn is_current(&self, hash: &PasswordHash) -> bool {
        self.hasher.is_current(hash)
    }

    /// See [`PasswordHasher::verify`].
    ///
    /// # Errors
    /// `Busy` as for [`hash`](Self::hash).
    pub(crate) async fn verify(
        &self,
        lane: Lane,
        attempt: String,
        hash: Option<PasswordHash>,
    ) -> Result<bool, AuthError> {
        let hasher = Arc::clone(&self.hasher);
        self.run(lane, async move { hasher.verify(attempt, hash).await }).await
    }

    /// The place belongs to the work: a caller that goes away does not end it, so it must not free the place either.
    async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl Future<Output = Result<T, AuthError>> + Send + 'static,
    ) -> Result<T, AuthError> {
        let place = self.enter(lane).await?;
        let task = tokio::spawn(async move {
            let result = work.await;
            drop(place);
            result
        });
        task.await.map_err(|error| AuthError::Backend(error.to_string()))?
    }

    async fn enter(&self, lane: Lane) -> Result<Place, AuthError> {
        let turn = {
            let mut state = self.turns.lock();
            let of = |lanes: &HashMap<Lane, usize>| lanes.get(&lane).copied().unwrap_or(0);
            let in_queue = state.in_queue.get(&lane.queue()).copied().unwrap_or(0);
            let is_person = matches!(lane, Lane::Tenant(..));
            if in_queue >= Self::MAX_OF_QUEUE
                || (is_person && of(&state.inside) >= Self::MAX_OF_PERSON)
                || state.waiting >= Self::MAX_WAITING
            {
                return Err(AuthError::Busy);
            }
            *state.inside.entry(lane).or_default() += 1;
            *state.in_queue.entry(lane.queue()).or_default() += 1;
            if state.running < self.turns.at_once {
                state.running += 1;
                return Ok(Place { turns: Some(Arc::clone(&self.turns)), lane });
            }
            let (sender, turn) = oneshot::channel();
            let queue = state.queues.entry(lane.queue()).or_default();
            queue.push_back((lane, sender));
            if queue.len() == 1 {
                state.order.push_back(lane.queue());
            }
            state.waiting += 1;
            turn
        };
        turn.await.map_err(|_| AuthError::Busy)
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(self: &Arc<Self>, lane: Lane) {
        let mut state = self.lock();
        state.running -= 1;
        state.left(lane);
        while state.running < self.at_once {
            let Some((lane, sender)) = state.next() else { return };
            match sender.send(Place { turns: Some(Arc::clone(self)), lane }) {
                Ok(()) => state.running += 1,
                Err(mut place) => {
                    // Who waited is gone; the lock is held, so the place must not leave by itself.
                    place.turns = None;
                    state.left(lane);
                }
            }
        }
    }
}

impl State {
    /// The next in turn.
    fn next(&mut self) -> Option<(Lane, oneshot::Sender<Place>)> {
        let queue = self.order.pop_front()?;
        let waiting = self.queues.get_mut(&queue)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.queues.remove(&queue);
        } else {
            self.order.push_back(queue);
        }
        self.waiting = self.waiting.saturating_sub(1);
        next
    }

    fn left(&mut self, lane: Lane) {
        fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        less(&mut self.inside, &lane);
        less(&mut self.in_queue, &lane.queue());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.leave(self.lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use pocket_domain::Timestamp;
    use tokio::sync::Semaphore;

    use super::*;

    /// Notes who is served, one after the other as places are given.
    struct Slow {
        open: Semaphore,
        served: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl PasswordHasher for Slow {
        async fn hash(&self, _: Password) -> Result<PasswordHash, AuthError> {
            Err(AuthError::InvalidToken)
        }

        async fn verify(&self, attempt: String, _: Option<PasswordHash>) -> Result<bool, AuthError> {
            self.open.acquire().await.unwrap().forget();
            self.served.lock().unwrap().push(attempt);
            Ok(true)
        }
    }

    fn hashing(at_once: usize) -> (Hashing, Arc<Slow>) {
        let slow = Arc::new(Slow { open: Semaphore::new(0), served: Mutex::default() });
        let turns = Arc::new(Turns { at_once, state: Mutex::default() });
        (Hashing { hasher: Arc::clone(&slow) as Arc<dyn PasswordHasher>, turns }, slow)
    }

    fn source(number: u8) -> Lane {
        Lane::of_source([10, 0, 0, number].into())
    }

    fn ask(hashing: &Hashing, lane: Lane, name: &str) -> tokio::task::JoinHandle<Result<bool, AuthError>> {
        let (hashing, name) = (hashing.clone(), name.to_owned());
        tokio::spawn(async move { hashing.verify(lane, name, None).await })
    }

    async fn settled() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn sources_take_turns_however_much_one_asks_for() {
        let (hashing, slow) = hashing(1);
        for n in 0..5 {
            ask(&hashing, source(1), &format!("much{n}"));
            settled().await;
        }
        ask(&hashing, source(2), "little");
        settled().await;
        slow.open.add_permits(6);
        settled().await;
        let served = slow.served.lock().unwrap().clone();
        assert_eq!(served.iter().position(|name| name == "little"), Some(2), "{served:?}");
    }

    #[tokio::test]
    async fn a_source_a_tenant_and_a_person_have_bounds_and_places_come_back() {
        let (hashing, slow) = hashing(1);
        let asked: Vec<_> = (0..Hashing::MAX_OF_QUEUE).map(|_| ask(&hashing, source(1), "a")).collect();
        settled().await;
        assert_eq!(hashing.verify(source(1), String::new(), None).await, Err(AuthError::Busy));
        let tenant = TenantId::new(Timestamp::MIN, [1; 10]);
        let person = |n| Lane::Tenant(tenant, UserId::new(Timestamp::MIN, [n; 10]));
        for _ in 0..Hashing::MAX_OF_PERSON {
            ask(&hashing, person(1), "b");
        }
        settled().await;
        assert_eq!(hashing.verify(person(1), String::new(), None).await, Err(AuthError::Busy));
        let other = ask(&hashing, person(2), "c");
        settled().await;
        // Who gives up leaves.
        other.abort();
        slow.open.add_permits(100);
        for one in asked {
            assert_eq!(one.await.unwrap(), Ok(true));
        }
        settled().await;
        let state = hashing.turns.lock();
        assert_eq!((state.running, state.waiting), (0, 0));
        assert!(state.inside.is_empty() && state.in_queue.is_empty() && state.queues.is_empty());
    }
}
