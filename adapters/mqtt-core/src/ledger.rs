//! Who keeps how much: what clients make the broker hold, by device or person, by tenant, and in all.
//!
//! Every limit stands at three places. A device or person has its own; a tenant has a share of what the process has; and the
//! process has a total. The share leaves room for others at any time: a tenant may take more only while it holds less than
//! `share / (100 - share)` times what is still free. Alone it gets `share` percent of the total, two get less each, and whoever comes
//! next always finds some.
//!
//! Architecture invariant: whatever is taken is given back by `Drop`, so no path forgets it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pocket_domain::{Principal, TenantId, TenantShare};

use crate::Limits;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of everything that is kept; see `weight`.
    Bytes,
    /// Persistent sessions.
    Sessions,
    /// Clients that are connected.
    Connections,
    /// Subscriptions.
    Subscriptions,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bytes, Self::Sessions, Self::Connections, Self::Subscriptions];

    /// For logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Sessions => "sessions",
            Self::Connections => "connections",
            Self::Subscriptions => "subscriptions",
        }
    }
}

/// Whose limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// That of the device or person.
    Principal,
    /// The share of the tenant.
    Tenant,
    /// That of the process.
    Process,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Principal, Self::Tenant, Self::Process];

    /// For logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Principal => "device",
            Self::Tenant => "tenant",
            Self::Process => "process",
        }
    }
}

type Amounts = [AtomicUsize; Resource::ALL.len()];

/// The books of the process.
#[derive(Debug)]
pub struct Ledger {
    totals: [usize; Resource::ALL.len()],
    of_tenant: [usize; Resource::ALL.len()],
    of_principal: [usize; Resource::ALL.len()],
    share: TenantShare,
    held: Amounts,
    tenants: Mutex<HashMap<TenantId, Arc<TenantAccount>>>,
    refused: [[AtomicU64; Level::ALL.len()]; Resource::ALL.len()],
    /// Who was refused last, for the log.
    last: Mutex<[[Option<TenantId>; Level::ALL.len()]; Resource::ALL.len()]>,
}

/// What a tenant holds.
#[derive(Debug)]
pub struct TenantAccount {
    id: TenantId,
    held: Amounts,
    principals: Mutex<Principals>,
}

#[derive(Debug, Default)]
struct Principals {
    accounts: HashMap<Principal, Weak<Account>>,
    /// How many there may be before those that are gone are forgotten.
    sweep_at: usize,
}

/// What a device or person holds.
#[derive(Debug)]
pub struct Account {
    ledger: Arc<Ledger>,
    tenant: Arc<TenantAccount>,
    held: Amounts,
}

/// Something that was taken; given back when it is dropped.
#[derive(Debug)]
pub struct Holding {
    owner: Owner,
    resource: Resource,
    amount: usize,
}

#[derive(Debug)]
enum Owner {
    Principal(Arc<Account>),
    /// It belongs to the tenant as a whole.
    Tenant(Arc<Ledger>, Arc<TenantAccount>),
}

impl Ledger {
    /// Books with nothing in them.
    pub fn new(limits: &Limits) -> Arc<Self> {
        let unlimited = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        Arc::new(Self {
            totals: [limits.kept_bytes, limits.sessions, limits.connections, usize::MAX],
            of_tenant: [usize::MAX, usize::MAX, unlimited(limits.tenant_connections), limits.tenant_subscriptions],
            of_principal: [
                limits.device_bytes,
                limits.device_sessions,
                unlimited(limits.device_connections),
                limits.device_subscriptions,
            ],
            share: TenantShare::of_percent(limits.tenant_share),
            held: Amounts::default(),
            tenants: Mutex::default(),
            refused: Default::default(),
            last: Mutex::default(),
        })
    }

    /// The account of a tenant.
    pub fn tenant(self: &Arc<Self>, id: TenantId) -> Arc<TenantAccount> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = tenants.get(&id) {
            return Arc::clone(account);
        }
        // A tenant that holds nothing leaves no trace.
        tenants.retain(|_, account| Arc::strong_count(account) > 1);
        let account = TenantAccount { id, held: Amounts::default(), principals: Mutex::default() };
        Arc::clone(tenants.entry(id).or_insert_with(|| Arc::new(account)))
    }

    /// The account of a device or person.
    pub fn account(self: &Arc<Self>, tenant: TenantId, principal: Principal) -> Arc<Account> {
        let tenant = self.tenant(tenant);
        let mut principals = tenant.principals();
        if let Some(account) = principals.accounts.get(&principal).and_then(Weak::upgrade) {
            return account;
        }
        if principals.accounts.len() >= principals.sweep_at {
            principals.accounts.retain(|_, account| account.strong_count() > 0);
            principals.sweep_at = (2 * principals.accounts.len()).max(64);
        }
        let account =
            Arc::new(Account { ledger: Arc::clone(self), tenant: Arc::clone(&tenant), held: Amounts::default() });
        principals.accounts.insert(principal, Arc::downgrade(&account));
        drop(principals);
        account
    }

    /// What is held of a resource in all.
    pub fn held(&self, resource: Resource) -> usize {
        self.held[resource as usize].load(Ordering::Relaxed)
    }

    /// How often a limit cost somebody something.
    pub fn refused(&self, resource: Resource, level: Level) -> u64 {
        self.refused[resource as usize][level as usize].load(Ordering::Relaxed)
    }

    /// The tenant that met a limit last.
    pub fn refused_last(&self, resource: Resource, level: Level) -> Option<TenantId> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)[resource as usize][level as usize]
    }

    fn refuse(&self, resource: Resource, level: Level, tenant: TenantId) -> Level {
        self.refused[resource as usize][level as usize].fetch_add(1, Ordering::Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner)[resource as usize][level as usize] = Some(tenant);
        level
    }

    /// Whether the share of a tenant that holds this much has room.
    fn is_within_share(&self, resource: Resource, of_tenant: usize) -> bool {
        let total = self.totals[resource as usize];
        total == usize::MAX || self.share.allows(of_tenant, total.saturating_sub(self.held(resource)))
    }

    fn take_total(&self, resource: Resource, amount: usize) -> bool {
        let limit = self.totals[resource as usize];
        let more = |held: usize| held.checked_add(amount).filter(|held| *held <= limit);
        self.held[resource as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl TenantAccount {
    fn principals(&self) -> MutexGuard<'_, Principals> {
        self.principals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the tenant holds of a resource.
    pub fn held(&self, resource: Resource) -> usize {
        self.held[resource as usize].load(Ordering::Relaxed)
    }

    /// Nothing yet, that may [`grow_anyway`](Holding::grow_anyway) for the tenant as a whole.
    pub(crate) fn holding(self: &Arc<Self>, ledger: &Arc<Ledger>, resource: Resource) -> Holding {
        Holding { owner: Owner::Tenant(Arc::clone(ledger), Arc::clone(self)), resource, amount: 0 }
    }

    /// Takes from the share; tells whose limit is in the way.
    fn grow(&self, ledger: &Ledger, resource: Resource, by: usize) -> Result<(), Level> {
        let place = resource as usize;
        let before = self.held[place].fetch_add(by, Ordering::Relaxed);
        let is_over = before.saturating_add(by) > ledger.of_tenant[place];
        let level = if is_over || !ledger.is_within_share(resource, before) {
            // Who is told that the process is full can do nothing about it, so that is said only when it is true.
            let is_full = ledger.held(resource) >= ledger.totals[place];
            Some(if is_full { Level::Process } else { Level::Tenant })
        } else {
            (!ledger.take_total(resource, by)).then_some(Level::Process)
        };
        if level.is_some() {
            self.held[place].fetch_sub(by, Ordering::Relaxed);
        }
        level.map_or(Ok(()), Err)
    }

    fn grow_anyway(&self, ledger: &Ledger, resource: Resource, by: usize) {
        self.held[resource as usize].fetch_add(by, Ordering::Relaxed);
        ledger.held[resource as usize].fetch_add(by, Ordering::Relaxed);
    }

    fn shrink(&self, ledger: &Ledger, resource: Resource, by: usize) {
        self.held[resource as usize].fetch_sub(by, Ordering::Relaxed);
        ledger.held[resource as usize].fetch_sub(by, Ordering::Relaxed);
    }
}

impl Account {
    /// What is held of a resource.
    pub fn held(&self, resource: Resource) -> usize {
        self.held[resource as usize].load(Ordering::Relaxed)
    }

    /// Takes an amount.
    ///
    /// # Errors
    /// Whose limit is in the way. It is counted.
    pub fn take(self: &Arc<Self>, resource: Resource, amount: usize) -> Result<Holding, Level> {
        self.grow(resource, amount)?;
        Ok(Holding { owner: Owner::Principal(Arc::clone(self)), resource, amount })
    }

    /// Takes an amount that is there already, whatever the limits say.
    pub fn take_anyway(self: &Arc<Self>, resource: Resource, amount: usize) -> Holding {
        self.grow_anyway(resource, amount);
        Holding { owner: Owner::Principal(Arc::clone(self)), resource, amount }
    }

    /// Takes more at all levels. Whoever calls it gives it back with [`shrink`](Self::shrink).
    pub(crate) fn grow(&self, resource: Resource, by: usize) -> Result<(), Level> {
        self.grow_alone(resource, by)?;
        self.tenant.grow(&self.ledger, resource, by).map_err(|level| {
            self.shrink_alone(resource, by);
            self.ledger.refuse(resource, level, self.tenant.id)
        })
    }

    /// The same, whatever the limits say.
    pub(crate) fn grow_anyway(&self, resource: Resource, by: usize) {
        self.held[resource as usize].fetch_add(by, Ordering::Relaxed);
        self.tenant.grow_anyway(&self.ledger, resource, by);
    }

    pub(crate) fn shrink(&self, resource: Resource, by: usize) {
        self.shrink_alone(resource, by);
        self.tenant.shrink(&self.ledger, resource, by);
    }

    /// Takes more of the device's own limit alone: the tenant has the same thing counted elsewhere.
    pub(crate) fn grow_alone(&self, resource: Resource, by: usize) -> Result<(), Level> {
        let limit = self.ledger.of_principal[resource as usize];
        let more = |held: usize| held.checked_add(by).filter(|held| *held <= limit);
        match self.held[resource as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.ledger.refuse(resource, Level::Principal, self.tenant.id)),
        }
    }

    /// The same, whatever the limit says.
    pub(crate) fn grow_alone_anyway(&self, resource: Resource, by: usize) {
        self.held[resource as usize].fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn shrink_alone(&self, resource: Resource, by: usize) {
        self.held[resource as usize].fetch_sub(by, Ordering::Relaxed);
    }
}

impl Holding {
    /// Takes more or gives some back, so that it is this much.
    ///
    /// # Errors
    /// Whose limit is in the way; nothing changes then.
    pub fn resize(&mut self, amount: usize) -> Result<(), Level> {
        if let (Some(more), Owner::Principal(account)) = (amount.checked_sub(self.amount), &self.owner) {
            account.grow(self.resource, more)?;
            self.amount = amount;
        } else {
            self.shrink(self.amount.saturating_sub(amount));
        }
        Ok(())
    }

    /// Whether it was taken from this account.
    pub(crate) fn is_of(&self, account: &Arc<Account>) -> bool {
        matches!(&self.owner, Owner::Principal(own) if Arc::ptr_eq(own, account))
    }

    /// Takes more, whatever the limits say.
    pub fn grow_anyway(&mut self, by: usize) {
        match &self.owner {
            Owner::Principal(account) => account.grow_anyway(self.resource, by),
            Owner::Tenant(ledger, tenant) => tenant.grow_anyway(ledger, self.resource, by),
        }
        self.amount += by;
    }

    /// Gives some of it back.
    pub fn shrink(&mut self, by: usize) {
        let by = by.min(self.amount);
        match &self.owner {
            Owner::Principal(account) => account.shrink(self.resource, by),
            Owner::Tenant(ledger, tenant) => tenant.shrink(ledger, self.resource, by),
        }
        self.amount -= by;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.shrink(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Timestamp};

    use super::*;

    fn tenant(number: u8) -> TenantId {
        TenantId::new(Timestamp::MIN, [number; 10])
    }

    fn device(number: u8) -> Principal {
        Principal::Device(DeviceId::new(Timestamp::MIN, [number; 10]))
    }

    fn ledger(sessions: usize, share: u8) -> Arc<Ledger> {
        Ledger::new(&Limits { sessions, tenant_share: share, ..Limits::default() })
    }

    /// Takes as many as there are.
    fn take_all(account: &Arc<Account>) -> Vec<Holding> {
        std::iter::from_fn(|| account.take(Resource::Sessions, 1).ok()).collect()
    }

    #[test]
    fn a_tenant_takes_its_share_and_leaves_some_for_each_that_comes() {
        let ledger = ledger(50, 80);
        let mut all = Vec::new();
        let counts: Vec<usize> = (1..=3)
            .map(|number| {
                let taken = take_all(&ledger.account(tenant(number), device(1)));
                let count = taken.len();
                all.push(taken);
                count
            })
            .collect();
        assert_eq!(counts, [40, 8, 2]);
        assert_eq!(ledger.refused(Resource::Sessions, Level::Tenant), 2);
        assert_eq!(ledger.refused_last(Resource::Sessions, Level::Tenant), Some(tenant(2)));
        all.clear();
        assert_eq!(ledger.held(Resource::Sessions), 0);
    }

    #[test]
    fn the_smallest_total_is_of_use_to_somebody() {
        let ledger = ledger(1, 80);
        let taken = take_all(&ledger.account(tenant(1), device(1)));
        assert_eq!(taken.len(), 1);
        assert_eq!(ledger.account(tenant(2), device(1)).take(Resource::Sessions, 1).unwrap_err(), Level::Process);
    }

    #[test]
    fn a_share_of_100_percent_is_no_limit() {
        let ledger = ledger(5, 100);
        assert_eq!(take_all(&ledger.account(tenant(1), device(1))).len(), 5);
    }

    #[test]
    fn a_device_has_a_limit_of_its_own() {
        let limits = Limits { device_sessions: 2, ..Limits::default() };
        let ledger = Ledger::new(&limits);
        let account = ledger.account(tenant(1), device(1));
        let taken = take_all(&account);
        assert_eq!((taken.len(), ledger.refused(Resource::Sessions, Level::Principal)), (2, 1));
        assert_eq!(take_all(&ledger.account(tenant(1), device(1))).len(), 0, "it is the same account");
        assert!(ledger.account(tenant(1), device(2)).take(Resource::Sessions, 1).is_ok());
        drop(taken);
        assert_eq!(take_all(&account).len(), 2);
    }

    #[test]
    fn what_is_there_already_is_counted_beyond_every_limit() {
        let ledger = ledger(1, 80);
        let account = ledger.account(tenant(1), device(1));
        let _restored: Vec<Holding> = (0..3).map(|_| account.take_anyway(Resource::Sessions, 1)).collect();
        assert_eq!(ledger.held(Resource::Sessions), 3);
        assert!(account.take(Resource::Sessions, 1).is_err());
    }

    #[test]
    fn accounts_of_devices_that_are_gone_are_forgotten() {
        let ledger = ledger(50, 80);
        for number in 0..=255 {
            drop(ledger.account(tenant(1), device(number)));
        }
        assert!(ledger.tenant(tenant(1)).principals().accounts.len() <= 64);
        drop(ledger.tenant(tenant(2)));
        assert_eq!(ledger.tenants.lock().unwrap().len(), 1);
    }
}
