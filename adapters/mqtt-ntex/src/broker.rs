//! What all workers share.

use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pocket_application::{DeviceAccess, DeviceGateway};
use pocket_mqtt_core::{Authorizer, Limits, RuleAuthorizer, SubscriptionIndex};
use pocket_ports::{AccessChange, DeviceSessions};
use tokio::sync::Notify;

use crate::config::MqttConfig;
use crate::mailbox::{Letter, Mailbox};
use crate::presence::Presence;
use crate::registry::Registry;
use crate::server::{BindError, BoundBroker};
use crate::stats::{BrokerStats, Counters};
use crate::subscriber::SubscriberId;
use crate::tenant_quota::TenantQuota;

/// Sockets beyond the limit that are still told why they are refused; more are closed at once. An eighth of the limit, at
/// least and at most so many.
const POLITE_REFUSALS: (usize, usize) = (16, 1_024);

/// An MQTT broker for devices. One for each process; give it to the application as its [`DeviceSessions`].
pub struct Broker {
    pub(crate) config: MqttConfig,
    pub(crate) limits: Arc<Limits>,
    pub(crate) gateway: Arc<DeviceGateway>,
    authorizer: Arc<dyn Authorizer>,
    pub(crate) index: SubscriptionIndex<SubscriberId>,
    pub(crate) registry: Registry,
    pub(crate) presence: Presence,
    pub(crate) tenant_quota: Arc<TenantQuota>,
    pub(crate) mailboxes: Box<[Mailbox]>,
    pub(crate) counters: Box<[Counters]>,
    connections: AtomicUsize,
    sleepers: AtomicUsize,
    pub(crate) all_gone: Notify,
    stopping: AtomicBool,
    free_workers: Mutex<Vec<u16>>,
    random_state: std::hash::RandomState,
    random_counter: AtomicU64,
}

impl Broker {
    /// A broker that does not listen yet.
    pub fn new(config: MqttConfig, gateway: Arc<DeviceGateway>, authorizer: Arc<dyn Authorizer>) -> Arc<Self> {
        let workers = u16::try_from(config.workers.max(1)).unwrap_or(u16::MAX);
        Arc::new(Self {
            limits: Arc::new(config.limits.clone()),
            presence: Presence::new(config.limits.publish_rate),
            tenant_quota: TenantQuota::new(config.limits.tenant_connections),
            config,
            gateway,
            authorizer,
            index: SubscriptionIndex::default(),
            registry: Registry::default(),
            mailboxes: (0..workers).map(|_| Mailbox::default()).collect(),
            counters: (0..workers).map(|_| Counters::default()).collect(),
            connections: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            all_gone: Notify::new(),
            stopping: AtomicBool::new(false),
            free_workers: Mutex::new((0..workers).rev().collect()),
            random_state: std::hash::RandomState::new(),
            random_counter: AtomicU64::new(0),
        })
    }

    /// Takes the port. Nothing is accepted yet.
    ///
    /// # Errors
    /// When the address cannot be used; the message says which and why.
    pub fn bind(self: &Arc<Self>) -> Result<BoundBroker, BindError> {
        BoundBroker::bind(Arc::clone(self))
    }

    /// What it did and holds.
    pub fn stats(&self) -> BrokerStats {
        let mut stats = BrokerStats {
            connections: self.connections.load(Ordering::Relaxed) as u64,
            sleeping_sessions: self.sleepers.load(Ordering::Relaxed) as u64,
            retained_messages: self.index.retained_count() as u64,
            subscriptions: self.index.count() as u64,
            ..BrokerStats::default()
        };
        for counters in &self.counters {
            counters.add_to(&mut stats);
        }
        stats
    }

    /// Who judges the clients of a device that has this access.
    pub(crate) fn authorizer<'a>(&'a self, access: &'a DeviceAccess) -> RuleAuthorizer<'a> {
        RuleAuthorizer::new(&*self.authorizer, access.rules.as_deref())
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

    pub(crate) fn is_over_connection_limit(&self) -> bool {
        self.open_connections() > self.limits.connections
    }

    /// Counts a socket as long as the guard lives; `None` when there are far too many.
    pub(crate) fn count_connection(self: &Arc<Self>) -> Option<ConnectionGuard> {
        let guard = ConnectionGuard(Arc::clone(self));
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        let (least, most) = POLITE_REFUSALS;
        let polite = (self.limits.connections / 8).clamp(least, most);
        (before < self.limits.connections.saturating_add(polite)).then_some(guard)
    }

    /// A session begins to wait for its client, or has stopped to; `false` when there is no place for one more.
    pub(crate) fn count_sleeper(&self, begins: bool) -> bool {
        if !begins {
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
            return true;
        }
        let limit = self.limits.sessions;
        let one_more = |count: usize| (count < limit).then_some(count + 1);
        self.sleepers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
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
    pub(crate) fn random(&self) -> [u8; 8] {
        self.random_state.hash_one(self.random_counter.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
    }
}

impl DeviceSessions for Broker {
    fn access_changed(&self, change: AccessChange) {
        self.post_to_all(|| Letter::Recheck(change));
    }
}

/// An open socket.
pub(crate) struct ConnectionGuard(Arc<Broker>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_gone.notify_waiters();
        }
    }
}
