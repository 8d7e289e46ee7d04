//! What a session takes of the account of its device or person.

use std::sync::Arc;

use pocket_domain::TopicFilter;

use crate::weight::{NODE, PACKET_ID, SESSION, SUBSCRIPTION};
use crate::{Account, GroupName, Level, PacketId, Purse, Resource, Session, SessionChange, Subscription, Will};

/// What was taken. Given back with the session.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Purse,
    /// It has a place among the sessions that outlive their connections.
    has_place: bool,
    subscriptions: usize,
    /// Bytes of the nodes of its filters, of the device's own limit: the tenant counts each node once, whoever shares it.
    nodes: usize,
    will: usize,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(account) = self.bytes.account() else { return };
        account.shrink(Resource::Sessions, self.has_place.into());
        account.shrink(Resource::Subscriptions, self.subscriptions);
        account.shrink_alone(Resource::Bytes, self.nodes);
    }
}

impl Session {
    /// From now on it takes what it keeps from this account, beginning with what it has already.
    pub fn charge_to(&mut self, account: &Arc<Account>) {
        if self.kept.bytes.account().is_some() {
            return;
        }
        let held = self.subscriptions.values().map(|held| weight(&held.filter, held.group.as_ref()));
        let bytes = held.sum::<usize>() + PACKET_ID * self.incoming.exactly_once() + self.outgoing.backlog().1;
        let nodes = self.subscriptions.values().map(|held| nodes(&held.filter)).sum();
        let subscriptions = self.subscriptions.len();
        account.grow_anyway(Resource::Subscriptions, subscriptions);
        account.grow_alone_anyway(Resource::Bytes, nodes);
        let mut purse = Purse::of(account);
        purse.take_anyway(bytes);
        self.kept = Kept { bytes: purse, has_place: false, subscriptions, nodes, will: 0 };
    }

    /// Takes a place among the sessions that outlive their connections, unless it has one.
    ///
    /// # Errors
    /// Whose limit is in the way.
    pub fn take_place(&mut self) -> Result<(), Level> {
        let Some(account) = self.kept.bytes.account().filter(|_| !self.kept.has_place) else { return Ok(()) };
        account.grow(Resource::Sessions, 1)?;
        // From here on it is given back with the session.
        self.kept.has_place = true;
        if self.kept.bytes.take(SESSION) {
            return Ok(());
        }
        self.kept.has_place = false;
        if let Some(account) = self.kept.bytes.account() {
            account.shrink(Resource::Sessions, 1);
        }
        Err(Level::Tenant)
    }

    /// The same for a session that was there before, whatever the limits say.
    pub fn take_place_anyway(&mut self) {
        if let Some(account) = self.kept.bytes.account().filter(|_| !self.kept.has_place) {
            account.grow_anyway(Resource::Sessions, 1);
            self.kept.has_place = true;
            self.kept.bytes.take_anyway(SESSION);
        }
    }

    /// Takes what a will takes, in place of what the will before it took; `false` when there is no room for it.
    pub fn keep_will(&mut self, will: Option<&Will>) -> bool {
        self.kept.bytes.give(std::mem::take(&mut self.kept.will));
        let bytes = will.map_or(0, |will| will.message.weight());
        let has_room = self.kept.bytes.take(bytes);
        if has_room {
            self.kept.will = bytes;
        }
        has_room
    }

    /// Gives back what is not used at the moment. To be called now and then.
    pub fn trim(&mut self) {
        self.kept.bytes.trim();
    }

    /// Takes what a new subscription takes; `false` when there is no room for it.
    pub(crate) fn keep_subscription(&mut self, filter: &TopicFilter, group: Option<&GroupName>) -> bool {
        let (bytes, nodes) = (weight(filter, group), nodes(filter));
        // The nodes are counted for the tenant where they are made; whether it has room for them is asked here.
        if !self.kept.bytes.take(bytes + nodes) {
            return false;
        }
        self.kept.bytes.give(nodes);
        if let Some(account) = self.kept.bytes.account() {
            let is_taken = account.grow(Resource::Subscriptions, 1).is_ok();
            if !is_taken || account.grow_alone(Resource::Bytes, nodes).is_err() {
                account.shrink(Resource::Subscriptions, is_taken.into());
                self.kept.bytes.give(bytes);
                return false;
            }
            self.kept.subscriptions += 1;
            self.kept.nodes += nodes;
        }
        true
    }

    /// A subscription is gone.
    pub(crate) fn give_subscription(&mut self, filter: &TopicFilter, group: Option<&GroupName>) {
        let nodes = nodes(filter);
        self.kept.bytes.give(weight(filter, group));
        if let Some(account) = self.kept.bytes.account() {
            account.shrink(Resource::Subscriptions, 1);
            account.shrink_alone(Resource::Bytes, nodes);
            self.kept.subscriptions -= 1;
            self.kept.nodes -= nodes;
        }
    }

    /// Takes a subscription back that the index has no room for.
    pub fn take_back(&mut self, subscription: &Subscription) {
        let (filter, group) = (subscription.filter.clone(), subscription.group.clone());
        let key = (filter, group);
        if self.subscriptions.remove(&key).is_some() {
            let (filter, group) = key;
            self.give_subscription(&filter, group.as_ref());
            self.note(SessionChange::Unsubscribed(filter, group));
        }
    }

    /// Takes what the packet id of a message of QoS 2 takes; `false` when there is no room for it.
    pub(crate) fn keep_packet_id(&mut self) -> bool {
        self.kept.bytes.take(PACKET_ID)
    }

    /// PUBREL: `false` when the id is not known.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        let is_known = self.incoming.release(id);
        if is_known {
            self.kept.bytes.give(PACKET_ID);
        }
        is_known
    }

    /// PUBREC of failure was sent: the id is free again.
    pub(crate) fn refuse(&mut self, id: PacketId) {
        if self.incoming.refused(id) {
            self.kept.bytes.give(PACKET_ID);
        }
    }
}

fn weight(filter: &TopicFilter, group: Option<&GroupName>) -> usize {
    SUBSCRIPTION + 2 * filter.as_str().len() + group.map_or(0, |group| 2 * group.as_str().len())
}

fn nodes(filter: &TopicFilter) -> usize {
    NODE * filter.levels().count()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pocket_domain::{DeviceId, Principal, TenantId, Timestamp, TopicName};

    use super::*;
    use crate::inflight::Inflight;
    use crate::{
        Delivery, Ledger, Level, Limits, Message, Offer, ProtocolVersion, QoS, SubscriptionOptions,
        subscription::Target,
    };

    fn account(limits: &Limits) -> (Arc<Ledger>, Arc<Account>) {
        let ledger = Ledger::new(limits);
        let device = Principal::Device(DeviceId::new(Timestamp::MIN, [2; 10]));
        let account = ledger.account(TenantId::new(Timestamp::MIN, [1; 10]), device);
        (ledger, account)
    }

    fn session(limits: Limits) -> (Session, Arc<Ledger>) {
        let (ledger, account) = account(&limits);
        let mut session = Session::new(Arc::new(limits), ProtocolVersion::V5, 10);
        session.charge_to(&account);
        (session, ledger)
    }

    fn delivery(payload: &[u8]) -> Delivery {
        let message = Message {
            topic: TopicName::parse("t").unwrap(),
            payload: Bytes::copy_from_slice(payload),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_at: None,
        };
        let message = Arc::new(message);
        let (identifiers, group, stored) = (Vec::new(), None, None);
        Delivery { message, qos: QoS::AtLeastOnce, retain: false, identifiers, group, stored }
    }

    #[test]
    fn a_session_takes_what_it_keeps_and_gives_it_back() {
        let (mut session, ledger) = session(Limits::default());
        session.take_place().unwrap();
        let Target { filter, group } = Target::parse("$share/g/a/+").unwrap();
        assert!(session.keep_subscription(&filter, group.as_ref()));
        let message = delivery(&[7; 100]);
        let weight = message.message.weight();
        assert_eq!(session.offer(message.clone()), Offer::Queued);
        assert_eq!(session.offer(message), Offer::Queued);
        session.trim();
        let kept = SESSION + super::weight(&filter, group.as_ref());
        assert_eq!(ledger.held(Resource::Bytes), kept + 2 * weight);
        assert_eq!((ledger.held(Resource::Sessions), ledger.held(Resource::Subscriptions)), (1, 1));
        // In the window it is kept, too, until it is acknowledged.
        assert!(session.next(Timestamp::MIN).is_some());
        session.end(PacketId::MIN, Inflight::acknowledge);
        session.give_subscription(&filter, group.as_ref());
        session.trim();
        assert_eq!(ledger.held(Resource::Bytes), SESSION + weight);
        drop(session);
        for resource in Resource::ALL {
            assert_eq!(ledger.held(resource), 0, "{resource:?}");
        }
    }

    #[test]
    fn what_a_device_may_keep_is_shared_by_its_sessions() {
        let weight = delivery(&[7; 1_000]).message.weight();
        let limits = Limits { device_bytes: 3 * weight, ..Limits::default() };
        let (_ledger, account) = account(&limits);
        let limits = Arc::new(limits);
        let mut sessions: Vec<Session> = (0..2)
            .map(|_| {
                let mut session = Session::new(Arc::clone(&limits), ProtocolVersion::V5, 10);
                session.charge_to(&account);
                session
            })
            .collect();
        let mut offer = |place: usize| sessions[place].offer(delivery(&[7; 1_000]));
        assert_eq!([offer(0), offer(0), offer(1), offer(1)][3], Offer::Dropped);
        drop(sessions.remove(0));
        assert_eq!(sessions[0].offer(delivery(&[7; 1_000])), Offer::Queued);
    }

    #[test]
    fn subscriptions_of_a_device_are_bounded_over_all_its_sessions() {
        let (mut session, ledger) = session(Limits { device_subscriptions: 2, ..Limits::default() });
        let filters: Vec<TopicFilter> = ["a", "b", "c"].map(|text| TopicFilter::parse(text).unwrap()).into();
        let kept: Vec<bool> = filters.iter().map(|filter| session.keep_subscription(filter, None)).collect();
        assert_eq!(kept, [true, true, false]);
        session.take_back(&Subscription {
            filter: filters[0].clone(),
            group: None,
            options: SubscriptionOptions::default(),
            identifier: None,
        });
        assert_eq!(ledger.held(Resource::Subscriptions), 2, "it was not in the session");
        session.give_subscription(&filters[0], None);
        assert!(session.keep_subscription(&filters[2], None));
    }

    #[test]
    fn subscriptions_of_a_tenant_are_bounded_and_leave_other_tenants_theirs() {
        let limits = Limits { tenant_subscriptions: 2, ..Limits::default() };
        let ledger = Ledger::new(&limits);
        let session_of = |tenant, device| {
            let tenant = TenantId::new(Timestamp::MIN, [tenant; 10]);
            let device = Principal::Device(DeviceId::new(Timestamp::MIN, [device; 10]));
            let mut session = Session::new(Arc::new(limits.clone()), ProtocolVersion::V5, 10);
            session.charge_to(&ledger.account(tenant, device));
            session
        };
        let (mut one, mut other, mut stranger) = (session_of(1, 1), session_of(1, 2), session_of(2, 3));
        let filter = |text| TopicFilter::parse(text).unwrap();
        assert!(one.keep_subscription(&filter("a"), None) && other.keep_subscription(&filter("a"), None));
        assert!(!one.keep_subscription(&filter("+/b"), None) && !other.keep_subscription(&filter("#"), None));
        assert!(stranger.keep_subscription(&filter("#"), None));
        assert_eq!(ledger.refused(Resource::Subscriptions, Level::Tenant), 2);
        other.give_subscription(&filter("a"), None);
        assert!(one.keep_subscription(&filter("+/b"), None));
    }

    #[test]
    fn a_session_that_was_restored_takes_what_it_has() {
        let limits = Limits { kept_bytes: 0, sessions: 0, ..Limits::default() };
        let (ledger, account) = account(&limits);
        let mut session = Session::new(Arc::new(limits), ProtocolVersion::V5, 10);
        session.offer(delivery(b"1"));
        session.charge_to(&account);
        session.take_place_anyway();
        let weight = delivery(b"1").message.weight();
        assert_eq!((ledger.held(Resource::Bytes), ledger.held(Resource::Sessions)), (SESSION + weight, 1));
        assert_eq!(session.offer(delivery(b"1")), Offer::Dropped, "it takes no more");
    }
}
