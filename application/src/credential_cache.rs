//! What connections were opened with lately, so that devices that come back again and again cost no look-up each time.
//!
//! - An entry is forgotten as soon as this process changes what its device may do, and when the access log tells of a change
//!   that another made. It holds only while that log is being read, and not longer than [`CredentialCache::MAX_AGE`].
//! - What was read from storage before a change became known, and comes in after it, is not kept.
//! - Tokens that give access to nothing are not kept: who guesses would fill the memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pocket_domain::{AccessRules, TokenHash};
use pocket_ports::{AccessChange, DeviceCredential};
use tokio::time::Instant;

/// A credential with the rules that hold for it.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) credential: DeviceCredential,
    pub(crate) rules: Option<Arc<AccessRules>>,
}

/// Taken before storage is asked, and shown with the answer.
#[derive(Clone, Copy)]
pub(crate) struct Epoch(u64);

/// Credentials that were used lately.
#[derive(Default)]
pub struct CredentialCache(Mutex<State>);

#[derive(Default)]
struct State {
    entries: HashMap<[u8; 32], (Instant, Known)>,
    /// How many changes became known.
    epoch: u64,
    /// When the access log was read last, to its end.
    log_read: Option<Instant>,
}

impl CredentialCache {
    /// The most entries, a few hundred bytes each.
    pub const MAX_ENTRIES: usize = 50_000;
    /// How old an entry may be.
    pub const MAX_AGE: Duration = Duration::from_secs(60);
    /// How long ago the access log may have been read. With the time between two reads it is what a change that another
    /// process made takes at the most.
    pub const MAX_BEHIND: Duration = Duration::from_secs(3);

    /// What is known of a token, if that can be relied on.
    pub(crate) fn get(&self, token: TokenHash) -> Option<Known> {
        let mut state = self.state();
        let is_read = state.log_read.is_some_and(|read| read.elapsed() <= Self::MAX_BEHIND);
        let (since, known) = state.entries.get(token.as_bytes())?;
        if is_read && since.elapsed() <= Self::MAX_AGE {
            return Some(known.clone());
        }
        state.entries.remove(token.as_bytes());
        None
    }

    /// To be called before storage is asked.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.state().epoch)
    }

    /// Keeps what storage answered, unless something changed since it was asked.
    pub(crate) fn keep(&self, epoch: Epoch, token: TokenHash, known: Known) {
        let mut state = self.state();
        if state.epoch != epoch.0 || state.log_read.is_none() {
            return;
        }
        if state.entries.len() >= Self::MAX_ENTRIES {
            state.entries.retain(|_, (since, _)| since.elapsed() <= Self::MAX_AGE);
        }
        if state.entries.len() < Self::MAX_ENTRIES {
            state.entries.insert(*token.as_bytes(), (Instant::now(), known));
        }
    }

    /// Forgets whom a change is about.
    pub(crate) fn forget(&self, change: AccessChange) {
        let mut state = self.state();
        state.epoch += 1;
        match change {
            AccessChange::Device { device_id, .. } => {
                state.entries.retain(|_, (_, known)| known.credential.device_id != device_id);
            }
            AccessChange::Tenant { tenant_id } => {
                state.entries.retain(|_, (_, known)| known.credential.tenant_id != tenant_id);
            }
            AccessChange::User { .. } | AccessChange::Session { .. } => {}
            AccessChange::Everything => state.entries.clear(),
        }
    }

    /// The access log was read to its end: all changes of before `began` are known.
    pub(crate) fn log_was_read(&self, began: Instant) {
        let mut state = self.state();
        if state.log_read.is_none() {
            // What was asked before may be of before the place from which the log is read.
            state.epoch += 1;
        }
        state.log_read = Some(began);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, PayloadPolicy, TenantId, Timestamp};

    use super::*;

    fn token(n: usize) -> TokenHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        TokenHash::from_bytes(bytes)
    }

    fn tenant() -> TenantId {
        TenantId::new(Timestamp::MIN, [1; 10])
    }

    fn known(device: u8) -> Known {
        let credential = DeviceCredential {
            tenant_id: tenant(),
            device_id: DeviceId::new(Timestamp::MIN, [device; 10]),
            enabled: true,
            expires_at: None,
            payload_policy: PayloadPolicy::Json,
            is_ruled: false,
        };
        Known { credential, rules: None }
    }

    fn change(device: u8) -> AccessChange {
        AccessChange::Device { tenant_id: tenant(), device_id: known(device).credential.device_id }
    }

    fn cache() -> CredentialCache {
        let cache = CredentialCache::default();
        cache.log_was_read(Instant::now());
        cache
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_holds_for_a_time_and_while_the_log_is_read() {
        let cache = cache();
        cache.keep(cache.epoch(), token(1), known(1));
        tokio::time::advance(CredentialCache::MAX_BEHIND).await;
        assert!(cache.get(token(1)).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cache.get(token(1)).is_none(), "the log was not read for too long");
        cache.log_was_read(Instant::now());
        cache.keep(cache.epoch(), token(1), known(1));
        tokio::time::advance(CredentialCache::MAX_AGE).await;
        cache.log_was_read(Instant::now());
        assert!(cache.get(token(1)).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cache.get(token(1)).is_none(), "it is too old");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_forgets_whom_it_is_about() {
        let cache = cache();
        let other = token(2);
        cache.keep(cache.epoch(), token(1), known(1));
        cache.keep(cache.epoch(), other, known(2));
        cache.forget(change(1));
        assert!(cache.get(token(1)).is_none() && cache.get(other).is_some());
        cache.forget(AccessChange::Tenant { tenant_id: tenant() });
        assert!(cache.get(other).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_before_a_change_is_not_kept() {
        let cache = cache();
        let epoch = cache.epoch();
        cache.forget(change(1));
        cache.keep(epoch, token(1), known(1));
        assert!(cache.get(token(1)).is_none());
        let unread = CredentialCache::default();
        let epoch = unread.epoch();
        unread.keep(epoch, token(1), known(1));
        unread.log_was_read(Instant::now());
        unread.keep(epoch, token(1), known(1));
        assert!(unread.get(token(1)).is_none(), "what was asked before the log was read is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_takes_no_more_until_entries_are_too_old() {
        let cache = cache();
        for n in 0..=CredentialCache::MAX_ENTRIES {
            cache.keep(cache.epoch(), token(n), known(1));
        }
        assert_eq!(cache.state().entries.len(), CredentialCache::MAX_ENTRIES);
        assert!(cache.get(token(CredentialCache::MAX_ENTRIES)).is_none());
        tokio::time::advance(CredentialCache::MAX_AGE + Duration::from_millis(1)).await;
        cache.log_was_read(Instant::now());
        cache.keep(cache.epoch(), token(1), known(1));
        assert!(cache.get(token(1)).is_some() && cache.state().entries.len() == 1);
    }
}
