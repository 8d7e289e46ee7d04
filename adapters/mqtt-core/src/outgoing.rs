//! Messages of QoS 1 and 2 on their way to one client: a window that waits for acknowledgements, and a queue before it.

use std::collections::VecDeque;

use pocket_domain::Timestamp;

use crate::inflight::{Entry, Inflight, Stage};
use crate::{Delivery, LeftDelivery, Limits, PacketId, Purse, QoS};

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It will be sent as soon as the window has room.
    Queued,
    /// The queue is full; the message is lost to this client.
    Dropped,
}

/// A packet that is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingPacket {
    /// A message.
    Publish {
        /// Its id.
        packet_id: PacketId,
        /// Its content.
        delivery: Delivery,
        /// Whether it was sent before, on an earlier connection.
        dup: bool,
    },
    /// PUBREL of a message of which the client confirmed the receipt on an earlier connection.
    Release(PacketId),
    /// Nothing yet: this packet id is to be stored first, with [`Reply::Recorded`](crate::Reply::Recorded).
    Record(PacketId),
}

/// Window and queue of one session.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    inflight: Inflight,
    /// What was sent on an earlier connection and not yet again on this one, in order.
    resend: VecDeque<PacketId>,
    /// What can be sent for the first time, because its packet id is stored.
    ready: VecDeque<PacketId>,
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
}

impl Outgoing {
    /// Queues a message, or drops it when the queue is at one of its bounds, or the purse.
    pub(crate) fn offer(&mut self, delivery: Delivery, limits: &Limits, purse: &mut Purse) -> Offer {
        let bytes = delivery.message.weight();
        // A message that is larger than the bound by itself passes when it is alone.
        let too_many_bytes = !self.queue.is_empty() && self.queued_bytes + bytes > limits.queued_bytes;
        if self.queue.len() >= limits.queued_messages || too_many_bytes || !purse.take(bytes) {
            return Offer::Dropped;
        }
        self.queued_bytes += bytes;
        self.queue.push_back(delivery);
        Offer::Queued
    }

    /// The next packet to send when `window` messages may be unacknowledged. Expired messages are passed over and told to
    /// `lost`.
    pub(crate) fn next(
        &mut self,
        window: u16,
        now: Timestamp,
        mut lost: impl FnMut(Delivery),
    ) -> Option<OutgoingPacket> {
        if let Some(packet) = self.next_again(window).or_else(|| self.next_ready()) {
            return Some(packet);
        }
        while self.resend.is_empty() && self.inflight.has_room(window) {
            let delivery = self.queue.pop_front()?;
            self.queued_bytes -= delivery.message.weight();
            if delivery.message.is_expired(now) {
                lost(delivery);
            } else if delivery.stored.is_some() && delivery.qos == QoS::ExactlyOnce {
                return Some(OutgoingPacket::Record(self.inflight.push(delivery, Stage::Recording)));
            } else {
                let packet_id = self.inflight.push(delivery.clone(), Stage::Sent);
                return Some(OutgoingPacket::Publish { packet_id, delivery, dup: false });
            }
        }
        None
    }

    /// The packet id of a message is stored.
    pub(crate) fn recorded(&mut self, packet_id: PacketId) {
        if self.inflight.advance(packet_id, Stage::Recording, Stage::Recorded) {
            self.ready.push_back(packet_id);
        }
    }

    /// A message whose packet id was stored meanwhile.
    fn next_ready(&mut self) -> Option<OutgoingPacket> {
        while let Some(packet_id) = self.ready.pop_front() {
            if self.inflight.advance(packet_id, Stage::Recorded, Stage::Sent) {
                let delivery = self.inflight.get(packet_id)?.delivery.clone();
                return Some(OutgoingPacket::Publish { packet_id, delivery, dup: false });
            }
        }
        None
    }

    /// The next packet of an earlier connection.
    fn next_again(&mut self, window: u16) -> Option<OutgoingPacket> {
        while !self.resend.is_empty() && self.inflight.len() - self.resend.len() < usize::from(window) {
            let packet_id = self.resend.pop_front()?;
            match self.inflight.get(packet_id) {
                Some(entry) if entry.stage == Stage::Released => return Some(OutgoingPacket::Release(packet_id)),
                Some(entry) if entry.stage == Stage::Sent => {
                    return Some(OutgoingPacket::Publish { packet_id, delivery: entry.delivery.clone(), dup: true });
                }
                // The reply that storage owes comes first.
                Some(_) | None => {}
            }
        }
        None
    }

    /// The client is back on a new connection: all that is unacknowledged is to be sent again.
    pub(crate) fn resume(&mut self) {
        // [MQTT-4.4.0-1] PUBLISH and PUBREL with their ids, [MQTT-4.6.0-1] in the order of the first time
        let at = |stages: &'static [Stage]| {
            let entries = self.inflight.iter().filter(|(_, entry)| stages.contains(&entry.stage));
            entries.map(|(packet_id, _)| packet_id).collect()
        };
        (self.resend, self.ready) = (at(&[Stage::Sent, Stage::Released]), at(&[Stage::Recorded]));
    }

    /// What waits as it was left. Deliveries with a packet id were sent before.
    pub(crate) fn restore(left: Vec<LeftDelivery>) -> Self {
        let mut restored = Self::default();
        let mut entries = Vec::new();
        for LeftDelivery { delivery, progress } in left {
            match progress {
                Some((packet_id, released)) => {
                    let stage = if released { Stage::Released } else { Stage::Sent };
                    entries.push((packet_id, Entry { delivery, stage }));
                }
                None => {
                    restored.queued_bytes += delivery.message.weight();
                    restored.queue.push_back(delivery);
                }
            }
        }
        restored.inflight = Inflight::restore(entries);
        restored
    }

    /// Everything that waits for the client, in the order in which it is to be sent, with its packet id if it has one.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Delivery, Option<(PacketId, Stage)>)> {
        let sent = self.inflight.iter().map(|(id, entry)| (&entry.delivery, Some((id, entry.stage))));
        sent.chain(self.queue.iter().map(|delivery| (delivery, None)))
    }

    /// Takes out what was meant for any member of a group, but for messages of QoS 2 that were sent: their receiver may
    /// have them already. [MQTT-4.8.2-5]
    pub(crate) fn take_shared(&mut self) -> Vec<Delivery> {
        let is_free = |delivery: &Delivery| delivery.group.is_some() && delivery.qos == QoS::AtLeastOnce;
        let sent: Vec<PacketId> =
            self.inflight.iter().filter(|(_, e)| is_free(&e.delivery)).map(|(id, _)| id).collect();
        let mut taken: Vec<Delivery> =
            sent.iter().filter_map(|id| Some(self.inflight.get(*id)?.delivery.clone())).collect();
        for id in sent {
            // The session is over: storage forgets all of it at once.
            let _ = self.end(id, Inflight::discard);
        }
        let (shared, kept) = std::mem::take(&mut self.queue).into_iter().partition(|queued| queued.group.is_some());
        self.queue = kept;
        let shared: VecDeque<Delivery> = shared;
        self.queued_bytes = self.queue.iter().map(|queued| queued.message.weight()).sum();
        taken.extend(shared);
        taken
    }

    /// Whether nothing that was sent is unacknowledged, so that no acknowledgement will come to ask for more.
    pub(crate) fn is_idle(&self) -> bool {
        self.inflight.len() == self.resend.len()
    }

    /// Messages in the window and in the queue, and their bytes.
    pub(crate) fn backlog(&self) -> (usize, usize) {
        let sent: usize = self.inflight.iter().map(|(_, entry)| entry.delivery.message.weight()).sum();
        (self.inflight.len() + self.queue.len(), sent + self.queued_bytes)
    }

    /// Messages that wait in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether the queue is far from its bounds.
    pub(crate) fn is_half_empty(&self, limits: &Limits) -> bool {
        self.queue.len() <= limits.queued_messages / 2 && self.queued_bytes <= limits.queued_bytes / 2
    }

    pub(crate) fn inflight(&mut self) -> &mut Inflight {
        &mut self.inflight
    }

    /// Ends the exchange of a message with `end`, if it was due.
    pub(crate) fn end(
        &mut self,
        packet_id: PacketId,
        end: impl FnOnce(&mut Inflight, PacketId) -> Option<Delivery>,
    ) -> Option<Delivery> {
        let ended = end(&mut self.inflight, packet_id)?;
        // A client may acknowledge what it got on its last connection before it is sent again.
        self.resend.retain(|id| *id != packet_id);
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use pocket_domain::TopicName;

    use super::*;
    use crate::subscription::Target;
    use crate::{GroupName, Message};

    fn delivery(qos: QoS, payload: &'static str, expires_at: Option<Timestamp>) -> Delivery {
        let message = Message {
            topic: TopicName::parse("t").unwrap(),
            payload: Bytes::from_static(payload.as_bytes()),
            qos,
            retain: false,
            properties: None,
            expires_at,
        };
        Delivery { message: Arc::new(message), qos, retain: false, identifiers: Vec::new(), group: None, stored: None }
    }

    fn offered(messages: &[(QoS, &'static str)]) -> Outgoing {
        let mut outgoing = Outgoing::default();
        for (qos, payload) in messages {
            assert_eq!(
                outgoing.offer(delivery(*qos, payload, None), &Limits::default(), &mut Purse::default()),
                Offer::Queued
            );
        }
        outgoing
    }

    /// What is sent, as id, payload and DUP; a PUBREL has no payload.
    fn sent(outgoing: &mut Outgoing, window: u16) -> Vec<(u16, String, bool)> {
        std::iter::from_fn(|| outgoing.next(window, Timestamp::MIN, drop))
            .map(|packet| match packet {
                OutgoingPacket::Publish { packet_id, delivery, dup } => {
                    (packet_id.get(), String::from_utf8(delivery.message.payload.to_vec()).unwrap(), dup)
                }
                OutgoingPacket::Release(packet_id) => (packet_id.get(), String::new(), false),
                OutgoingPacket::Record(packet_id) => (packet_id.get(), "record".to_owned(), false),
            })
            .collect()
    }

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    fn new(id: u16, payload: &str) -> (u16, String, bool) {
        (id, payload.to_owned(), false)
    }

    fn again(id: u16, payload: &str) -> (u16, String, bool) {
        (id, payload.to_owned(), true)
    }

    #[test]
    fn messages_beyond_the_window_wait_in_order() {
        let mut outgoing = offered(&[(QoS::AtLeastOnce, "a"), (QoS::AtLeastOnce, "b"), (QoS::AtLeastOnce, "c")]);
        assert_eq!(sent(&mut outgoing, 2), [new(1, "a"), new(2, "b")]);
        assert!(outgoing.end(id(1), Inflight::acknowledge).is_some());
        assert_eq!(sent(&mut outgoing, 2), [new(3, "c")]);
        assert_eq!((outgoing.queued(), outgoing.queued_bytes), (0, 0));
    }

    #[test]
    fn the_queue_is_bounded_by_messages() {
        let mut outgoing = Outgoing::default();
        let limits = Limits { queued_messages: 2, ..Default::default() };
        let offers: Vec<Offer> = (0..3)
            .map(|_| outgoing.offer(delivery(QoS::AtLeastOnce, "x", None), &limits, &mut Purse::default()))
            .collect();
        assert_eq!(offers, [Offer::Queued, Offer::Queued, Offer::Dropped]);
    }

    #[test]
    fn the_queue_is_bounded_by_bytes() {
        let mut outgoing = Outgoing::default();
        let limits =
            Limits { queued_bytes: 2 * delivery(QoS::AtLeastOnce, "123", None).message.weight(), ..Default::default() };
        let mut offer =
            |payload| outgoing.offer(delivery(QoS::AtLeastOnce, payload, None), &limits, &mut Purse::default());
        assert_eq!(offer("1234"), Offer::Queued);
        assert_eq!(offer("123"), Offer::Dropped);
        assert_eq!(offer("12"), Offer::Queued);
        assert_eq!(offer(""), Offer::Dropped);
    }

    #[test]
    fn a_queue_is_half_empty_by_messages_and_by_bytes() {
        let of_three = |limits: &Limits| offered(&[(QoS::AtLeastOnce, "12"); 3]).is_half_empty(limits);
        let limits = |queued_messages, queued_bytes| Limits { queued_messages, queued_bytes, ..Default::default() };
        let twice = 6 * delivery(QoS::AtLeastOnce, "12", None).message.weight();
        assert!(of_three(&limits(6, twice)));
        assert!(!of_three(&limits(5, twice)));
        assert!(!of_three(&limits(6, twice - 1)));
    }

    #[test]
    fn an_expired_message_is_not_sent() {
        let mut outgoing = Outgoing::default();
        let soon = Timestamp::MIN.plus(Duration::from_secs(1));
        outgoing.offer(delivery(QoS::AtLeastOnce, "old", Some(soon)), &Limits::default(), &mut Purse::default());
        outgoing.offer(delivery(QoS::AtLeastOnce, "new", None), &Limits::default(), &mut Purse::default());
        let mut lost = Vec::new();
        let next = outgoing.next(9, soon, |delivery| lost.push(delivery));
        let Some(OutgoingPacket::Publish { delivery, .. }) = next else { panic!("nothing was sent") };
        assert_eq!(lost.len(), 1);
        assert_eq!(&delivery.message.payload[..], b"new");
    }

    #[test]
    fn a_client_that_comes_back_gets_all_that_it_did_not_acknowledge_first() {
        let mut outgoing = offered(&[
            (QoS::AtLeastOnce, "a"),
            (QoS::ExactlyOnce, "b"),
            (QoS::ExactlyOnce, "c"),
            (QoS::AtLeastOnce, "d"),
        ]);
        assert_eq!(sent(&mut outgoing, 3).len(), 3);
        assert!(outgoing.inflight().receive(id(2)).is_some());
        outgoing.resume();
        assert!(outgoing.is_idle());
        assert_eq!(sent(&mut outgoing, 9), [again(1, "a"), new(2, ""), again(3, "c"), new(4, "d")]);
    }

    #[test]
    fn a_smaller_window_holds_for_what_is_sent_again_too() {
        let mut outgoing = offered(&[(QoS::AtLeastOnce, "a"), (QoS::AtLeastOnce, "b"), (QoS::AtLeastOnce, "c")]);
        sent(&mut outgoing, 2);
        outgoing.resume();
        assert_eq!(sent(&mut outgoing, 1), [again(1, "a")]);
        assert!(outgoing.end(id(2), Inflight::acknowledge).is_some());
        assert_eq!(sent(&mut outgoing, 1), []);
        assert!(outgoing.end(id(1), Inflight::acknowledge).is_some());
        assert_eq!(sent(&mut outgoing, 1), [new(3, "c")]);
    }

    #[test]
    fn what_a_group_shares_can_be_taken_back_unless_it_may_have_arrived() {
        let group = Target::parse("$share/g/t").unwrap().group;
        let mut outgoing = Outgoing::default();
        let mut offer = |qos, payload, group: &Option<GroupName>| {
            let delivery = Delivery { group: group.clone(), ..delivery(qos, payload, None) };
            assert_eq!(outgoing.offer(delivery, &Limits::default(), &mut Purse::default()), Offer::Queued);
        };
        offer(QoS::AtLeastOnce, "sent", &group);
        offer(QoS::ExactlyOnce, "perhaps received", &group);
        offer(QoS::AtLeastOnce, "own", &None);
        offer(QoS::ExactlyOnce, "queued", &group);
        offer(QoS::AtLeastOnce, "own too", &None);
        assert_eq!(sent(&mut outgoing, 3).len(), 3);
        let taken: Vec<Bytes> = outgoing.take_shared().into_iter().map(|d| d.message.payload.clone()).collect();
        assert_eq!(taken, ["sent", "queued"]);
        assert_eq!((outgoing.inflight.len(), outgoing.queued()), (2, 1));
        assert_eq!(outgoing.queued_bytes, delivery(QoS::AtLeastOnce, "own too", None).message.weight());
    }
}
