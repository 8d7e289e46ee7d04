//! The keys of devices and topics that appends met lately, so that a batch needs no look-ups of its own.
//!
//! What is here holds as of an entry of the access log. Deletions are logged, so an append that sees a later entry drops
//! everything; it reads the log in its transaction, during which no entry can be added (see `locks`). It also holds as of the last
//! commit of the writer whose cache it is: a database that does not have that commit may have given the keys to something else,
//! and the writer's next commit fails on it (see `writers`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pocket_domain::{DeviceId, TenantId, TopicName};

/// The most devices and the most topics: a few megabytes each. A cache that is full starts anew.
const MOST: usize = 65_536;
/// The most bytes of names: a client may make them as long as names may be.
const MOST_TEXT: usize = 8 << 20;

/// The keys of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceKeys {
    pub(crate) tenant_id: TenantId,
    pub(crate) tenant: i64,
    pub(crate) device: i64,
}

#[derive(Default)]
struct Keys {
    as_of: i64,
    devices: HashMap<DeviceId, DeviceKeys>,
    topics: Names<(i64, TopicName), i64>,
}

/// Keys that the appends of one writer share.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<Keys>);

impl KeyCache {
    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest entry that was seen.
    pub(crate) fn as_of(&self) -> i64 {
        self.lock().as_of
    }

    /// The keys that are known of the devices, in their order, for a transaction that sees `as_of` as the newest entry.
    pub(crate) fn devices(&self, as_of: i64, ids: impl Iterator<Item = DeviceId>) -> Vec<Option<DeviceKeys>> {
        let mut keys = self.lock();
        if keys.as_of != as_of {
            *keys = Keys { as_of, ..Keys::default() };
        }
        ids.map(|id| keys.devices.get(&id).copied()).collect()
    }

    /// The keys that are known of the tenants' topics, in their order.
    pub(crate) fn topics(&self, as_of: i64, topics: &[(i64, TopicName)]) -> Vec<Option<i64>> {
        let keys = self.lock();
        if keys.as_of != as_of {
            return vec![None; topics.len()];
        }
        topics.iter().map(|topic| keys.topics.get(topic).copied()).collect()
    }

    /// Forgets everything.
    pub(crate) fn forget(&self) {
        *self.lock() = Keys::default();
    }

    /// Takes what a transaction found, once it is committed.
    pub(crate) fn learn(&self, as_of: i64, found: Found) {
        let mut keys = self.lock();
        if keys.as_of != as_of {
            return;
        }
        remember(&mut keys.devices, found.devices.into_iter());
        keys.topics.remember(found.topics.into_iter(), |(_, name), _| name.as_str().len());
    }
}

/// Adds what was found to what is known, which starts anew when it would be more than [`MOST`].
pub(crate) fn remember<K: Eq + Hash, V>(known: &mut HashMap<K, V>, found: impl ExactSizeIterator<Item = (K, V)>) {
    if known.len() + found.len() > MOST {
        known.clear();
    }
    known.extend(found.take(MOST));
}

/// Entries that have a name, bounded in number and in bytes of these; what is full starts anew.
pub(crate) struct Names<K, V> {
    known: HashMap<K, V>,
    text: usize,
}

impl<K, V> Default for Names<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), text: 0 }
    }
}

impl<K: Eq + Hash, V> Names<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key)
    }

    /// Adds what was found, and how long the name of each is.
    pub(crate) fn remember(&mut self, found: impl Iterator<Item = (K, V)>, length: impl Fn(&K, &V) -> usize) {
        for (key, value) in found {
            let text = length(&key, &value);
            if self.known.len() >= MOST || self.text + text > MOST_TEXT {
                *self = Self::default();
            }
            if self.known.insert(key, value).is_none() {
                self.text += text;
            }
        }
    }

    /// Forgets an entry with a name of that length.
    pub(crate) fn forget(&mut self, key: &K, length: impl Fn(&V) -> usize) {
        if let Some(value) = self.known.remove(key) {
            self.text = self.text.saturating_sub(length(&value));
        }
    }
}

/// What a transaction looked up or made.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) devices: HashMap<DeviceId, DeviceKeys>,
    pub(crate) topics: HashMap<(i64, TopicName), i64>,
}

#[cfg(test)]
mod tests {
    use pocket_domain::Timestamp;

    use super::*;

    fn device(n: u32) -> DeviceId {
        let mut random = [0; 10];
        random[6..].copy_from_slice(&n.to_be_bytes());
        DeviceId::new(Timestamp::MIN, random)
    }

    fn found(devices: std::ops::Range<u32>) -> Found {
        let keys =
            |n: u32| DeviceKeys { tenant_id: TenantId::new(Timestamp::MIN, [0; 10]), tenant: 1, device: i64::from(n) };
        Found { devices: devices.map(|n| (device(n), keys(n))).collect(), topics: HashMap::new() }
    }

    fn knows(cache: &KeyCache, as_of: i64, n: u32) -> bool {
        cache.devices(as_of, [device(n)].into_iter())[0].is_some()
    }

    #[test]
    fn a_later_entry_of_the_log_empties_the_cache() {
        let cache = KeyCache::default();
        cache.learn(0, found(0..1));
        assert!(knows(&cache, 0, 0));
        assert!(!knows(&cache, 1, 0) && !knows(&cache, 1, 0));
    }

    #[test]
    fn what_an_earlier_transaction_found_is_not_taken() {
        let cache = KeyCache::default();
        assert!(!knows(&cache, 2, 0));
        cache.learn(1, found(0..1));
        assert!(!knows(&cache, 2, 0));
    }

    #[test]
    fn names_have_a_bound_in_bytes_too() {
        let mut names = Names::default();
        let length = |_: &u32, name: &String| name.len();
        let name = "x".repeat(1_000_000);
        names.remember((0..8).map(|n| (n, name.clone())), length);
        assert!((0..8).all(|n| names.get(&n).is_some()));
        names.forget(&0, String::len);
        names.remember([(8, name.clone())].into_iter(), length);
        assert!(names.get(&0).is_none() && (1..9).all(|n| names.get(&n).is_some()));
        names.remember([(9, name)].into_iter(), length);
        assert!(names.get(&1).is_none() && names.get(&9).is_some());
    }

    #[test]
    fn the_cache_has_a_bound() {
        let most = u32::try_from(MOST).unwrap();
        let cache = KeyCache::default();
        cache.learn(0, found(0..most));
        assert!(knows(&cache, 0, 0) && knows(&cache, 0, most - 1));
        cache.learn(0, found(most..most + 1));
        assert!(!knows(&cache, 0, 0) && knows(&cache, 0, most));
        cache.learn(0, found(0..most + 1));
        assert_eq!(cache.lock().devices.len(), MOST);
    }
}
