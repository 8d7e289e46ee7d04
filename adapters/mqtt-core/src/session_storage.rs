//! Sessions that are stored: what they tell storage, and how they come back from it.
//!
//! Every change of a stored session is noted where it happens and taken by the adapter, which hands it to storage in the
//! order of the changes. A session without a key notes nothing.

use std::sync::Arc;

use crate::inflight::Stage;
use crate::outgoing::Outgoing;
use crate::{LeftSession, Limits, PacketId, ProtocolVersion, Session, SessionChange, StoreKey, StoredAs};

impl Session {
    /// The session as storage gave it back, for a client that is away.
    pub fn restore(left: LeftSession, limits: &Arc<Limits>) -> Self {
        let LeftSession { key, subscriptions, received, deliveries } = left;
        let mut session = Self::new(Arc::clone(limits), ProtocolVersion::V5, 0);
        session.key = Some(key);
        session.outgoing = Outgoing::restore(deliveries);
        for subscription in subscriptions {
            let name = (subscription.filter.clone(), subscription.group.clone());
            session.subscriptions.insert(name, subscription);
        }
        for packet_id in received {
            session.incoming.received(packet_id);
        }
        session
    }

    /// Its key, if it is stored.
    pub fn key(&self) -> Option<StoreKey> {
        self.key
    }

    /// Stores the session, which is new, under this key from now on.
    pub fn store(&mut self, key: StoreKey) {
        self.key = Some(key);
    }

    /// What changed since the last call; nothing when the session is not stored.
    pub fn take_changes(&mut self) -> Vec<SessionChange> {
        std::mem::take(&mut self.changes)
    }

    /// Notes the packet ids of all that was sent and is not acknowledged, for a client that leaves. While it is connected,
    /// only those of QoS 2 are stored.
    pub fn note_progress(&mut self) {
        let sent = self.outgoing.all().filter_map(|(delivery, sent)| {
            let (packet_id, stage) = sent?;
            let released = stage == Stage::Released;
            let is_known = matches!(stage, Stage::Sent | Stage::Released);
            let delivery = delivery.stored.filter(|_| is_known)?.delivery;
            Some(SessionChange::Progressed { delivery, packet_id, released })
        });
        let sent: Vec<SessionChange> = sent.collect();
        self.changes.extend(sent);
    }

    /// Notes how far one message came.
    pub(crate) fn note_progress_of(&mut self, packet_id: PacketId, released: bool) {
        let entry = self.outgoing.inflight().get(packet_id);
        if let Some(StoredAs { delivery, .. }) = entry.and_then(|entry| entry.delivery.stored) {
            self.changes.push(SessionChange::Progressed { delivery, packet_id, released });
        }
    }

    /// Notes a change, if the session is stored.
    pub(crate) fn note(&mut self, change: SessionChange) {
        if self.key.is_some() {
            self.changes.push(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pocket_domain::{Timestamp, TopicName};

    use super::*;
    use crate::{Delivery, LeftDelivery, Message, Offer, Outcome, OutgoingPacket, Packet, QoS, Reply};

    fn stored(number: u64) -> StoredAs {
        let key = |number| StoreKey::new(number).unwrap();
        StoredAs { delivery: key(2 * number), message: key(2 * number + 1) }
    }

    fn delivery(qos: QoS, number: u64) -> Delivery {
        let message = Message {
            topic: TopicName::parse("t").unwrap(),
            payload: Bytes::new(),
            qos,
            retain: false,
            properties: None,
            expires_at: None,
        };
        let stored = Some(stored(number));
        Delivery { message: Arc::new(message), qos, retain: false, identifiers: Vec::new(), group: None, stored }
    }

    fn left(deliveries: Vec<LeftDelivery>) -> Session {
        let left = LeftSession { key: StoreKey::MIN, subscriptions: vec![], received: vec![], deliveries };
        let mut session = Session::restore(left, &Arc::default());
        session.resume(ProtocolVersion::V5, 10);
        session
    }

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    fn next(session: &mut Session) -> Option<OutgoingPacket> {
        session.next(Timestamp::MIN)
    }

    fn progressed(number: u64, packet_id: u16, released: bool) -> SessionChange {
        SessionChange::Progressed { delivery: stored(number).delivery, packet_id: id(packet_id), released }
    }

    #[test]
    fn a_message_of_qos_2_is_sent_when_its_packet_id_is_stored() {
        let mut session = left(vec![]);
        assert_eq!(session.offer(delivery(QoS::ExactlyOnce, 1)), Offer::Queued);
        assert_eq!(next(&mut session), Some(OutgoingPacket::Record(id(1))));
        assert_eq!(session.take_changes(), [progressed(1, 1, false)]);
        assert_eq!(next(&mut session), None);
        let batch = session.await_storage(vec![Reply::Recorded(id(1))]);
        assert!(session.settle(batch, Outcome::Stored, drop).unwrap().resume);
        assert!(matches!(next(&mut session), Some(OutgoingPacket::Publish { dup: false, .. })));
        assert_eq!(next(&mut session), None);
    }

    #[test]
    fn a_message_of_qos_1_does_not_wait() {
        let mut session = left(vec![]);
        session.offer(delivery(QoS::AtLeastOnce, 1));
        assert!(matches!(next(&mut session), Some(OutgoingPacket::Publish { dup: false, .. })));
        assert_eq!(session.take_changes(), []);
        session.note_progress();
        assert_eq!(session.take_changes(), [progressed(1, 1, false)]);
        session.discard(id(1));
        assert_eq!(session.take_changes(), [SessionChange::Delivered(stored(1))]);
    }

    #[test]
    fn a_message_that_was_not_recorded_before_the_connection_broke_is_sent_on_the_next() {
        let mut session = left(vec![]);
        session.offer(delivery(QoS::ExactlyOnce, 1));
        next(&mut session);
        let batch = session.await_storage(vec![Reply::Recorded(id(1))]);
        session.resume(ProtocolVersion::V5, 10);
        assert_eq!(next(&mut session), None);
        session.settle(batch, Outcome::Stored, drop).unwrap();
        assert!(matches!(next(&mut session), Some(OutgoingPacket::Publish { dup: false, .. })));
    }

    #[test]
    fn a_restored_session_goes_on_where_it_was() {
        let mut session = left(vec![
            LeftDelivery { delivery: delivery(QoS::AtLeastOnce, 1), progress: None },
            LeftDelivery { delivery: delivery(QoS::ExactlyOnce, 2), progress: Some((id(65_535), true)) },
            LeftDelivery { delivery: delivery(QoS::ExactlyOnce, 3), progress: Some((id(1), false)) },
        ]);
        assert_eq!(next(&mut session), Some(OutgoingPacket::Release(id(65_535))));
        let again = OutgoingPacket::Publish { packet_id: id(1), delivery: delivery(QoS::ExactlyOnce, 3), dup: true };
        assert_eq!(next(&mut session), Some(again));
        let new = OutgoingPacket::Publish { packet_id: id(2), delivery: delivery(QoS::AtLeastOnce, 1), dup: false };
        assert_eq!(next(&mut session), Some(new));
    }

    #[test]
    fn a_release_waits_until_the_receipt_is_stored_whatever_connection_it_came_on() {
        let mut session =
            left(vec![LeftDelivery { delivery: delivery(QoS::ExactlyOnce, 1), progress: Some((id(1), false)) }]);
        next(&mut session);
        session.outgoing.inflight().receive(id(1));
        let batch = session.await_storage(vec![Reply::Released(id(1))]);
        session.resume(ProtocolVersion::V5, 10);
        assert_eq!(next(&mut session), None);
        let mut sent = Vec::new();
        session.settle(batch, Outcome::Stored, |packet| sent.push(packet)).unwrap();
        assert!(matches!(&sent[..], [Packet::PublishRelease(_)]));
    }
}
