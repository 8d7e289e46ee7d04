//! Bytes that change often, on the way to and from an account.

use std::sync::Arc;

use crate::{Account, Resource};

/// Bytes that are taken from an account in lumps, so that most changes touch nothing that others touch.
#[derive(Debug, Default)]
pub struct Purse {
    /// `None`: nobody counts.
    account: Option<Arc<Account>>,
    taken: usize,
    used: usize,
}

impl Purse {
    /// Bytes that are taken at a time.
    const LUMP: usize = 4 * 1_024;

    /// An empty purse that takes from an account.
    pub fn of(account: &Arc<Account>) -> Self {
        Self { account: Some(Arc::clone(account)), taken: 0, used: 0 }
    }

    /// The account that it takes from.
    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// Uses more bytes; `false` when a limit is in the way.
    pub fn take(&mut self, bytes: usize) -> bool {
        if let Some(account) = &self.account {
            let missing = (self.used + bytes).saturating_sub(self.taken);
            if missing > 0 {
                // The lump is a convenience: near the limit the exact amount will do.
                let lump = missing.max(Self::LUMP);
                let amounts = if lump == missing { [Some(missing), None] } else { [Some(lump), Some(missing)] };
                let taken = amounts.into_iter().flatten().find(|amount| account.grow(Resource::Bytes, *amount).is_ok());
                let Some(taken) = taken else { return false };
                self.taken += taken;
            }
        }
        self.used += bytes;
        true
    }

    /// Uses more bytes, whatever the limits say.
    pub fn take_anyway(&mut self, bytes: usize) {
        if let Some(account) = &self.account {
            let missing = (self.used + bytes).saturating_sub(self.taken);
            account.grow_anyway(Resource::Bytes, missing);
            self.taken += missing;
        }
        self.used += bytes;
    }

    /// Uses fewer bytes. What that frees stays at hand until [`trim`](Self::trim), unless it is much.
    pub fn give(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        if self.taken > self.used + 16 * Self::LUMP {
            self.trim();
        }
    }

    /// Gives back what is not used.
    pub fn trim(&mut self) {
        let spare = self.taken.saturating_sub(self.used);
        if let (Some(account), true) = (&self.account, spare > 0) {
            account.shrink(Resource::Bytes, spare);
            self.taken -= spare;
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.used = 0;
        self.trim();
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Principal, TenantId, Timestamp};

    use super::*;
    use crate::{Ledger, Limits};

    #[test]
    fn a_purse_takes_lumps_and_gives_back_what_it_does_not_use() {
        let limits = Limits { device_bytes: 10_000, ..Limits::default() };
        let ledger = Ledger::new(&limits);
        let device = Principal::Device(DeviceId::new(Timestamp::MIN, [1; 10]));
        let account = ledger.account(TenantId::new(Timestamp::MIN, [1; 10]), device);
        let mut purse = Purse::of(&account);
        assert!(purse.take(10) && purse.take(10));
        assert_eq!(account.held(Resource::Bytes), Purse::LUMP);
        assert!(purse.take(9_980), "the exact amount is taken where a lump does not fit");
        assert!(!purse.take(1));
        purse.give(9_990);
        purse.trim();
        assert_eq!((purse.used(), account.held(Resource::Bytes)), (10, 10));
        drop(purse);
        assert_eq!((account.held(Resource::Bytes), ledger.held(Resource::Bytes)), (0, 0));
    }
}
