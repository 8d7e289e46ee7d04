//! How many topics devices and tenants may have.
//!
//! The name of a topic is stored as long as a message on it is, so a client that makes a topic of each message must come to an
//! end. What is known here are hashes of names: those that storage has, read when a tenant is first heard of and again when
//! a limit is met, and those of messages that were accepted since. A topic that storage removed with its last message makes
//! room for another.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use pocket_domain::{DeviceId, TenantId, TooManyTopics, TopicName};
use pocket_ports::{StorageError, TelemetryStore};
use tokio::sync::mpsc;

/// The most topics of one device and of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Topics that a device was the first to use.
    pub per_device: usize,
    /// Topics of all devices of a tenant.
    pub per_tenant: usize,
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self { per_device: 50_000, per_tenant: 200_000 }
    }
}

/// How long after a look at storage the next one comes, though a limit is met.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Topics of all tenants that are known; beyond them, those of the tenant that has most are forgotten, and read anew.
const MOST: usize = 2_000_000;
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// Topics that are read at a time.
const PAGE: u32 = 5_000;

/// Counts topics.
pub(crate) struct TopicQuota {
    limits: TopicLimits,
    hasher: RandomState,
    tenants: RwLock<HashMap<TenantId, Arc<RwLock<Known>>>>,
    wanted: mpsc::UnboundedSender<TenantId>,
    /// Taken by the task.
    requests: Mutex<Option<mpsc::UnboundedReceiver<TenantId>>>,
    refused: AtomicU64,
    count: AtomicU64,
}

/// What is known of a tenant.
#[derive(Default)]
struct Known {
    topics: HashMap<u64, Topic>,
    devices: HashMap<DeviceId, usize>,
    /// Grows with each look at storage.
    look: u32,
    looked_at: Option<Instant>,
    is_looking: bool,
}

#[derive(Clone, Copy)]
struct Topic {
    /// Who used it first, if that was since the start.
    device: Option<DeviceId>,
    /// The look during or after which it was used first.
    look: u32,
}

impl TopicQuota {
    pub(crate) fn new(limits: TopicLimits) -> Self {
        let (wanted, requests) = mpsc::unbounded_channel();
        Self {
            limits,
            hasher: RandomState::new(),
            tenants: RwLock::default(),
            wanted,
            requests: Mutex::new(Some(requests)),
            refused: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }

    /// Messages that were refused for their topic since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes a topic that a message of a device is about to be stored under.
    pub(crate) fn admit(&self, tenant: TenantId, device: DeviceId, topic: &TopicName) -> Result<(), TooManyTopics> {
        let hash = self.hasher.hash_one(topic.as_str());
        if self.is_known(tenant, hash) {
            return Ok(());
        }
        let known = self.known(tenant);
        let mut known = write(&known);
        let of_device = known.devices.get(&device).copied().unwrap_or(0);
        let full = match () {
            () if of_device >= self.limits.per_device => Some(TooManyTopics::OfDevice(self.limits.per_device)),
            () if known.topics.len() >= self.limits.per_tenant => Some(TooManyTopics::OfTenant(self.limits.per_tenant)),
            () => None,
        };
        // Some may have gone meanwhile.
        let is_due = match known.looked_at {
            None => true,
            Some(at) => full.is_some() && at.elapsed() >= LOOK_EVERY,
        };
        if is_due && !known.is_looking {
            known.is_looking = self.wanted.send(tenant).is_ok();
        }
        if let Some(full) = full {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(full);
        }
        let look = known.look;
        known.topics.insert(hash, Topic { device: Some(device), look });
        *known.devices.entry(device).or_default() += 1;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_known(&self, tenant: TenantId, hash: u64) -> bool {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let known = tenants.get(&tenant).map(|known| known.read().unwrap_or_else(PoisonError::into_inner));
        known.is_some_and(|known| known.topics.contains_key(&hash))
    }

    fn known(&self, tenant: TenantId) -> Arc<RwLock<Known>> {
        let found = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        found.unwrap_or_else(|| {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(tenants.entry(tenant).or_default())
        })
    }

    /// Looks at storage for tenants that are asked for, for ever.
    pub(crate) async fn run(self: Arc<Self>, store: Arc<dyn TelemetryStore>) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut requests) = requests else { return };
        while let Some(tenant) = requests.recv().await {
            if let Err(error) = self.look(&*store, tenant).await {
                tracing::warn!(%error, "the topics of a tenant cannot be read; trying again");
                tokio::time::sleep(RETRY).await;
                write(&self.known(tenant)).is_looking = false;
            }
            self.forget_largest(tenant);
        }
    }

    async fn look(&self, store: &dyn TelemetryStore, tenant: TenantId) -> Result<(), StorageError> {
        let look = self.begin_look(tenant);
        let (mut stored, mut after) = (HashSet::new(), 0);
        loop {
            let page = store.topics(tenant, after, PAGE).await?;
            stored.extend(page.names.iter().map(|name| self.hasher.hash_one(name.as_str())));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        self.end_look(tenant, look, stored);
        Ok(())
    }

    /// What is used from here on may not be committed when storage is read.
    fn begin_look(&self, tenant: TenantId) -> u32 {
        let known = self.known(tenant);
        let mut known = write(&known);
        known.look += 1;
        known.look
    }

    /// Takes what storage has, and forgets what it has no more.
    fn end_look(&self, tenant: TenantId, look: u32, stored: HashSet<u64>) {
        let known = self.known(tenant);
        let mut known = write(&known);
        let before = known.topics.len();
        known.topics.retain(|hash, topic| stored.contains(hash) || topic.look + 1 >= look);
        for hash in stored {
            known.topics.entry(hash).or_insert(Topic { device: None, look: 0 });
        }
        known.devices.clear();
        let first_users: Vec<DeviceId> = known.topics.values().filter_map(|topic| topic.device).collect();
        for device in first_users {
            *known.devices.entry(device).or_default() += 1;
        }
        (known.looked_at, known.is_looking) = (Some(Instant::now()), false);
        self.count.fetch_add(known.topics.len() as u64, Ordering::Relaxed);
        self.count.fetch_sub(before as u64, Ordering::Relaxed);
    }

    /// Forgets the tenant that has most, but for one, while there are too many.
    fn forget_largest(&self, but: TenantId) {
        while self.count.load(Ordering::Relaxed) > MOST as u64 {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            let size = |known: &RwLock<Known>| known.read().unwrap_or_else(PoisonError::into_inner).topics.len();
            let others = tenants.iter().filter(|(tenant, _)| **tenant != but);
            let largest = others.map(|(tenant, known)| (size(known), *tenant)).max();
            let Some((size, largest)) = largest else { return };
            tenants.remove(&largest);
            self.count.fetch_sub(size as u64, Ordering::Relaxed);
        }
    }
}

fn write(known: &RwLock<Known>) -> RwLockWriteGuard<'_, Known> {
    known.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use pocket_domain::Timestamp;

    use super::*;

    const LIMITS: TopicLimits = TopicLimits { per_device: 3, per_tenant: 5 };

    fn device(n: u8) -> DeviceId {
        DeviceId::new(Timestamp::MIN, [n; 10])
    }

    fn tenant(n: u8) -> TenantId {
        TenantId::new(Timestamp::MIN, [n; 10])
    }

    fn admit(quota: &TopicQuota, of: u8, by: u8, topic: &str) -> Result<(), TooManyTopics> {
        quota.admit(tenant(of), device(by), &TopicName::parse(topic).unwrap())
    }

    #[test]
    fn a_device_has_so_many_topics_and_others_have_theirs() {
        let quota = TopicQuota::new(LIMITS);
        for topic in ["a", "b", "c", "a"] {
            assert_eq!(admit(&quota, 1, 1, topic), Ok(()));
        }
        assert_eq!(admit(&quota, 1, 1, "d"), Err(TooManyTopics::OfDevice(3)));
        // A topic that another one had first is nobody's but that one's.
        for topic in ["a", "d", "e"] {
            assert_eq!(admit(&quota, 1, 2, topic), Ok(()));
        }
        assert_eq!(admit(&quota, 1, 1, "d"), Ok(()));
        assert_eq!(admit(&quota, 1, 3, "f"), Err(TooManyTopics::OfTenant(5)));
        assert_eq!(admit(&quota, 2, 3, "f"), Ok(()));
        assert_eq!(quota.refused(), 2);
    }

    #[test]
    fn topics_that_storage_has_count_and_those_that_went_do_not() {
        let quota = TopicQuota::new(LIMITS);
        let hash = |topic: &str| quota.hasher.hash_one(topic);
        for topic in ["a", "b", "c"] {
            assert_eq!(admit(&quota, 1, 1, topic), Ok(()));
        }
        assert!(admit(&quota, 1, 1, "d").is_err());
        // What is new may not be committed at the first look, and is gone at the next.
        for (stored, is_full) in [(vec![], true), (vec!["a"], false)] {
            let look = quota.begin_look(tenant(1));
            quota.end_look(tenant(1), look, stored.into_iter().map(hash).collect());
            assert_eq!(admit(&quota, 1, 1, "d").is_err(), is_full);
        }
        // Those of before the start are nobody's, and the tenant's.
        let look = quota.begin_look(tenant(1));
        quota.end_look(tenant(1), look, ["a", "d", "x", "y", "z"].into_iter().map(hash).collect());
        assert_eq!(admit(&quota, 1, 2, "z"), Ok(()));
        assert_eq!(admit(&quota, 1, 2, "e"), Err(TooManyTopics::OfTenant(5)));
        assert_eq!(quota.count.load(Ordering::Relaxed), 5);
    }
}
