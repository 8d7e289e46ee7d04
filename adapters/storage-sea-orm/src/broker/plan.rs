//! What a list of changes comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pocket_domain::{TenantId, TopicName};
use pocket_ports::{
    BrokerChange, BrokerKey, DeliveryRecord, MessageRecord, Progress, SessionRecord, SubscriptionRecord,
};

/// Filter and group of a session's subscription.
pub(super) type SubscriptionKey = (BrokerKey, Box<str>, Option<Box<str>>);

/// The last change of a retained message; `None`: the topic is cleared.
pub(super) type RetainedChange = (BrokerKey, Option<Arc<MessageRecord>>);

/// What is to be written, each thing once.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Sessions to write.
    pub(super) sessions: BTreeMap<BrokerKey, Arc<SessionRecord>>,
    /// Sessions to remove with all that is theirs.
    pub(super) ended: BTreeSet<BrokerKey>,
    /// Subscriptions to write, or to remove.
    pub(super) subscriptions: BTreeMap<SubscriptionKey, Option<SubscriptionRecord>>,
    /// Packet ids to write, or to remove.
    pub(super) received: BTreeMap<(BrokerKey, u16), bool>,
    /// Messages to write if a delivery of this plan needs them.
    pub(super) messages: BTreeMap<BrokerKey, Arc<MessageRecord>>,
    /// Deliveries to write, with their messages.
    pub(super) deliveries: BTreeMap<BrokerKey, (DeliveryRecord, BrokerKey)>,
    /// How far deliveries came.
    pub(super) progress: BTreeMap<BrokerKey, Progress>,
    /// Deliveries to remove.
    pub(super) delivered: BTreeSet<BrokerKey>,
    /// Messages to remove if no delivery is left.
    pub(super) released: BTreeSet<BrokerKey>,
    /// Retained messages to write.
    pub(super) retained: BTreeMap<(TenantId, TopicName), RetainedChange>,
}

impl Plan {
    pub(super) fn of(changes: &[BrokerChange]) -> Self {
        let mut plan = Self::default();
        for change in changes {
            plan.add(change);
        }
        if !plan.ended.is_empty() {
            plan.forget_ended();
        }
        let needed: BTreeSet<BrokerKey> = plan.deliveries.values().map(|(_, message)| *message).collect();
        plan.messages.retain(|key, _| needed.contains(key));
        plan
    }

    fn add(&mut self, change: &BrokerChange) {
        match change {
            BrokerChange::SessionKept(session) => drop(self.sessions.insert(session.key, Arc::clone(session))),
            BrokerChange::SessionEnded(session) => drop(self.ended.insert(*session)),
            BrokerChange::Subscribed(session, subscription) => {
                let key = (*session, subscription.filter.clone(), subscription.group.clone());
                self.subscriptions.insert(key, Some(subscription.clone()));
            }
            BrokerChange::Unsubscribed(session, filter, group) => {
                self.subscriptions.insert((*session, filter.clone(), group.clone()), None);
            }
            BrokerChange::Received(session, packet_id) => drop(self.received.insert((*session, *packet_id), true)),
            BrokerChange::Completed(session, packet_id) => drop(self.received.insert((*session, *packet_id), false)),
            BrokerChange::Queued(message, deliveries) => {
                self.messages.insert(message.key, Arc::clone(message));
                self.deliveries.extend(deliveries.iter().map(|new| (new.key, (new.clone(), message.key))));
            }
            BrokerChange::Progressed(delivery, progress) => drop(self.progress.insert(*delivery, *progress)),
            BrokerChange::Delivered { delivery, message } => {
                self.progress.remove(delivery);
                // One that was queued in this plan was never written.
                if self.deliveries.remove(delivery).is_none() {
                    self.delivered.insert(*delivery);
                    self.released.insert(*message);
                }
            }
            BrokerChange::Retained(tenant, message) => {
                self.retain(*tenant, &message.topic, message.key, Some(Arc::clone(message)));
            }
            BrokerChange::Cleared { tenant_id, topic, key } => self.retain(*tenant_id, topic, *key, None),
        }
    }

    /// Takes out what is of sessions that ended: they are removed whole, and nothing of them is written.
    fn forget_ended(&mut self) {
        let Self { sessions, ended, subscriptions, received, deliveries, progress, .. } = self;
        let is_there = |session: &BrokerKey| !ended.contains(session);
        sessions.retain(|session, _| is_there(session));
        subscriptions.retain(|(session, ..), _| is_there(session));
        received.retain(|(session, _), _| is_there(session));
        deliveries.retain(|key, (delivery, _)| {
            let stays = is_there(&delivery.session);
            if !stays {
                progress.remove(key);
            }
            stays
        });
    }

    fn retain(&mut self, tenant: TenantId, topic: &TopicName, key: BrokerKey, message: Option<Arc<MessageRecord>>) {
        let place = self.retained.entry((tenant, topic.clone())).or_insert((key, None));
        if place.0 <= key {
            *place = (key, message);
        }
    }
}
