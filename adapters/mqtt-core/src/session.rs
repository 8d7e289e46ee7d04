//! What a client and the broker must remember of each other, whether or not they are connected at the moment.

use std::collections::HashMap;
use std::sync::Arc;

use pocket_domain::{Timestamp, TopicFilter};

use crate::acknowledgements::Acknowledgements;
use crate::incoming::Incoming;
use crate::inflight::{Inflight, Stage};
use crate::kept::Kept;
use crate::outgoing::Outgoing;
use crate::{
    Ack, Acknowledgement, BatchId, Closing, Delivery, GroupName, Limits, NewSubscription, Offer, Outcome,
    OutgoingPacket, Packet, PacketId, ProtocolVersion, QoS, ReasonCode, Reply, SessionChange, Settled, StoreKey,
    StoredAs, SubscribeAck, Subscription,
};

/// Subscriptions and the state of QoS 1 and 2 in both directions. [MQTT-4.1.0-1]
#[derive(Debug)]
pub struct Session {
    pub(crate) subscriptions: HashMap<(TopicFilter, Option<GroupName>), Subscription>,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    acknowledgements: Acknowledgements,
    pub(crate) key: Option<StoreKey>,
    pub(crate) changes: Vec<SessionChange>,
    pub(crate) kept: Kept,
    limits: Arc<Limits>,
    version: ProtocolVersion,
    /// Messages that the client accepts unacknowledged.
    window: u16,
}

impl Session {
    /// A session without any state for a client of this version and receive maximum.
    pub(crate) fn new(limits: Arc<Limits>, version: ProtocolVersion, receive_maximum: u16) -> Self {
        let window = receive_maximum.min(limits.inflight);
        Self {
            subscriptions: HashMap::new(),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            acknowledgements: Acknowledgements::default(),
            key: None,
            changes: Vec::new(),
            kept: Kept::default(),
            limits,
            version,
            window,
        }
    }

    /// The client is back on a new connection, perhaps with another version and receive maximum.
    pub(crate) fn resume(&mut self, version: ProtocolVersion, receive_maximum: u16) {
        self.version = version;
        self.window = receive_maximum.min(self.limits.inflight);
        self.outgoing.resume();
        // What was not acknowledged at QoS 1, the client sends again; an acknowledgement of the old connection would
        // end the new exchange of the same id.
        self.incoming.resume();
        self.acknowledgements.forget_connection();
    }

    /// Its subscriptions.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.values()
    }

    /// Whether it has a subscription with this filter and group.
    pub fn holds(&self, subscription: &Subscription) -> bool {
        self.subscriptions.contains_key(&(subscription.filter.clone(), subscription.group.clone()))
    }

    /// Takes a message of QoS 1 or 2 for the client.
    pub fn offer(&mut self, delivery: Delivery) -> Offer {
        self.outgoing.offer(delivery, &self.limits, &mut self.kept.bytes)
    }

    /// Under which keys the messages are stored that wait for the client or were not acknowledged.
    pub fn stored(&self) -> impl Iterator<Item = StoredAs> {
        self.outgoing.all().filter_map(|(delivery, _)| delivery.stored)
    }

    /// Takes back what was meant for any member of a group and did not reach this one, for other members.
    pub fn take_shared(&mut self) -> Vec<Delivery> {
        let taken = self.outgoing.take_shared();
        self.kept.bytes.give(taken.iter().map(|delivery| delivery.message.weight()).sum());
        taken
    }

    /// The next packet to send, if the client's window has room.
    pub fn next(&mut self, now: Timestamp) -> Option<OutgoingPacket> {
        let Self { outgoing, changes, kept, .. } = self;
        let lost = |delivery: Delivery| {
            kept.bytes.give(delivery.message.weight());
            changes.extend(delivery.stored.map(SessionChange::Delivered));
        };
        // [MQTT-3.3.4-9] never more unacknowledged than the client's receive maximum
        let next = outgoing.next(self.window, now, lost);
        if let Some(OutgoingPacket::Record(id)) = next {
            self.note_progress_of(id, false);
        }
        next
    }

    /// Ends a message that cannot be sent after all.
    pub fn discard(&mut self, id: PacketId) {
        self.end(id, Inflight::discard);
    }

    /// Ends the exchange of a message to the client with `end`, if it was due.
    pub(crate) fn end(&mut self, id: PacketId, end: impl FnOnce(&mut Inflight, PacketId) -> Option<Delivery>) {
        let Some(delivery) = self.outgoing.end(id, end) else { return };
        self.kept.bytes.give(delivery.message.weight());
        self.changes.extend(delivery.stored.map(SessionChange::Delivered));
    }

    /// Whether the client owes no acknowledgement. When it does, the packet that brings it is the time to call
    /// [`next`](Self::next) again.
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_idle()
    }

    /// Messages that the client did not acknowledge or that wait for room in the window, and their bytes.
    pub fn backlog(&self) -> (usize, usize) {
        self.outgoing.backlog()
    }

    /// The same messages, and the bytes of their payloads alone. It looks at each of them.
    pub fn payloads(&self) -> (usize, usize) {
        self.outgoing
            .all()
            .fold((0, 0), |(count, bytes), (delivery, _)| (count + 1, bytes + delivery.message.payload.len()))
    }

    /// Messages that wait for room in the window.
    pub fn queued(&self) -> usize {
        self.outgoing.queued()
    }

    /// Whether so few wait that a queue which overflowed has recovered.
    pub fn is_queue_half_empty(&self) -> bool {
        self.outgoing.is_half_empty(&self.limits)
    }

    /// Takes what is to be done when a batch is stored. The changes that belong to it are in
    /// [`take_changes`](Self::take_changes) after this call.
    pub fn await_storage(&mut self, replies: Vec<Reply>) -> BatchId {
        for reply in &replies {
            if let Reply::Acknowledge(acknowledgement) = reply
                && acknowledgement.qos == QoS::ExactlyOnce
                && !acknowledgement.reason.is_error()
            {
                self.note(SessionChange::Received(acknowledgement.packet_id));
            }
        }
        self.acknowledgements.push(replies)
    }

    /// The fate of a batch is known: sends all whose turn it is, and tells what else is to be done.
    ///
    /// # Errors
    /// When the connection must be closed, because 3.1.1 cannot say that a message was not stored. What was not stored is
    /// forgotten, so that the client may send it again.
    pub fn settle(
        &mut self,
        batch: BatchId,
        outcome: Outcome,
        mut send: impl FnMut(Packet<'static>),
    ) -> Result<Settled, Closing> {
        self.acknowledgements.settle(batch, outcome);
        let (mut settled, mut closing) = (Settled::default(), None);
        while let Some((replies, outcome)) = self.acknowledgements.next() {
            for reply in replies {
                let packet = match reply {
                    Reply::Acknowledge(acknowledgement) => {
                        self.settle_acknowledgement(acknowledgement, &outcome, &mut closing)
                    }
                    // Nothing is stored any more: the platform is stopping.
                    _ if matches!(outcome, Outcome::Failed(_)) => None,
                    Reply::Subscribed(granted, ack) if outcome == Outcome::ChangesRefused => {
                        Some(self.refuse_subscriptions(granted, ack, &mut settled))
                    }
                    _ if outcome == Outcome::ChangesRefused => {
                        // What it promises is not stored, and there is no word for that.
                        closing.get_or_insert(Closing::ByServer(ReasonCode::ImplementationSpecificError));
                        None
                    }
                    Reply::Send(packet) => Some(packet),
                    Reply::Subscribed(granted, ack) => {
                        settled.granted.extend(granted);
                        Some(Packet::SubscribeAck(ack))
                    }
                    Reply::Recorded(id) => {
                        self.outgoing.recorded(id);
                        settled.resume = true;
                        None
                    }
                    Reply::Released(id) => {
                        let is_due = self.outgoing.inflight().advance(id, Stage::Releasing, Stage::Released);
                        is_due.then(|| Packet::PublishRelease(Ack::success(id)))
                    }
                };
                if closing.is_none() {
                    packet.into_iter().for_each(&mut send);
                }
            }
        }
        closing.map_or(Ok(settled), Err)
    }

    /// Subscriptions that could not be stored are none, and the client is told.
    fn refuse_subscriptions(
        &mut self,
        granted: Vec<NewSubscription>,
        mut ack: SubscribeAck,
        settled: &mut Settled,
    ) -> Packet<'static> {
        for new in granted {
            self.take_back(&new.subscription);
            settled.refused.push(new.subscription);
        }
        for reason in ack.reasons.iter_mut().filter(|reason| !reason.is_error()) {
            *reason = ReasonCode::UnspecifiedError;
        }
        Packet::SubscribeAck(ack)
    }

    /// The acknowledgement of a message whose fate is known; `None` where 3.1.1 has no word for it.
    fn settle_acknowledgement(
        &mut self,
        mut acknowledgement: Acknowledgement,
        outcome: &Outcome,
        closing: &mut Option<Closing>,
    ) -> Option<Packet<'static>> {
        let failure = outcome.failure_of(acknowledgement.stored_as.as_ref());
        acknowledgement.reason = failure.unwrap_or(acknowledgement.reason);
        // It is answered when the client sends it again.
        let is_silent =
            self.incoming.will_come_again(acknowledgement.packet_id) && acknowledgement.qos == QoS::ExactlyOnce;
        if let (Some(reason), ProtocolVersion::V311) = (failure, self.version) {
            self.forget(&acknowledgement);
            if !is_silent {
                closing.get_or_insert(Closing::ByServer(reason));
            }
            return None;
        }
        Some(self.acknowledge(acknowledgement)).filter(|_| !is_silent)
    }

    fn acknowledge(&mut self, acknowledgement: Acknowledgement) -> Packet<'static> {
        // [MQTT-4.3.3-9] 5.0 ends the exchange with a failure; 3.1.1 does not see it and goes on
        if acknowledgement.qos != QoS::ExactlyOnce
            || (acknowledgement.reason.is_error() && self.version == ProtocolVersion::V5)
        {
            self.forget(&acknowledgement);
        } else {
            self.incoming.received(acknowledgement.packet_id);
        }
        let Acknowledgement { packet_id, qos, reason, reason_string, .. } = acknowledgement;
        let ack = Ack { packet_id, reason, reason_string };
        if qos == QoS::ExactlyOnce { Packet::PublishReceived(ack) } else { Packet::PublishAck(ack) }
    }

    fn forget(&mut self, acknowledgement: &Acknowledgement) {
        if acknowledgement.qos == QoS::ExactlyOnce {
            self.refuse(acknowledgement.packet_id);
            self.note(SessionChange::Completed(acknowledgement.packet_id));
        } else {
            self.incoming.acknowledged();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incoming::Arrival;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    fn session(version: ProtocolVersion) -> Session {
        Session::new(Arc::default(), version, u16::MAX)
    }

    /// Messages of these levels arrive and wait for storage together; their ids are 1, 2, …
    fn arrive(session: &mut Session, levels: &[QoS]) -> BatchId {
        let acknowledgement = |(place, qos): (usize, &QoS)| {
            let packet_id = id(u16::try_from(place + 1).unwrap());
            assert_eq!(session.incoming.begin(*qos, packet_id, None), Arrival::New);
            let stored_as = Some(place..place + 1);
            Acknowledgement { packet_id, qos: *qos, reason: ReasonCode::Success, reason_string: None, stored_as }
        };
        let replies = levels.iter().enumerate().map(acknowledgement).map(Reply::from).collect();
        session.await_storage(replies)
    }

    fn settle(session: &mut Session, batch: BatchId, outcome: Outcome) -> (Vec<Packet<'static>>, Result<(), Closing>) {
        let mut sent = Vec::new();
        let result = session.settle(batch, outcome, |packet| sent.push(packet)).map(drop);
        (sent, result)
    }

    #[test]
    fn a_message_that_was_lost_is_told_in_5_0() {
        let mut session = session(ProtocolVersion::V5);
        let batch = arrive(&mut session, &[QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let (sent, result) = settle(&mut session, batch, Outcome::Lost(vec![1]));
        let failed = Ack::with(id(2), ReasonCode::ImplementationSpecificError);
        assert_eq!(sent, [Packet::PublishAck(Ack::success(id(1))), Packet::PublishReceived(failed)]);
        assert_eq!(result, Ok(()));
        assert_eq!(session.incoming.unacknowledged(), 0);
    }

    #[test]
    fn a_message_that_was_lost_ends_a_connection_of_3_1_1() {
        let mut session = session(ProtocolVersion::V311);
        let batch = arrive(&mut session, &[QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let (sent, result) = settle(&mut session, batch, Outcome::Lost(vec![1]));
        assert_eq!(sent, [Packet::PublishAck(Ack::success(id(1)))]);
        assert!(result.is_err());
        assert_eq!(session.incoming.begin(QoS::ExactlyOnce, id(2), None), Arrival::New);
    }

    #[test]
    fn a_failure_is_not_told_before_the_client_sends_the_message_again() {
        for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
            let mut session = session(version);
            let batch = arrive(&mut session, &[QoS::ExactlyOnce]);
            session.resume(version, 10);
            let (sent, result) = settle(&mut session, batch, Outcome::Failed(ReasonCode::UnspecifiedError));
            assert_eq!((sent, result), (Vec::new(), Ok(())));
            assert_eq!(session.incoming.begin(QoS::ExactlyOnce, id(1), None), Arrival::New);
        }
    }

    #[test]
    fn a_subscription_that_could_not_be_stored_is_refused_and_gone() {
        let mut session = session(ProtocolVersion::V311);
        session.store(StoreKey::MIN);
        let subscription = Subscription::parse("$share/g/a", Default::default(), &Limits::default()).unwrap();
        let key = (subscription.filter.clone(), subscription.group.clone());
        session.subscriptions.insert(key, subscription.clone());
        let ack = SubscribeAck { packet_id: id(1), reasons: vec![ReasonCode::NotAuthorized, ReasonCode::GrantedQoS1] };
        let granted = vec![NewSubscription { subscription: subscription.clone(), is_new: true }];
        let batch = session.await_storage(vec![Reply::Subscribed(granted, ack)]);
        let mut sent = Vec::new();
        let settled = session.settle(batch, Outcome::ChangesRefused, |packet| sent.push(packet)).unwrap();
        let reasons = vec![ReasonCode::NotAuthorized, ReasonCode::UnspecifiedError];
        assert_eq!(sent, [Packet::SubscribeAck(SubscribeAck { packet_id: id(1), reasons })]);
        assert_eq!((settled.refused, settled.granted.len()), (vec![subscription.clone()], 0));
        assert!(!session.holds(&subscription));
        let gone = SessionChange::Unsubscribed(subscription.filter, subscription.group);
        assert_eq!(session.take_changes(), [gone], "storage may have the half of it");
    }

    #[test]
    fn nothing_beside_a_change_that_was_refused_is_told_as_stored() {
        let mut session = session(ProtocolVersion::V5);
        let batch = arrive(&mut session, &[QoS::AtLeastOnce]);
        let (sent, _) = settle(&mut session, batch, Outcome::ChangesRefused);
        let failed = Ack::with(id(1), ReasonCode::ImplementationSpecificError);
        assert_eq!(sent, [Packet::PublishAck(failed)]);
        let batch = session.await_storage(vec![Reply::Send(Packet::PublishComplete(Ack::success(id(1))))]);
        let (sent, result) = settle(&mut session, batch, Outcome::ChangesRefused);
        assert!(sent.is_empty() && result.is_err());
    }

    #[test]
    fn what_was_stored_beside_a_message_that_was_lost_is_not_forgotten() {
        let mut session = session(ProtocolVersion::V311);
        let batch = arrive(&mut session, &[QoS::ExactlyOnce, QoS::ExactlyOnce]);
        let (sent, result) = settle(&mut session, batch, Outcome::Lost(vec![0]));
        assert!(sent.is_empty() && result.is_err());
        session.resume(ProtocolVersion::V311, 10);
        assert_eq!(session.incoming.begin(QoS::ExactlyOnce, id(1), None), Arrival::New);
        assert_eq!(session.incoming.begin(QoS::ExactlyOnce, id(2), None), Arrival::Received);
    }

    #[test]
    fn qos_2_goes_on_where_it_was_on_a_new_connection() {
        let mut session = session(ProtocolVersion::V5);
        let batch = arrive(&mut session, &[QoS::AtLeastOnce, QoS::ExactlyOnce]);
        session.resume(ProtocolVersion::V311, 10);
        // The client sends both again; only the second is known to be the same message.
        assert_eq!(session.incoming.begin(QoS::AtLeastOnce, id(1), None), Arrival::New);
        assert_eq!(session.incoming.begin(QoS::ExactlyOnce, id(2), None), Arrival::Pending);
        let (sent, _) = settle(&mut session, batch, Outcome::Stored);
        assert_eq!(sent, [Packet::PublishReceived(Ack::success(id(2)))]);
        assert_eq!(session.incoming.begin(QoS::ExactlyOnce, id(2), None), Arrival::Received);
    }
}
