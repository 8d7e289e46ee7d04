//! How many bytes of bodies are in memory at once, of all and of one tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pocket_domain::TenantId;

use crate::problem::Problem;

/// Bytes of all bodies, unless a single one may be a fourth of it and more; a tenant has half.
const BYTES: usize = 128 * 1_024 * 1_024;

/// The bytes. Clones share them.
#[derive(Clone)]
pub(crate) struct BodyBudget {
    most: usize,
    held: Arc<Mutex<Bytes>>,
}

#[derive(Default)]
struct Bytes {
    all: usize,
    tenants: HashMap<TenantId, usize>,
}

/// Bytes of one body, until this is dropped.
pub(crate) struct Held {
    budget: BodyBudget,
    tenant: TenantId,
    bytes: usize,
}

impl BodyBudget {
    /// Room for bodies of which the largest has so many bytes.
    pub(crate) fn new(largest: usize) -> Self {
        Self { most: BYTES.max(largest.saturating_mul(4)), held: Arc::default() }
    }

    /// Nothing yet, of a tenant.
    pub(crate) fn hold(&self, tenant: TenantId) -> Held {
        Held { budget: self.clone(), tenant, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whose body it is.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Takes more.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let mut held = self.budget.lock();
        let of_tenant = held.tenants.get(&self.tenant).copied().unwrap_or(0);
        if held.all + bytes > self.budget.most || of_tenant + bytes > self.budget.most / 2 {
            return Err(Problem::unavailable("too many bytes of request bodies at once, in total or for this tenant"));
        }
        held.all += bytes;
        *held.tenants.entry(self.tenant).or_default() += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        held.all -= self.bytes;
        if let Some(bytes) = held.tenants.get_mut(&self.tenant) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                held.tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::Timestamp;

    use super::*;

    #[test]
    fn a_tenant_has_half_of_the_bytes_and_gives_them_back() {
        let budget = BodyBudget::new(1);
        let tenant = |n| TenantId::new(Timestamp::MIN, [n; 10]);
        let mut first = budget.hold(tenant(1));
        first.grow(BYTES / 2).unwrap();
        assert!(first.grow(1).is_err() && budget.hold(tenant(1)).grow(1).is_err());
        let mut second = budget.hold(tenant(2));
        second.grow(BYTES / 2).unwrap();
        assert!(budget.hold(tenant(3)).grow(1).is_err());
        drop(first);
        assert!(budget.hold(tenant(1)).grow(BYTES / 2).is_ok());
        drop(second);
        assert!(budget.lock().tenants.is_empty() && budget.lock().all == 0);
    }
}
