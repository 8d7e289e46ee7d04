//! The state of brokers: plain maps for each node, changed in the order of the changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{DeviceId, NodeName, TenantId, Timestamp, TopicName};
use pocket_ports::{
    AccessChange, BrokerChange, BrokerKey, BrokerState, BrokerStore, ClientDigest, DeliveryRecord, DeviceSession,
    MessageRecord, Progress, SessionContent, SessionRecord, SessionRepository, StorageError, StoredSession,
    SubscriptionRecord,
};

use crate::Memory;
use crate::presence::Heard;
use crate::state::State;

/// How far behind the newest key a cleared topic is remembered, so that a message that was retained before is not kept.
const CLEARED_REMEMBERED: u64 = 100_000;

/// A session's subscription by its filter and group.
type SubscriptionKey = (BrokerKey, Box<str>, Option<Box<str>>);
type Delivery = (DeliveryRecord, Arc<MessageRecord>, Option<Progress>);

/// What one broker must not forget.
#[derive(Default)]
pub(crate) struct Node {
    sessions: BTreeMap<BrokerKey, Arc<SessionRecord>>,
    subscriptions: BTreeMap<SubscriptionKey, SubscriptionRecord>,
    received: BTreeSet<(BrokerKey, u16)>,
    deliveries: BTreeMap<BrokerKey, Delivery>,
    /// With the key of the message, or of the change that cleared the topic.
    retained: HashMap<(TenantId, TopicName), (BrokerKey, Option<MessageRecord>)>,
    last_key: u64,
}

impl Node {
    pub(crate) fn apply(&mut self, change: &BrokerChange) {
        self.last_key = self.last_key.max(last_key(change));
        match change {
            BrokerChange::SessionKept(session) => {
                self.sessions.insert(session.key, Arc::clone(session));
            }
            BrokerChange::SessionEnded(key) => {
                self.sessions.remove(key);
                self.subscriptions.retain(|(session, ..), _| session != key);
                self.received.retain(|(session, _)| session != key);
                self.deliveries.retain(|_, (delivery, ..)| delivery.session != *key);
            }
            BrokerChange::Subscribed(session, subscription) => {
                let key = (*session, subscription.filter.clone(), subscription.group.clone());
                self.subscriptions.insert(key, subscription.clone());
            }
            BrokerChange::Unsubscribed(session, filter, group) => {
                self.subscriptions.remove(&(*session, filter.clone(), group.clone()));
            }
            BrokerChange::Received(session, packet_id) => drop(self.received.insert((*session, *packet_id))),
            BrokerChange::Completed(session, packet_id) => drop(self.received.remove(&(*session, *packet_id))),
            BrokerChange::Queued(message, deliveries) => {
                let entries = deliveries.iter().map(|new| (new.key, (new.clone(), Arc::clone(message), None)));
                self.deliveries.extend(entries);
            }
            BrokerChange::Progressed(delivery, progress) => {
                if let Some((.., present)) = self.deliveries.get_mut(delivery) {
                    *present = Some(*progress);
                }
            }
            BrokerChange::Delivered { delivery, .. } => drop(self.deliveries.remove(delivery)),
            BrokerChange::Retained(tenant_id, message) => {
                self.retain(*tenant_id, message.topic.clone(), message.key, Some(MessageRecord::clone(message)));
            }
            BrokerChange::Cleared { tenant_id, topic, key } => self.retain(*tenant_id, topic.clone(), *key, None),
        }
    }

    fn retain(&mut self, tenant: TenantId, topic: TopicName, key: BrokerKey, message: Option<MessageRecord>) {
        if message.is_none() {
            let forgotten = self.last_key.saturating_sub(CLEARED_REMEMBERED);
            self.retained.retain(|_, (key, message)| message.is_some() || key.get() > forgotten);
        }
        let place = self.retained.entry((tenant, topic)).or_insert((key, None));
        if place.0 <= key {
            *place = (key, message);
        }
    }

    /// The sessions whose devices are there, with all that is theirs.
    fn sessions(&self, state: &State) -> Vec<StoredSession> {
        let here = |session: &SessionRecord| state.device(session.tenant_id, session.device_id).is_some();
        let sessions = self.sessions.values().filter(|session| here(session)).map(|session| {
            let of = session.key;
            StoredSession {
                session: SessionRecord::clone(session),
                subscriptions: self
                    .subscriptions
                    .iter()
                    .filter(|((s, ..), _)| *s == of)
                    .map(|(_, s)| s.clone())
                    .collect(),
                received: self.received.range((of, 0)..=(of, u16::MAX)).map(|(_, id)| *id).collect(),
                deliveries: self.deliveries.values().filter(|(d, ..)| d.session == of).cloned().collect(),
            }
        });
        sessions.collect()
    }
}

/// A session as people see it.
fn session(node: &NodeName, stored: &StoredSession) -> DeviceSession {
    let mut content = SessionContent {
        expiry_seconds: stored.session.expiry_seconds,
        queued_messages: stored.deliveries.len() as u64,
        queued_bytes: stored.deliveries.iter().map(|(_, message, _)| message.payload.len() as u64).sum(),
        ..SessionContent::default()
    };
    content.set_subscriptions(stored.subscriptions.iter().cloned().map(Into::into).collect());
    DeviceSession {
        node: node.clone(),
        client_id: stored.session.client_id.clone(),
        is_connected: stored.session.left_at.is_none(),
        since: stored.session.left_at,
        protocol: None,
        content: Some(content),
    }
}

/// The largest key that a change gives.
fn last_key(change: &BrokerChange) -> u64 {
    match change {
        BrokerChange::SessionKept(session) => session.key.get(),
        BrokerChange::Queued(message, deliveries) => {
            deliveries.iter().map(|delivery| delivery.key).max().unwrap_or(message.key).max(message.key).get()
        }
        BrokerChange::Retained(_, message) => message.key.get(),
        BrokerChange::Cleared { key, .. } => key.get(),
        _ => 0,
    }
}

#[async_trait]
impl BrokerStore for Memory {
    /// Nobody else can reach this storage.
    async fn claim(&self, _: &NodeName) -> Result<(), StorageError> {
        Ok(())
    }

    async fn load(&self, node: &NodeName, now: Timestamp) -> Result<BrokerState, StorageError> {
        let state = self.state();
        let Some(node) = state.brokers.get(node) else { return Ok(BrokerState::default()) };
        let retained = node.retained.iter().filter_map(|((tenant, _), (_, message))| Some((*tenant, message.clone()?)));
        let retained = retained.filter(|(tenant, message)| {
            state.tenants.contains_key(tenant) && message.expires_at.is_none_or(|at| at > now)
        });
        Ok(BrokerState { sessions: node.sessions(&state), retained: retained.collect(), last_key: node.last_key })
    }
}

#[async_trait]
impl SessionRepository for Memory {
    async fn sessions_of(
        &self,
        tenant: TenantId,
        device: DeviceId,
        except: Option<&NodeName>,
    ) -> Result<Vec<DeviceSession>, StorageError> {
        let state = self.state();
        if state.device(tenant, device).is_none() {
            return Ok(Vec::new());
        }
        let mut sessions = Vec::new();
        for (name, node) in state.brokers.iter().filter(|(name, _)| Some(*name) != except) {
            let all = node.sessions(&state).into_iter().filter(|stored| stored.session.device_id == device);
            sessions.extend(all.map(|stored| session(name, &stored)));
        }
        let online = state.heard.get(&device).into_iter().flat_map(Heard::nodes);
        let online = online.filter(|(name, _)| Some(*name) != except);
        for (node, connection) in online {
            let (client_id, protocol) = ((*connection.peer.client_id).into(), (*connection.peer.protocol).into());
            DeviceSession::add_connection(&mut sessions, node.clone(), client_id, protocol);
        }
        Ok(sessions)
    }

    async fn end_session(&self, tenant: TenantId, device: DeviceId, client_id: &str) -> Result<(), StorageError> {
        let mut state = self.state();
        if state.device(tenant, device).is_none() {
            return Err(StorageError::NotFound);
        }
        for node in state.brokers.values_mut() {
            node.sessions.retain(|_, session| session.device_id != device || *session.client_id != *client_id);
        }
        let client = ClientDigest::of(client_id);
        state.log(AccessChange::Session { tenant_id: tenant, device_id: device, client });
        Ok(())
    }
}
