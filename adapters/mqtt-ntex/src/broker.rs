//! What all workers share.

use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use pocket_application::{ClientAccess, DeviceGateway};
use pocket_domain::{DeviceId, TenantId, TopicRights};
use pocket_mqtt_core::{
    Account, Authorizer, Client as Owner, Ledger, Level, Limits, Resource, RuleAuthorizer, StoreKeys, SubscriptionIndex,
};
use pocket_ports::{AccessChange, DeviceSession, DeviceSessions};
use tokio::sync::Notify;

use crate::bind::BindError;
use crate::config::MqttConfig;
use crate::full_sessions::FullSessions;
use crate::local_subscribers::LocalSubscribers;
use crate::mailbox::{Letter, Mailbox};
use crate::offline::OfflineSessions;
use crate::pending::PendingSockets;
use crate::presence::Presence;
use crate::registry::Registry;
use crate::restore::Restored;
use crate::retained_full::RetainedFull;
use crate::server::BoundBroker;
use crate::stats::{BrokerStats, Counters, TlsReloads};
use crate::subscriber::SubscriberId;
use crate::sys_topics::SystemStatus;
use crate::table::Sleeper;
use crate::tenant_quota::TenantQuota;
use crate::transport::Transport;

/// An MQTT broker for devices. One for each process; give it to the application as its [`DeviceSessions`].
pub struct Broker {
    pub(crate) config: MqttConfig,
    pub(crate) limits: Arc<Limits>,
    pub(crate) gateway: Arc<DeviceGateway>,
    authorizer: Arc<dyn Authorizer>,
    pub(crate) index: SubscriptionIndex<SubscriberId>,
    pub(crate) registry: Registry,
    pub(crate) presence: Presence,
    pub(crate) retained_full: RetainedFull,
    pub(crate) tenant_quota: Arc<TenantQuota>,
    /// Who keeps how much.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) pending: Arc<PendingSockets>,
    pub(crate) offline: OfflineSessions,
    pub(crate) full: FullSessions,
    pub(crate) mailboxes: Box<[Mailbox]>,
    pub(crate) counters: Box<[Counters]>,
    pub(crate) tls_reloads: TlsReloads,
    connections: AtomicUsize,
    connections_by_transport: [AtomicUsize; 4],
    sleepers: AtomicUsize,
    /// Keys of what is stored, and the order of retained messages.
    pub(crate) keys: StoreKeys,
    is_stored: AtomicBool,
    restored: Mutex<Restored>,
    /// Errands of all workers that wait for the ingest.
    pub(crate) errands: AtomicUsize,
    pub(crate) status: SystemStatus,
    /// Clients inside the process.
    pub(crate) local: LocalSubscribers,
    pub(crate) all_gone: Notify,
    stopping: AtomicBool,
    free_workers: Mutex<Vec<u16>>,
    random_state: std::hash::RandomState,
    random_counter: AtomicU64,
    next_serial: AtomicU64,
}

impl Broker {
    /// A broker that does not listen yet.
    pub fn new(config: MqttConfig, gateway: Arc<DeviceGateway>, authorizer: Arc<dyn Authorizer>) -> Arc<Self> {
        let workers = u16::try_from(config.workers.max(1)).unwrap_or(u16::MAX);
        let ledger = Ledger::new(&config.limits);
        Arc::new(Self {
            limits: Arc::new(config.limits.clone()),
            presence: Presence::new(config.limits.publish_rate),
            tenant_quota: Arc::default(),
            pending: PendingSockets::new(&config.limits),
            offline: OfflineSessions::default(),
            full: FullSessions::default(),
            index: SubscriptionIndex::counted_in(Arc::clone(&ledger)),
            ledger,
            config,
            gateway,
            authorizer,
            registry: Registry::default(),
            retained_full: RetainedFull::default(),
            mailboxes: (0..workers).map(|_| Mailbox::default()).collect(),
            counters: (0..workers).map(|_| Counters::default()).collect(),
            tls_reloads: TlsReloads::default(),
            connections: AtomicUsize::new(0),
            connections_by_transport: Default::default(),
            sleepers: AtomicUsize::new(0),
            keys: StoreKeys::default(),
            is_stored: AtomicBool::new(false),
            restored: Mutex::default(),
            errands: AtomicUsize::new(0),
            status: SystemStatus::new(Instant::now()),
            local: LocalSubscribers::default(),
            all_gone: Notify::new(),
            stopping: AtomicBool::new(false),
            free_workers: Mutex::new((0..workers).rev().collect()),
            random_state: std::hash::RandomState::new(),
            random_counter: AtomicU64::new(0),
            next_serial: AtomicU64::new(0),
        })
    }

    /// Takes the ports. Nothing is accepted yet.
    ///
    /// # Errors
    /// When an address or a certificate cannot be used; the message says which and why.
    pub fn bind(self: &Arc<Self>) -> Result<BoundBroker, BindError> {
        BoundBroker::bind(Arc::clone(self))
    }

    /// What it did and holds.
    pub fn stats(&self) -> BrokerStats {
        let (clients, most_clients) = self.tenant_quota.present();
        let mut stats = BrokerStats {
            clients: clients as u64,
            most_clients: most_clients as u64,
            connections: self.connections.load(Ordering::Relaxed) as u64,
            connections_by_transport: self
                .connections_by_transport
                .each_ref()
                .map(|open| open.load(Ordering::Relaxed) as u64),
            sleeping_sessions: self.sleepers.load(Ordering::Relaxed) as u64,
            retained_messages: self.index.retained_count() as u64,
            retained_bytes: self.index.retained_bytes() as u64,
            subscriptions: self.index.count() as u64,
            kept_bytes: self.ledger.held(Resource::Bytes) as u64,
            kept_sessions: self.ledger.held(Resource::Sessions) as u64,
            refused_at_limits: Resource::ALL
                .map(|resource| Level::ALL.map(|level| self.ledger.refused(resource, level))),
            pending_connections: self.pending.count() as u64,
            pending_evicted: self.pending.evicted(),
            ..BrokerStats::default()
        };
        for counters in &self.counters {
            counters.add_to(&mut stats);
        }
        self.tls_reloads.add_to(&mut stats);
        stats
    }

    /// Who judges clients that have this access.
    pub(crate) fn authorizer<'a>(&'a self, access: &'a ClientAccess) -> RuleAuthorizer<'a> {
        RuleAuthorizer::new(&*self.authorizer, access.rights, access.rules.as_deref())
    }

    /// Who judges the program that the broker runs in.
    pub(crate) fn host_authorizer(&self) -> RuleAuthorizer<'_> {
        RuleAuthorizer::new(&*self.authorizer, TopicRights::TENANT, None)
    }

    /// A worker for a client that has none, another one for the next.
    pub(crate) fn some_worker(&self) -> u16 {
        let number = self.random_counter.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len() as u64;
        u16::try_from(number).unwrap_or_default()
    }

    /// Sends a letter to every worker.
    pub(crate) fn post_to_all(&self, letter: impl Fn() -> Letter) {
        for mailbox in &self.mailboxes {
            mailbox.post(letter());
        }
    }

    /// From now on no client is accepted.
    pub(crate) fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sockets that are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Counts a socket as long as the guard lives; `None` when there are far too many: all clients and all whose CONNECT has not
    /// come have their places, and some are just being refused.
    pub(crate) fn count_connection(self: &Arc<Self>, transport: Transport) -> Option<ConnectionGuard> {
        let guard = ConnectionGuard(Arc::clone(self), transport);
        self.connections_by_transport[transport.index()].fetch_add(1, Ordering::Relaxed);
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        let limit = self.limits.connections.saturating_add(self.limits.pending_connections.saturating_mul(2));
        (before < limit).then_some(guard)
    }

    /// A session begins to wait for its client, or has stopped to.
    pub(crate) fn count_sleeper(&self, owner: &Owner, id: SubscriberId, begins: bool) {
        if begins {
            self.sleepers.fetch_add(1, Ordering::Relaxed);
            self.offline.insert(owner, id);
        } else {
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
            self.offline.remove(owner, id);
        }
    }

    /// The account of a client's device or person.
    pub(crate) fn account(&self, owner: &Owner) -> Arc<Account> {
        self.ledger.account(owner.tenant_id, owner.principal)
    }

    /// Whether sessions and retained messages are stored.
    pub(crate) fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stored(&self) {
        self.is_stored.store(true, Ordering::Relaxed);
    }

    /// The sessions that a worker is to start with.
    pub(crate) fn take_restored(&self, worker: u16) -> Vec<(SubscriberId, Sleeper)> {
        let mut restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
        restored.get_mut(usize::from(worker)).map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn put_restored(&self, restored: Restored) {
        *self.restored.lock().unwrap_or_else(PoisonError::into_inner) = restored;
    }

    /// A number for a worker thread that starts.
    pub(crate) fn claim_worker(&self) -> io::Result<u16> {
        let number = self.free_workers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        number.ok_or_else(|| io::Error::other("more MQTT workers than were configured"))
    }

    /// The number of a worker thread that ended.
    pub(crate) fn return_worker(&self, number: u16) {
        self.free_workers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    }

    /// Bytes for client ids that the server assigns: not repeated, and not to be guessed from outside.
    pub(crate) fn random(&self) -> [u8; 16] {
        let half = || self.random_state.hash_one(self.random_counter.fetch_add(1, Ordering::Relaxed));
        (u128::from(half()) << 64 | u128::from(half())).to_be_bytes()
    }

    /// The serial number of a subscriber that begins. Members of a shared group are asked in this order.
    pub(crate) fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }
}

#[async_trait]
impl DeviceSessions for Broker {
    fn access_changed(&self, change: AccessChange) {
        self.local.access_changed(change);
        self.post_to_all(|| Letter::Recheck(change));
    }

    async fn sessions_of(&self, tenant: TenantId, device: DeviceId) -> Vec<DeviceSession> {
        self.list_sessions(tenant, device).await
    }
}

/// An open socket.
pub(crate) struct ConnectionGuard(Arc<Broker>, Transport);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.connections_by_transport[self.1.index()].fetch_sub(1, Ordering::Relaxed);
        if self.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_gone.notify_waiters();
        }
    }
}
