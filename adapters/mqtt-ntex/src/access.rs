//! Access that changes while devices and people are connected.
//!
//! Changes of one tenant are gathered: while its sessions are judged anew, what changes meanwhile waits for the next round, and
//! a round costs one look-up for each device or person and credential, however many connections and changes there are.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ntex::util::join_all;
use pocket_application::{AccessDenied, ClientAccess};
use pocket_domain::{Excerpt, Principal, TenantId, Timestamp, TopicName};
use pocket_mqtt_core::{Authorizer, Client as Owner, Closing, ReasonCode};
use pocket_ports::AccessChange;

use crate::client::Client;
use crate::reason;
use crate::subscriber::SubscriberId;
use crate::table::Place;
use crate::worker::Worker;

/// Look-ups at a time, of each tenant.
const AT_A_TIME: usize = 32;
/// Sessions that are ended or renewed before other tasks of the worker get their turn.
const A_TURN: usize = 64;
/// How long to wait before storage that is away is asked again.
const PAUSE: ntex::time::Millis = ntex::time::Millis(500);
/// The longest rest between two rounds of a tenant. A round is followed by a rest as long as itself, so that a tenant which
/// changes its rules all the time takes half of a worker's attention at most.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Changes that are remembered for clients which are just connecting.
const REMEMBERED: usize = 256;

/// What is to be judged anew.
#[derive(Default)]
pub(crate) struct Rechecks {
    /// Grows with every change of access.
    count: Cell<u64>,
    /// The last changes, for clients that are just connecting.
    recent: RefCell<VecDeque<AccessChange>>,
    /// By tenant: whose sessions wait for the next round. A tenant that has an entry has a task.
    tenants: RefCell<HashMap<TenantId, Scope>>,
}

/// Whose sessions.
#[derive(Default)]
struct Scope {
    all: bool,
    some: HashSet<Principal>,
}

impl Scope {
    fn is_empty(&self) -> bool {
        !self.all && self.some.is_empty()
    }

    fn has(&self, principal: Principal) -> bool {
        self.all || self.some.contains(&principal)
    }
}

/// Sessions that are judged by one look-up.
struct Case {
    access: ClientAccess,
    clients: Vec<Rc<Client>>,
    sleepers: Vec<SubscriberId>,
}

impl Worker {
    /// How often access has changed.
    pub(crate) fn access_changes(&self) -> u64 {
        self.rechecks.count.get()
    }

    /// Whether something changed for a client since then.
    pub(crate) fn access_changed_since(&self, count: u64, owner: &Owner) -> bool {
        let missed = usize::try_from(self.access_changes() - count).unwrap_or(usize::MAX);
        let recent = self.rechecks.recent.borrow();
        let concerns_owner = |change: &AccessChange| concerns(*change, owner.tenant_id, owner.principal);
        missed > recent.len() || recent.iter().rev().take(missed).any(concerns_owner)
    }

    /// Has the sessions that a change concerns judged anew.
    pub(crate) fn access_changed(self: &Rc<Self>, change: AccessChange) {
        if let AccessChange::Session { tenant_id, device_id, client } = change {
            return self.end_session_of(tenant_id, device_id, client);
        }
        self.rechecks.count.set(self.access_changes() + 1);
        let mut recent = self.rechecks.recent.borrow_mut();
        if recent.len() >= REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(change);
        drop(recent);
        match change {
            AccessChange::Device { tenant_id, device_id } => {
                self.recheck_later(tenant_id, Principal::Device(device_id));
            }
            AccessChange::User { tenant_id, user_id } => self.recheck_later(tenant_id, Principal::User(user_id)),
            // Done above: nobody is judged anew.
            AccessChange::Session { .. } => {}
            AccessChange::Tenant { tenant_id } => self.add_recheck(tenant_id, |scope| scope.all = true),
            AccessChange::Everything => {
                let mut tenants: HashSet<TenantId> = HashSet::new();
                {
                    let mut table = self.table.borrow_mut();
                    tenants.extend(table.clients().iter().map(|client| client.owner.tenant_id));
                    tenants.extend(table.sleepers_mut().map(|(_, sleeper)| sleeper.owner.tenant_id));
                }
                for tenant in tenants {
                    self.add_recheck(tenant, |scope| scope.all = true);
                }
            }
        }
    }

    /// Has the sessions of a device or person judged anew.
    pub(crate) fn recheck_later(self: &Rc<Self>, tenant: TenantId, principal: Principal) {
        self.add_recheck(tenant, |scope| {
            scope.some.insert(principal);
        });
    }

    fn add_recheck(self: &Rc<Self>, tenant: TenantId, add: impl FnOnce(&mut Scope)) {
        let mut tenants = self.rechecks.tenants.borrow_mut();
        let is_running = tenants.contains_key(&tenant);
        add(tenants.entry(tenant).or_default());
        drop(tenants);
        if !is_running {
            ntex::rt::spawn(Rc::clone(self).recheck(tenant)).detach();
        }
    }

    /// Judges sessions of a tenant anew, round after round, until nothing is left to do.
    async fn recheck(self: Rc<Self>, tenant: TenantId) {
        loop {
            let scope = {
                let mut tenants = self.rechecks.tenants.borrow_mut();
                let Some(scope) = tenants.get_mut(&tenant) else { return };
                if scope.is_empty() {
                    tenants.remove(&tenant);
                    return;
                }
                std::mem::take(scope)
            };
            let began = Instant::now();
            let cases = self.cases(tenant, &scope);
            for some in cases.chunks(AT_A_TIME) {
                join_all(some.iter().map(|case| self.judge(case))).await;
            }
            let rest = began.elapsed().min(LONGEST_REST);
            ntex::time::sleep(ntex::time::Millis::from(rest)).await;
        }
    }

    /// The sessions of a tenant that are concerned, those together that are judged alike.
    fn cases(&self, tenant: TenantId, scope: &Scope) -> Vec<Case> {
        let mut table = self.table.borrow_mut();
        let mut cases: HashMap<Principal, Vec<Case>> = HashMap::new();
        let mut case_of = |owner: &Owner, access: &ClientAccess, put: &mut dyn FnMut(&mut Case)| {
            let cases = cases.entry(owner.principal).or_default();
            let place = cases.iter().position(|case| case.access.rests_on_the_same(access)).unwrap_or_else(|| {
                cases.push(Case { access: access.clone(), clients: Vec::new(), sleepers: Vec::new() });
                cases.len() - 1
            });
            put(&mut cases[place]);
        };
        let is_concerned = |owner: &Owner| owner.tenant_id == tenant && scope.has(owner.principal);
        for client in table.clients().into_iter().filter(|client| is_concerned(&client.owner)) {
            case_of(&client.owner, &client.access.borrow(), &mut |case| case.clients.push(Rc::clone(&client)));
        }
        for (id, sleeper) in table.sleepers_mut().filter(|(_, sleeper)| is_concerned(&sleeper.owner)) {
            // Whoever is away has shown nothing that could be judged.
            let access = sleeper.access.of_absent();
            case_of(&sleeper.owner, &access, &mut |case| case.sleepers.push(id));
        }
        cases.into_values().flatten().collect()
    }

    async fn judge(&self, case: &Case) {
        if !case.clients.is_empty() {
            self.judge_clients(case).await;
        }
        if !case.sleepers.is_empty() {
            self.judge_sleepers(case).await;
        }
    }

    async fn judge_clients(&self, case: &Case) {
        while case.clients.iter().any(|client| client.closing().is_none()) {
            match self.broker.gateway.recheck(&case.access).await {
                Ok(renewed) => {
                    for client in &case.clients {
                        client.access.replace(renewed.clone());
                    }
                    return;
                }
                Err(denied) => match reason::of_lost_access(&denied) {
                    Some(reason) => {
                        for some in case.clients.chunks(A_TURN) {
                            some.iter().for_each(|client| self.revoke(client, reason, &denied));
                            tokio::task::yield_now().await;
                        }
                        return;
                    }
                    None => ntex::time::sleep(PAUSE).await,
                },
            }
        }
    }

    async fn judge_sleepers(&self, case: &Case) {
        let access = &case.access;
        let renewed = loop {
            match self.broker.gateway.access_of(access.tenant_id, access.principal).await {
                Ok(renewed) => break renewed,
                Err(_) => ntex::time::sleep(PAUSE).await,
            }
        };
        for some in case.sleepers.chunks(A_TURN) {
            for id in some {
                match &renewed {
                    Some(renewed) => self.renew_sleeper(*id, renewed.clone()),
                    // A device that is disabled or gets another token may come back; one that was deleted does not.
                    None => {
                        self.end_sleeper(*id);
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// What waits for a client that is away is judged by the rules of now.
    fn renew_sleeper(&self, id: SubscriberId, access: ClientAccess) {
        if let Some(Place::Offline(sleeper)) = self.table.borrow_mut().get_mut(id) {
            sleeper.access = access;
        }
    }

    /// Whether a message on a topic may be given to a client.
    pub(crate) fn may_receive(&self, owner: &Owner, access: &ClientAccess, topic: &TopicName) -> bool {
        let may = self.broker.authorizer(access).may_receive(owner, topic);
        if !may {
            self.counters().denied.add(1);
        }
        may
    }

    /// Ends a connection of which the access is over by time.
    pub(crate) fn end_if_over(&self, client: &Client, now: Timestamp) {
        if client.access.borrow().until.is_some_and(|until| until <= now) {
            self.revoke(client, ReasonCode::NotAuthorized, &AccessDenied::BadCredentials);
        }
    }

    fn revoke(&self, client: &Client, reason: ReasonCode, denied: &AccessDenied) {
        tracing::info!(principal = %client.owner.principal, client = %Excerpt(client.owner.client_id.as_str()), %denied, "connection closed");
        self.counters().revocations.add(1);
        client.close(Closing::ByServer(reason));
    }
}

/// Whether a change is about the access of somebody.
pub(crate) fn concerns(change: AccessChange, tenant: TenantId, principal: Principal) -> bool {
    match change {
        AccessChange::Device { tenant_id, device_id } => {
            (tenant, principal) == (tenant_id, Principal::Device(device_id))
        }
        AccessChange::User { tenant_id, user_id } => (tenant, principal) == (tenant_id, Principal::User(user_id)),
        AccessChange::Tenant { tenant_id } => tenant == tenant_id,
        AccessChange::Session { .. } => false,
        AccessChange::Everything => true,
    }
}
